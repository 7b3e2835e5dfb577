"""Schemes that make square crops of a picture: one, or tiles of a grid."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from simulator.spec.source import Spec
from simulator.spec.video import VideoSampling


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
    tile when there is more than one. tokens: per tile. rule: `covering` takes the fewest tiles that keep more than nine tenths of the
    picture's pixels instead (Ovis2). scales: further square views (tiles per side) that are encoded too
    and whose features join those of the tiles without adding tokens (NVILA's dynamic S2 has 1 and 2).
    """

    kind: Literal["dynamic_tiles"] = "dynamic_tiles"
    tile: PositiveInt
    patch: PositiveInt
    tokens: PositiveInt
    min_tiles: PositiveInt = 1
    max_tiles: PositiveInt = 12
    thumbnail: bool = True
    rule: Literal["nearest_ratio", "covering"] = "nearest_ratio"
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
    is more than one (Llama-4). rule: `largest_edge` takes of the canvases that hold the picture the one on which its shorter edge can grow
    longest, and always adds the global tile (PerceptionLM). pad_to_max: absent tiles are encoded and attended to like present ones
    (Llama-3.2; the published class does so). to_max_canvas: upscale to the largest canvas that fits.
    """

    kind: Literal["canvas_tiles"] = "canvas_tiles"
    tile: PositiveInt
    patch: PositiveInt
    tokens: PositiveInt
    max_tiles: PositiveInt
    thumbnail: bool = False
    rule: Literal["least_scale", "largest_edge"] = "least_scale"
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


class HdCanvas(Spec):
    """Phi-3-vision, InternLM-XComposer: as many tiles along the longer side as keep the canvas within `max_tiles`, plus a global view.

    side: rows and columns of visual tokens of one tile. One newline per row of the tile map and of the global view, one separator
    between them. scale: most enlargement in tiles per tile of the picture's longer side (0: none such).
    """

    kind: Literal["hd_canvas"] = "hd_canvas"
    tile: PositiveInt = 336
    patch: PositiveInt = 14
    side: PositiveInt = 12
    max_tiles: PositiveInt = 16
    scale: float = Field(default=0.0, ge=0.0)
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


class OverlappingTiles(Spec):
    """Molmo: tiles that overlap by `margin` patches, on the canvas of at most `max_tiles` that asks for the least enlargement, plus a
    view of the whole. What overlaps is encoded twice and handed on once; pool x pool patches become one visual token. rule: `most` takes
    as many tiles as fit at the picture's ratio (Moondream 2). joined: tiles are put together, shrunk to the size of the view and join its
    features, so that they add no tokens (Moondream 2)."""

    kind: Literal["overlapping_tiles"] = "overlapping_tiles"
    tile: PositiveInt = 378
    patch: PositiveInt = 14
    margin: int = Field(default=8, ge=0)
    pool: PositiveInt = 2
    max_tiles: PositiveInt = 8
    rule: Literal["least_scale", "most"] = "least_scale"
    joined: bool = False
    video: VideoSampling | None = None

    @model_validator(mode="after")
    def _leaves_something(self) -> OverlappingTiles:
        if self.margin >= self.tile // self.patch:
            raise ValueError(f"margin {self.margin} must be below the {self.tile // self.patch} patches of a tile's side")
        return self
