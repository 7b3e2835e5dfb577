"""Further ways to lay a canvas of tiles over a picture: Phi-3-vision, Ovis2, LFM2-VL, PerceptionLM, Molmo, Moondream."""

from __future__ import annotations

from functools import lru_cache

from simulator.build.pixels.native import bounded
from simulator.build.pixels.view import View, nearest, nearest_ratio, pick, share, some, square, tile_grids
from simulator.program import Grid
from simulator.quantity import Numeric, ceil, floor, maximum, minimum, sqrt, where
from simulator.spec.preprocessing import HdCanvas, NativeTiles, OverlappingTiles
from simulator.spec.source import SpecError


def hd_canvas(scheme: HdCanvas, width: Numeric, height: Numeric) -> View:
    """Phi-3-vision and InternLM-XComposer: the picture is turned so that it lies, resized to whole tiles along its length and padded
    to whole tiles across."""
    tile, tokens = float(scheme.tile), float(scheme.side**2)
    long, ratio = maximum(width, height), maximum(width, height) / minimum(width, height)
    along: Numeric = 1.0
    for count in range(2, scheme.max_tiles + 1):
        along = where(count * ceil(count / ratio) <= scheme.max_tiles, float(count), along)
    if scheme.scale:
        along = minimum(ceil(long * scheme.scale / tile), along)
    across = ceil(floor(along * tile / ratio) / tile)
    if some(across < 1.0):
        raise SpecError("image: so slender that a side vanishes, which the model's processor refuses")
    rows = where(width < height, along, across)
    tiles = along * across
    grids = (square(1.0, tile, scheme.patch, tokens), square(tiles, tile, scheme.patch, tokens))
    return View(grids, 1.0 + scheme.side * (1.0 + rows), (1.0 + tiles) * tile**2)


def covering(most: int, tile: float, width: Numeric, height: Numeric) -> Numeric:
    """The fewest tiles of which each, shrunk to fit `tile`, keeps its pixels, so that more than nine tenths of all survive; where no
    grid of `most` tiles does, those that keep most (Ovis2's rule)."""
    chosen: Numeric = 0.0
    best: Numeric = 0.0
    kept: Numeric = -1.0
    for rows, columns in tile_grids(1, most):
        h, w = floor(height / rows), floor(width / columns)
        last_h, last_w = height - (rows - 1) * h, width - (columns - 1) * w
        usual, lower = [_surviving(w, h, tile)] * (columns - 1), [_surviving(w, last_h, tile)] * (columns - 1)
        regions = [*usual, _surviving(last_w, h, tile)] * (rows - 1) + [*lower, _surviving(last_w, last_h, tile)]
        area = sum(regions[1:], start=regions[0])  # one by one, as there: rounding decides among grids that keep the same
        share, count = area / (width * height), float(rows * columns)
        chosen = where((chosen == 0.0) & (share > 0.9), count, chosen)
        better = share > kept
        best, kept = where(better, count, best), where(better, share, kept)
    return where(chosen > 0.0, chosen, best)


def _surviving(width: Numeric, height: Numeric, tile: float) -> Numeric:
    """Pixels of a region after it is shrunk so that its longer side fits `tile`."""
    long, short = maximum(width, height), minimum(width, height)
    return where(long > tile, short / maximum(long, 1.0) * tile * tile, long * short)


def largest_edge(most: int, tile: float, width: Numeric, height: Numeric) -> Numeric:
    """Tiles of the canvas that holds the picture and lets its shorter edge grow longest, later ones first on a tie; where none holds it,
    of the canvas whose ratio is nearest from the square's side, with the most tiles along it (PerceptionLM)."""
    ratio = width / height
    wide = ratio >= 1.0
    tiles: Numeric = 0.0
    longest: Numeric = -1.0
    for columns, rows in _arrangements(most):
        factor = minimum(columns * tile / width, rows * tile / height)
        new_h = where(ratio > 1.0, floor(factor * width / ratio), factor * height)
        new_w = where(ratio > 1.0, factor * width, floor(factor * height * ratio))
        edge = where(wide, new_h, new_w)
        better = (columns * tile >= width) & (rows * tile >= height) & (edge >= longest)
        tiles, longest = where(better, float(columns * rows), tiles), where(better, edge, longest)
    gap: Numeric = float("inf")
    nearest_tiles: Numeric = 0.0
    for columns, rows in _by_side(most):
        own = columns / rows
        off = where(wide, abs(own - ratio), abs(1.0 / own - 1.0 / ratio))
        better = ((wide & (own <= ratio)) | ((ratio < 1.0) & (own > ratio))) & (off < gap)
        gap, nearest_tiles = where(better, off, gap), where(better, float(columns * rows), nearest_tiles)
    return where(tiles > 0.0, tiles, nearest_tiles)


@lru_cache(maxsize=8)
def _arrangements(most: int) -> tuple[tuple[int, int], ...]:
    """(columns, rows) in the order of the published code: ratios as they are met from many tiles to few."""
    ratios: dict[float, list[tuple[int, int]]] = {}
    for count in range(most, 0, -1):
        for columns in range(1, count + 1):
            if count % columns == 0:
                ratios.setdefault(columns / (count // columns), []).append((columns, count // columns))
    return tuple(pair for pairs in ratios.values() for pair in pairs)


@lru_cache(maxsize=8)
def _by_side(most: int) -> tuple[tuple[int, int], ...]:
    """The largest (columns, rows) of each ratio."""
    largest: dict[float, tuple[int, int]] = {}
    for columns, rows in _arrangements(most):
        known = largest.get(columns / rows)
        if known is None or columns > known[0]:
            largest[columns / rows] = (columns, rows)
    return tuple(largest.values())


def native_tiles(scheme: NativeTiles, width: Numeric, height: Numeric) -> View:
    """LFM2-VL."""
    patch, merge = float(scheme.patch), float(scheme.merge)
    unit = patch * merge
    around_w = maximum(nearest(width / unit) * unit, patch)
    around_h = maximum(nearest(height / unit) * unit, patch)
    large = around_w * around_h > scheme.max_pixels * scheme.tolerance
    w, h = bounded(width, height, unit, float(scheme.min_pixels), float(scheme.max_pixels), least=unit)
    tiles: Numeric = 0.0 * w
    if scheme.max_tiles > 1 and some(large):
        grids = tile_grids(scheme.min_tiles, scheme.max_tiles)
        index = nearest_ratio(scheme.min_tiles, scheme.max_tiles, float(scheme.tile), width, height)
        tiles = where(large, pick([c * r for c, r in grids], index), 0.0)
    whole = where((tiles > 0.0) & ((tiles == 1.0) | (not scheme.thumbnail)), 0.0, 1.0)
    per_tile = float((scheme.tile // scheme.patch // scheme.merge) ** 2)
    own = Grid(whole, h / patch, w / patch, h * w / unit**2, w * h)
    return View((own, square(tiles, float(scheme.tile), patch, per_tile)), 0.0, whole * w * h + tiles * scheme.tile**2)


def overlapping_tiles(scheme: OverlappingTiles, width: Numeric, height: Numeric) -> View:
    """Molmo, Moondream 2."""
    patch, whole = float(scheme.patch), scheme.tile // scheme.patch
    window = whole - scheme.margin
    step, edge = window * patch, scheme.margin * patch
    choose = _most_tiles if scheme.rule == "most" else _least_enlarged
    rows, columns = choose(scheme.max_tiles, step, width - edge, height - edge)
    tiles = rows * columns
    kept = ceil((rows * window + scheme.margin) / scheme.pool) * ceil((columns * window + scheme.margin) / scheme.pool)
    each, rest = (0.0, 0.0) if scheme.joined else share(kept, tiles)
    overview = square(1.0, scheme.tile, patch, float(-(-whole // scheme.pool)) ** 2)
    pixels = (rows * step + edge) * (columns * step + edge) + scheme.tile**2
    return View((overview, square(tiles, scheme.tile, patch, each)), rest, pixels)


def _least_enlarged(most: int, step: float, inner_w: Numeric, inner_h: Numeric) -> tuple[Numeric, Numeric]:
    """(rows, columns) that ask for the least enlargement of the picture without its margins, else for the least reduction; the smaller,
    then the flatter, first (Molmo)."""
    inner_w, inner_h = where(inner_w == 0.0, 1e-9, inner_w), where(inner_h == 0.0, 1e-9, inner_h)
    rows: Numeric = 1.0
    columns: Numeric = 1.0
    chosen: Numeric = -float("inf")
    for tall, wide in sorted(tile_grids(1, most), key=lambda pair: (pair[0] * pair[1], pair[0])):
        scale = minimum(tall * step / inner_h, wide * step / inner_w)
        down = chosen < 1.0
        closer = ((scale >= 1.0) & (down | (scale < chosen))) | ((scale < 1.0) & down & (scale > chosen))
        rows, columns = where(closer, float(tall), rows), where(closer, float(wide), columns)
        chosen = where(closer, scale, chosen)
    return rows, columns


def _most_tiles(most: int, step: float, inner_w: Numeric, inner_h: Numeric) -> tuple[Numeric, Numeric]:
    """(rows, columns): as many as `most` at the picture's ratio, at least those that cover it; one where a side fits a tile (Moondream 2)."""
    one = (inner_h <= step) | (inner_w <= step)
    tall, wide = maximum(inner_h, 1.0), maximum(inner_w, 1.0)
    least_r, least_c = ceil(tall / step), ceil(wide / step)
    over = least_r * least_c > most
    ratio = sqrt(most / (least_r * least_c))
    rows = maximum(floor(sqrt(most * tall / wide)), least_r)
    columns = maximum(floor(sqrt(most * wide / tall)), least_c)
    much, wider = rows * columns > most, columns > rows
    fewer_c, fewer_r = where(much & wider, floor(most / rows), columns), where(much & (rows >= columns), floor(most / columns), rows)
    rows = where(over, floor(least_r * ratio), fewer_r)
    columns = where(over, floor(least_c * ratio), fewer_c)
    return where(one, 1.0, maximum(rows, 1.0)), where(one, 1.0, maximum(columns, 1.0))
