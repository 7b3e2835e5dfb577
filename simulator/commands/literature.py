"""`lvlm-sim literature`: the catalogue of papers, its filters, exports and checks."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from simulator.spec.source import SpecError

ACTIONS = ("list", "show", "coverage", "export", "add", "check")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS)
    parser.add_argument("what", nargs="*", help="show: an id or a method's name; add: YAML files of an entry; list, coverage, export: words to search")
    parser.add_argument("--search", default="", help="words that occur in id, title, authors or summary")
    parser.add_argument("--stage", help="Encoding, Prefilling, Decoding, System, Frontier or Cross-cutting")
    parser.add_argument("--category", help="words of a category of the survey's tree, e.g. 'KV cache'")
    parser.add_argument("--operator", help="cost operator, e.g. KV_EVICT")
    parser.add_argument("--modality", help="image, video, streaming_video, general or text")
    parser.add_argument("--venue", help="words of a venue, e.g. CVPR")
    parser.add_argument("--year", help="one year, or 2024-2026")
    parser.add_argument("--training-free", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--query-aware", action=argparse.BooleanOptionalAction, default=None, help="whether the result depends on the question")
    parser.add_argument("--preset", action=argparse.BooleanOptionalAction, default=None, help="whether a preset models it")
    parser.add_argument("--as", dest="format", default="markdown", choices=("bibtex", "csv", "json", "markdown"), help="format of export")
    parser.add_argument("--json", action="store_true", help="a list of objects as JSON")


def run(args: argparse.Namespace) -> int:
    """List, show, count, export, add or check."""
    from simulator.literature import report
    from simulator.literature.catalogue import find, search
    from simulator.presets import presets
    from simulator.spec.yaml import read_rows

    words = " ".join([args.search, *args.what]) if args.action in ("list", "coverage", "export") else args.search
    try:
        found = search(
            words, stage=args.stage, category=args.category, operator=args.operator, modality=args.modality, venue=args.venue,
            year=_years(args.year), training_free=args.training_free, query_aware=args.query_aware, preset=args.preset,
        )  # fmt: skip
        if args.action == "show":
            name = _needed(" ".join(args.what), "an id, e.g. fastv")
            print(find(name).model_dump_json() if args.json else report.show_text(name))
        elif args.action == "export":
            print(report.export_text("json" if args.json else args.format, found))
        elif args.action == "add":
            text = report.add_text(row for name in _needed(args.what, "a YAML file with an entry") for row in read_rows(name))
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


def _needed(value: Any, wanted: str) -> Any:
    if not value:
        raise SpecError(f"literature: {wanted} is missing")
    return value


def _years(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{4})(?:-(\d{4}))?", text.strip())
    if not match:
        raise SpecError(f"year: {text!r} is not accepted; one year, or two as 2024-2026")
    return int(match[1]), int(match[2] or match[1])


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
