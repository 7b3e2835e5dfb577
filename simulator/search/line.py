"""One knob of a scenario, all else held: the metrics along it, and where they cross a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from simulator.assemble import assemble
from simulator.measure import measure
from simulator.search import columns
from simulator.search.axes import REAL, WHOLE, make_axis
from simulator.search.cases import case_with
from simulator.search.pick import base_value
from simulator.spec.scenario import Scenario, TechniqueUse
from simulator.spec.source import SpecError
from simulator.spec.validated import nearest
from simulator.technique import Parameter, parameters, registry

FLAT = 1e-9
"""Relative difference below which two levels are one."""
SAMPLES = 256
"""Places at which a knob is looked at before roots are solved: two roots closer than that may be missed."""

_USUAL: dict[str, tuple[float, float]] = {
    "workload.text_tokens": (1, 131_072),
    "workload.output_tokens": (1, 131_072),
    "workload.batch": (1, 4_096),
    "workload.images.width": (28, 8_192),
    "workload.images.height": (28, 8_192),
    "workload.images.count": (1, 1_024),
    "workload.images.scale": (1 / 16, 16),
    "workload.videos.scale": (1 / 16, 16),
    "workload.videos.width": (28, 8_192),
    "workload.videos.height": (28, 8_192),
    "workload.videos.frames": (1, 16_384),
    "workload.videos.duration": (1, 86_400),
    "workload.videos.fps": (0.05, 60),
    "scale.price": (1 / 64, 64),
}
"""Range of a knob where the caller gives none; hardware figures 1/64 to 64, parameters of techniques as declared."""


@final
@dataclass(frozen=True, slots=True)
class Knob:
    """A numeric axis of a scenario between `low` and `high`."""

    scenario: Scenario
    path: str
    low: float
    high: float
    whole: bool
    logarithmic: bool

    def at(self, values: Any) -> columns.Point:
        """Everything known at one value or at an array of them."""
        case = case_with(self.scenario, {self.path: values})
        assembly = assemble(case)
        return columns.Point(case, assembly, measure(case, assembly))

    def metric(self, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """A metric column along the knob."""
        return np.asarray(columns.values(self.at(plain(values)), (name,), values.shape)[name], dtype=float)

    def samples(self, count: int = SAMPLES) -> NDArray[np.float64]:
        """Values from low to high, equally far apart in log for knobs of many sizes."""
        if self.logarithmic:
            values = np.geomspace(self.low, self.high, count)
        elif self.low == 0.0 and self.high > 100:  # a default range up to a million says little of where things happen
            values = np.concatenate([[0.0], np.geomspace(1e-6 * self.high, self.high, count - 1)])
        else:
            values = np.linspace(self.low, self.high, count)
        values[0], values[-1] = self.low, self.high
        return np.unique(np.round(values)) if self.whole else values


def knob(scenario: Scenario, path: str, low: float | None = None, high: float | None = None) -> Knob:
    """A knob by its axis path; a technique that the scenario lacks is put in. Raises SpecError for what is not numeric."""
    if path.startswith("techniques.") and path.count(".") == 2:
        name = path.split(".")[1]
        if all(use.kind != name for use in scenario.techniques):
            scenario = scenario.model_copy(update={"techniques": (*scenario.techniques, TechniqueUse(kind=name))})
        declared = _declared(path)
        if declared.kind in ("choice", "flag", "text"):
            raise SpecError(f"knob: {path!r} is no number; sweep it instead")
        bounds, whole = (declared.low, declared.high), declared.kind == "integer"
        if math.isinf(bounds[1]):
            bounds = (bounds[0], max(float(base_value(scenario, path)) * 64, 64.0))
    else:
        bounds = _USUAL.get(path, (1 / 64, 64))
        whole = path in WHOLE
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, int | float | np.number | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SpecError(f"knob {path}: {end!r} is not accepted; a number is")
    start, stop = bounds[0] if low is None else float(low), bounds[1] if high is None else float(high)
    if path not in WHOLE and path not in REAL and not path.startswith("techniques."):
        close = nearest(path, [*WHOLE, *REAL])
        accepted = f"did you mean {' or '.join(close)}?" if close else f"accepted: {', '.join([*WHOLE, *REAL])}, techniques.NAME.PARAMETER"
        raise SpecError(f"knob: {path!r} is not a number of a scenario; {accepted}")
    if not start < stop:
        raise SpecError(f"knob {path}: {start:g} to {stop:g} is not a range; the low end must lie below the high one")
    for end in (start, stop):
        axis = make_axis(path, [int(end) if whole and end == int(end) else end], scenario)
        if not axis.numeric:
            raise SpecError(f"knob: {path!r} is looped over, not solved for; sweep it instead")
    return Knob(scenario, path, start, stop, whole, start > 0 and stop / start > 20)


def plain(values: NDArray[np.float64]) -> Any:
    """One value as a float, which the core handles ten times as fast as an array of one."""
    return float(values[0]) if values.size == 1 else values


def _declared(path: str) -> Parameter:
    from simulator.presets import presets
    from simulator.technique import unknown

    _, name, parameter = path.split(".")
    known = registry()
    if name not in known and name not in presets():
        raise unknown(name, [*known, *presets()])
    parts = [name] if name in known else [part for part, _ in presets()[name].parts]
    found = {item.name: item for part in parts for item in parameters(known[part])}
    if parameter not in found:
        close = nearest(parameter, list(found))
        accepted = f"did you mean {' or '.join(close)}?" if close else f"accepted: {', '.join(found)}"
        raise SpecError(f"techniques.{name}.{parameter}: no such parameter; {accepted}")
    return found[parameter]


Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""How far a quantity lies beyond its target along a knob, as a share of the target; NaN where it has no value."""


def crossings(over: Curve, samples: NDArray[np.float64], whole: bool) -> list[tuple[float, float]]:
    """Where `over` changes sign between samples: (last value before, first value after), the same value twice where it is zero
    there. Continuous crossings and jumps are both solved by Brent's method (a jump to the nearest floating-point numbers).
    """
    levels = _levels(over, samples)
    found: list[tuple[float, float]] = []
    for at in range(len(samples) - 1):
        a, b = levels[at], levels[at + 1]
        if a == 0.0:
            if at == 0 or levels[at - 1] != 0.0:
                found.append((float(samples[at]), float(samples[at])))
        elif b != 0.0 and (a > 0) != (b > 0) and not (math.isnan(a) or math.isnan(b)):
            found.append(_between(over, float(samples[at]), float(samples[at + 1]), whole))
    if levels[-1] == 0.0 and levels[-2] != 0.0:
        found.append((float(samples[-1]), float(samples[-1])))
    return found


def _levels(over: Curve, samples: NDArray[np.float64]) -> NDArray[np.float64]:
    levels = np.array(over(samples), dtype=float)
    levels[np.abs(levels) <= FLAT] = 0.0
    return levels


def plateaus(over: Curve, samples: NDArray[np.float64], whole: bool, pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Stretches at which `over` is zero, with their ends found out, of the places where it is (`pairs`, as of `crossings`)."""

    def zero(value: float) -> bool:
        return abs(_one(over, value)) <= FLAT

    on = _levels(over, samples) == 0.0
    found: list[tuple[float, float]] = []
    for root in (low for low, high in pairs if low == high):
        before, after = samples[~on & (samples < root)], samples[~on & (samples > root)]
        start, stop = float(samples[0]), float(samples[-1])
        if before.size:
            start = edge(zero, min(root, float(samples[samples > before[-1]].min(initial=root))), float(before[-1]), whole)[0]
        if after.size:
            stop = edge(zero, max(root, float(samples[samples < after[0]].max(initial=root))), float(after[0]), whole)[0]
        if stop - start > (0.5 if whole else 1e-6 * max(abs(root), 1e-300)):
            found.append((start, stop))
    return found


def gaps(over: Curve, samples: NDArray[np.float64], whole: bool) -> list[tuple[float, float]]:
    """Stretches without a value, with their ends found out."""
    missing = np.isnan(np.asarray(over(samples), dtype=float))
    starts = np.flatnonzero(missing & ~np.concatenate([[False], missing[:-1]]))
    stops = np.flatnonzero(missing & ~np.concatenate([missing[1:], [False]]))

    def none(value: float) -> bool:
        return math.isnan(_one(over, value))

    found: list[tuple[float, float]] = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        low = edge(none, float(samples[start]), float(samples[start - 1]), whole)[0] if start > 0 else float(samples[0])
        high = edge(none, float(samples[stop]), float(samples[stop + 1]), whole)[0] if stop + 1 < len(samples) else float(samples[-1])
        found.append((low, high))
    return found


def beside(found: list[tuple[float, float]], samples: NDArray[np.float64], whole: bool) -> NDArray[np.float64]:
    """Samples with the last value before each gap and the first one after it, so that no root next to a gap is missed."""
    low, high = samples[0], samples[-1]
    ends = [value for start, stop in found for value in ((start - 1, stop + 1) if whole else (np.nextafter(start, -np.inf), np.nextafter(stop, np.inf)))]
    return np.unique(np.concatenate([samples, [value for value in ends if low < value < high]]))


def edge(holds: Callable[[float], bool], inside: float, outside: float, whole: bool) -> tuple[float, float]:
    """The last value from `inside`, where it holds, towards `outside`, where it does not, and the first one where it does not."""
    while abs(outside - inside) > (1 if whole else 0):
        middle = math.floor((inside + outside) / 2) if whole else (inside + outside) / 2
        if middle in (inside, outside):
            break
        if holds(middle):
            inside = float(middle)
        else:
            outside = float(middle)
    return inside, outside


def _one(over: Curve, value: float) -> float:
    return float(over(np.array([value]))[0])


def _between(over: Curve, low: float, high: float, whole: bool) -> tuple[float, float]:
    def one(value: float) -> float:
        return _one(over, value)

    if not whole:
        solver: Any = brentq
        root = float(solver(one, low, high, xtol=1e-15 * max(abs(high), 1.0), rtol=8.9e-16, maxiter=200))
        below = max(np.nextafter(root, -np.inf) - 4e-15 * abs(root), low)
        above = min(np.nextafter(root, np.inf) + 4e-15 * abs(root), high)
        return (root, root) if abs(one(root)) <= 1e-9 else (float(below), float(above))
    sign = one(low) > 0
    return edge(lambda value: (one(value) > 0) == sign, low, high, whole)
