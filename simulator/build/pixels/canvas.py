"""Further ways to lay a canvas of tiles over a picture: Phi-3-vision, Ovis2, LFM2-VL."""

from __future__ import annotations

from simulator.build.pixels.native import bounded
from simulator.build.pixels.view import View, nearest, nearest_ratio, pick, some, square, tile_grids
from simulator.program import Grid
from simulator.quantity import Numeric, ceil, floor, maximum, minimum, where
from simulator.spec.preprocessing import HdCanvas, NativeTiles
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
        area = (
            (rows - 1) * (columns - 1) * _surviving(w, h, tile)
            + (rows - 1) * _surviving(last_w, h, tile)
            + (columns - 1) * _surviving(w, last_h, tile)
            + _surviving(last_w, last_h, tile)
        )
        share, count = area / (width * height), float(rows * columns)
        chosen = where((chosen == 0.0) & (share > 0.9), count, chosen)
        better = share > kept
        best, kept = where(better, count, best), where(better, share, kept)
    return where(chosen > 0.0, chosen, best)


def _surviving(width: Numeric, height: Numeric, tile: float) -> Numeric:
    """Pixels of a region after it is shrunk so that its longer side fits `tile`."""
    long, short = maximum(width, height), minimum(width, height)
    return where(long > tile, short / maximum(long, 1.0) * tile * tile, long * short)


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
