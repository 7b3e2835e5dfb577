"""A case to its metrics: every stage timed, what it needs in memory, energy and money, over all ways the request may go."""

from __future__ import annotations

from simulator.assemble import Assembly, Case, assemble
from simulator.evaluate import Run, evaluate
from simulator.host import Host, load_host
from simulator.memory import memory
from simulator.metrics import Metrics, Stage, bands, mixed, summed
from simulator.price import POWERS, dollars, watts
from simulator.program import STAGES, Program, StageName
from simulator.quantity import Numeric, exp, maximum
from simulator.stage import Total
from simulator.survey import closed_form


def floor_seconds(total: Total, passes: Numeric, devices: Numeric) -> Numeric:
    """max(FLOPs / peak, max(0, bytes - L2) / bandwidth) of a stage that runs `passes` times on `devices`.

    Bytes are those of weights and cache: activations may stay on the chip, where kernels are fused far enough."""
    chip = total.machine.chip
    moved = (total.weight_bytes + total.kv_bytes) / devices
    reused = chip.l2_bytes * maximum(passes, 1.0)
    return maximum(total.compute_floor, maximum(moved - reused, 0.0) / chip.bandwidth)


def waiting(case: Case, seconds: Numeric, busy: Numeric) -> Numeric:
    """Joules per request of the devices that are rented and not at work: other pipeline stages, all of them while the host works."""
    return seconds * maximum(case.parallel.devices - busy, 0.0) * case.chip.idle_w / case.batch


def measure(case: Case, assembly: Assembly | None = None) -> Metrics:
    """All numbers of a case; arrays in, arrays out."""
    program = (assembly or assemble(case)).program
    return _measure(case, program, load_host(case.processor) if case.preprocess else None)


def _measure(case: Case, program: Program, host: Host | None) -> Metrics:
    """The expectation over the ways a request may go, branches of branches included."""
    metrics = _measure_one(case, program, host)
    for branch in program.branches:
        metrics = mixed(metrics, _measure(case, branch.program, host), branch.weight, branch.additional)
    return metrics


def _measure_one(case: Case, program: Program, host: Host | None) -> Metrics:
    run = evaluate(program, case.machine, host)
    closed = case.engine.name == "survey"
    if closed:
        closed_form(run, case.chip)
    stages: dict[StageName, Stage] = {}
    terms: dict[StageName, dict[str, Numeric]] = {}
    joules: dict[str, Numeric] = dict.fromkeys(POWERS, 0.0)
    for name in STAGES:
        total = run.totals[name]
        stages[name] = _stage(total, run.steps[name], run.devices[name], not closed)
        terms[name] = total.terms
        moved = stages[name].bytes / run.devices[name]
        busy = 0.0 if name == "preprocess" and case.engine.overlap else run.devices[name]
        joules["on"] = joules["on"] + waiting(case, total.seconds, busy)
        for power, drawn in zip(POWERS, watts(case.chip, total.seconds, total.compute_floor, moved), strict=True):
            joules[power] = joules[power] + total.seconds * busy / case.batch * drawn
    first = [run.totals[name] for name in STAGES if name != "decode"]
    overhead = case.engine.request.seconds
    joules["on"] = joules["on"] + waiting(case, overhead, 0.0)
    ttft = stages["preprocess"].seconds + stages["encode"].seconds + stages["project"].seconds
    ttft = ttft + stages["prefill"].seconds + overhead
    steps = maximum(program.output - 1.0, 0.0)
    tpot = stages["decode"].seconds / maximum(steps, 1.0)
    latency = ttft + stages["decode"].seconds
    request = overhead * case.engine.request.spread
    batch = program.batch
    devices = float(case.parallel.devices)
    last = run.totals["decode"]
    uncertain = {"ttft_s": summed({"request": (request, request)}, *(total.uncertain() for total in first)), "tpot_s": last.uncertain()}
    uncertain["latency_s"] = summed(uncertain["ttft_s"], uncertain["tpot_s"])
    return Metrics(
        stages=stages,
        terms=terms,
        ttft_s=ttft,
        tpot_s=tpot,
        latency_s=latency,
        bands=bands(uncertain, stages, ttft, latency),
        uncertain=uncertain,
        overhead_s=overhead,
        output_tokens_per_s=batch * (case.batch / batch) * maximum(program.output, 0.0) / latency,
        memory=memory(run, case.chip, case.engine),
        energy_j=joules["on"] + joules["compute"] + joules["moving"],
        joules=joules,
        cost_usd=dollars(latency, case.price, devices) / case.batch,
        sources=_sources(run),
    )


def _stage(total: Total, steps: Numeric, devices: Numeric, floored: bool) -> Stage:
    floor = floor_seconds(total, steps, devices)
    seconds = maximum(total.seconds, floor) if floored else total.seconds
    low, high = total.band()
    moved = total.weight_bytes + total.activation_bytes + total.kv_bytes
    return Stage(
        seconds=seconds,
        seconds_lower=maximum(seconds * exp(-low), floor) if floored else seconds,
        seconds_upper=seconds * exp(high),
        seconds_floor=floor,
        matmul_flops=total.flops,
        bytes=moved,
        intensity=total.flops / maximum(moved, 1e-30),
        bound="",
        steps=steps,
    )


def _sources(run: Run) -> dict[str, float]:
    shares: dict[str, float] = {}
    for total in run.totals.values():
        for source, seconds in total.sources.items():
            shares[source] = shares.get(source, 0.0) + float(mean(seconds))
    whole = sum(shares.values()) or 1.0
    return {source: share / whole for source, share in shares.items()}


def mean(value: Numeric) -> float:
    """Over the scenarios of an array."""
    return float(value) if isinstance(value, float | int) else float(value.mean())
