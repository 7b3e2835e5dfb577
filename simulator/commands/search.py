"""`lvlm-sim search SPACE.yaml`: the front of a space, by trying everything or, where that is too much, by an optimiser."""

from __future__ import annotations

import argparse
import json
from typing import Any

from simulator.commands.sweep import add_space, print_frame, rows_of, workers
from simulator.spec.source import SpecError

EXHAUSTIVE = 2_000_000
"""Points up to which everything is tried."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    add_space(parser)
    parser.add_argument("--objective", action="append", metavar="COLUMN[:min|max]", help="may be repeated; default: the file's objectives")
    parser.add_argument("--where", action="append", metavar="CONDITION", help="e.g. 'ttft_s <= 0.2'; may be repeated")
    parser.add_argument("--epsilon", type=float, default=0.0, help="relative distance within which one winner stands for others")
    parser.add_argument("--ready", choices=("runs", "patch", "hypothetical"), help="the least a mix must be on its engine")
    parser.add_argument("--evaluations", type=int, help=f"search instead of trying everything (default above {EXHAUSTIVE} points: 2000)")
    parser.add_argument("--method", choices=("nsga2", "tpe"), default="nsga2", help="optimiser (default nsga2)")
    parser.add_argument("--seed", type=int, default=0, help="of the optimiser (default 0)")
    parser.add_argument("--storage", metavar="FILE", help="journal of the optimiser; given again, the search goes on")


def run(args: argparse.Namespace) -> int:
    """Search and print the winners."""
    from simulator.search import optimise, pareto, read_space, sweep
    from simulator.spec.yaml import read_yaml

    space = read_space(args.space)
    objectives = _objectives(args.objective or read_yaml(args.space).get("objectives") or ["ttft_s", "tpot_s", "cost_usd"])
    where = args.where or []
    with workers(args.workers) as pool:
        if args.evaluations or space.size > EXHAUSTIVE:
            found = optimise(
                space, objectives, evaluations=args.evaluations or 2000, constraints=where, method=args.method, seed=args.seed,
                storage=args.storage, executor=pool, ready=args.ready,
            )  # fmt: skip
            front, tried = found.front, found.evaluations
        else:
            frame = sweep(space, args.metrics.split(",") if args.metrics else None, executor=pool, progress=not args.no_progress and not args.json)
            front, tried = pareto(frame, objectives, where, epsilon=args.epsilon, ready=args.ready), len(frame)
    if args.json:
        print(json.dumps(rows_of(front)))
        return 0
    lost = tuple(f"gave_up_{name}" for name in objectives)
    print_frame(front, [axis.path for axis in space.axes], (*lost, "knee", "binding_stage", "binding_resource", "deployable"))
    print(f"{len(front)} winners of {tried} rows ({space.size} points in the space)")
    return 0


def _objectives(given: Any) -> dict[str, str]:
    from simulator.search.objectives import LARGER_IS_BETTER

    if isinstance(given, dict):
        return {str(name): str(direction) for name, direction in given.items()}
    if not isinstance(given, list):
        raise SpecError(f"objectives: {given!r} is not accepted; a list of columns, or column: min | max")
    pairs = [str(item).partition(":") for item in given]
    return {name: direction or ("max" if name in LARGER_IS_BETTER else "min") for name, _, direction in pairs}
