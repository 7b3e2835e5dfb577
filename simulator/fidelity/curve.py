"""Direct evidence: a technique's own published accuracies, read as one curve that never falls as more is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from simulator.literature.evidence import Evidence
from simulator.quantity import Numeric, log, maximum

Vector = NDArray[np.float64]

FLOOR = 0.03
"""Half-width [fraction of the accuracy] below which no band goes: re-run noise between papers."""

Z80 = 1.2816
"""Half-width of a central 80 % interval in standard deviations of a normal."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Retained accuracy over log(kept), straight between the published points and 1 at kept = 1."""

    knots: Vector
    """log(kept), ascending, the last one 0."""
    values: Vector
    """Retained accuracy, ascending, the last one 1."""
    family: str
    smallest: float
    sources: tuple[str, ...]

    def middle(self, kept: Numeric) -> Numeric:
        """Retained accuracy at `kept`, in (0, 1]."""
        return np.interp(log(maximum(kept, 1e-12)), self.knots, self.values)


def build_curve(rows: Sequence[Evidence], technique: str, model_class: str, task: str) -> Curve | None:
    """The curve of this technique on this model class and task, or None where nothing is published.

    Points at one fraction are averaged by benchmarks behind them; a later dip is levelled by pooling adjacent violators
    (Barlow and others, 1972), so that keeping more never costs accuracy, and gains over the baseline count as none.
    """
    own = [row for row in rows if (row.technique, row.model_class, row.task_class) == (technique, model_class, task)]
    if not own:
        return None
    fractions = sorted({row.kept for row in own})
    levels: list[tuple[float, float, int]] = []
    for fraction in fractions:
        here = [row for row in own if row.kept == fraction]
        weight = float(sum(row.items for row in here))
        levels.append((sum(row.items * row.retained for row in here) / weight, weight, 1))
        while len(levels) > 1 and levels[-2][0] > levels[-1][0]:
            (a, wa, na), (b, wb, nb) = levels[-2], levels[-1]
            levels[-2:] = [((a * wa + b * wb) / (wa + wb), wa + wb, na + nb)]
    values = np.minimum(np.concatenate([np.full(count, level) for level, _, count in levels]), 1.0)
    knots = np.log(fractions)
    if fractions[-1] < 1.0:
        knots, values = np.append(knots, 0.0), np.append(values, 1.0)
    values[-1] = 1.0
    return Curve(knots, values, own[0].family, fractions[0], _sources(own))


def _sources(rows: Sequence[Evidence]) -> tuple[str, ...]:
    """Each source once, with the settings it was read at."""
    settings: dict[str, list[str]] = {}
    for row in rows:
        found = settings.setdefault(row.source, [])
        if row.setting and row.setting not in found:
            found.append(row.setting)
    return tuple(f"{source} [{'; '.join(found)}]" if found else source for source, found in settings.items())
