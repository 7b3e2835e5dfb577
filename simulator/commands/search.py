"""`lvlm-sim search SPACE.yaml`: the front of a space, by trying everything or, where that is too much, by an optimiser."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simulator.commands.sweep import add_space, rows_of, workers
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import pandas as pd

    from simulator.search import Space

EXHAUSTIVE = 2_000_000
"""Points up to which everything is tried."""
EVALUATIONS = 2_000
"""Points tried by the optimiser where no number is given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    add_space(parser)
    parser.add_argument("--objective", action="append", metavar="COLUMN[:min|max]", help="may be repeated; default: the file's objectives")
    parser.add_argument("--where", action="append", metavar="CONDITION", help="e.g. 'ttft_s <= 0.2'; may be repeated")
    parser.add_argument("--epsilon", type=float, default=0.0, help="relative distance within which one winner stands for others")
    parser.add_argument("--ready", choices=("runs", "patch", "hypothetical"), help="the least a mix must be on its engine")
    parser.add_argument(
        "--evaluations", type=int, help=f"search with so many points instead of trying everything (default above {EXHAUSTIVE} points: {EVALUATIONS})"
    )
    parser.add_argument("--method", choices=("nsga2", "tpe"), default="nsga2", help="optimiser (default nsga2)")
    parser.add_argument("--seed", type=int, default=0, help="of the optimiser (default 0)")
    parser.add_argument("--storage", metavar="FILE", help="journal of the optimiser; given again, the search goes on")


def run(args: argparse.Namespace) -> int:
    """Search and print the winners."""
    from simulator.search import METRICS, optimise, pareto, read_space, sweep
    from simulator.search.columns import NOTES, checked
    from simulator.search.expression import parse
    from simulator.search.objectives import known, signs_of
    from simulator.search.sweeps import watched
    from simulator.spec.yaml import read_yaml

    space = read_space(args.space)
    objectives = _objectives(args.objective or read_yaml(args.space).get("objectives") or ["ttft_s", "tpot_s", "cost_usd"])
    where: list[str] = args.where or []
    axes = [axis.path for axis in space.axes]
    known([*axes, *METRICS, *NOTES], signs_of(objectives))
    named = {name for text in where for name in parse(text).names}
    metrics = None
    if args.metrics:  # and what decides on the winners
        asked = checked(args.metrics.split(","))
        metrics = [name for name in METRICS if name in {*asked, *objectives, *named, "fits", "within_context"}]
    few = args.evaluations is None and space.size <= EXHAUSTIVE
    if few and args.storage:
        raise SpecError(f"--storage: everything is tried where there are {space.size} points, which needs none; give --evaluations to search")
    most = EVALUATIONS if args.evaluations is None else args.evaluations
    if most < 1:
        raise SpecError(f"--evaluations: {most} is not accepted; 1 or more")
    show = not args.no_progress and not args.json
    with workers(args.workers) as pool:
        if few:
            frame = sweep(space, metrics, executor=pool, progress=show)
        else:
            with watched(min(most, space.size), show) as told:
                seen = [0]

                def advance(done: int, evaluations: int) -> None:
                    told(done - seen[0], evaluations)
                    seen[0] = done

                frame = optimise(
                    space, objectives, evaluations=most, constraints=where, method=args.method, seed=args.seed, storage=args.storage,
                    executor=pool, ready=args.ready, advance=advance,
                ).trials  # fmt: skip
    rules = [*space.constraints, *where]
    front = pareto(frame, objectives, rules, epsilon=args.epsilon, ready=args.ready)
    if args.json:
        print(json.dumps(rows_of(front)))
        return 0
    _print(front, axes, objectives)
    print(f"{len(front)} winners of {len(frame)} rows ({space.size} points in the space)" + ("" if len(front) else _why(frame, rules, args.ready, space, objectives)))
    return 0


def _why(frame: pd.DataFrame, rules: Sequence[Any], ready: str | None, space: Space, objectives: Mapping[str, str]) -> str:
    """Which condition how many rows satisfy, and which objective has no number."""
    from simulator.search.objectives import feasible_rows

    if not len(frame) and space.constraints:  # a sweep keeps only what satisfies them
        return f": no point satisfies the file's constraints ({', '.join(str(rule) for rule in space.constraints)})"
    parts = [f"{int(feasible_rows(frame).sum())} fit and are not refused"]
    parts += [f"{int(feasible_rows(frame, rule, feasible=False).sum())} satisfy {rule}" for rule in rules if isinstance(rule, str)]
    numbers = {name: len(frame[name].dropna()) for name in objectives}
    parts += [f"{count} have a number for {name}" for name, count in numbers.items() if count < len(frame)]
    if ready:
        parts.append(f"{int(feasible_rows(frame, ready=ready, feasible=False).sum())} are {ready} or better on their engine")
    return ": " + ", ".join(parts)


def _print(front: pd.DataFrame, axes: Sequence[str], objectives: Mapping[str, str]) -> None:
    """Where each winner is, what it reaches and how far that is from the best, and what binds it."""
    from rich.table import Table

    from simulator.commands.screen import console
    from simulator.commands.sweep import cell

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in axes:
        table.add_column(name.removeprefix("workload.").removeprefix("techniques."), overflow="fold")
    for name in objectives:
        table.add_column(name, justify="right")
        table.add_column("", justify="left", style="dim")
    bound = "binding_resource" in front
    for name in ("binds", "ready", "") if bound else ("ready", ""):
        table.add_column(name)
    first, direction = next(iter(objectives.items()))
    for row in front.sort_values(first, ascending=direction == "min", kind="stable").astype(object).to_dict("records"):
        reached = [text for name, way in objectives.items() for text in (cell(name, row[name]), _lost(row[f"gave_up_{name}"], way))]
        binds = [f"{row['binding_stage']}, {row['binding_resource']}"] if bound else []
        places = ["-" if row[name] is None or row[name] != row[name] else cell(name, row[name]) for name in axes]
        table.add_row(*places, *reached, *binds, str(row["deployable"]), "knee" if row["knee"] else "")
    console().print(table)


def _lost(share: float, direction: str) -> str:
    """How far an objective is from the best of the front."""
    if share == 0:
        return "best"
    return f"-{share:.1%}" if direction == "max" else f"+{share:.1%}" if share < 1 else f"{1 + share:.3g}x"


def _objectives(given: Any) -> dict[str, str]:
    from simulator.search.objectives import LARGER_IS_BETTER

    if isinstance(given, dict):
        return {str(name): str(direction) for name, direction in given.items()}
    if not isinstance(given, list):
        raise SpecError(f"objectives: {given!r} is not accepted; a list of columns, or column: min | max")
    pairs = [str(item).partition(":") for item in given]
    return {name: direction or ("max" if name in LARGER_IS_BETTER else "min") for name, _, direction in pairs}
