"""Pictures and videos to crops of patches and visual tokens, exactly as each checkpoint's published preprocessing does it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from simulator.build.pixels import canvas, native, tiles
from simulator.build.pixels.clips import sampled as sampled
from simulator.build.pixels.clips import view_of_clip
from simulator.build.pixels.view import View, nearest, some
from simulator.program import Grid, VisualInput
from simulator.quantity import Numeric, maximum, where
from simulator.spec.preprocessing import (
    CandidateTiles,
    CanvasTiles,
    DynamicHd,
    DynamicTiles,
    Edges,
    Fixed,
    GridPinpoints,
    HdCanvas,
    LongestEdge,
    LongestEdgeSplit,
    Native,
    NativeTiles,
    OverlappingTiles,
    PanAndScan,
    PatchBudget,
    PatchLimit,
    Preprocessing,
)
from simulator.spec.workload import Clip, Picture


def visual_input(scheme: Preprocessing, pictures: Sequence[Picture], clips: Sequence[Clip] = ()) -> VisualInput:
    """What the encoder and the language model see of one request's pictures and clips.

    Sizes and counts may be arrays that broadcast. Equal crops share a `Grid`. Raises SpecError where the model's own
    processor refuses a picture, or where the model takes no video.
    """
    together: Numeric = 0.0
    for picture in pictures:
        together = together + picture.count
    grids: list[Grid] = []
    separators: Numeric = 0.0
    files: Numeric = 0.0
    source: Numeric = 0.0
    png: Numeric = 0.0
    raw: Numeric = 0.0
    resized: Numeric = 0.0
    images: Numeric = 0.0
    for picture in pictures:
        count, width, height = picture.count, _whole(picture.width), _whole(picture.height)
        view = _view(scheme, width, height, _alone(scheme, together))
        grids += [_times(grid, count) for grid in view.grids]
        separators, resized = separators + count * view.separators, resized + count * view.resized
        images, files = images + count * view.blocks, files + count
        source = source + count * width * height
        if picture.format == "raw":
            raw = raw + count * width * height
        elif picture.format != "jpeg":
            png = png + count * width * height
    for clip in clips:
        clip = replace(clip, width=_whole(clip.width), height=_whole(clip.height))
        view, frames = view_of_clip(scheme, clip)
        grids += view.grids
        separators, resized, files = separators + view.separators, resized + view.resized, files + 1.0
        images, source = images + view.blocks, source + frames * clip.width * clip.height
    unmeasured = dict.fromkeys(item.format for item in pictures if item.format in ("webp", "other"))
    notes = tuple(f"preprocess: pictures in {name} format are taken to decode as slowly as PNG" for name in unmeasured)
    if clips:
        notes = (*notes, "preprocess: the frames of a video that the model gets decode as fast as JPEG pictures, those in between cost nothing")
    return VisualInput(_merged(grids), separators, files, source, resized, images, notes, png, raw)


def _view(scheme: Preprocessing, width: Numeric, height: Numeric, alone: Numeric) -> View:
    """The crops of one picture."""
    match scheme:
        case Fixed():
            return tiles.fixed(scheme, width, height)
        case PanAndScan():
            return tiles.pan_and_scan(scheme, width, height)
        case GridPinpoints():
            return tiles.grid_pinpoints(scheme, width, height, alone)
        case DynamicTiles():
            return tiles.dynamic_tiles(scheme, width, height)
        case LongestEdgeSplit():
            return tiles.longest_edge_split(scheme, width, height)
        case CanvasTiles():
            return tiles.canvas_tiles(scheme, width, height)
        case DynamicHd():
            return tiles.dynamic_hd(scheme, width, height)
        case CandidateTiles():
            return tiles.candidate_tiles(scheme, width, height, alone)
        case Native():
            return native.native(scheme, width, height)
        case LongestEdge():
            return native.longest_edge(scheme, width, height)
        case PatchLimit():
            return native.patch_limit(scheme, width, height)
        case PatchBudget():
            return native.patch_budget(scheme, width, height)
        case Edges():
            return native.edges(scheme, width, height)
        case NativeTiles():
            return canvas.native_tiles(scheme, width, height)
        case HdCanvas():
            return canvas.hd_canvas(scheme, width, height)
        case OverlappingTiles():
            return canvas.overlapping_tiles(scheme, width, height)
        case _:
            return tiles.slices(scheme, width, height)


def _whole(side: Numeric) -> Numeric:
    """A side in whole pixels, at least one (a sweep may scale it)."""
    return maximum(nearest(side), 1.0)


def _alone(scheme: Preprocessing, together: Numeric) -> Numeric:
    """1 where this many pictures in one request are few enough to be cut into tiles, else 0."""
    if isinstance(scheme, GridPinpoints) and scheme.single_picture_only:
        return where(together > 1.0, 0.0, 1.0)
    if isinstance(scheme, CandidateTiles) and scheme.max_pictures_tiled:
        return where(together > scheme.max_pictures_tiled, 0.0, 1.0)
    return 1.0


def _times(grid: Grid, count: Numeric) -> Grid:
    return Grid(grid.crops * count, grid.height, grid.width, grid.tokens, grid.pixels)


def _merged(grids: Iterable[Grid]) -> tuple[Grid, ...]:
    """Equal crops put together, in an array wherever they are equal; grids that are empty throughout left out."""
    out: list[Grid] = []
    for grid in grids:
        crops = grid.crops
        for index, known in enumerate(out):
            same: Any = True
            for mine, its in zip(_shape(grid), _shape(known), strict=True):
                same = same & (mine == its)
            if some(same):
                out[index] = Grid(known.crops + where(same, crops, 0.0), *_shape(known))
                crops = where(same, 0.0, crops)
        if some(crops != 0.0):
            out.append(Grid(crops, *_shape(grid)))
    return tuple(out)


def _shape(grid: Grid) -> tuple[Numeric, Numeric, Numeric, Numeric]:
    return grid.height, grid.width, grid.tokens, grid.pixels
