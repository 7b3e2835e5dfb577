"""What every scheme of `simulator.spec.preprocessing` shares: the result for one picture, and choosing among candidates.

Each function is written once for a float and for an array: candidates are walked one after another, the way the published
processors do it, so that ties fall the same way.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from simulator.program import Grid
from simulator.quantity import Numeric, floor, maximum, minimum, where

_FRACTION = 2.0**20
Array: TypeAlias = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class View:
    """One picture (or clip) after preprocessing.

    grids: its crops. separators: visual tokens besides them. resized: pixels the host computed while resizing [pixel].
    blocks: crops that the language model may attend to in both directions, each by itself.
    """

    grids: tuple[Grid, ...]
    separators: Numeric
    resized: Numeric
    blocks: Numeric = 1.0


def square(crops: Numeric, size: float, patch: float, tokens: Numeric) -> Grid:
    """`crops` crops of size x size pixels."""
    side = float(size // patch)
    return Grid(crops, side, side, tokens, float(size * size))


def nearest(value: Numeric) -> Numeric:
    """Nearest whole number; halves go to the even one, as Python's round and NumPy's rint do."""
    return np.rint(value) if isinstance(value, np.ndarray) else float(round(value))


def some(condition: Any) -> bool:
    """Whether a condition holds anywhere."""
    return bool(condition.any()) if isinstance(condition, np.ndarray) else bool(condition)


def share(total: Numeric, crops: Numeric) -> tuple[Numeric, Numeric]:
    """Tokens per crop and a remainder below crops / 2^20, so that crops x tokens + remainder is `total` to the bit."""
    each = floor(total / crops * _FRACTION) / _FRACTION
    return each, total - crops * each


def pick(values: Sequence[float], index: Numeric) -> Numeric:
    """`values[index]`."""
    if isinstance(index, np.ndarray):
        return np.asarray(values, dtype=np.float64)[index.astype(np.intp)]
    return float(values[int(index)])


@lru_cache(maxsize=64)
def tile_grids(low: int, high: int) -> tuple[tuple[int, int], ...]:
    """(columns, rows) with low <= columns x rows <= high, by number of tiles and then by columns."""
    grids = [(c, r) for c in range(1, high + 1) for r in range(1, high + 1) if low <= c * r <= high]
    return tuple(sorted(grids, key=lambda grid: grid[0] * grid[1]))


def nearest_ratio(low: int, high: int, tile: float, width: Numeric, height: Numeric) -> Numeric:
    """Index into `tile_grids(low, high)` of the grid whose aspect ratio is nearest (InternVL's rule): walking through them,
    a nearer one replaces, and an equally near one does if the picture has more than half of its pixels."""
    ratio, area, half = width / height, width * height, 0.5 * tile * tile
    if isinstance(ratio, np.ndarray) or isinstance(area, np.ndarray):
        ratios, areas = np.broadcast_arrays(ratio, area)
        return _nearest_ratios(low, high, half, ratios, areas)
    known, members, _, _ = _by_ratio(low, high)
    above = bisect_left(known, ratio)
    below, above = max(above - 1, 0), min(above, len(known) - 1)
    gap = abs(ratio - known[below]) - abs(ratio - known[above])
    if gap == 0.0 and below != above:
        return float(_walk(low, high, half, ratio, area))
    return float(_largest(members[below if gap < 0.0 else above], half, area))


def _nearest_ratios(low: int, high: int, half: float, ratio: Array, area: Array) -> Array:
    """The same for arrays. Pictures exactly between two ratios are walked one by one."""
    _, members, ratios, tiles = _by_ratio(low, high)
    above = np.searchsorted(ratios, ratio)
    below, above = np.maximum(above - 1, 0), np.minimum(above, len(ratios) - 1)
    gap = np.abs(ratio - ratios[below]) - np.abs(ratio - ratios[above])
    group = np.where(gap < 0.0, below, above)
    best = np.array([indices[0] for indices, _ in members], dtype=np.float64)[group]
    for step in range(1, tiles.shape[1]):
        later = np.array([indices[step] if step < len(indices) else 0 for indices, _ in members], dtype=np.float64)
        best = np.where(area > half * tiles[group, step], later[group], best)
    for place in np.argwhere((gap == 0.0) & (below != above)):
        at = tuple(place)
        best[at] = _walk(low, high, half, float(ratio[at]), float(area[at]))
    return best


def _largest(member: tuple[list[int], list[int]], half: float, area: float) -> int:
    """Of grids with one ratio, the last that the picture more than half fills, else the first."""
    indices, tiles = member
    best = indices[0]
    for index, count in zip(indices[1:], tiles[1:], strict=True):
        if area > half * count:
            best = index
    return best


def _walk(low: int, high: int, half: float, ratio: float, area: float) -> int:
    """The rule as published, grid by grid."""
    best, least = 0, float("inf")
    for index, (columns, rows) in enumerate(tile_grids(low, high)):
        distance = abs(ratio - columns / rows)
        if distance < least or (distance == least and area > half * columns * rows):
            best, least = index, min(distance, least)
    return best


@lru_cache(maxsize=64)
def _by_ratio(low: int, high: int) -> tuple[list[float], list[tuple[list[int], list[int]]], Array, Array]:
    """Aspect ratios in order; for each its grids' indices and tiles; both again as arrays (tiles padded with infinity)."""
    groups: dict[float, tuple[list[int], list[int]]] = {}
    for index, (columns, rows) in enumerate(tile_grids(low, high)):
        indices, tiles = groups.setdefault(columns / rows, ([], []))
        indices.append(index)
        tiles.append(columns * rows)
    ratios = sorted(groups)
    members = [groups[ratio] for ratio in ratios]
    padded = np.full((len(members), max(len(tiles) for _, tiles in members)), np.inf)
    for row, (_, tiles) in enumerate(members):
        padded[row, : len(tiles)] = tiles
    return ratios, members, np.array(ratios), padded


def least_waste(canvases: Sequence[tuple[int, int]], width: Numeric, height: Numeric) -> Numeric:
    """Index of the (height, width) canvas [pixel] on which most of the picture's pixels survive; on a tie the smaller
    (LLaVA's rule)."""
    best: Numeric = 0.0
    most: Numeric = 0.0
    least: Numeric = float("inf")
    area = width * height
    for index, (tall, wide) in enumerate(canvases):
        scale = minimum(wide / width, tall / height)
        kept = minimum(floor(width * scale) * floor(height * scale), area)
        waste = tall * wide - kept
        better = (kept > most) | ((kept == most) & (waste < least))
        if some(better):
            best, least = where(better, float(index), best), where(better, waste, least)
            most = maximum(kept, most)
    return best


def largest_scale(
    grids: Sequence[tuple[int, int]], tile: float, width: Numeric, height: Numeric, to_max: bool
) -> Numeric:
    """Index of the (columns, rows) canvas for an undistorted picture: the smallest enlargement (`to_max`: the largest), or
    where none enlarges, the least reduction; on a tie the smaller canvas (Llama's rule)."""
    best: Numeric = 0.0
    chosen: Numeric = -1.0
    area: Numeric = float("inf")
    for index, (columns, rows) in enumerate(grids):
        scale = minimum(columns * tile / width, rows * tile / height)
        if to_max:
            closer = scale > chosen
        else:
            was_down = chosen < 1.0
            closer = ((scale >= 1.0) & (was_down | (scale < chosen))) | ((scale < 1.0) & was_down & (scale > chosen))
        better = closer | ((scale == chosen) & (columns * rows < area))
        if some(better):
            best, chosen = where(better, float(index), best), where(better, scale, chosen)
            area = where(better, float(columns * rows), area)
    return best
