"""`lvlm-sim estimate`: one scenario as a readable table or as JSON."""

from __future__ import annotations

import argparse
import json
from typing import Any

from simulator.assemble import assemble, case_of
from simulator.commands.scenario import add_scenario, read_scenario
from simulator.evaluate import evaluate
from simulator.host import load_host
from simulator.program import STAGES
from simulator.quantity import text
from simulator.request import Estimate, estimate
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    add_scenario(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object in SI units")
    parser.add_argument("--explain", metavar="STAGE", help="the operators of a stage with their work, time and bound")
    parser.add_argument("--flops-convention", metavar="c1..c7", help="also count FLOPs the way a family of papers does")


def run(args: argparse.Namespace) -> int:
    """Estimate and print."""
    scenario = read_scenario(args)
    result = estimate(scenario)
    convention = _convention(scenario, args.flops_convention) if args.flops_convention is not None else None
    operators = explain(scenario, args.explain) if args.explain is not None else None
    if args.json:
        data = result.to_dict()
        if convention is not None:
            data["convention_flops"] = convention
        if operators is not None:
            data["explain"] = operators
        print(json.dumps(data))
        return 0
    _print(result)
    if convention is not None:
        print("convention FLOPs: " + ", ".join(f"{name} {text(value, 'FLOP')}" for name, value in convention.items()))
    if operators is not None:
        _print_operators(str(args.explain), operators)
    return 0


def _convention(scenario: Scenario, name: str) -> dict[str, float]:
    from simulator.conventions import convention_flops

    return convention_flops(case_of(scenario), name)


def explain(scenario: Scenario, stage: str) -> list[dict[str, Any]]:
    """One row per operator of a stage: work, seconds, share, bound and where its efficiency comes from."""
    if stage not in STAGES:
        raise SpecError(f"--explain: {stage!r} is not a stage; one of {', '.join(STAGES)}")
    case = case_of(scenario)
    run = evaluate(assemble(case).program, case.machine, load_host(case.processor) if case.preprocess else None, listing=True)
    total = run.totals[stage]
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for name, work, taken, scale in total.rows or ():
        row = merged.setdefault(
            (name, work.kernel),
            {"operator": name, "kernel": work.kernel, "calls": 0.0, "seconds": 0.0, "flops": 0.0, "bytes": 0.0,
             "compute": 0.0, "memory": 0.0, "overhead": 0.0, "source": taken.source, "fit": taken.fit},
        )  # fmt: skip
        row["calls"] += float(scale)
        row["seconds"] += float(taken.expected * scale)
        row["flops"] += float(work.flops * scale)
        row["bytes"] += float(work.bytes * scale)
        for term in ("compute", "memory", "overhead"):
            row[term] += float(getattr(taken, term) * scale)
    rows = sorted(merged.values(), key=lambda row: -row["seconds"])
    whole = float(total.seconds) or 1.0
    for row in rows:
        terms = {term: row.pop(term) for term in ("compute", "memory", "overhead")}
        row["bound"] = max(terms, key=lambda term: terms[term])
        row["share"] = row["seconds"] / whole
    return rows


def _print(result: Estimate) -> None:
    from rich.markup import escape
    from rich.table import Table

    from simulator.commands.screen import console as screen

    console = screen()
    scenario = result.scenario
    mix = " + ".join(use.kind for use in scenario.techniques) or "no techniques"
    console.print(
        f"[bold]{escape(_name(scenario.model))}[/] on [bold]{escape(_name(scenario.hardware))}[/], {escape(scenario.engine)}, {scenario.format}, {mix}: "
        f"{result.visual_tokens:.0f} visual + {scenario.workload.text_tokens} text tokens in, "
        f"{scenario.workload.output_tokens} out, batch {scenario.workload.batch}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("stage", "time", "80 % band", "share", "", "FLOPs", "bytes", "FLOP/B", "bound"):
        table.add_column(title, justify="left" if title in ("stage", "", "bound") else "right", no_wrap=True)
    whole = sum(float(stage.seconds) for stage in result.stages.values()) or 1.0
    for name, stage in result.stages.items():
        share = float(stage.seconds) / whole
        table.add_row(
            name,
            text(float(stage.seconds), "s"),
            f"{text(float(stage.seconds_lower), 's')} – {text(float(stage.seconds_upper), 's')}",
            f"{share:.0%}",
            "█" * round(share * 16),
            text(float(stage.matmul_flops), ""),
            text(float(stage.bytes), "B"),
            f"{float(stage.intensity):.0f}" if stage.bytes else "-",
            stage.bound if stage.seconds else "-",
        )
    console.print(table)
    band = "[dim]({} – {})[/]".format
    memory = result.memory
    console.print(
        f"TTFT [bold]{text(result.ttft_s, 's')}[/] {band(text(result.ttft_s_lower, 's'), text(result.ttft_s_upper, 's'))}   "
        f"TPOT [bold]{text(result.tpot_s, 's')}[/] {band(text(result.tpot_s_lower, 's'), text(result.tpot_s_upper, 's'))}   "
        f"latency [bold]{text(result.latency_s, 's')}[/]   {result.output_tokens_per_s:.0f} output tokens/s"
    )
    console.print(
        f"memory {text(float(memory.peak_bytes), 'B')} of {text(float(memory.capacity_bytes), 'B')} "
        f"(weights {text(float(memory.weight_bytes), 'B')}, KV {text(float(memory.kv_bytes_written), 'B')} written, "
        f"{text(float(memory.kv_bytes_resident), 'B')} resident), "
        + (f"[green]fits[/], largest batch {float(memory.max_batch):.0f}" if memory.fits else "[red]does not fit[/]")
    )
    console.print(f"energy {text(result.energy_j, 'J')} per request and ${result.cost_usd * 1e3:.3g} per 1,000 requests")
    if result.fidelity is not None:
        console.print(f"fidelity {_fidelity(result.fidelity)}")
    source = result.calibration
    console.print(f"[dim]times are {source['source']}, engine {escape(str(source['engine']))}[/]")
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")
    if result.assumptions:
        console.print("[dim]assumes: " + escape("; ".join(result.assumptions)) + "[/]", highlight=False)


def _fidelity(item: Any) -> str:
    if item.retained is None:
        return "no evidence"
    return f"{item.retained:.1%} retained ({item.low:.1%} – {item.high:.1%}), {item.grade} evidence"


def _name(item: Any) -> str:
    return item if isinstance(item, str) else str(item.name)


def _print_operators(stage: str, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from simulator.commands.screen import console as screen

    table = Table(title=f"operators of {stage}", box=None, header_style="bold", title_justify="left")
    for title in ("operator", "kernel", "calls", "time", "share", "FLOPs", "bytes", "bound", "source"):
        table.add_column(title, justify="left" if title in ("operator", "kernel", "bound", "source") else "right")
    for row in rows:
        table.add_row(
            row["operator"], row["kernel"], f"{row['calls']:.0f}", text(row["seconds"], "s"), f"{row['share']:.1%}",
            text(row["flops"], ""), text(row["bytes"], "B"), row["bound"], row["source"],
        )  # fmt: skip
    screen().print(table)
