"""The order of a suite: whatever prefix the budget allows is a spread-out sample of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from calibrate.measure.case import Case, Value


def coordinates(cases: Sequence[Case]) -> np.ndarray:
    """Points [cases, axes]: log2 of numbers scaled to unit range per axis, one axis per category of a text column."""
    columns: list[np.ndarray] = []
    for name in cases[0].key:
        values: list[Value] = [case.key[name] for case in cases]
        if all(not isinstance(value, str) for value in values):
            logs = np.array([math.log2(1.0 + float(value)) for value in values])
            spread = float(np.ptp(logs))
            if spread > 0:
                columns.append((logs - logs.min()) / spread * max(1.0, min(spread / 6.0, 2.0)))
        else:
            kinds = sorted({str(value) for value in values})
            if len(kinds) > 1:
                columns.extend(np.array([0.5 if str(value) == kind else 0.0 for value in values]) for kind in kinds)
    return np.stack(columns, axis=1) if columns else np.zeros((len(cases), 1))


def spread_out(cases: Sequence[Case], first: Sequence[int] = ()) -> list[Case]:
    """Farthest-point order (Gonzalez 1985): each next case is the one farthest from all before it.

    ``first`` holds indices to put in front, in that order. Deterministic: ties go to the earlier case.
    """
    if not cases:
        return []
    points = coordinates(cases)
    start = list(first) or [int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    distance = np.full(len(cases), np.inf)
    taken: list[int] = []
    for _ in range(len(cases)):
        index = start[len(taken)] if len(taken) < len(start) else int(np.argmax(distance))
        taken.append(index)
        distance = np.minimum(distance, np.linalg.norm(points - points[index], axis=1))
        distance[index] = -1.0
    return [cases[index] for index in taken]
