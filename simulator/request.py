"""One scenario to one estimate: time, memory, energy, money and fidelity of a request, with bands and their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, final

from simulator.assemble import Assembly, Case, assemble, case_of
from simulator.evaluate import Run, evaluate
from simulator.host import load_host
from simulator.memory import Memory, memory
from simulator.price import dollars, watts
from simulator.program import STAGES, Program, StageName
from simulator.quantity import Numeric, exp, maximum
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError
from simulator.stage import TERMS, Total, half_widths
from simulator.survey import closed_form

if TYPE_CHECKING:
    import pandas as pd

_BOUND = {"compute": "compute", "memory": "memory", "network": "network", "overhead": "overhead", "host": "host"}


@final
@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the whole batch. matmul_flops, bytes: totals over devices; bound: the term that takes the most time."""

    seconds: Numeric
    seconds_lower: Numeric
    seconds_upper: Numeric
    seconds_floor: Numeric
    matmul_flops: Numeric
    bytes: Numeric
    intensity: Numeric
    bound: str
    steps: Numeric


@final
@dataclass(frozen=True, slots=True, eq=False)
class Metrics:
    """What a case costs, in numbers or arrays. low, high per sum: 80 % half-widths in log."""

    stages: dict[StageName, Stage]
    terms: dict[StageName, dict[str, Numeric]]
    ttft_s: Numeric
    tpot_s: Numeric
    latency_s: Numeric
    bands: dict[str, tuple[Numeric, Numeric]]
    uncertain: dict[str, dict[str, tuple[Numeric, Numeric]]]
    overhead_s: Numeric
    output_tokens_per_s: Numeric
    memory: Memory
    energy_j: Numeric
    cost_usd: Numeric
    sources: dict[str, float]


def floor_seconds(total: Total, passes: Numeric, devices: Numeric) -> Numeric:
    """max(FLOPs / peak, max(0, bytes - L2) / bandwidth) of a stage that runs `passes` times on `devices`."""
    chip = total.machine.chip
    moved = (total.weight_bytes + total.activation_bytes + total.kv_bytes) / devices
    reused = chip.l2_bytes * maximum(passes, 1.0)
    return maximum(total.compute_floor, maximum(moved - reused, 0.0) / chip.bandwidth)


def measure(case: Case, assembly: Assembly | None = None) -> Metrics:
    """All numbers of a case; arrays in, arrays out."""
    program = (assembly or assemble(case)).program
    host = load_host(case.processor) if case.preprocess else None
    metrics = _measure_one(case, program, host)
    for branch in program.branches:
        other = _measure_one(case, branch.program, host)
        metrics = _mixed(metrics, other, branch.weight, branch.additional)
    return metrics


def _measure_one(case: Case, program: Program, host: Any) -> Metrics:
    run = evaluate(program, case.machine, host)
    closed = case.engine.name == "survey"
    if closed:
        closed_form(run, case.chip)
    stages: dict[StageName, Stage] = {}
    terms: dict[StageName, dict[str, Numeric]] = {}
    energy: Numeric = 0.0
    for name in STAGES:
        total = run.totals[name]
        stages[name] = _stage(total, run.steps[name], run.devices[name], not closed)
        terms[name] = total.terms
        moved = stages[name].bytes / run.devices[name]
        busy = run.devices[name]
        energy = energy + total.seconds * busy * watts(case.chip, total.seconds, total.compute_floor, moved)
    first = [run.totals[name] for name in STAGES if name != "decode"]
    overhead = case.engine.request.seconds
    ttft = stages["preprocess"].seconds + stages["encode"].seconds + stages["project"].seconds
    ttft = ttft + stages["prefill"].seconds + overhead
    steps = maximum(program.output - 1.0, 0.0)
    tpot = stages["decode"].seconds / maximum(steps, 1.0)
    latency = ttft + stages["decode"].seconds
    request = (overhead, case.engine.request.spread)
    batch = program.batch
    devices = float(case.parallel.devices)
    last = run.totals["decode"]
    uncertain = {
        "ttft_s": _uncertain(first, request),
        "tpot_s": last.uncertain(),
        "latency_s": _uncertain([*first, last], request),
    }
    return Metrics(
        stages=stages,
        terms=terms,
        ttft_s=ttft,
        tpot_s=tpot,
        latency_s=latency,
        bands={
            "ttft_s": half_widths(uncertain["ttft_s"], ttft),
            "tpot_s": half_widths(uncertain["tpot_s"], run.totals["decode"].seconds),
            "latency_s": half_widths(uncertain["latency_s"], latency),
        },
        uncertain=uncertain,
        overhead_s=overhead,
        output_tokens_per_s=batch * (case.batch / batch) * maximum(program.output, 0.0) / latency,
        memory=memory(run, case.chip, case.engine),
        energy_j=energy / case.batch,
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


def _uncertain(totals: list[Total], request: tuple[float, float]) -> dict[str, tuple[Numeric, Numeric]]:
    """Fit -> (low, high) of a sum of stages and the request's own overhead."""
    sums: dict[str, tuple[Numeric, Numeric]] = {"request": (request[0] * request[1], request[0] * request[1])}
    for total in totals:
        for fit, (low, high) in total.uncertain().items():
            below, above = sums.get(fit, (0.0, 0.0))
            sums[fit] = (below + low, above + high)
    return sums


def _sources(run: Run) -> dict[str, float]:
    shares: dict[str, float] = {}
    for total in run.totals.values():
        for source, seconds in total.sources.items():
            shares[source] = shares.get(source, 0.0) + float(_mean(seconds))
    whole = sum(shares.values()) or 1.0
    return {source: share / whole for source, share in shares.items()}


def _mean(value: Numeric) -> float:
    return float(value) if isinstance(value, float | int) else float(value.mean())


def _mixed(main: Metrics, other: Metrics, weight: Numeric, additional: bool) -> Metrics:
    """Expectation over a branch: `weight` of `other`, in place of the main way or on top of it."""
    stay = 1.0 if additional else 1.0 - weight

    def mix(a: Numeric, b: Numeric) -> Numeric:
        return a * stay + b * weight

    stages: dict[StageName, Stage] = {}
    for name in STAGES:
        a, b = main.stages[name], other.stages[name]
        values = {item.name: mix(getattr(a, item.name), getattr(b, item.name)) for item in fields(Stage) if item.name != "bound"}
        values["intensity"] = values["matmul_flops"] / maximum(values["bytes"], 1e-30)
        if name == "decode" and additional:  # the low-resolution answer is not read out to the end
            values = {item.name: getattr(b, item.name) * weight + getattr(a, item.name) * (1.0 - weight)
                      for item in fields(Stage) if item.name != "bound"}  # fmt: skip
        stages[name] = Stage(bound="", **values)
    decoding = stages["decode"].seconds
    ttft = mix(main.ttft_s, other.ttft_s)
    latency = ttft + decoding
    bands = {key: (maximum(main.bands[key][0], other.bands[key][0]), maximum(main.bands[key][1], other.bands[key][1]))
             for key in main.bands}  # fmt: skip
    widest = {item.name: maximum(getattr(main.memory, item.name), getattr(other.memory, item.name)) for item in fields(Memory)}
    widest["max_batch"] = -maximum(-main.memory.max_batch, -other.memory.max_batch)
    widest["fits"] = main.memory.fits * other.memory.fits
    return replace(
        main,
        stages=stages,
        terms={name: {term: mix(main.terms[name][term], other.terms[name][term]) for term in TERMS} for name in STAGES},
        overhead_s=mix(main.overhead_s, other.overhead_s),
        ttft_s=ttft,
        tpot_s=main.tpot_s * (1.0 - weight) + other.tpot_s * weight,
        latency_s=latency,
        bands=bands,
        output_tokens_per_s=main.output_tokens_per_s * main.latency_s / latency,
        memory=Memory(**widest),
        energy_j=mix(main.energy_j, other.energy_j),
        cost_usd=mix(main.cost_usd, other.cost_usd),
    )


def bound_of(terms: Mapping[str, Numeric]) -> str:
    """The term with the most seconds."""
    return max(_BOUND, key=lambda name: _mean(terms[name]))


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """What a scenario costs. SI units; `_lower` and `_upper` are an 80 % prediction interval; DESIGN names every field."""

    scenario: Scenario
    visual_tokens: float
    visual_tokens_per_layer: tuple[float, ...]
    visual_tokens_mean: float
    parameters: dict[str, int]
    stages: dict[str, Stage]
    ttft_s: float
    ttft_s_lower: float
    ttft_s_upper: float
    tpot_s: float
    tpot_s_lower: float
    tpot_s_upper: float
    latency_s: float
    latency_s_lower: float
    latency_s_upper: float
    overhead_s: float
    output_tokens_per_s: float
    memory: Memory
    energy_j: float
    cost_usd: float
    fidelity: Any
    boundary_bytes: dict[str, float]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]
    calibration: dict[str, Any]

    def table(self) -> pd.DataFrame:
        """One row per stage."""
        import pandas as pd

        frame = pd.DataFrame([{"stage": name, **asdict(stage)} for name, stage in self.stages.items()])
        return frame.set_index("stage")

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `lvlm-sim estimate --json`."""
        data = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "scenario"}
        data["stages"] = {name: asdict(stage) for name, stage in self.stages.items()}
        data["memory"] = asdict(self.memory) | {"fits": bool(self.memory.fits)}
        data["fidelity"] = None if self.fidelity is None else asdict(self.fidelity)
        data["scenario"] = self.scenario.model_dump(mode="json")
        return data


def estimate(scenario: Scenario) -> Estimate:
    """Cost of one scenario. Raises SpecError in one line on anything that cannot be."""
    case = case_of(scenario)
    return estimate_case(case, scenario)


def estimate_case(case: Case, scenario: Scenario) -> Estimate:
    """As `estimate`, for a case already at hand."""
    from simulator.build.count import parameters

    assembly = assemble(case)
    program = assembly.program
    _check_context(case, program)
    metrics = measure(case, assembly)
    stages: dict[str, Stage] = {
        name: replace(stage, bound=bound_of(metrics.terms[name])) for name, stage in metrics.stages.items()
    }
    per_layer = tuple(
        float(program.visual * layer.keep) for layer in program.decoder.layers for _ in range(layer.count)
    )
    assumptions, warnings = _notes(case, program, metrics)
    fidelity, unknown = _evidence(_fidelity(case, assembly))
    bounds = {
        f"{name}_{side}": float(getattr(metrics, name) * factor)
        for name in ("ttft_s", "tpot_s", "latency_s")
        for side, factor in (("lower", exp(-metrics.bands[name][0])), ("upper", exp(metrics.bands[name][1])))
    }
    return Estimate(
        scenario=scenario,
        visual_tokens=float(program.visual),
        visual_tokens_per_layer=per_layer,
        visual_tokens_mean=sum(per_layer) / max(len(per_layer), 1),
        parameters=parameters(case.model),
        stages=stages,
        ttft_s=float(metrics.ttft_s),
        tpot_s=float(metrics.tpot_s),
        latency_s=float(metrics.latency_s),
        overhead_s=float(metrics.overhead_s),
        output_tokens_per_s=float(metrics.output_tokens_per_s),
        memory=metrics.memory,
        energy_j=float(metrics.energy_j),
        cost_usd=float(metrics.cost_usd),
        fidelity=fidelity,
        boundary_bytes={name: float(value) for name, value in program.boundary_bytes.items()},
        assumptions=assumptions,
        warnings=warnings + unknown,
        calibration=_calibration(case, metrics),
        **bounds,
    )


def _fidelity(case: Case, assembly: Assembly) -> Any:
    if not assembly.uses:
        return None
    from simulator.fidelity import Use, retained

    uses = [
        Use(name, item.about.family, float(kept), item.about.axis) for name, item, kept in assembly.uses if not item.about.lossless
    ]
    return retained(uses, case.model.name, task_class=case.task) if uses else None


def _evidence(found: Any) -> tuple[Any, tuple[str, ...]]:
    """The fidelity to report and a warning where there is no evidence."""
    if found is None or found.grade != "none":
        return found, ()
    return None, (f"fidelity: no evidence ({'; '.join(found.evidence) or 'nothing published'})",)


def _check_context(case: Case, program: Program) -> None:
    limit = program.decoder.max_context
    total = program.visual_input.tokens * program.visual_keep + program.text + program.output
    if limit and float(total) > limit:
        raise SpecError(
            f"workload: {float(total):.0f} tokens exceed the {limit:.0f} of {case.model.name}; "
            "use fewer or smaller pictures, less text or output"
        )


def _notes(case: Case, program: Program, metrics: Metrics) -> tuple[tuple[str, ...], tuple[str, ...]]:
    notes = [*program.assumptions, *program.visual_input.notes]
    if case.device.assumed():
        notes.append(f"{case.device.name}: assumed figures {', '.join(case.device.assumed())}")
    engine = case.engine
    for label, item in (("launch", engine.launch), ("step", engine.step), ("stage", engine.stage), ("request", engine.request)):
        if item.source.kind == "assumed":
            notes.append(f"{engine.name} {label} overhead {item.seconds * 1e3:.3g} ms is assumed: {item.source.reference}")
    if case.preprocess:
        notes.append(f"preprocess: {engine.workers} host workers ({case.processor} processor)")
    notes.append("energy: power model between idle and TDP, good to about 30 %")
    warnings = [*program.warnings, *_undeployable(case)]
    memory = metrics.memory
    if not memory.fits:
        over = float(memory.peak_bytes) - float(memory.capacity_bytes) * engine.memory_share
        warnings.append(
            f"does not fit: {over / 1e9:.1f} GB over the {engine.memory_share:.0%} of {case.device.name} that {engine.name} may use; "
            + _way_out(case, memory)
        )
    return tuple(dict.fromkeys(notes)), tuple(dict.fromkeys(warnings))


def _undeployable(case: Case) -> list[str]:
    """What of the mix the engine does not run as it ships."""
    out: list[str] = []
    if case.engine.fits == "ideal":
        return out
    for name, technique in case.techniques:
        about = technique.about
        status, source = about.engines.get(case.engine.name, ("hypothetical", "no engine is known to ship it"))
        if status != "runs":
            out.append(f"{name}: {status} on {case.engine.name} ({source})")
    return out


def _way_out(case: Case, memory: Memory) -> str:
    """What to try when a scenario does not fit."""
    if float(memory.max_batch) >= 1:
        return f"batch {float(memory.max_batch):.0f} fits"
    if float(memory.weight_bytes) > float(memory.capacity_bytes) * case.engine.memory_share:
        return f"try --tp {case.parallel.tp * 2}, or weight_quant"
    return "try fewer visual tokens, kv_quant, or more devices (--tp)"


def _calibration(case: Case, metrics: Metrics) -> dict[str, Any]:
    shares = metrics.sources
    source = max(shares, key=lambda name: shares[name]) if shares else "none"
    kernels = case.machine.kernels
    errors = {op: kernels.validated_error(op) for op in ("gemm", "prefill_attention", "decode_attention", "encoder_attention")}
    return {"source": source, "share_of_seconds": shares, "error": errors, "engine": f"{case.engine.name} {case.engine.version}"}
