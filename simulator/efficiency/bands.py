"""How wrong a fit was on shapes it had not seen, by region, and so how wide its band is.

The regions are dimensionless, so they mean the same on every chip: `overhead` (fixed costs are more than half of the
time), else `memory`, `balanced` or `compute` by the ratio of the two roofline terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from simulator.efficiency.forms import Terms
from simulator.quantity import Numeric

REGIONS = ("overhead", "mixed", "memory", "balanced", "compute")
OVERHEAD_SHARE = 0.6
MIXED_SHARE = 0.25
RIDGE = 2.5


def region(terms: Terms) -> Numeric:
    """Index into `REGIONS` of a kernel time."""
    total, compute, memory, overhead = terms
    if isinstance(total, np.ndarray) or isinstance(compute, np.ndarray):
        by_ratio = np.where(compute > RIDGE * memory, 4, np.where(memory > RIDGE * compute, 2, 3))
        share = overhead / total
        return np.where(share > OVERHEAD_SHARE, 0, np.where(share > MIXED_SHARE, 1, by_ratio))
    if overhead > OVERHEAD_SHARE * total:
        return 0
    if overhead > MIXED_SHARE * total:
        return 1
    if compute > RIDGE * memory:
        return 4
    return 2 if memory > RIDGE * compute else 3


@final
@dataclass(frozen=True, slots=True)
class Bands:
    """Log half-widths of the 80 % interval per region, below and above the expectation."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def at(self, terms: Terms) -> tuple[Numeric, Numeric]:
        """(low, high) for a kernel time."""
        index = region(terms)
        if isinstance(index, np.ndarray):
            where = index.astype(np.int64)
            return np.asarray(self.low)[where], np.asarray(self.high)[where]
        place = int(index)
        return self.low[place], self.high[place]

    def widened(self, extra: float) -> Bands:
        """The same bands with an independent error of log half-width `extra` added in quadrature."""
        return Bands(
            tuple((x * x + extra * extra) ** 0.5 for x in self.low),
            tuple((x * x + extra * extra) ** 0.5 for x in self.high),
        )

    def no_narrower(self, other: Bands) -> Bands:
        """The wider of the two in every region."""
        return Bands(tuple(map(max, self.low, other.low)), tuple(map(max, self.high, other.high)))


def flat(low: float, high: float) -> Bands:
    """The same band everywhere."""
    return Bands((low,) * len(REGIONS), (high,) * len(REGIONS))
