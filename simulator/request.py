"""One scenario to one estimate: time, memory, energy, money and fidelity of a request, with bands and their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, final

from simulator.assemble import Assembly, Case, assemble, case_of
from simulator.measure import mean, measure
from simulator.memory import Memory
from simulator.metrics import Metrics, Stage
from simulator.presets import deployability
from simulator.program import Program, ways
from simulator.quantity import Numeric, exp
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError
from simulator.stage import TERMS
from simulator.technique import name_of

if TYPE_CHECKING:
    import pandas as pd


def bound_of(terms: Mapping[str, Numeric]) -> str:
    """The term with the most seconds."""
    return max(TERMS, key=lambda name: mean(terms[name]))


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
    return None, (f"fidelity: {'; '.join(found.evidence)}",)


def _check_context(case: Case, program: Program) -> None:
    limit = program.decoder.max_context
    total = max(float(way.sequence) for way, share in ways(program) if share > 0.0)
    if limit and total > limit:
        raise SpecError(
            f"workload: {total:.0f} tokens exceed the {limit:.0f} of {case.model.name}; "
            "use fewer or smaller pictures, fewer frames, less text or output"
        )


def _notes(case: Case, program: Program, metrics: Metrics) -> tuple[tuple[str, ...], tuple[str, ...]]:
    notes = [*program.assumptions, *program.visual_input.notes]
    if case.device.assumed():
        notes.append(f"{case.device.name}: assumed figures {', '.join(case.device.assumed())}")
    engine = case.engine
    for label, item in (("launch", engine.launch), ("step", engine.step), ("sequence", engine.sequence), ("stage", engine.stage), ("request", engine.request)):
        if item.source.kind == "assumed":
            notes.append(f"{engine.name} {label} overhead {item.seconds * 1e3:.3g} ms is assumed: {item.source.reference}")
    if case.preprocess:
        notes.append(f"preprocess: {engine.workers} host workers ({case.processor} processor)")
    notes += _spread(case)
    notes.append("energy: of the devices alone, by a power model between idle and TDP, good to about 30 %")
    warnings = [*program.warnings, *_undeployable(case)]
    memory = metrics.memory
    if not memory.fits:
        over = float(memory.peak_bytes) - float(memory.capacity_bytes) * engine.memory_share
        warnings.append(
            f"does not fit: {over / 1e9:.1f} GB over the {engine.memory_share:.0%} of {case.device.name} that {engine.name} may use; "
            + _way_out(case, memory)
        )
    return tuple(dict.fromkeys(notes)), tuple(dict.fromkeys(warnings))


def _spread(case: Case) -> list[str]:
    """What is assumed of several devices."""
    device, parallel = case.device, case.parallel
    out: list[str] = []
    group = max(parallel.tp, parallel.ep)
    if group > device.max_devices:
        link = device.pcie.name if device.scale_up is None else f"{device.scale_up.name} within {device.max_devices} devices and {device.pcie.name} between"
        out.append(f"{group} {device.name} are more than the {device.max_devices} that are joined in one: traffic over {link}")
    if parallel.pp > 1:
        out.append(f"pp {parallel.pp}: the batch goes through the stages one after the other, with no other batch in flight")
    return out


def _undeployable(case: Case) -> list[str]:
    """What of the mix the engine does not run as it ships."""
    out: list[str] = []
    if case.engine.fits == "ideal":
        return out
    for name, technique in case.techniques:
        status, source = deployability(name, name_of(type(technique)), case.engine.name)
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
