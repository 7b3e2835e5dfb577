"""Points of a space as rows of whole numbers: the position on each axis, -1 where the axis is not active."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from simulator.search.axes import Axis
from simulator.search.space import Space

LEVELS = 16
"""Levels by which a long ordered axis is told apart where each level counts by itself."""

Rows = NDArray[np.int64]
Key = tuple[int, ...]


@final
class Lattice:
    """Positions on the axes of a space, and how far apart points are."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.lengths: Rows = np.array([len(axis.values) for axis in space.axes], dtype=np.int64)
        self.ordered: NDArray[np.bool_] = np.array([ordered(axis) for axis in space.axes])
        self._choices = [at for at, axis in enumerate(space.axes) if not axis.numeric]
        self._active: dict[Key, NDArray[np.bool_]] = {}

    def settled(self, rows: Rows) -> Rows:
        """Rows with -1 on the axes that are not active there, so that one scenario is one row."""
        return np.where([self._mask(tuple(row[self._choices].tolist())) for row in rows], rows, -1) if len(rows) else rows

    def _mask(self, positions: Key) -> NDArray[np.bool_]:
        if positions not in self._active:
            space = self.space
            given = {axis.path: axis.values[max(at, 0)] for axis, at in zip(space.choices, positions, strict=True)}
            choice = space.settled(given)
            self._active[positions] = np.array(
                [space.active(axis, choice) if axis.numeric else choice[axis.path] is not None for axis in space.axes]
            )
        return self._active[positions]

    def point(self, row: Rows) -> dict[str, Any]:
        """Axis path -> number, flag or text (the label of a mix or a pair); None where it is not active."""
        return {axis.path: None if at < 0 else _value(axis, int(at)) for axis, at in zip(self.space.axes, row, strict=True)}

    def every(self) -> Iterator[Rows]:
        """Every point of the space once."""
        paths = [axis.path for axis in self.space.axes]
        for group in self.space.groups():
            fixed = {path: -1 if value is None else self.space.axes[paths.index(path)].values.index(value) for path, value in group.choice.items()}
            for combination in itertools.product(*(range(len(axis.values)) for axis in group.axes)):
                here = fixed | {axis.path: at for axis, at in zip(group.axes, combination, strict=True)}
                yield np.array([here.get(path, -1) for path in paths], dtype=np.int64)

    def corners(self, most: int) -> Rows:
        """Points to start with: the middle; all numbers at one end, each of them at the other, each value of each choice; the
        same from the other end."""
        low = np.zeros(len(self.lengths), np.int64)
        numeric = np.array([axis.numeric for axis in self.space.axes])
        high = np.where(numeric, self.lengths - 1, 0)
        found = [np.where(numeric, self.lengths // 2, 0), low, high]
        for at, axis in enumerate(self.space.axes):
            for position in range(len(axis.values)) if not axis.numeric else (0, len(axis.values) - 1):
                for start in (low, high):
                    found.append(np.where(np.arange(len(low)) == at, position, start))
        return np.array(list(dict.fromkeys(map(tuple, self.settled(np.array(found)).tolist()))), dtype=np.int64)[:most]

    def random(self, count: int, generator: np.random.Generator) -> Rows:
        """Rows drawn evenly along each axis, not settled."""
        return generator.integers(self.lengths, size=(count, len(self.lengths)))

    def places(self, rows: Rows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates [rows, any]: an ordered axis from 0 to its weight, the values of another one its weight apart."""
        columns: list[NDArray[np.float64]] = []
        for at, (length, weight) in enumerate(zip(self.lengths, weights, strict=True)):
            if self.ordered[at]:
                columns.append(np.maximum(rows[:, at], 0)[:, None] * (weight / max(length - 1, 1)))
            else:
                columns.append(_marks(rows[:, at], int(length)) * (weight / math.sqrt(2)))
        return np.hstack(columns)

    def levels(self, rows: Rows) -> list[NDArray[np.float64]]:
        """For each axis which value a row has there [rows, values], at most `LEVELS` of an ordered one."""
        counts = np.where(self.ordered, np.minimum(self.lengths, LEVELS), self.lengths)
        return [
            _marks(np.where(rows[:, at] < 0, -1, rows[:, at] * count // self.lengths[at]), int(count)) for at, count in enumerate(counts)
        ]


def _marks(positions: Rows, count: int) -> NDArray[np.float64]:
    """One in the column of its position, nothing where it has none."""
    return np.eye(count + 1)[positions][:, :count]


def ordered(axis: Axis) -> bool:
    """True where neighbours on the axis are alike: numbers, also those that are looped over."""
    return axis.numeric or all(isinstance(value, int) and not isinstance(value, bool) for value in axis.values)


def _value(axis: Axis, at: int) -> Any:
    value = axis.values[at]
    return value if isinstance(value, bool | int | float | str) else axis.labels[at]
