"""What every scheme of `simulator.spec.preprocessing` shares: the result for one picture, and choosing among candidates.

Each function is written once for a float and for an array: candidates are walked one after another, the way the published
processors do it, so that ties fall the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np

from simulator.program import Grid
from simulator.quantity import Numeric, floor, maximum, minimum, where

_FRACTION = 2.0**20


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


def nearest_ratio(grids: Sequence[tuple[int, int]], tile: float, width: Numeric, height: Numeric) -> Numeric:
    """Index of the (columns, rows) whose aspect ratio is nearest; on a tie the later one if the picture has more than
    half of its pixels (InternVL's rule)."""
    ratio, area = width / height, width * height
    best: Numeric = 0.0
    least: Numeric = float("inf")
    half = 0.5 * tile * tile
    for index, (columns, rows) in enumerate(grids):
        distance = abs(ratio - columns / rows)
        better = (distance < least) | ((distance == least) & (area > half * columns * rows))
        if some(better):
            best, least = where(better, float(index), best), minimum(distance, least)
    return best


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
