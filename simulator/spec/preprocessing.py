"""How a checkpoint turns a picture or a clip into crops of patches and visual tokens, as data.

One class per published scheme, told apart by `kind`; `simulator.build.pixels` does the arithmetic. Sizes are pixels
(`tile`, `size`: side of a square) or patches where said; `patch` is the stride of the patch embedding (for encoders made
of convolution stages: of their last stage). `tokens` counts what the language model receives per crop, after the
projector, without separators and without text markers.

kind             used by                                     values
fixed            llava-1.5 (any CLIP-L/336)                  size 336, patch 14, tokens 576
fixed            paligemma2-*-448                            size 448, patch 14, tokens 1024
pan_and_scan     gemma-3-*                                   size 896, patch 14, tokens 256, enabled false
grid_pinpoints   llava-next (v1.6)                           tile 336, patch 14, side 24, five pinpoints
grid_pinpoints   llava-onevision                             tile 384, patch 14, side 27, 6 x 6 pinpoints, max_tiles 9
dynamic_tiles    internvl2.5, internvl3                      tile 448, patch 14, tokens 256, max_tiles 12, thumbnail
longest_edge_split  idefics3                                 longest_edge 1456, tile 364, patch 14, tokens 169
longest_edge_split  smolvlm2                                 longest_edge 1536, tile 384, patch 14, tokens 81
canvas_tiles     llama-3.2-vision                            tile 560, patch 14, tokens 1601, max_tiles 4, pad_to_max
canvas_tiles     llama-4                                     tile 336, patch 14, tokens 144, max_tiles 16, thumbnail
dynamic_hd       phi-4-multimodal                            tile 448, patch 14, side 16, max_tiles 36
native           qwen2-vl, qwen2.5-vl                        patch 14, merge 2, pixels 3136..12845056, temporal 2
native           qwen3-vl                                    patch 16, merge 2, pixels 65536..16777216, temporal 2
native           glm-4.1v                                    patch 14, merge 2, pixels 12544..9633792 (a volume), temporal 2
longest_edge     pixtral                                     patch 16, longest_edge 1024, merge 1
patch_limit      kimi-vl, kimi-k2.5                          patch 14, merge 2, max_patches 4096 | 16384
patch_budget     gemma-4                                     patch 16, merge 3, max_patches 2520
edges            idefics2                                    378..980, patch 14, tokens 64
native_tiles     lfm2-vl                                     tile 512, patch 16, merge 2, pixels 65536..262144
hd_canvas        phi-3.5-vision                              tile 336, patch 14, side 12, max_tiles 16
candidate_tiles  deepseek-vl2                                tile 384, patch 14, side 14, max_tiles 9
candidate_tiles  deepseek-ocr ("Gundam")                     tile 640, patch 16, side 10, global 1024 / side 16
slices           minicpm-v-2.6                               tile 448, patch 14, tokens 64, max_slices 9
overlapping_tiles  molmo, molmo2                             tile 336 | 378, patch 14, margin 8, pool 2, max_tiles 12 | 8
overlapping_tiles  moondream2                                tile 378, patch 14, margin 8, pool 1, max_tiles 12, most, joined
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from simulator.spec.own_ratio import Edges, LongestEdge, Native, NativeTiles, PatchBudget, PatchLimit
from simulator.spec.tiled import (
    CandidateTiles,
    CanvasTiles,
    DynamicHd,
    DynamicTiles,
    Fixed,
    GridPinpoints,
    HdCanvas,
    LongestEdgeSplit,
    OverlappingTiles,
    PanAndScan,
    Slices,
)
from simulator.spec.video import VideoSampling

__all__ = [
    "CandidateTiles", "CanvasTiles", "DynamicHd", "DynamicTiles", "Edges", "Fixed", "GridPinpoints", "HdCanvas",
    "LongestEdge", "LongestEdgeSplit", "Native", "NativeTiles", "OverlappingTiles", "PanAndScan", "PatchBudget", "PatchLimit",
    "Preprocessing", "Slices", "VideoSampling",
]  # fmt: skip

Preprocessing: TypeAlias = Annotated[
    Fixed
    | PanAndScan
    | GridPinpoints
    | DynamicTiles
    | LongestEdgeSplit
    | CanvasTiles
    | DynamicHd
    | CandidateTiles
    | Slices
    | Native
    | LongestEdge
    | PatchLimit
    | PatchBudget
    | Edges
    | NativeTiles
    | HdCanvas
    | OverlappingTiles,
    Field(discriminator="kind"),
]
"""Any of the schemes, told apart by `kind`."""
