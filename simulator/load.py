"""A constant number of requests in flight: continuous batching in steady state, without an event loop.

With b requests in flight each cycle of one request's life serves b prefills and the decode steps of all. A new request waits for
a share q of the other prefills before its own (the engine's queue policy); the rest of them stall running decodes:
TTFT = T_first + q (b - 1) T_each, TPOT = step(b) + (1 - q)(b - 1) T_each / (output - 1). T_each is a prompt's share of a pass
that holds as many as the engine packs into one, for requests let in together end together. Where memory admits fewer than b
requests, the others wait for a place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from simulator.assemble import Case
from simulator.measure import measure
from simulator.metrics import Metrics
from simulator.quantity import Numeric, ceil, maximum, minimum


@final
@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """ttft_s, tpot_s [s]; output_tokens_per_s of the deployment; admitted: requests that memory lets run at once."""

    ttft_s: Numeric
    tpot_s: Numeric
    output_tokens_per_s: Numeric
    admitted: Numeric


@final
@dataclass(frozen=True, slots=True)
class Parts:
    """What a load is made of: first [s] until the first token of a lone request, of which `fixed` occupies no device; each [s]: the
    device's time per prompt in full passes; step [s], of which `overhead` is the engine's own and `hosted` that for its sequences."""

    first: Numeric
    fixed: Numeric
    each: Numeric
    step: Numeric
    overhead: float
    hosted: Numeric
    output: Numeric
    concurrency: Numeric
    admitted: Numeric


def parts(case: Case) -> Parts:
    """The parts of a load of `case.batch` requests in flight."""
    alone: Metrics = measure(replace(case, batch=1.0))
    admitted = maximum(minimum(case.batch, alone.memory.max_batch), 1.0)
    together = measure(replace(case, batch=admitted))
    fixed = alone.stages["preprocess"].seconds + alone.overhead_s
    engine = case.engine
    return Parts(_device(alone), fixed, _device(together) / admitted, together.tpot_s, engine.step.seconds,
                 engine.sequence.seconds * ceil(admitted / case.parallel.dp), case.output, case.batch, admitted)  # fmt: skip


def _device(metrics: Metrics) -> Numeric:
    """Seconds of the device until the first token."""
    return metrics.stages["encode"].seconds + metrics.stages["project"].seconds + metrics.stages["prefill"].seconds


def closed_loop(made: Parts, queue_share: Numeric) -> ClosedLoop:
    """The load's latencies."""
    steps = maximum(made.output - 1.0, 1.0)
    others = made.admitted - 1.0
    tpot = made.step + (1.0 - queue_share) * others * made.each / steps
    ttft = made.fixed + made.first + made.each * queue_share * others
    life = ttft + tpot * steps
    waiting = life * (made.concurrency / made.admitted - 1.0)
    return ClosedLoop(ttft + waiting, tpot, made.admitted * made.output / life, made.admitted)
