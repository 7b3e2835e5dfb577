"""Schemes that keep a picture's own aspect ratio."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from simulator.spec.source import Spec
from simulator.spec.video import VideoSampling


class Native(Spec):
    """Qwen-VL, GLM-4.1V: own aspect ratio, sides rounded to patch x merge, area kept within min_pixels..max_pixels.

    merge: patches per side that become one visual token. temporal_patch: a still picture is repeated to fill it. With `volume` the
    area bounds hold for frames x height x width (a picture counts as temporal_patch frames). max_ratio: pictures that are longer than this
    times their width are refused. enlarge: a side below patch x merge is enlarged to it first, one after the other (PaddleOCR-VL).
    framed: a learned vector ends every row of tokens, one comes before and one after them (HunyuanOCR).
    """

    kind: Literal["native"] = "native"
    patch: PositiveInt
    merge: PositiveInt = 2
    min_pixels: PositiveInt
    max_pixels: PositiveInt
    temporal_patch: PositiveInt = 2
    volume: bool = False
    max_ratio: float = Field(default=200.0, ge=1.0)
    enlarge: bool = False
    framed: bool = False
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


class PatchBudget(Spec):
    """Gemma 4: scaled up or down to fill `max_patches` at the picture's own ratio, sides rounded down to patch x merge."""

    kind: Literal["patch_budget"] = "patch_budget"
    patch: PositiveInt = 16
    merge: PositiveInt = 3
    max_patches: PositiveInt = 2520
    video: VideoSampling | None = None


class Edges(Spec):
    """Idefics2: the longer edge shrunk to `longest_edge`, the shorter enlarged to `shortest_edge`, own aspect ratio; `tokens` queries
    per crop. With `split` the four quarters are crops too."""

    kind: Literal["edges"] = "edges"
    shortest_edge: PositiveInt = 378
    longest_edge: PositiveInt = 980
    patch: PositiveInt = 14
    tokens: PositiveInt = 64
    split: bool = False
    video: VideoSampling | None = None


class NativeTiles(Spec):
    """LFM2-VL: a small picture as it is, a large one (more than `tolerance` times max_pixels) as InternVL's grid of tiles and,
    with `thumbnail`, itself within min_pixels..max_pixels. merge: patches per side that become one visual token."""

    kind: Literal["native_tiles"] = "native_tiles"
    tile: PositiveInt = 512
    patch: PositiveInt = 16
    merge: PositiveInt = 2
    min_pixels: PositiveInt = 65536
    max_pixels: PositiveInt = 262144
    tolerance: float = Field(default=2.0, ge=1.0)
    min_tiles: PositiveInt = 2
    max_tiles: PositiveInt = 10
    thumbnail: bool = True
    video: VideoSampling | None = None
