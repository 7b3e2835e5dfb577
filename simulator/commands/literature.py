"""`lvlm-sim literature`: the catalogue of papers, its filters, exports and checks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from simulator.spec.source import SpecError

ACTIONS = ("list", "show", "coverage", "export", "add", "check")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS)
    parser.add_argument("what", nargs="?", help="show: an id; add: a YAML file with one entry; list, coverage and export: words to search")
    parser.add_argument("--search", default="", help="words that occur in id, title, authors or summary")
    parser.add_argument("--stage", help="Encoding, Prefilling, Decoding, System or Frontier")
    parser.add_argument("--operator", help="cost operator, e.g. KV_EVICT")
    parser.add_argument("--year", type=int)
    parser.add_argument("--training-free", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--as", dest="format", default="markdown", choices=("bibtex", "csv", "json", "markdown"), help="format of export")
    parser.add_argument("--json", action="store_true", help="a list of objects as JSON")


def run(args: argparse.Namespace) -> int:
    """List, show, count, export, add or check."""
    from simulator.literature import report
    from simulator.literature.catalogue import find, search
    from simulator.presets import presets

    words = f"{args.search} {args.what or ''}" if args.action in ("list", "coverage", "export") else args.search
    try:
        found = search(words, stage=args.stage, operator=args.operator, year=args.year, training_free=args.training_free)
        if args.action == "show":
            name = _needed(args.what, "an id, e.g. fastv")
            print(find(name).model_dump_json() if args.json else report.show_text(name))
        elif args.action == "export":
            print(report.export_text("json" if args.json else args.format, found))
        elif args.action == "add":
            text = report.add_text(_entry(_needed(args.what, "a YAML file with one entry")))
            print(json.dumps({"text": text}) if args.json else text)
        elif args.action == "check":
            text, clean = report.check_text({name: preset.entry for name, preset in presets().items()})
            print(json.dumps({"clean": clean, "text": text}) if args.json else text)
            return 0 if clean else 1
        else:
            _print(report.coverage_table(found) if args.action == "coverage" else report.list_table(found), args.json)
    except ValueError as error:
        raise SpecError(str(error)) from None
    return 0


def _needed(value: str | None, wanted: str) -> str:
    if value is None:
        raise SpecError(f"literature: {wanted} is missing")
    return value


def _entry(name: str) -> dict[str, Any]:
    from simulator.spec.yaml import read_yaml

    return read_yaml(Path(name))


def _print(frame: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps(json.loads(frame.to_json(orient="records"))))
        return
    if frame.empty:
        print("no entry matches")
        return
    from rich.table import Table

    from simulator.commands.screen import console as screen

    table = Table(box=None, pad_edge=False, header_style="bold")
    hidden = ("query_aware", "category") if "method" in frame.columns else ()
    shown = [name for name in frame.columns if name not in hidden]
    for name in shown:
        table.add_column(str(name))
    for row in frame[shown].itertuples(index=False):
        table.add_row(*("" if value is None else str(value) for value in row))
    screen().print(table)
