"""When a technique starts to pay, or stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.assemble import assemble, case_of
from simulator.measure import measure
from simulator.search import columns
from simulator.search.axes import label
from simulator.search.inverse import JUMP, Looked, Root, Solution, looked, measurable
from simulator.search.line import FLAT, Curve, Knob, knob
from simulator.search.objectives import LARGER_IS_BETTER
from simulator.spec.scenario import Scenario, TechniqueUse, parse_technique
from simulator.spec.source import SpecError


def break_even(
    scenario: Scenario, path: str, technique: str | TechniqueUse, against: str | TechniqueUse | None = None,
    metric: str = "latency_s", low: float | None = None, high: float | None = None,
) -> Solution:  # fmt: skip
    """The values of a knob at which a technique is as good as another, or as nothing: the roots of the ratio of their metrics.

    path: a knob of the scenario, or of one of the two techniques. `Solution.metric` reads `latency_s: fastv / without`, its target is 1;
    `Root.rising` means that the ratio grows beyond (worse, or better for a metric of which more is better). The value of a root is on the
    side where the technique is not worse. The answer says where the two are equal for a stretch, and where either has no value.
    """
    measurable(metric)
    mixes = [(_use(technique),), () if against is None else (_use(against),)]
    name = f"{metric}: {label(mixes[0])} / {label(mixes[1]) if mixes[1] else 'without'}"
    sides = [scenario.model_copy(update={"techniques": (*scenario.techniques, *uses)}) for uses in mixes]
    own = [not path.startswith("techniques.") or path.split(".")[1] in {use.kind for use in side.techniques} for side in sides]
    if not any(own):
        raise SpecError(f"knob: {path} is of a technique that neither side has; name one of {', '.join(label(uses) for uses in mixes if uses)}")
    line = knob(sides[own.index(True)], path, low, high)
    curves = [_along(side, line, metric, moved) for side, moved in zip(sides, own, strict=True)]

    def beyond(values: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return curves[0](values) / curves[1](values) - 1.0

    found = looked(beyond, line)
    levels: Any = beyond(found.samples) + 1.0
    known = levels[np.isfinite(levels)]
    if not known.size:
        raise SpecError(f"metric: {name} has no value along {path}")
    span = (float(known.min()), float(known.max()))
    larger = metric in LARGER_IS_BETTER
    if span[1] - span[0] <= FLAT:
        text = f"{name} is {span[0]:.6g} for every {path} in {line.low:g}..{line.high:g}{found.without(name)}"
        return Solution(path, name, 1.0, "flat", (), line.low, line.high, span, text)
    roots = tuple(_root(line, beyond, pair, larger) for pair in found.pairs)
    if not roots:
        below, above = ("worse", "better") if larger else ("better", "worse")
        better = below if span[1] < 1 else above if span[0] > 1 else "no better"
        text = f"{name} is {span[0]:.4g}..{span[1]:.4g}: {better} for every {path} in {line.low:g}..{line.high:g}{found.without(name)}"
        return Solution(path, name, 1.0, "none", (), line.low, line.high, span, text)
    status = "flat" if found.plateaus else "one" if len(roots) == 1 else "several"
    text = f"break-even at {path} = {_places(found, roots, line, beyond, larger)}{found.without(name)}"
    return Solution(path, name, 1.0, status, roots, line.low, line.high, span, text)


def _along(side: Scenario, line: Knob, metric: str, moved: bool) -> Curve:
    """A metric along the knob; the same everywhere where the side has no such knob."""
    if moved:
        return lambda values: knob(side, line.path, line.low, line.high).metric(metric, values)
    case = case_of(side)
    assembly = assemble(case)
    level = float(columns.values(columns.Point(case, assembly, measure(case, assembly)), (metric,), (1,))[metric][0])
    return lambda values: np.full(values.shape, level)


def _root(line: Knob, beyond: Curve, pair: tuple[float, float], larger: bool) -> Root:
    ends = beyond(np.array(pair))
    side = 0 if (ends[0] >= 0.0 if larger else ends[0] <= 0.0) else 1
    before, after = _around(line, *pair)
    around = beyond(np.array([before, after]))
    return Root(pair[side], float(ends[side]) + 1.0, bool(around[1] > around[0]), bool(abs(ends[side]) <= JUMP))


def _around(line: Knob, low: float, high: float) -> tuple[float, float]:
    """A value just below and one just above."""
    before, after = (low - 1, high + 1) if line.whole else (low - 1e-6 * abs(low), high + 1e-6 * abs(high))
    return max(before, line.low), min(after, line.high)


def _places(found: Looked, roots: Sequence[Root], line: Knob, beyond: Curve, larger: bool) -> str:
    """Each root, or the stretch that begins with it, with what is beyond."""
    texts: list[str] = []
    for root in roots:
        stretch = next(((start, stop) for start, stop in found.plateaus if start <= root.value <= stop), None)
        start, stop = stretch or (root.value, root.value)
        after = _around(line, start, stop)[1]
        level = float(beyond(np.array([after]))[0])
        if after == stop or not np.isfinite(level) or level == 0.0:
            word = ""
        else:
            word = " (better beyond)" if (level > 0) == larger else " (worse beyond)"
        texts.append((f"{start:.6g} to {stop:.6g}" if stretch else f"{root.value:.6g}") + word)
    return ", ".join(texts)


def _use(item: str | TechniqueUse) -> TechniqueUse:
    try:
        return parse_technique(item) if isinstance(item, str) else item
    except ValueError as error:
        raise SpecError(f"technique: {error}") from None
