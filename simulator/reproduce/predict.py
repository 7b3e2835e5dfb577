"""Clocks, speed-ups and memory readings of a row, as one band over everything the row leaves open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from simulator.reproduce.clock import Answer, Array, Clock, answer, clock
from simulator.reproduce.mixture import Band, mixture
from simulator.reproduce.prior import CODE, NOISE
from simulator.reproduce.question import Question, questions
from simulator.reproduce.setting import UNSAID, NotComparableError, dense, techniques_of
from simulator.reproduce.table import Row

TIMES = {item: item for item in ("ttft", "prefill_time", "encode_time", "tpot", "latency", "cuda_time", "answer_time")}
RATES = {"decode_throughput": "tpot", "generate_throughput": "latency"}
SPEEDUPS = {
    "prefill_speedup": "prefill_time", "llm_speedup": "prefill_time", "ttft_speedup": "ttft", "decode_speedup": "tpot",
    "e2e_speedup": "latency",
}  # fmt: skip
SHARES = {"benchmark_time": "answer_time", "latency_reduction": "latency"}
MEMORY = ("gpu_memory", "kv_bytes")
METRICS = (*TIMES, *RATES, *SPEEDUPS, *SHARES, *MEMORY)


@final
@dataclass(frozen=True, slots=True)
class Prediction:
    """Band of what the row prints. published: the figure it is held against. floor: least that physics allows for a time
    (most, for a rate), under whatever the row leaves open; None where there is none."""

    band: Band
    published: float
    floor: float | None
    quantity: str
    assumed: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class _Component:
    value: Array
    low: Array
    high: Array
    weight: Array


def predict(row: Row) -> Prediction:
    """The prediction of a timed or weighed row. Raises NotComparableError with the reason where there is none."""
    if row.value is None:
        raise NotComparableError("no figure is printed")
    asked = questions(row)
    if not techniques_of(row) and not dense(row):
        raise NotComparableError(UNSAID)
    if row.method.startswith("Context streaming"):
        raise NotComparableError("the history's cache is reused, and only its length is stated")
    parts = [_component(row, method, baseline) for method, baseline in asked.pairs]
    weight = np.concatenate([part.weight for part in parts])
    notes = asked.assumed
    if weight.sum() == 0.0:
        weight, notes = np.ones_like(weight), (*notes, "fits no device in question")
    value, low, high = (np.concatenate([getattr(part, name) for part in parts]) for name in ("value", "low", "high"))
    noise = _noise(row)
    band = mixture(value, np.hypot(low, noise), np.hypot(high, noise), weight)
    allowed = [pair[0] for pair, part in zip(asked.pairs, parts, strict=True) if part.weight.any()] or [pair[0] for pair in asked.pairs]
    quantity, published = _published(row)
    return Prediction(band, published, _floor(row, allowed, asked.assumed), quantity, notes)


def _floor(row: Row, asked: list[Question], assumed: tuple[str, ...]) -> float | None:
    """The physical floor with the most favourable value of everything the row leaves open: one token where none is stated."""
    metric = {**TIMES, **RATES}.get(row.metric)
    if metric is None:
        return None
    least: list[float] = []
    for question in asked:
        ones = (1.0,) * len(question.text)
        favourable = replace(
            question,
            visual=ones if _drawn("visual_before", assumed) and max(question.visual) > 0.0 else question.visual,
            text=ones if _drawn("text_tokens", assumed) else question.text,
            output=(2.0,) * len(ones) if _drawn("output_tokens", assumed) else question.output,
        )
        seconds = float(clock(favourable, metric).floor.min())
        made = float(favourable.output[0]) if row.metric == "generate_throughput" else 1.0
        least.append(made * question.batch / max(seconds, 1e-12) if row.metric in RATES else seconds)
    return max(least) if row.metric in RATES else min(least)


def _drawn(name: str, assumed: tuple[str, ...]) -> bool:
    return any(note.startswith(name) for note in assumed)


def _published(row: Row) -> tuple[str, float]:
    assert row.value is not None
    if row.metric == "benchmark_time":
        if not row.baseline:
            raise NotComparableError("the number of requests is not stated, and there is no baseline")
        return "share of the baseline's time", row.value / row.baseline
    if row.metric == "latency_reduction":
        return "share of the baseline's time", 1.0 - row.value
    return row.metric, row.value


def _noise(row: Row) -> float:
    """Run against run (twice for a ratio), the method's own code, and half a unit of the last digit printed."""
    assert row.value is not None
    ratio = row.metric in SPEEDUPS or row.metric in SHARES
    run = 0.0 if row.metric in MEMORY else float(np.hypot(NOISE * (2.0**0.5 if ratio else 1.0), CODE))
    digits = max(len(f"{row.value:g}".split("e")[0].replace(".", "").strip("0")), 2)
    return float(np.hypot(run, 0.4 * 10.0 ** (1 - digits)))


def _component(row: Row, method: Question, baseline: Question) -> _Component:
    found = answer(method)
    if row.metric in MEMORY:
        return _weighed(row, found)
    if row.metric in TIMES:
        item = clock(method, TIMES[row.metric])
        return _Component(item.seconds, *_band(item), found.fits)
    if row.metric in RATES:
        item = clock(method, RATES[row.metric])
        made = found.output if row.metric == "generate_throughput" else 1.0
        batch = method.batch * made
        low, high = _band(item)
        return _Component(batch / item.seconds, high, low, found.fits)
    metric = {**SPEEDUPS, **SHARES}.get(row.metric)
    if metric is None:
        raise NotComparableError(f"{row.metric} is no time, rate or memory of a scenario")
    if method == baseline:
        raise NotComparableError(UNSAID)
    top, bottom = clock(method, metric), clock(baseline, metric)
    if row.metric in SPEEDUPS:
        top, bottom = bottom, top
    return _Component(top.seconds / bottom.seconds, *_ratio_band(top, bottom, found.scatter), found.fits * answer(baseline).fits)


def _weighed(row: Row, found: Answer) -> _Component:
    value = found.memory.peak_bytes if row.metric == "gpu_memory" else found.memory.kv_bytes_resident
    whole = np.broadcast_to(np.asarray(value, dtype=float), found.fits.shape)
    spread = np.full(whole.shape, 0.1 if row.metric == "gpu_memory" else 0.01)
    return _Component(whole, spread, spread, found.fits)


def _band(item: Clock) -> tuple[Array, Array]:
    low, high = item.shares()
    return _root(low.values(), item.seconds), _root(high.values(), item.seconds)


def _ratio_band(top: Clock, bottom: Clock, scatter: float) -> tuple[Array, Array]:
    """Both sides share the draw of a fit, so that only the difference of its shares spreads the ratio, and how far neighbouring shapes of
    a kernel scatter, the more the further the sides lie apart (as `simulator.ratio`)."""
    sides: list[Array] = []
    apart = scatter * np.minimum(np.abs(1.0 - bottom.seconds / top.seconds), 1.0)
    for above, below in zip(top.shares(), bottom.shares(), strict=True):
        zero = np.zeros_like(top.seconds)
        differences = [above.get(fit, zero) - below.get(fit, zero) for fit in {**above, **below}]
        sides.append(np.minimum(_root([*differences, apart], top.seconds), _root([*above.values(), *below.values()], top.seconds)))
    return sides[0], sides[1]


def _root(parts: object, like: Array) -> Array:
    total = np.zeros_like(like)
    for part in parts:  # type: ignore[attr-defined]
        total = total + part**2
    return np.maximum(np.sqrt(total), 1e-6)
