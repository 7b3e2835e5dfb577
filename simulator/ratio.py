"""How much faster or cheaper a variant is than its baseline, with a band of its own.

A baseline and its variant rest on the same fits, so most of what is uncertain about one is uncertain about the other in the same
way and cancels: per fit only the difference of the two shares is left. What does not cancel is how much two neighbouring shapes
of one kernel scatter against each other (`Kernels.ratio_spread`, from held-out pairs of shapes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from simulator.assemble import Case
from simulator.metrics import Metrics, Uncertain
from simulator.price import ERROR
from simulator.quantity import Numeric, exp, maximum, minimum, sqrt


@final
@dataclass(frozen=True, slots=True)
class Ratio:
    """baseline over variant: above 1 the variant is faster. lower, upper: 80 % interval."""

    expected: Numeric
    lower: Numeric
    upper: Numeric


def ratio(baseline: Metrics, variant: Metrics, case: Case, metric: str = "latency_s") -> Ratio:
    """Gain in `metric` (ttft_s, tpot_s, latency_s, energy_j or cost_usd) of a variant over its baseline on the same machine.

    Of the energy, each share of the power model is off by the same factor on both sides, and what is drawn by being on lasts as
    long as the times do. Money is time at one price."""
    slow, fast = getattr(baseline, metric), getattr(variant, metric)
    before, after = _shares(baseline, metric), _shares(variant, metric)
    low: Numeric = 0.0
    high: Numeric = 0.0
    apart: tuple[Numeric, Numeric] = (0.0, 0.0)
    none = (0.0, 0.0)
    for source in before.keys() | after.keys():
        one, two = before.get(source, none), after.get(source, none)
        low, high = low + (one[0] - two[0]) ** 2, high + (one[1] - two[1]) ** 2
        apart = (apart[0] + one[0] ** 2 + two[0] ** 2, apart[1] + one[1] ** 2 + two[1] ** 2)  # independent draws
    expected = slow / maximum(fast, 1e-30)
    changed = abs(1.0 - 1.0 / maximum(expected, 1e-9))
    scatter = (case.machine.kernels.ratio_spread("gemm") * minimum(changed, 1.0)) ** 2
    below, above = sqrt(minimum(low + scatter, apart[0])), sqrt(minimum(high + scatter, apart[1]))
    return Ratio(expected, expected * exp(-below), expected * exp(above))


def _shares(metrics: Metrics, metric: str) -> Uncertain:
    """Source of error -> (low, high): share of the metric that rests on it times its log half-width."""
    if metric != "energy_j":
        seconds = "latency_s" if metric == "cost_usd" else metric
        whole = maximum(metrics.stages["decode"].seconds if metric == "tpot_s" else getattr(metrics, seconds), 1e-30)
        return {fit: (low / whole, high / whole) for fit, (low, high) in metrics.uncertain[seconds].items()}
    energy = maximum(metrics.energy_j, 1e-30)
    lasting = metrics.joules["on"] / energy
    times = {fit: (low * lasting, high * lasting) for fit, (low, high) in _shares(metrics, "latency_s").items()}
    powers = {f"power {name}": (ERROR * joules / energy, ERROR * joules / energy) for name, joules in metrics.joules.items()}
    return times | powers
