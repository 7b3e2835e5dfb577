"""What the figures of one scenario show, as frames: its operators, its visual tokens on their way, its memory by owner."""

from __future__ import annotations

import pandas as pd

from simulator.assemble import assemble, case_of
from simulator.evaluate import evaluate
from simulator.host import Host, load_host
from simulator.program import STAGES, Program, ways
from simulator.request import Estimate
from simulator.spec.scenario import Scenario
from simulator.stage import Machine

_TERMS = ("compute", "memory", "overhead")


def operators(scenario: Scenario) -> pd.DataFrame:
    """One row per (stage, operator, kernel): calls, seconds, flops [FLOP], bytes, intensity [FLOP/B], bound, source, fit, share.

    Work and seconds are those of one device. A branch of the program (a retry) adds its rows with its probability.
    """
    case = case_of(scenario)
    program = assemble(case).program
    host = load_host(case.processor) if case.preprocess and program.visual_input.files is not None else None
    merged: dict[tuple[str, str, str], dict[str, float | str]] = {}
    for way, share in ways(program):
        _collect(way, case.machine, host, float(share), merged)
    rows: list[dict[str, float | str]] = []
    for row in merged.values():
        bound = max(_TERMS, key=lambda term: float(row[term]))
        moved = float(row["bytes"])
        intensity = float(row["flops"]) / moved if moved > 0 else 0.0
        rows.append({key: value for key, value in row.items() if key not in _TERMS} | {"bound": bound, "intensity": intensity})
    columns = ["stage", "operator", "kernel", "format", "calls", "seconds", "flops", "bytes", "source", "fit", "bound", "intensity"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["share"] = frame["seconds"] / max(float(frame["seconds"].sum()), 1e-30)
    return frame.sort_values("seconds", ascending=False, ignore_index=True)


def _collect(
    program: Program,
    machine: Machine,
    host: Host | None,
    weight: float,
    merged: dict[tuple[str, str, str], dict[str, float | str]],
) -> None:
    run = evaluate(program, machine, host, listing=True)
    for stage in STAGES:
        for name, work, taken, repeats in run.totals[stage].rows or ():
            row = merged.setdefault(
                (stage, name, work.kernel),
                {"stage": stage, "operator": name, "kernel": work.kernel, "format": work.format, "calls": 0.0, "seconds": 0.0,
                 "flops": 0.0, "bytes": 0.0, "compute": 0.0, "memory": 0.0, "overhead": 0.0, "source": taken.source,
                 "fit": taken.fit},
            )  # fmt: skip
            times = float(repeats) * weight
            row["calls"] = float(row["calls"]) + times
            row["seconds"] = float(row["seconds"]) + float(taken.expected) * times
            row["flops"] = float(row["flops"]) + float(work.flops) * times
            row["bytes"] = float(row["bytes"]) + float(work.bytes) * times
            for term in _TERMS:
                row[term] = float(row[term]) + float(getattr(taken, term)) * times


def river(scenario: Scenario) -> pd.DataFrame:
    """Visual tokens of one request at every step from patches to the last decoder layer: step, place, layer, tokens.

    place is patches, encoder, projector, entering (what the language model gets) or decoder; a companion's tower is left out.
    """
    program = assemble(case_of(scenario)).program
    rows: list[tuple[str, int, float]] = []
    if program.towers:
        tower = program.towers[-1]
        patches = sum(float(grid.crops * grid.height * grid.width) for grid in tower.grids)
        rows.append(("patches", 0, patches))
        blocks = [layer for layer in tower.layers if layer.kind not in ("stem", "head")]
        for layer in blocks:
            rows += [("encoder", layer.index + i, patches * float(layer.keep)) for i in range(layer.count)]
    rows.append(("projector", 0, float(program.visual_input.tokens)))
    rows.append(("entering", 0, float(program.visual)))
    for layer in program.decoder.layers:
        rows += [("decoder", layer.index + i, float(program.visual * layer.keep)) for i in range(layer.count)]
    frame = pd.DataFrame(rows, columns=["place", "layer", "tokens"])
    frame.insert(0, "step", range(len(frame)))
    return frame


def memory_parts(result: Estimate) -> pd.DataFrame:
    """Peak memory of the fullest device by owner [byte]: part, bytes, with the capacity as an attribute of the frame.

    The KV cache is that of the peak: with the answer's tokens, or before anything is evicted. Weights are those on the device."""
    memory = result.memory
    activations, peak = float(memory.activation_bytes), float(memory.peak_bytes)
    reserve = float(case_of(result.scenario).engine.reserve_bytes)
    cache = max(peak - float(memory.weight_bytes) - activations - reserve, float(memory.kv_bytes_resident))
    weights = peak - cache - activations - reserve
    frame = pd.DataFrame(
        {"part": ["weights", "KV cache", "activations", "engine reserve"], "bytes": [weights, cache, activations, reserve]}
    )
    frame.attrs = {"peak": peak, "capacity": float(memory.capacity_bytes), "fits": bool(memory.fits)}
    return frame
