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
candidate_tiles  deepseek-vl2                                tile 384, patch 14, side 14, max_tiles 9
candidate_tiles  deepseek-ocr ("Gundam")                     tile 640, patch 16, side 10, global 1024 / side 16
slices           minicpm-v-2.6                               tile 448, patch 14, tokens 64, max_slices 9
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, PositiveInt, model_validator

from simulator.spec.source import Spec


class VideoSampling(Spec):
    """How a clip becomes frames and a frame becomes tokens.

    A clip given as a number of frames is taken as sampled; one given as duration and frame rate is sampled here.
    fps: frames taken per second [1/s] (0: `max_frames` spread evenly over the clip). slower: (seconds, frames per second)
    of clips longer than that, the shorter limit first. min_frames, max_frames: bounds.
    rounding: of duration x fps. temporal_patch: frames that form one group: one patch grid (native), or one sequence
    that the encoder attends jointly (others); an incomplete last group is filled by repeating the last frame, or cut off
    while sampling (`cut_partial`), or filled while sampling already, so that its copies count as frames
    (`fill_partial`). size: side of a resized frame [pixel] (0: as pictures have it). tokens: visual tokens per group
    after pooling (0: as a picture's crop has). clip_tokens: visual tokens of the whole clip, however many frames (0: no
    such rule). merge: patches per side that become one visual token (0: as pictures have it). newline:
    learned separators: one per clip, per group, or per row of a group. max_slices: slices per frame (scheme `slices`).
    min_pixels, max_pixels: bounds of one frame for native resolution [pixel]. total_pixels: bound of all frames together
    [pixel] (0: none). With `volume` all frames are resized to keep frames x height x width within min_pixels..max_pixels
    instead.
    """

    fps: float = Field(default=0.0, ge=0.0, le=240.0)
    slower: tuple[tuple[float, float], ...] = ()
    min_frames: PositiveInt = 1
    max_frames: PositiveInt = 32
    temporal_patch: PositiveInt = 1
    size: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)
    clip_tokens: int = Field(default=0, ge=0)
    max_slices: PositiveInt = 1
    merge: int = Field(default=0, ge=0)
    rounding: Literal["floor", "round"] = "floor"
    cut_partial: bool = False
    fill_partial: bool = False
    newline: Literal["none", "clip", "frame", "row"] = "none"
    min_pixels: int = Field(default=0, ge=0)
    max_pixels: int = Field(default=0, ge=0)
    total_pixels: int = Field(default=0, ge=0)
    volume: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> VideoSampling:
        if self.min_frames > self.max_frames:
            raise ValueError(f"min_frames {self.min_frames} is above max_frames {self.max_frames}")
        return self


class Fixed(Spec):
    """Every picture is resized (and cropped) to size x size: always `tokens` visual tokens.

    tokens: after the projector (queries of a resampler, pooled patches, or the patches themselves). Class tokens of the
    encoder belong to the vision spec. center_crop: the shorter edge is resized to `size` and the rest cut off (CLIP);
    no effect on tokens, but on the host's work.
    """

    kind: Literal["fixed"] = "fixed"
    size: PositiveInt
    patch: PositiveInt
    tokens: PositiveInt
    center_crop: bool = False
    video: VideoSampling | None = None


class PanAndScan(Spec):
    """Gemma 3: one square view, and for elongated pictures further crops, if `enabled`.

    Crops are cut where the longer side is at least `min_ratio` times the shorter and each stays at least `min_crop` pixels;
    at most `max_crops`. Every view is resized to size x size and becomes `tokens` visual tokens.
    """

    kind: Literal["pan_and_scan"] = "pan_and_scan"
    size: PositiveInt = 896
    patch: PositiveInt = 14
    tokens: PositiveInt = 256
    enabled: bool = False
    min_crop: PositiveInt = 256
    max_crops: PositiveInt = 4
    min_ratio: float = Field(default=1.2, ge=1.0)
    video: VideoSampling | None = None


class GridPinpoints(Spec):
    """LLaVA any-resolution: the best of listed canvases, cut into tiles, plus a downscaled overview.

    pinpoints: (height, width) of the canvases [pixel]. side: rows and columns of visual tokens of one tile. After the tiles
    are put together, rows or columns that are padding are dropped (`unpad`) and one newline per row is added (`newline`).
    max_tiles: the unpadded map is shrunk (bilinear) to at most that many tiles' tokens (0: never; LLaVA-OneVision's anyres_max_9
    has 9). single_picture_only: with several pictures in a request only the overview is used (LLaVA-OneVision).
    """

    kind: Literal["grid_pinpoints"] = "grid_pinpoints"
    tile: PositiveInt
    patch: PositiveInt
    side: PositiveInt
    pinpoints: tuple[tuple[PositiveInt, PositiveInt], ...] = Field(min_length=1)
    unpad: bool = True
    newline: bool = True
    max_tiles: int = Field(default=0, ge=0)
    single_picture_only: bool = False
    video: VideoSampling | None = None


class DynamicTiles(Spec):
    """InternVL: the grid of min_tiles..max_tiles square tiles whose aspect ratio is nearest, plus a thumbnail.

    On equal distance the grid with more tiles wins if the picture has more than half of its pixels. thumbnail: an extra
    tile when there is more than one. tokens: per tile. scales: further square views (tiles per side) that are encoded too
    and whose features join those of the tiles without adding tokens (NVILA's dynamic S2 has 1 and 2).
    """

    kind: Literal["dynamic_tiles"] = "dynamic_tiles"
    tile: PositiveInt
    patch: PositiveInt
    tokens: PositiveInt
    min_tiles: PositiveInt = 1
    max_tiles: PositiveInt = 12
    thumbnail: bool = True
    scales: tuple[PositiveInt, ...] = ()
    video: VideoSampling | None = None


class LongestEdgeSplit(Spec):
    """Idefics3, SmolVLM: the longest edge is scaled to `longest_edge`, both edges rounded up to `tile`, cut into tiles,
    plus a global view of tile x tile. `split` false gives the global view only (video frames)."""

    kind: Literal["longest_edge_split"] = "longest_edge_split"
    longest_edge: int = Field(gt=0, le=4096)
    tile: PositiveInt
    patch: PositiveInt
    tokens: PositiveInt
    split: bool = True
    video: VideoSampling | None = None


class CanvasTiles(Spec):
    """Llama-3.2 and Llama-4: the canvas of at most `max_tiles` tiles that keeps most of the picture.

    tokens: per tile (Llama-3.2: class token included, since cross-attention sees it). thumbnail: a global tile when there
    is more than one (Llama-4). pad_to_max: absent tiles are encoded and attended to like present ones
    (Llama-3.2; the published class does so). to_max_canvas: upscale to the largest canvas that fits.
    """

    kind: Literal["canvas_tiles"] = "canvas_tiles"
    tile: PositiveInt
    patch: PositiveInt
    tokens: PositiveInt
    max_tiles: PositiveInt
    thumbnail: bool = False
    pad_to_max: bool = False
    to_max_canvas: bool = False
    video: VideoSampling | None = None


class DynamicHd(Spec):
    """Phi-4-multimodal: tiles of a resized canvas plus a global view, laid out as rows with newlines.

    side: rows and columns of visual tokens of one tile (after 2 x 2 pooling: 16). Padding rows and columns of the canvas are dropped.
    One newline per row of the tile map and of the global view, one separator between them.
    """

    kind: Literal["dynamic_hd"] = "dynamic_hd"
    tile: PositiveInt = 448
    patch: PositiveInt = 14
    side: PositiveInt = 16
    max_tiles: PositiveInt = 36
    video: VideoSampling | None = None


class CandidateTiles(Spec):
    """DeepSeek-VL2 and DeepSeek-OCR: a global view, then tiles, in rows that end in a learned newline, and one separator.

    rule: `least_waste` chooses the canvas with most effective pixels, then least waste (DeepSeek-VL2); `nearest_ratio` chooses as
    InternVL does (DeepSeek-OCR), and pictures not larger than one tile have no tiles; `global_only` never tiles. side: rows of visual tokens of one tile.
    global_size, global_side: the same for the global view (0: as a tile). max_pictures_tiled: with more pictures
    than this in a request nothing is tiled (0: no such rule).
    """

    kind: Literal["candidate_tiles"] = "candidate_tiles"
    tile: PositiveInt
    patch: PositiveInt
    side: PositiveInt
    rule: Literal["least_waste", "nearest_ratio", "global_only"] = "least_waste"
    min_tiles: PositiveInt = 1
    max_tiles: PositiveInt = 9
    global_size: int = Field(default=0, ge=0)
    global_side: int = Field(default=0, ge=0)
    max_pictures_tiled: int = Field(default=0, ge=0)
    video: VideoSampling | None = None


class Slices(Spec):
    """MiniCPM-V: an overview at native aspect ratio, plus up to `max_slices` slices, each resampled to `tokens` queries.

    tile: side whose square is the ideal area of a slice; sizes are multiples of `patch`.
    """

    kind: Literal["slices"] = "slices"
    tile: PositiveInt = 448
    patch: PositiveInt = 14
    tokens: PositiveInt = 64
    max_slices: PositiveInt = 9
    video: VideoSampling | None = None


class Native(Spec):
    """Qwen-VL, GLM-4.1V: own aspect ratio, sides rounded to patch x merge, area kept within min_pixels..max_pixels.

    merge: patches per side that become one visual token. temporal_patch: a still picture is repeated to fill it. With `volume` the
    area bounds hold for frames x height x width (a picture counts as temporal_patch frames). max_ratio: pictures that are longer than this
    times their width are refused.
    """

    kind: Literal["native"] = "native"
    patch: PositiveInt
    merge: PositiveInt = 2
    min_pixels: PositiveInt
    max_pixels: PositiveInt
    temporal_patch: PositiveInt = 2
    volume: bool = False
    max_ratio: float = Field(default=200.0, ge=1.0)
    video: VideoSampling | None = None


class LongestEdge(Spec):
    """Pixtral: shrunk (never enlarged) so that both sides fit `longest_edge`, then rounded up to whole patches.

    Row breaks ([IMG_BREAK]) are text markers and not counted. merge: patches per side that become one visual token.
    """

    kind: Literal["longest_edge"] = "longest_edge"
    longest_edge: PositiveInt
    patch: PositiveInt
    merge: PositiveInt = 1
    video: VideoSampling | None = None


class PatchLimit(Spec):
    """Kimi: shrunk (never enlarged) to at most `max_patches` patches and `max_side` patches per side, then padded to
    patch x merge."""

    kind: Literal["patch_limit"] = "patch_limit"
    patch: PositiveInt = 14
    merge: PositiveInt = 2
    max_patches: PositiveInt = 4096
    max_side: PositiveInt = 512
    video: VideoSampling | None = None


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
    | PatchLimit,
    Field(discriminator="kind"),
]
"""Any of the schemes, told apart by `kind`."""
