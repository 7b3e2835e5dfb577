"""Which value of a knob meets a target: root finding on the same model, and what to say where there is no root, or more than one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from simulator.search import columns
from simulator.search.line import FLAT, Curve, Knob, beside, crossings, gaps, knob, plateaus
from simulator.search.objectives import LARGER_IS_BETTER
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError

JUMP = 1e-6
"""Relative distance from the target above which a crossing is a jump: the metric passes the target without taking its value."""


@final
@dataclass(frozen=True, slots=True)
class Root:
    """A place where the target is met. value: of the knob, on the side that meets the target where the metric jumps over it or
    the knob is a whole number. reached: the metric there (computed by plugging `value` back in). rising: the metric grows
    with the knob here. exact: the target is met exactly, not jumped over."""

    value: float
    reached: float
    rising: bool
    exact: bool


@final
@dataclass(frozen=True, slots=True)
class Solution:
    """Answer of `solve`. low, high: the range searched; reachable: smallest and largest value of the metric in it."""

    path: str
    metric: str
    target: float
    status: Literal["one", "several", "none", "flat"]
    roots: tuple[Root, ...]
    low: float
    high: float
    reachable: tuple[float, float]
    text: str

    @property
    def value(self) -> float:
        """The only root. Raises SpecError where there is none, or more than one."""
        if self.status != "one":
            raise SpecError(self.text)
        return self.roots[0].value


def solve(scenario: Scenario, path: str, metric: str, target: float, low: float | None = None, high: float | None = None) -> Solution:
    """The values of a knob at which a metric meets a target: `solve(scenario, "scale.bandwidth", "tpot_s", 0.02)`.

    path: a numeric axis path (see `Space`). metric: a column of `METRICS`. low, high: range (default: what is usual for the
    knob). The answer says when there is no root (and what can be reached), when there are several, when the metric does not depend on
    the knob or stays at the target for a stretch, where it has no value, and which roots do not fit into memory or the context.
    """
    measurable(metric)
    number = isinstance(target, int | float | np.number) and not isinstance(target, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not (number and np.isfinite(target)):
        raise SpecError(f"target: {target!r} is not accepted; a finite number is")
    line = knob(scenario, path, low, high)
    scale = max(abs(target), 1e-300)

    def over(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (line.metric(metric, values) - target) / scale

    found = looked(over, line)
    levels: Any = line.metric(metric, found.samples)
    finite = levels[np.isfinite(levels)]
    if not finite.size:
        raise SpecError(f"metric: {metric} has no value along {path}")
    span = (float(finite.min()), float(finite.max()))
    shown = f"{path} in {line.low:g}..{line.high:g}"
    if span[1] - span[0] <= FLAT * max(abs(span[1]), 1e-300):
        text = f"{metric} is flat at {span[0]:.6g} for {shown}" + ("; every value meets the target" if abs(span[0] - target) <= FLAT * scale else "")
        return Solution(path, metric, target, "flat", (), line.low, line.high, span, text + found.without(metric))
    roots = tuple(_root(line, metric, target, pair) for pair in found.pairs)
    if not roots:
        met = (span[0] >= target) if metric in LARGER_IS_BETTER else (span[1] <= target)
        side = "every value is on the good side of it" if met else "no value is on the good side of it"
        text = f"no {shown} gives {metric} = {target:g}; it stays within {span[0]:.6g}..{span[1]:.6g}: {side}{found.without(metric)}"
        return Solution(path, metric, target, "none", (), line.low, line.high, span, text)
    notes = _notes(line, [root.value for root in roots])
    values = ", ".join(
        f"{root.value:.6g}{'' if root.exact or line.whole else ' (jump)'}{note}" for root, note in zip(roots, notes, strict=True)
    )
    flat = "".join(f"; at the target from {start:.6g} to {stop:.6g}" for start, stop in found.plateaus)
    text = f"{metric} = {target:g} at {path} = {values}{flat}{found.without(metric)}"
    status = "flat" if flat else "one" if len(roots) == 1 else "several"
    return Solution(path, metric, target, status, roots, line.low, line.high, span, text)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What was seen along a knob. pairs: as `crossings` returns them; plateaus: stretches at the target; gaps: stretches without a value."""

    samples: NDArray[np.float64]
    pairs: tuple[tuple[float, float], ...]
    plateaus: tuple[tuple[float, float], ...]
    gaps: tuple[tuple[float, float], ...]

    def without(self, metric: str) -> str:
        """Says where there is no value, if anywhere."""
        return "".join(f"; {metric} has no value from {start:.6g} to {stop:.6g}" for start, stop in self.gaps)


def looked(over: Curve, line: Knob) -> Looked:
    """Everything of a curve along a knob."""
    samples = line.samples()
    missing = gaps(over, samples, line.whole)
    samples = beside(missing, samples, line.whole)
    pairs = crossings(over, samples, line.whole)
    return Looked(samples, tuple(pairs), tuple(plateaus(over, samples, line.whole, pairs)), tuple(missing))


def measurable(metric: str) -> None:
    """Raises SpecError for what is not a metric, or is no number of which more is more."""
    columns.checked([metric])
    if metric in columns.FLAGS:
        raise SpecError(f"metric: {metric} is yes or no; `largest` finds the last value for which it holds")
    if metric in columns.CODED:
        raise SpecError(f"metric: {metric} is a name; `regimes` finds where it changes")


def _notes(line: Knob, values: list[float]) -> list[str]:
    """What to say of each root: that it does not fit, or is beyond the context."""
    texts = (("fits", "does not fit"), ("within_context", "beyond the context"))
    each = [[text for name, text in texts if not line.metric(name, np.array([value]))[0]] for value in values]
    return [f" ({', '.join(found)})" if found else "" for found in each]


def _root(line: Knob, metric: str, target: float, pair: tuple[float, float]) -> Root:
    ends = line.metric(metric, np.array(pair))
    meets = ends >= target if metric in LARGER_IS_BETTER else ends <= target
    side = 0 if meets[0] or not meets[1] else 1
    exact = abs(ends[side] - target) <= JUMP * max(abs(target), 1e-300)
    step = np.array([max(pair[0] * (1 - 1e-6), line.low), min(pair[1] * (1 + 1e-6), line.high)]) if pair[0] == pair[1] else np.array(pair)
    around = line.metric(metric, step)
    return Root(pair[side], float(ends[side]), bool(around[1] > around[0]), bool(exact))
