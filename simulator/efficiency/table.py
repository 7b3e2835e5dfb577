"""An efficiency table: what the parametric form leaves out (which kernel the library picks), on a coarse grid.

It multiplies the parametric time by exp(correction). Inside its hull the correction is interpolated linearly in log2 of
the shape; outside it fades to nothing within `FADE` octaves, so that far away the physical form stands alone. Being a
function of the shape only, it leaves the response to hardware figures monotone.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from simulator.quantity import Numeric

FADE = 1.5


@final
@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """axes: names of the shape's figures; knots: their log2, ascending; values: log corrections [knots of axis 1, ...]."""

    axes: tuple[str, ...]
    knots: tuple[tuple[float, ...], ...]
    values: NDArray[np.float64]
    nested: Any

    def factor(self, *coordinates: Numeric) -> Numeric:
        """Multiplier of the parametric time at these figures (in the order of `axes`)."""
        for item in coordinates:
            if isinstance(item, np.ndarray):
                return self._array(coordinates)
        return self._plain(coordinates)

    def _plain(self, coordinates: Sequence[Any]) -> float:
        """Numbers only: the same interpolation without NumPy, ten times faster."""
        i, u, weight = _place(coordinates[0], self.knots[0])
        j, v, inside = _place(coordinates[1], self.knots[1])
        weight *= inside
        if len(coordinates) == 2:
            if weight == 0.0:
                return 1.0
            a, b = self.nested[i], self.nested[i + 1]
            low, high = a[j] + v * (a[j + 1] - a[j]), b[j] + v * (b[j + 1] - b[j])
            return math.exp(weight * (low + u * (high - low)))
        h, w, inside = _place(coordinates[2], self.knots[2])
        weight *= inside
        if weight == 0.0:
            return 1.0
        plane = self.nested[i]
        a, b = plane[j], plane[j + 1]
        near, far = a[h] + w * (a[h + 1] - a[h]), b[h] + w * (b[h + 1] - b[h])
        low = near + v * (far - near)
        if u == 0.0:
            return math.exp(weight * low)
        plane = self.nested[i + 1]
        a, b = plane[j], plane[j + 1]
        near, far = a[h] + w * (a[h + 1] - a[h]), b[h] + w * (b[h + 1] - b[h])
        return math.exp(weight * (low + u * (near + v * (far - near) - low)))

    def _array(self, coordinates: Sequence[Numeric]) -> NDArray[np.float64]:
        """Axes given by a plain number are interpolated away first, so that mostly one axis is left to look up."""
        values: Any = self.values
        weight = 1.0
        points: list[NDArray[np.float64]] = []
        grids: list[NDArray[np.float64]] = []
        for item, knots in zip(coordinates, self.knots, strict=True):
            axis = len(points)
            if isinstance(item, np.ndarray):
                points.append(np.log2(np.maximum(item, 1e-3)))
                grids.append(np.asarray(knots))
                continue
            i, u, inside = _place(item, knots)
            weight *= inside
            low, high = values.take(i, axis), values.take(i + 1, axis)
            values = low + u * (high - low)
        fade: Numeric = weight
        for x, grid in zip(points, grids, strict=True):
            outside = np.maximum(grid[0] - x, 0.0) + np.maximum(x - grid[-1], 0.0)
            fade = fade * np.maximum(0.0, 1.0 - outside / FADE)
        if len(points) == 1:
            return np.exp(fade * np.interp(points[0], grids[0], values))
        return np.exp(fade * _corners(np.broadcast_arrays(*points), grids, values))


def _corners(
    points: Sequence[NDArray[np.float64]], grids: Sequence[NDArray[np.float64]], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Multilinear interpolation of `values` over `grids`, held at their ends."""
    places: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    for x, grid in zip(points, grids, strict=True):
        held = np.clip(x, grid[0], grid[-1])
        i = np.clip(np.searchsorted(grid, held, side="right") - 1, 0, len(grid) - 2)
        places.append((i, (held - grid[i]) / (grid[i + 1] - grid[i])))
    total = np.zeros(points[0].shape)
    for corner in product((0, 1), repeat=len(places)):
        share: Numeric = 1.0
        for bit, (_, u) in zip(corner, places, strict=True):
            share = share * (u if bit else 1.0 - u)
        total = total + share * values[tuple(i + bit for bit, (i, _) in zip(corner, places, strict=True))]
    return total


def _place(value: float, knots: tuple[float, ...]) -> tuple[int, float, float]:
    """Cell, place within it (0..1) and how much the table counts (1 inside its hull, fading outside)."""
    x = math.log2(value) if value > 1e-3 else -10.0
    if x <= knots[0]:
        return 0, 0.0, max(0.0, 1.0 - (knots[0] - x) / FADE)
    last = len(knots) - 1
    if x >= knots[last]:
        return last - 1, 1.0, max(0.0, 1.0 - (x - knots[last]) / FADE)
    i = bisect_right(knots, x) - 1
    return i, (x - knots[i]) / (knots[i + 1] - knots[i]), 1.0


def table_of(axes: Sequence[str], knots: Sequence[Sequence[float]], values: NDArray[np.float64]) -> Table:
    """A table of 2 or 3 axes, checked."""
    if len(axes) not in (2, 3) or len(axes) != len(knots) or values.ndim != len(axes):
        raise ValueError(f"table: {len(axes)} axes, {len(knots)} knot lists and {values.ndim} dimensions must agree (2 or 3)")
    if tuple(len(item) for item in knots) != values.shape:
        raise ValueError(f"table: values have shape {values.shape}, knots ask for {tuple(len(item) for item in knots)}")
    for name, item in zip(axes, knots, strict=True):
        if len(item) < 2 or any(b <= a for a, b in pairwise(item)):
            raise ValueError(f"table: knots of {name} must be at least two and ascending")
    if not np.all(np.isfinite(values)):
        raise ValueError("table: values must be finite")
    return Table(tuple(axes), tuple(tuple(float(x) for x in item) for item in knots), values, values.tolist())
