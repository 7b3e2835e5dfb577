"""How much faster a variant is than its baseline, with a band of its own.

A baseline and its variant rest on the same fits, so most of what is uncertain about one is uncertain about the other in the same
way and cancels: per fit only the difference of the two shares is left. What does not cancel is how much two neighbouring shapes
of one kernel scatter against each other (`Kernels.ratio_spread`, from held-out pairs of shapes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from simulator.assemble import Case
from simulator.metrics import Metrics
from simulator.quantity import Numeric, exp, maximum, minimum, sqrt


@final
@dataclass(frozen=True, slots=True)
class Ratio:
    """baseline over variant: above 1 the variant is faster. lower, upper: 80 % interval."""

    expected: Numeric
    lower: Numeric
    upper: Numeric


def ratio(baseline: Metrics, variant: Metrics, case: Case, metric: str = "latency_s") -> Ratio:
    """Speed-up in `metric` (ttft_s, tpot_s or latency_s) of a variant over its baseline on the same machine."""
    slow, fast = getattr(baseline, metric), getattr(variant, metric)
    before, after = baseline.uncertain[metric], variant.uncertain[metric]
    whole = (_whole(baseline, metric), _whole(variant, metric))
    low: Numeric = 0.0
    high: Numeric = 0.0
    none = (0.0, 0.0)
    for fit in before.keys() | after.keys():
        one, two = before.get(fit, none), after.get(fit, none)
        low = low + (one[0] / whole[0] - two[0] / whole[1]) ** 2
        high = high + (one[1] / whole[0] - two[1] / whole[1]) ** 2
    expected = slow / maximum(fast, 1e-30)
    changed = abs(1.0 - 1.0 / maximum(expected, 1e-9))
    scatter = (case.machine.kernels.ratio_spread("gemm") * minimum(changed, 1.0)) ** 2
    apart = [baseline.bands[metric][side] ** 2 + variant.bands[metric][side] ** 2 for side in (0, 1)]  # independent draws
    below, above = sqrt(minimum(low + scatter, apart[0])), sqrt(minimum(high + scatter, apart[1]))
    return Ratio(expected, expected * exp(-below), expected * exp(above))


def _whole(metrics: Metrics, metric: str) -> Numeric:
    return maximum(metrics.stages["decode"].seconds if metric == "tpot_s" else getattr(metrics, metric), 1e-30)

