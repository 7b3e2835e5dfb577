"""What timed speed-ups and predicted ones say of each other: errors, signs of synergy, and whether noise lets one conclude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .meter import STAGES

GOAL_ERROR, GOAL_SIGNS = 0.15, 0.90
NOISE = 0.05  # relative standard error of a speed-up above which a run proves nothing
FEWEST_PAIRS = 10
BEYOND = 2.0  # standard errors from none at which a synergy counts as real

Mix = tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """Log speed-up over dense with its standard error, and the 20th percentile of the seconds, per stage and in total."""

    speedup: dict[str, float]
    error: dict[str, float]
    seconds: dict[str, float]


def summary(samples: Sequence[tuple[dict[str, float], dict[str, float]]]) -> Measured:
    """Median of the log ratios; its standard error is 1.25 sd / sqrt(n), that of the median of a normal sample."""
    speedup: dict[str, float] = {}
    error: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for name in (*STAGES, "total"):
        logs = np.array([math.log(dense[name] / own[name]) for dense, own in samples])
        speedup[name] = float(np.median(logs))
        error[name] = 1.25 * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
        seconds[name] = float(np.quantile([own[name] for _, own in samples], 0.2))
    return Measured(speedup, error, seconds)


@dataclass(frozen=True)
class Verdict:
    """Errors of the speed-ups (predicted over measured less one), pairs with a real synergy, those with the right sign, and noise."""

    errors: dict[str, list[float]]
    real: int
    right: int
    noise: float

    @property
    def median(self) -> float:
        return float(np.median(np.abs(self.errors["total"])))

    @property
    def signs(self) -> float:
        return self.right / self.real if self.real else math.nan

    @property
    def inconclusive(self) -> bool:
        return self.noise > NOISE or self.real < FEWEST_PAIRS

    @property
    def holds(self) -> bool:
        return not self.inconclusive and self.median <= GOAL_ERROR and self.signs >= GOAL_SIGNS


def synergy(values: dict[Mix, float], pair: Mix) -> float:
    """log S(ab) - log S(a) - log S(b): above zero the two help each other."""
    return values[pair] - values[pair[:1]] - values[pair[1:]]


def judge(measured: dict[Mix, Measured], said: dict[Mix, dict[str, float]]) -> Verdict:
    """`said`: log speed-up per stage and in total, as predicted."""
    errors = {name: [math.exp(said[mix][name] - found.speedup[name]) - 1.0 for mix, found in measured.items()] for name in (*STAGES, "total")}
    real = right = 0
    for pair in (mix for mix in measured if len(mix) == 2):
        seen = synergy({mix: item.speedup["total"] for mix, item in measured.items()}, pair)
        noise = math.sqrt(sum(measured[mix].error["total"] ** 2 for mix in (pair, pair[:1], pair[1:])))
        if abs(seen) > BEYOND * noise:
            real += 1
            right += seen * synergy({mix: item["total"] for mix, item in said.items()}, pair) > 0.0
    return Verdict(errors, real, right, float(np.median([item.error["total"] for item in measured.values()])))


def table(measured: dict[Mix, Measured], said: dict[Mix, dict[str, float]], verdict: Verdict) -> str:
    """Speed-ups per stage, measured / predicted, singles first, and the figures."""
    lines = [f"{'mix':34}" + "".join(f"{name:>16}" for name in (*STAGES, "total")) + "   error  noise  synergy"]
    total = {mix: item.speedup["total"] for mix, item in measured.items()}
    for mix, found in measured.items():
        cells = "".join(f"{math.exp(found.speedup[n]):8.2f} /{math.exp(said[mix][n]):6.2f}" for n in (*STAGES, "total"))
        error = math.exp(said[mix]["total"] - found.speedup["total"]) - 1.0
        both = ""
        if len(mix) == 2:
            both = f"  {synergy(total, mix):+.3f} / {synergy({m: s['total'] for m, s in said.items()}, mix):+.3f}"
        lines.append(f"{' + '.join(mix):34}{cells} {error:+7.1%} {found.error['total']:6.1%}{both}")
    stages = ", ".join(f"{name} {np.median(np.abs(errors)):.1%}" for name, errors in verdict.errors.items() if name != "total")
    guess = float(np.median([abs(math.exp(-value) - 1.0) for value in total.values()]))
    word = "INCONCLUSIVE" if verdict.inconclusive else ("holds" if verdict.holds else "EXCEEDED")
    lines += [
        f"speed-up over dense: median error {verdict.median:.1%} over {len(measured)} mixes (goal {GOAL_ERROR:.0%}; no change at all would be {guess:.1%} off); by stage: {stages}",
        f"sign of synergy: right in {verdict.right} of {verdict.real} pairs beyond noise (goal {GOAL_SIGNS:.0%})",
        f"noise of a speed-up: {verdict.noise:.1%} (at most {NOISE:.0%}); verdict: {word}",
    ]
    return "\n".join(lines)
