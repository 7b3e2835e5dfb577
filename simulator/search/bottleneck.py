"""Bottleneck migration: which stage and which resource binds along a knob, with the boundaries solved, and as techniques are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from simulator.metrics import Metrics
from simulator.program import STAGES, StageName
from simulator.search.line import Knob, knob, plain
from simulator.search.synergy import metrics_of, seconds_of, uses_of
from simulator.spec.scenario import Scenario, TechniqueUse
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import pandas as pd

RESOURCES = ("compute", "memory", "network", "overhead", "host")
OF: dict[str, tuple[StageName, ...]] = {
    "ttft_s": ("preprocess", "encode", "project", "prefill"),
    "latency_s": STAGES,
    **{f"{stage}_s": (stage,) for stage in STAGES},
}
"""Quantities whose bottleneck can be followed, and the stages they are made of."""


@final
@dataclass(frozen=True, slots=True)
class Regime:
    """A stretch of a knob over which one stage and one resource of it take the most time."""

    start: float
    stop: float
    stage: str
    resource: str


@final
@dataclass(frozen=True, slots=True)
class _Labels:
    """Stage and resource that bind at each value, with the seconds they are compared by."""

    codes: NDArray[np.intp]
    seconds: NDArray[np.float64]
    terms: NDArray[np.float64]


def _labels(line: Knob, stages: Sequence[StageName], values: NDArray[np.float64]) -> _Labels:
    metrics = line.at(plain(values)).metrics
    seconds = np.array([np.broadcast_to(metrics.stages[name].seconds, values.shape) for name in stages])
    terms = np.array([[np.broadcast_to(metrics.terms[name][term], values.shape) for term in RESOURCES] for name in stages])
    stage = seconds.argmax(axis=0)
    resource = terms.argmax(axis=1)[stage, np.arange(values.size)]
    return _Labels(stage * len(RESOURCES) + resource, seconds, terms)


def regimes(scenario: Scenario, path: str, of: str = "latency_s", low: float | None = None, high: float | None = None) -> tuple[Regime, ...]:
    """The bottleneck along a knob: `regimes(scenario, "workload.batch", of="decode_s")`. Boundaries are where two stages, or two
    resources of one stage, take equally long, solved by Brent's method (for whole numbers: the first value of the new regime).
    Regimes narrower than the spacing of 256 samples may be missed.
    """
    if of not in OF:
        raise SpecError(f"of: {of!r} is not accepted; one of {', '.join(OF)}")
    line, stages = knob(scenario, path, low, high), OF[of]
    samples = line.samples()
    codes = _labels(line, stages, samples).codes
    found: list[tuple[float, int]] = [(line.low, int(codes[0]))]
    for at in np.flatnonzero(codes[1:] != codes[:-1]):
        _boundaries(line, stages, (float(samples[at]), int(codes[at])), (float(samples[at + 1]), int(codes[at + 1])), found)
    stops = [start for start, _ in found[1:]] + [line.high]
    return tuple(
        Regime(start, stop, stages[code // len(RESOURCES)], RESOURCES[code % len(RESOURCES)])
        for (start, code), stop in zip(found, stops, strict=True)
    )


def _boundaries(
    line: Knob, stages: Sequence[StageName], left: tuple[float, int], right: tuple[float, int], found: list[tuple[float, int]], depth: int = 0
) -> None:
    """Appends (start, code) of every regime that begins between two values with different codes."""
    below, above = _narrowed(line, stages, left, right)
    after = int(_labels(line, stages, np.array([above])).codes[0])
    found.append((above if line.whole else (below + above) / 2, after))
    if after != right[1] and depth < _NESTED:
        _boundaries(line, stages, (above, after), right, found, depth + 1)


_NESTED = 16  # regimes between two samples


def _narrowed(line: Knob, stages: Sequence[StageName], left: tuple[float, int], right: tuple[float, int]) -> tuple[float, float]:
    """Two neighbouring values around a change that starts at `left`: Brent on the difference of what binds, then bisection on the
    label where that jumps or a third regime lies between."""
    low, high = left[0], right[0]

    def margin(value: float) -> float:
        made = _labels(line, stages, np.array([value]))
        (s, r), (t, q) = divmod(left[1], len(RESOURCES)), divmod(right[1], len(RESOURCES))
        return float(made.seconds[s, 0] - made.seconds[t, 0]) if s != t else float(made.terms[s, r, 0] - made.terms[s, q, 0])

    if not line.whole and margin(low) > 0 > margin(high):
        root = float(brentq(margin, low, high, xtol=1e-15 * high, rtol=8.9e-16))  # pyright: ignore[reportArgumentType]
        reach = 1e-12 * abs(root)
        edge = max(root - reach, low), min(root + reach, high)
        codes = _labels(line, stages, np.array(edge)).codes
        if codes[0] == left[1] and codes[1] == right[1]:
            return edge
    while high - low > (1.0 if line.whole else 1e-12 * abs(high)):
        middle = float(np.floor((low + high) / 2)) if line.whole else (low + high) / 2
        if middle in (low, high):
            break
        if _labels(line, stages, np.array([middle])).codes[0] == left[1]:
            low = middle
        else:
            high = middle
    return low, high


def migration(scenario: Scenario, techniques: Sequence[str | TechniqueUse], of: str = "latency_s") -> pd.DataFrame:
    """The bottleneck as techniques are added one by one, in the order given: a row per step with seconds per stage, the stage and
    the resource that bind, and the speed-up so far."""
    import pandas as pd

    if of not in OF:
        raise SpecError(f"of: {of!r} is not accepted; one of {', '.join(OF)}")
    uses = uses_of(techniques)
    rows: list[dict[str, Any]] = []
    for count in range(len(uses) + 1):
        metrics = metrics_of(scenario, uses[:count])
        seconds = seconds_of(metrics)
        stage = max(OF[of], key=lambda name: float(metrics.stages[name].seconds))
        rows.append({
            "added": uses[count - 1].kind if count else "none", **seconds, "binding_stage": stage,
            "binding_resource": _resource(metrics, stage),
        })  # fmt: skip
        rows[-1]["speedup"] = rows[0][of] / rows[-1][of] if rows[-1][of] else 1.0
    return pd.DataFrame(rows)


def _resource(metrics: Metrics, stage: StageName) -> str:
    return max(RESOURCES, key=lambda term: float(metrics.terms[stage][term]))
