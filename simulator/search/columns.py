"""What a frame holds for each point: fixed names in SI units, each a formula over the metrics of a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from simulator.assemble import Assembly, Case
from simulator.metrics import Metrics
from simulator.presets import deployability
from simulator.program import STAGES, ways
from simulator.quantity import Numeric, exp, where
from simulator.spec.source import SpecError
from simulator.spec.validated import nearest
from simulator.technique import name_of

BOUNDS = ("-", "compute", "memory", "network", "overhead", "host")
"""What a `<stage>_bound` may be; `-` for a stage that takes no time."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A case with all that is known of it."""

    case: Case
    assembly: Assembly
    metrics: Metrics


def _edge(name: str, side: int) -> Callable[[Point], Numeric]:
    sign = (-1.0, 1.0)[side]
    return lambda point: getattr(point.metrics, name) * exp(sign * point.metrics.bands[name][side])


def _plain(name: str) -> Callable[[Point], Numeric]:
    return lambda point: getattr(point.metrics, name)


def _memory(name: str) -> Callable[[Point], Numeric]:
    return lambda point: getattr(point.metrics.memory, name)


def _stage(stage: Any) -> Callable[[Point], Numeric]:
    return lambda point: point.metrics.stages[stage].seconds


def _within_context(point: Point) -> Numeric:
    limit, within = point.assembly.program.decoder.max_context, 1.0
    for way, share in ways(point.assembly.program) if limit else ():
        within = where((share > 0.0) & (way.sequence > limit), 0.0, within)
    return within


def fidelity_of(point: Point) -> tuple[Numeric, Numeric, Numeric]:
    """Retained accuracy with its 80 % band [fraction]; NaN where there is no evidence, 1 where nothing is lost."""
    from simulator.fidelity import Use, retained

    uses = [Use(name, item.about.family, kept, item.about.axis) for name, item, kept in point.assembly.uses if not item.about.lossless]
    if not uses:
        return 1.0, 1.0, 1.0
    found = retained(uses, point.case.model.name, task_class=point.case.task)
    missing = float("nan")
    return tuple(missing if value is None else value for value in (found.retained, found.low, found.high))  # type: ignore[return-value]


def _bound(stage: Any) -> Callable[[Point], Any]:
    def code(point: Point) -> Any:
        terms = point.metrics.terms[stage]
        best: Any = terms[BOUNDS[1]]
        found: Any = 1.0
        for index, name in enumerate(BOUNDS[2:], 2):
            more = terms[name]
            found, best = where(more > best, float(index), found), where(more > best, more, best)
        return where(point.metrics.stages[stage].seconds > 0.0, found, 0.0)

    return code


FORMULAS: dict[str, Callable[[Point], Numeric]] = {
    "ttft_s": _plain("ttft_s"), "ttft_s_lower": _edge("ttft_s", 0), "ttft_s_upper": _edge("ttft_s", 1),
    "tpot_s": _plain("tpot_s"), "tpot_s_lower": _edge("tpot_s", 0), "tpot_s_upper": _edge("tpot_s", 1),
    "latency_s": _plain("latency_s"), "latency_s_lower": _edge("latency_s", 0), "latency_s_upper": _edge("latency_s", 1),
    "output_tokens_per_s": _plain("output_tokens_per_s"),
    "visual_tokens": lambda point: point.assembly.program.visual,
    "weight_bytes": _memory("weight_bytes"), "kv_bytes_written": _memory("kv_bytes_written"),
    "kv_bytes_resident": _memory("kv_bytes_resident"), "activation_bytes": _memory("activation_bytes"),
    "peak_bytes": _memory("peak_bytes"), "fits": _memory("fits"), "max_batch": _memory("max_batch"),
    "within_context": _within_context,
    "energy_j": _plain("energy_j"), "cost_usd": _plain("cost_usd"),
    "fidelity": lambda point: fidelity_of(point)[0], "fidelity_low": lambda point: fidelity_of(point)[1],
    "fidelity_high": lambda point: fidelity_of(point)[2],
    **{f"{stage}_s": _stage(stage) for stage in STAGES},
    **{f"{stage}_bound": _bound(stage) for stage in STAGES},
}  # fmt: skip

METRICS: tuple[str, ...] = tuple(FORMULAS)
"""Every metric column, in order."""
FLAGS = frozenset(("fits", "within_context"))
CODED = frozenset(f"{stage}_bound" for stage in STAGES)
NOTES = ("deployable", "refused")
"""Text columns of every frame. deployable: runs, patch or hypothetical on the engine, that of the least ready technique.
refused: why a combination cannot be, in which case its metrics are missing."""


def checked(names: str | Sequence[str] | None) -> tuple[str, ...]:
    """Metric names in column order; all where None, one where a text. Raises SpecError for one that is not a metric."""
    if names is None:
        return METRICS
    names = [names] if isinstance(names, str) else names
    for name in names:
        if name not in FORMULAS:
            close = nearest(str(name), METRICS)
            raise SpecError(f"metrics: {name!r} is not a metric; {'did you mean ' + ' or '.join(close) + '?' if close else 'one of ' + ', '.join(METRICS)}")
    return tuple(name for name in METRICS if name in set(names))


def dtype_of(name: str) -> Any:
    """How a metric is stored."""
    return np.dtype(bool) if name in FLAGS else np.dtype(np.int8) if name in CODED else np.dtype(np.float64)


def values(point: Point, names: Sequence[str], shape: tuple[int, ...]) -> dict[str, Any]:
    """Columns of a block, one value per point in C order."""
    found: dict[str, Numeric] = {}
    if sum(name.startswith("fidelity") for name in names) > 1:
        found = dict(zip(("fidelity", "fidelity_low", "fidelity_high"), fidelity_of(point), strict=True))
    return {
        name: np.broadcast_to(np.asarray(found[name] if name in found else FORMULAS[name](point), dtype=dtype_of(name)), shape).reshape(-1)
        for name in names
    }


_READY = ("runs", "patch", "hypothetical")


def deployable(techniques: Sequence[tuple[str, Any]], engine: str) -> str:
    """How ready the least ready technique of a mix is on an engine; `runs` without any."""
    states: list[str] = [deployability(name, name_of(type(item)), engine)[0] for name, item in techniques]
    return max(states, key=_READY.index, default="runs")


def missing(names: Sequence[str], rows: int) -> dict[str, Any]:
    """Columns of points that cannot be."""
    return {name: np.zeros(rows, dtype_of(name)) if name in FLAGS | CODED else np.full(rows, np.nan) for name in names}


Columns = Mapping[str, Any]
