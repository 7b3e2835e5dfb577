"""Schemes that cut a picture into equal tiles. Each function follows the checkpoint's published processor step by step."""

from __future__ import annotations

from simulator.build.pixels.canvas import covering, largest_edge
from simulator.build.pixels.view import (
    View,
    largest_scale,
    least_waste,
    nearest,
    nearest_ratio,
    pick,
    share,
    some,
    square,
    tile_grids,
)
from simulator.program import Grid
from simulator.quantity import Numeric, ceil, floor, log, maximum, minimum, sqrt, where
from simulator.spec.preprocessing import (
    CandidateTiles,
    CanvasTiles,
    DynamicHd,
    DynamicTiles,
    Fixed,
    GridPinpoints,
    LongestEdgeSplit,
    PanAndScan,
    Slices,
)
from simulator.spec.source import SpecError


def fixed(scheme: Fixed, width: Numeric, height: Numeric) -> View:
    """One crop. With `center_crop` the host resizes the whole picture before it cuts."""
    stretch = maximum(width, height) / minimum(width, height) if scheme.center_crop else 1.0
    return View((square(1.0, scheme.size, scheme.patch, float(scheme.tokens)),), 0.0, scheme.size**2 * stretch)


def pan_and_scan(scheme: PanAndScan, width: Numeric, height: Numeric) -> View:
    """Gemma 3: each crop is a block of its own for bidirectional attention."""
    crops: Numeric = 1.0
    if scheme.enabled:
        long, short = maximum(width, height), minimum(width, height)
        count = minimum(floor(long / short + 0.5), floor(long / scheme.min_crop))
        count = minimum(maximum(count, 2.0), float(scheme.max_crops))
        smallest = minimum(ceil(long / count), short)
        crops = where((long / short >= scheme.min_ratio) & (smallest >= scheme.min_crop), 1.0 + count, 1.0)
    pixels = crops * scheme.size**2
    return View((square(crops, scheme.size, scheme.patch, float(scheme.tokens)),), 0.0, pixels, crops)


def grid_pinpoints(scheme: GridPinpoints, width: Numeric, height: Numeric, alone: Numeric) -> View:
    """LLaVA-NeXT and LLaVA-OneVision. `alone` is 1 where the request has one picture, else 0."""
    side, overview = float(scheme.side), float(scheme.side**2)
    index = least_waste(scheme.pinpoints, width, height)
    tall = pick([h // scheme.tile for h, _ in scheme.pinpoints], index)
    wide = pick([w // scheme.tile for _, w in scheme.pinpoints], index)
    rows, columns = side * tall, side * wide
    if scheme.unpad:
        rows, columns = _unpadded(rows, columns, width, height)
    if scheme.max_tiles:
        ratio = sqrt(rows * columns / (scheme.max_tiles * overview))
        rows, columns = (
            where(ratio > 1.1, rows // ratio, rows),
            where(ratio > 1.1, columns // ratio, columns),
        )
    tiles, newlines = tall * wide, rows if scheme.newline else 0.0
    each, rest = share(rows * columns, tiles)
    if scheme.single_picture_only:
        tiles, newlines, rest = tiles * alone, where(alone > 0.0, newlines, 1.0), rest * alone
    grids = (
        square(1.0, scheme.tile, scheme.patch, overview),
        square(tiles, scheme.tile, scheme.patch, each),
    )
    return View(grids, newlines + rest, (1.0 + tiles) * scheme.tile**2)


def _unpadded(rows: Numeric, columns: Numeric, width: Numeric, height: Numeric) -> tuple[Numeric, Numeric]:
    """Rows and columns of visual tokens that are left when the padding of an undistorted picture is dropped."""
    wider = width / height > columns / rows
    kept_rows, kept_columns = _truncated(height * (columns / width)), _truncated(width * (rows / height))
    return (
        where(wider, rows - 2.0 * floor((rows - kept_rows) / 2.0), rows),
        where(wider, columns, columns - 2.0 * floor((columns - kept_columns) / 2.0)),
    )


def _truncated(value: Numeric) -> Numeric:
    """Whole part after rounding to seven digits, as the published code guards against 23.9999999."""
    return floor(nearest(value * 1e7) / 1e7)


def dynamic_tiles(scheme: DynamicTiles, width: Numeric, height: Numeric) -> View:
    """InternVL; NVILA with `scales`; Ovis2 with its rule."""
    grids = tile_grids(scheme.min_tiles, scheme.max_tiles)
    if scheme.rule == "covering":
        tiles = covering(scheme.max_tiles, float(scheme.tile), width, height)
    else:
        index = nearest_ratio(scheme.min_tiles, scheme.max_tiles, float(scheme.tile), width, height)
        tiles = pick([c * r for c, r in grids], index)
    crops = where(tiles > 1.0, tiles + 1.0, tiles) if scheme.thumbnail else tiles
    views = [square(crops, scheme.tile, scheme.patch, float(scheme.tokens))]
    if scheme.scales:
        views.append(square(float(sum(s * s for s in scheme.scales)), scheme.tile, scheme.patch, 0.0))
    pixels = (crops + float(sum(s * s for s in scheme.scales))) * scheme.tile**2
    return View(tuple(views), 0.0, pixels)


def longest_edge_split(scheme: LongestEdgeSplit, width: Numeric, height: Numeric) -> View:
    """Idefics3 and SmolVLM."""
    tile, edge = float(scheme.tile), float(scheme.longest_edge)
    crops: Numeric = 1.0
    pixels: Numeric = tile * tile
    if scheme.split:
        wide, aspect = width >= height, width / height
        w = where(wide, edge, _even(floor(edge * aspect)))
        h = where(wide, _even(floor(edge / aspect)), edge)
        aspect = w / h
        long_w, long_h = ceil(w / tile) * tile, ceil(h / tile) * tile
        columns = where(wide, long_w, ceil(floor(long_h * aspect) / tile) * tile) / tile
        rows = where(wide, ceil(floor(long_w / aspect) / tile) * tile, long_h) / tile
        tiles = maximum(columns, 1.0) * maximum(rows, 1.0)
        crops = where(tiles > 1.0, tiles + 1.0, 1.0)
        pixels = w * h + (tiles + crops) * tile**2
    return View((square(crops, tile, scheme.patch, float(scheme.tokens)),), 0.0, pixels)


def _even(value: Numeric) -> Numeric:
    """At least one, and odd numbers rounded up to even ones."""
    return maximum(value + value % 2.0, 1.0)


def canvas_tiles(scheme: CanvasTiles, width: Numeric, height: Numeric) -> View:
    """Llama-3.2-Vision and Llama-4; PerceptionLM with its rule."""
    if scheme.rule == "largest_edge":
        crops = 1.0 + largest_edge(scheme.max_tiles, float(scheme.tile), width, height)
        return View((square(crops, scheme.tile, scheme.patch, float(scheme.tokens)),), 0.0, crops * scheme.tile**2)
    grids = tile_grids(1, scheme.max_tiles)
    tiles = pick(
        [c * r for c, r in grids], largest_scale(grids, float(scheme.tile), width, height, scheme.to_max_canvas)
    )
    crops = tiles
    if scheme.pad_to_max:
        crops = tiles * 0.0 + scheme.max_tiles
    elif scheme.thumbnail:
        crops = where(tiles > 1.0, tiles + 1.0, tiles)
    return View((square(crops, scheme.tile, scheme.patch, float(scheme.tokens)),), 0.0, crops * scheme.tile**2)


def dynamic_hd(scheme: DynamicHd, width: Numeric, height: Numeric) -> View:
    """Phi-4-multimodal: an odd padding of patches leaves a half pooled row, which counts."""
    tile, patches = float(scheme.tile), float(scheme.tile // scheme.patch)
    columns, rows = ceil(width / tile), ceil(height / tile)
    over = columns * rows > scheme.max_tiles
    if some(over):
        grids = tile_grids(1, scheme.max_tiles)
        index = nearest_ratio(1, scheme.max_tiles, tile, width, height)
        columns = where(over, pick([c for c, _ in grids], index), columns)
        rows = where(over, pick([r for _, r in grids], index), rows)
    wide, tall = columns * tile / width, rows * tile / height
    w = where(wide < tall, columns * tile, floor(width * tall))
    h = where(wide < tall, floor(height * wide), rows * tile)
    if some(minimum(w, h) < 10.0):
        raise SpecError("image: so slender that a side shrinks below 10 pixels, which the model's processor refuses")
    pooling = patches / scheme.side
    kept_columns = ceil((columns * patches - floor((columns * tile - w) / scheme.patch)) / pooling)
    kept_rows = ceil((rows * patches - floor((rows * tile - h) / scheme.patch)) / pooling)
    tiles = columns * rows
    each, rest = share(kept_columns * kept_rows, tiles)
    grids_out = (
        square(1.0, tile, scheme.patch, float(scheme.side**2)),
        square(tiles, tile, scheme.patch, each),
    )
    return View(grids_out, 1.0 + scheme.side + kept_rows + rest, w * h + tile * tile)


def candidate_tiles(scheme: CandidateTiles, width: Numeric, height: Numeric, alone: Numeric) -> View:
    """DeepSeek-VL2 and DeepSeek-OCR. `alone` is 1 where the request's pictures are few enough to be tiled, else 0."""
    size, side = float(scheme.global_size or scheme.tile), float(scheme.global_side or scheme.side)
    overview = square(1.0, size, scheme.patch, side * side)
    separators: Numeric = side + 1.0
    if scheme.rule == "global_only":
        return View((overview,), separators, size * size)
    grids = tile_grids(scheme.min_tiles, scheme.max_tiles)
    if scheme.rule == "least_waste":
        index = least_waste([(r * scheme.tile, c * scheme.tile) for c, r in grids], width, height)
        tiled = alone
        floor_tiles = 1.0 - alone
    else:
        index = nearest_ratio(scheme.min_tiles, scheme.max_tiles, float(scheme.tile), width, height)
        tiled = where((width <= scheme.tile) & (height <= scheme.tile), 0.0, 1.0) * alone
        floor_tiles = 0.0 * tiled
    tiles = pick([c * r for c, r in grids], index) * tiled + floor_tiles
    rows = (pick([r for _, r in grids], index) * tiled + floor_tiles) * scheme.side
    pixels = size * size + tiles * scheme.tile**2
    return View((overview, square(tiles, scheme.tile, scheme.patch, float(scheme.side**2))), separators + rows, pixels)


def slices(scheme: Slices, width: Numeric, height: Numeric) -> View:
    """MiniCPM-V 2.6: candidates are the factorisations of one slice fewer, as many, and one more."""
    ideal = float(scheme.tile)
    wanted = minimum(ceil(width * height / (ideal * ideal)), float(scheme.max_slices))
    log_ratio = log(width / height)
    columns: Numeric = 0.0
    rows: Numeric = 0.0
    least: Numeric = float("inf")
    for c, r in tile_grids(2, scheme.max_slices):
        error = abs(log_ratio - log(c / r))
        better = (abs(wanted - c * r) <= 1.0) & (wanted > 1.0) & (error < least)
        if some(better):
            columns, rows = where(better, float(c), columns), where(better, float(r), rows)
            least = where(better, error, least)
    sliced = columns > 0.0
    w, h = _fit(width, height, scheme, where(sliced, 0.0, 1.0))
    cut_w, cut_h = maximum(columns, 1.0), maximum(rows, 1.0)
    slice_w, slice_h = _fit(_multiple(width, cut_w) / cut_w, _multiple(height, cut_h) / cut_h, scheme, 1.0)
    count, tokens = columns * rows, float(scheme.tokens)
    patch = float(scheme.patch)
    grids = (
        Grid(1.0, h / patch, w / patch, tokens, w * h),
        Grid(count, slice_h / patch, slice_w / patch, tokens, slice_w * slice_h),
    )
    return View(grids, 0.0, w * h + count * slice_w * slice_h)


def _multiple(length: Numeric, divisor: Numeric) -> Numeric:
    """Nearest positive multiple of `divisor`."""
    return maximum(nearest(length / divisor) * divisor, divisor)


def _fit(width: Numeric, height: Numeric, scheme: Slices, enlarge: Numeric) -> tuple[Numeric, Numeric]:
    """(width, height) with about tile x tile pixels at the same ratio if larger than that (or `enlarge`), in patches."""
    ratio, tile = width / height, float(scheme.tile)
    rescale = (width * height > tile * tile) | (enlarge > 0.0)
    h = floor(tile / sqrt(ratio))
    w = floor(h * ratio)
    patch = float(scheme.patch)
    return _multiple(where(rescale, w, width), patch), _multiple(where(rescale, h, height), patch)
