"""`lvlm-sim compare`: the same question to several models, devices, engines or mixes."""

from __future__ import annotations

import argparse
import json

from simulator.commands.scenario import add_scenario, read_scenario
from simulator.quantity import text
from simulator.request import Estimate, estimate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    add_scenario(parser, many=True)
    parser.add_argument("--json", action="store_true", help="a list of estimates as JSON")


def run(args: argparse.Namespace) -> int:
    """Estimate each combination and print one row for each."""
    results: list[Estimate] = []
    for model in args.model or [""]:
        for hardware in args.hardware or [""]:
            for engine in args.engine or [""]:
                for mix in args.mix or ["none"]:
                    results.append(estimate(read_scenario(args, mix=mix, model=model, hardware=hardware, engine=engine)))
    if args.json:
        print(json.dumps([result.to_dict() for result in results]))
        return 0
    from rich.markup import escape
    from rich.table import Table

    from simulator.commands.screen import console as screen

    table = Table(box=None, pad_edge=False, header_style="bold")
    mixed = ("techniques",) if args.mix else ()
    for title in ("model", "hardware", "engine", *mixed, "preprocess", "encode", "prefill", "TTFT", "80 % band", "TPOT", "bound",
                  "memory", "max batch", "J/request", "$/1000"):  # fmt: skip
        table.add_column(title, justify="left" if title in ("model", "hardware", "engine", "techniques", "bound") else "right", no_wrap=title != "techniques")
    for item in results:
        scenario, stages = item.scenario, item.stages
        fits = text(float(item.memory.peak_bytes), "B") + ("" if item.memory.fits else " [red]too much[/]")
        table.add_row(
            *(escape(part if isinstance(part, str) else part.name) for part in (scenario.model, scenario.hardware)),
            escape(scenario.engine),
            *(escape(" + ".join(use.kind for use in scenario.techniques) or "none") for _ in mixed),
            *(text(float(stages[name].seconds), "s") for name in ("preprocess", "encode", "prefill")),
            f"[bold]{text(item.ttft_s, 's')}[/]",
            f"{text(item.ttft_s_lower, 's')} – {text(item.ttft_s_upper, 's')}",
            f"[bold]{text(item.tpot_s, 's')}[/]",
            stages["decode"].bound,
            fits,
            f"{float(item.memory.max_batch):.0f}",
            f"{item.energy_j:.3g}",
            f"{item.cost_usd * 1e3:.3g}",
        )
    console = screen()
    first = results[0].scenario.workload
    console.print(
        f"{results[0].visual_tokens:.0f} visual + {first.text_tokens} text tokens in, {first.output_tokens} out, batch {first.batch}"
    )
    console.print(table)
    return 0
