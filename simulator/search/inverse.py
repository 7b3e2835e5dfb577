"""Questions asked backwards, answered by root finding on the same model: which bandwidth, batch or keep ratio meets a target,
what is the largest that fits, when does a technique start to pay, which hardware is the cheapest that will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from simulator.search import columns
from simulator.search.axes import label
from simulator.search.expression import parse
from simulator.search.line import Knob, crossings, knob, plain
from simulator.search.objectives import LARGER_IS_BETTER, feasible_rows
from simulator.search.space import Space
from simulator.search.sweeps import sweep
from simulator.spec.scenario import Scenario, TechniqueUse, parse_technique
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import pandas as pd

FLAT = 1e-9
"""Relative change of a metric over the whole range below which the knob does not move it."""
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
    knob). The answer says when there is no root (and what can be reached), when there are several, and when the metric does
    not depend on the knob.
    """
    columns.checked([metric])
    if not np.isfinite(target):
        raise SpecError(f"target: {target!r} is not accepted; a finite number is")
    line = knob(scenario, path, low, high)
    samples = line.samples()
    levels: Any = line.metric(metric, samples)
    finite = levels[np.isfinite(levels)]
    if not finite.size:
        raise SpecError(f"metric: {metric} has no value along {path}")
    span = (float(finite.min()), float(finite.max()))
    shown = f"{path} in {line.low:g}..{line.high:g}"
    if span[1] - span[0] <= FLAT * max(abs(span[1]), 1e-300):
        text = f"{metric} is flat at {span[0]:.6g} for {shown}" + ("; every value meets the target" if abs(span[0] - target) <= FLAT * abs(target) else "")
        return Solution(path, metric, target, "flat", (), line.low, line.high, span, text)
    scale = max(abs(target), 1e-300)
    pairs = crossings(lambda values: (line.metric(metric, values) - target) / scale, samples, line.whole)
    roots = tuple(_root(line, metric, target, pair) for pair in pairs)
    if not roots:
        text = f"no {path} in {line.low:g}..{line.high:g} gives {metric} = {target:g}; it stays within {span[0]:.6g}..{span[1]:.6g}"
        return Solution(path, metric, target, "none", (), line.low, line.high, span, text)
    flat = _plateau(samples, levels, target)
    values = ", ".join(f"{root.value:.6g}{'' if root.exact or line.whole else ' (jump)'}" for root in roots)
    text = f"{metric} = {target:g} at {path} = {values}" + (f"; flat at the target from {flat[0]:g} to {flat[1]:g}" if flat else "")
    status = "flat" if flat else "one" if len(roots) == 1 else "several"
    return Solution(path, metric, target, status, roots, line.low, line.high, span, text)


def _plateau(samples: NDArray[np.float64], levels: NDArray[np.float64], target: float) -> tuple[float, float] | None:
    """A stretch of more than one sample that lies on the target."""
    on = np.abs(levels - target) <= FLAT * max(abs(target), 1e-300)
    both = np.flatnonzero(on[1:] & on[:-1])
    return (float(samples[both[0]]), float(samples[both[-1] + 1])) if both.size else None


def _root(line: Knob, metric: str, target: float, pair: tuple[float, float]) -> Root:
    ends = line.metric(metric, np.array(pair))
    meets = ends >= target if metric in LARGER_IS_BETTER else ends <= target
    side = 0 if meets[0] or not meets[1] else 1
    exact = abs(ends[side] - target) <= JUMP * max(abs(target), 1e-300)
    step = np.array([max(pair[0] * (1 - 1e-6), line.low), min(pair[1] * (1 + 1e-6), line.high)]) if pair[0] == pair[1] else np.array(pair)
    around = line.metric(metric, step)
    return Root(pair[side], float(ends[side]), bool(around[1] > around[0]), bool(exact))


@final
@dataclass(frozen=True, slots=True)
class Largest:
    """Answer of `largest`. value: None where not even the smallest will do. binding: the conditions that the next value breaks.
    monotone: False where larger values hold again after smaller ones fail."""

    path: str
    value: float | None
    binding: tuple[str, ...]
    monotone: bool
    text: str


def largest(
    scenario: Scenario, path: str, conditions: Sequence[str] = ("fits", "within_context"), high: float | None = None, low: float | None = None
) -> Largest:
    """The largest batch, context, picture or video for which the conditions hold: `largest(scenario, "workload.batch")`.

    conditions: texts over metric columns (`fits`, `ttft_s <= 0.5`). The value is exact for whole numbers; where conditions hold
    again further on, the largest of the first stretch is given and `monotone` is False.
    """
    line = knob(scenario, path, low, high)
    rules = [parse(text) for text in conditions]
    names = tuple(sorted({name for rule in rules for name in rule.names}))
    columns.checked(names)

    def each(values: NDArray[np.float64]) -> NDArray[np.bool_]:
        found = columns.values(line.at(plain(values)), names, values.shape)
        return np.array([np.broadcast_to(np.asarray(rule(found), bool), values.shape) for rule in rules])

    samples = line.samples()
    holds: Any = each(samples).all(axis=0)
    if not holds[0]:
        broken = tuple(text for text, ok in zip(conditions, each(samples[:1])[:, 0], strict=True) if not ok)
        return Largest(path, None, broken, True, f"not even {path} = {line.low:g} satisfies {', '.join(broken)}")
    if holds.all():
        return Largest(path, line.high, (), True, f"{path} up to {line.high:g}, the end of the range, satisfies {', '.join(conditions)}")
    first = int(np.argmin(holds))
    below, above = float(samples[first - 1]), float(samples[first])
    while above - below > (1 if line.whole else 1e-12 * max(abs(above), 1e-300)):
        middle = float(np.floor((below + above) / 2)) if line.whole else (below + above) / 2
        if middle in (below, above):
            break
        if each(np.array([middle])).all():
            below = middle
        else:
            above = middle
    broken = tuple(text for text, ok in zip(conditions, each(np.array([above]))[:, 0], strict=True) if not ok)
    monotone = not holds[first:].any()
    more = "" if monotone else "; it holds again for some larger values"
    return Largest(path, below, broken, monotone, f"{path} = {below:.10g} is the largest; beyond it fails: {', '.join(broken)}{more}")


def break_even(
    scenario: Scenario, path: str, technique: str | TechniqueUse, against: str | TechniqueUse | None = None,
    metric: str = "latency_s", low: float | None = None, high: float | None = None,
) -> Solution:  # fmt: skip
    """The values of a knob at which a technique is as good as another, or as nothing: the roots of the ratio of their metrics.

    `Solution.metric` reads `latency_s: fastv / none`, its target is 1; `Root.rising` means that the ratio grows beyond (worse,
    or better for a metric of which more is better). The value of a root is on the side where the technique is not worse.
    """
    columns.checked([metric])
    mixes = [_use(technique), *([] if against is None else [_use(against)])]
    lines = [knob(scenario.model_copy(update={"techniques": (*scenario.techniques, use)}), path, low, high) for use in mixes]
    lines += [knob(scenario, path, low, high)] if against is None else []
    samples = lines[0].samples()

    def ratio(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return lines[0].metric(metric, values) / lines[1].metric(metric, values)

    levels = ratio(samples)
    span = (float(np.nanmin(levels)), float(np.nanmax(levels)))
    name = f"{metric}: {label((mixes[0],))} / {label((mixes[1],)) if against is not None else 'without'}"
    if span[1] - span[0] <= FLAT:
        return Solution(path, name, 1.0, "flat", (), lines[0].low, lines[0].high, span, f"{name} is {span[0]:.6g} for every {path}")
    larger = metric in LARGER_IS_BETTER
    roots: list[Root] = []
    for pair in crossings(lambda values: ratio(values) - 1.0, samples, lines[0].whole):
        ends = ratio(np.array(pair))
        side = 0 if (ends[0] >= 1.0 if larger else ends[0] <= 1.0) else 1
        step = np.array([max(pair[0] * (1 - 1e-6), lines[0].low), min(pair[1] * (1 + 1e-6), lines[0].high)])
        around = ratio(step)
        roots.append(Root(pair[side], float(ends[side]), bool(around[1] > around[0]), bool(abs(ends[side] - 1.0) <= JUMP)))
    if not roots:
        below, above = ("worse", "better") if larger else ("better", "worse")
        better = below if span[1] < 1 else above if span[0] > 1 else "no better"
        text = f"{name} is {span[0]:.4g}..{span[1]:.4g}: {better} for every {path} in {lines[0].low:g}..{lines[0].high:g}"
        return Solution(path, name, 1.0, "none", (), lines[0].low, lines[0].high, span, text)
    places = ", ".join(f"{root.value:.6g} ({'better' if root.rising == larger else 'worse'} beyond)" for root in roots)
    status: Literal["one", "several"] = "one" if len(roots) == 1 else "several"
    return Solution(path, name, 1.0, status, tuple(roots), lines[0].low, lines[0].high, span, f"break-even at {path} = {places}")


def _use(item: str | TechniqueUse) -> TechniqueUse:
    try:
        return parse_technique(item) if isinstance(item, str) else item
    except ValueError as error:
        raise SpecError(f"technique: {error}") from None


def cheapest(
    scenario: Scenario, conditions: Sequence[str], hardware: Sequence[str] | None = None, tp: Sequence[int] = (1, 2, 4, 8), by: str = "price"
) -> pd.DataFrame:
    """Hardware that meets an objective (`["ttft_s <= 0.2", "tpot_s <= 0.02"]`), the cheapest first; those that do not, left out.

    hardware: names (default all that ship); tp: tensor-parallel degrees tried. by: `price` (dollars per hour of the whole
    deployment) or `request` (`cost_usd`). Column `price_per_hour_usd` is added. What does not fit never qualifies.
    """
    from simulator.spec.load_hardware import hardware_names, load_hardware

    if by not in ("price", "request"):
        raise SpecError(f"by: {by!r} is not accepted; price or request")
    names = list(hardware) if hardware is not None else hardware_names()
    frame = sweep(Space(scenario, {"hardware": names, "parallel.tp": list(tp)}))
    devices: Any = frame["parallel.tp"].to_numpy() * scenario.parallel.pp * scenario.parallel.dp
    hourly = {load_hardware(name).name: load_hardware(name).price_per_hour.value for name in names}
    frame["price_per_hour_usd"] = frame["hardware"].astype(str).map(lambda name: hourly[name]).to_numpy(dtype=float) * scenario.scale.price * devices
    good: Any = frame[feasible_rows(frame, conditions)]
    order = ["price_per_hour_usd", "cost_usd"] if by == "price" else ["cost_usd", "price_per_hour_usd"]
    return good.sort_values([*order, "latency_s"], kind="stable")
