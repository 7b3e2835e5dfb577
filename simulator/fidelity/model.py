"""The pooled model: how much accuracy a family of techniques keeps, from every published figure of its axis.

With x = -log(kept), the loss of log-accuracy at quantile q is

    L_q = theta_q * exp(f[family] + t[task]) * x^p

one set per axis, families and tasks drawn towards zero (partial pooling). The median is exp(-L_50), the 80 % band runs from
exp(-L_90) to exp(-L_10) and is never narrower than +-3 points, which is how far papers differ when they run the same thing again.
The quantiles are fitted together by the interval score (Gneiting and Raftery, JASA 2007, equation 43): how far the outer two lie from
the middle is a matter of the family, drawn towards the axis. They are then widened until the band of a method left out of the fit
covers 80 % of what was published of it (cross-conformal; Vovk, 2015), in a task class that many methods report by its own measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, final

import yaml

from simulator.fidelity.curve import FLOOR
from simulator.quantity import Numeric, exp, log, maximum, minimum

CEILING = 1.1
"""No band claims more than this: no published row gains more than 10 %."""

UNSEEN = 1.5
"""Loss at the edges of a band is stretched by this for a family of its axis that no paper in the table belongs to."""

SAME_KIND = frozenset({"encoder_merge", "encoder_prune", "temporal_merge"})
"""Families without rows of their own that drop or merge visual tokens as the published ones do."""

PARAMETERS = Path(__file__).with_name("parameters.yaml")


@final
@dataclass(frozen=True, slots=True)
class Pool:
    """Fitted parameters of one axis."""

    axis: str
    theta_10: float
    theta_50: float
    theta_90: float
    power: float
    families: dict[str, float]
    tasks: dict[str, float]
    methods: dict[str, float]
    """Loss of a known method over the pooled median, drawn towards 1."""
    smallest: dict[str, float]
    """Smallest kept fraction published, per family."""
    entries: dict[str, int]
    """Different papers behind a family."""
    seen: dict[str, int]
    """Different papers behind a task class."""
    spreads: dict[str, float]
    """How much farther out (as a logarithm) the edges of a family lie than those of the axis, drawn towards 0."""
    widening: float = 1.0
    """The edges lie this much farther out (in the logarithm of the loss) than the fit says, from methods left out one by one."""
    widenings: dict[str, float] = field(default_factory=dict[str, float])
    """The same for a task class that enough methods report, drawn towards the one of all axes."""


@cache
def load_pools(path: Path = PARAMETERS) -> dict[str, Pool]:
    """Pool per axis, as `refit` wrote them."""
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {axis: Pool(axis=axis, **values) for axis, values in data["pools"].items()}


@cache
def load_spread(path: Path = PARAMETERS) -> float:
    """Scatter of one paper's accuracies around the curve that other papers give its technique, as a share of the loss."""
    return float(yaml.safe_load(path.read_text(encoding="utf-8"))["direct_spread"])


def losses(pool: Pool, family: str, task: str, kept: Numeric, scale: float = 1.0) -> tuple[Numeric, Numeric, Numeric]:
    """Loss of log-accuracy at the 10th, 50th and 90th percentile. `scale` multiplies all three.

    The edges lie `widening` * sqrt(1 + 1/n + 1/m) as far out (in the logarithm) for a family of n papers and a task class that m
    papers report: a paper not seen differs from the others as papers do, and family and task are known from so many of them only.
    """
    shared = scale * exp(pool.families.get(family, 0.0) + pool.tasks[task])
    term = shared * maximum(-log(maximum(kept, 1e-12)), 0.0) ** pool.power
    stretch = pool.widenings.get(task, pool.widening) * uncertainty(pool, family, task)
    middle = pool.theta_50 * term
    return (
        middle * (pool.theta_10 / pool.theta_50) ** stretch,
        middle,
        middle * (pool.theta_90 / pool.theta_50) ** stretch,
    )


def uncertainty(pool: Pool, family: str, task: str) -> float:
    """sqrt(1 + 1/n + 1/m) for a family of n papers (of the axis, where the family has but one) and a task class of m, times the
    spread of the family."""
    papers = pool.entries.get(family, 0)
    few = math.sqrt(1.0 + 1.0 / (papers if papers > 1 else sum(pool.entries.values())) + 1.0 / pool.seen[task])
    return few * math.exp(pool.spreads.get(family, 0.0))


def span(pool: Pool, family: str, task: str) -> tuple[float, float] | None:
    """(smallest kept fraction it speaks for, factor by which its losses are stretched); None where it says nothing of this.

    A family speaks for itself from two papers on; one that drops or merges visual tokens as others do borrows from them.
    """
    if task not in pool.tasks:
        return None
    if pool.entries.get(family, 0) >= 2:
        return pool.smallest[family], 1.0
    return (max(pool.smallest.values()), UNSEEN) if family in SAME_KIND else None


def band(
    low_loss: Numeric, loss: Numeric, high_loss: Numeric, floor: Numeric = FLOOR
) -> tuple[Numeric, Numeric, Numeric]:
    """(retained, low, high) from losses of log-accuracy, the band at least `floor` to each side."""
    middle = exp(-loss)
    low = maximum(minimum(exp(-high_loss), middle - floor), 0.0)
    high = minimum(maximum(exp(-low_loss), middle + floor), CEILING)
    return middle, low, high
