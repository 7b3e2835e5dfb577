"""The pooled model: how much accuracy a family of techniques keeps, from every published figure of its axis.

With x = -log(kept), the loss of log-accuracy at quantile q is

    L_q = theta_q * exp(f[family] + t[task]) * x^p

one set per axis, families and tasks drawn towards zero (partial pooling). The median is exp(-L_50), the 80 % band runs from
exp(-L_90) to exp(-L_10) and is never narrower than +-3 points, which is how far papers differ when they run the same thing again.
The quantiles are fitted together by the interval score (Gneiting and Raftery, JASA 2007, equation 43), then widened until the
band of a paper left out of the fit covers 80 % of what it published (cross-conformal; Vovk, 2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

import yaml

from simulator.fidelity.curve import FLOOR
from simulator.quantity import Numeric, exp, log, maximum, minimum

CEILING = 1.1
"""No band claims more than this: no published row gains more than 8 %."""

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
    widening: float = 1.0
    """The edges lie this much farther out (in the logarithm of the loss) than the fit says, from papers left out one by one."""


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
    stretch = pool.widening * uncertainty(pool, family, task)
    middle = pool.theta_50 * term
    return (
        middle * (pool.theta_10 / pool.theta_50) ** stretch,
        middle,
        middle * (pool.theta_90 / pool.theta_50) ** stretch,
    )


def uncertainty(pool: Pool, family: str, task: str) -> float:
    """sqrt(1 + 1/n + 1/m) for a family of n papers (of the axis, where the family has but one) and a task class of m."""
    papers = pool.entries.get(family, 0)
    return math.sqrt(1.0 + 1.0 / (papers if papers > 1 else sum(pool.entries.values())) + 1.0 / pool.seen[task])


def band(
    low_loss: Numeric, loss: Numeric, high_loss: Numeric, floor: Numeric = FLOOR
) -> tuple[Numeric, Numeric, Numeric]:
    """(retained, low, high) from losses of log-accuracy, the band at least `floor` to each side."""
    middle = exp(-loss)
    low = maximum(minimum(exp(-high_loss), middle - floor), 0.0)
    high = minimum(maximum(exp(-low_loss), middle + floor), CEILING)
    return middle, low, high
