"""`lvlm-sim export`: a scenario as a launch command, a scenario file, Python, CSV or BibTeX."""

from __future__ import annotations

import argparse
import json

from simulator.commands.scenario import add_scenario, read_scenario

FORMATS = ("vllm", "sglang", "trtllm", "yaml", "python", "csv", "bibtex")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    add_scenario(parser)
    parser.add_argument("--as", dest="kind", choices=FORMATS, default="vllm", help="what to write (default vllm)")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Write it to standard output."""
    from simulator.interop import launch as interop
    from simulator.interop import share

    scenario = read_scenario(args)
    if args.kind in interop.flags():
        made = interop.launch(scenario, args.kind)
        print(json.dumps(made.to_dict()) if args.json else made.script(), end="\n" if args.json else "")
        return 0
    writers = {
        "yaml": share.as_yaml, "python": share.as_python, "csv": share.as_csv, "bibtex": share.as_bibtex,
    }  # fmt: skip
    text = writers[args.kind](scenario)
    print(json.dumps({"as": args.kind, "text": text}) if args.json else text, end="\n" if args.json else "")
    return 0
