"""`lvlm-sim reproduce [METHOD]`: published results against predictions; `--csv`: an author's own table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.reproduce.render import HEADER, SCORES, cells, finding_cells, latex, markdown, record, score_cells
from simulator.reproduce.review import Finding, review
from simulator.reproduce.run import FEATURED, NOTES, reproduce
from simulator.reproduce.score import Score, summary
from simulator.reproduce.table import load_table
from simulator.reproduce.verdict import Result
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    from rich.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("method", nargs="?", help=f"id of a catalogue entry or of a row (default: {', '.join(FEATURED[:4])}, ...)")
    parser.add_argument("--all", action="store_true", help="every row of the published table, accuracies too (takes minutes)")
    parser.add_argument("--csv", metavar="FILE", help="your own table in the same columns: checked, and compared")
    parser.add_argument("--summary", action="store_true", help="only how many predictions hold")
    parser.add_argument("--why", action="store_true", help="say for each row why it can be compared, or not")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="one JSON object in SI units")
    how.add_argument("--latex", action="store_true", help="a LaTeX table")
    how.add_argument("--markdown", action="store_true", help="a Markdown table")


def run(args: argparse.Namespace) -> int:
    """Predict, compare, print. Status 1 where an author's table holds an impossible figure."""
    findings: tuple[Finding, ...] = ()
    if args.method == "":
        raise SpecError("method: '' is not accepted; an id, or leave it out")
    if args.csv is not None:
        if args.all:
            raise SpecError("--all: is of the published table; leave it out with --csv")
        rows = load_table(Path(args.csv))
        if args.method:
            rows = tuple(row for row in rows if args.method in (row.entry, row.id, row.method))
        if not rows:
            raise SpecError(f"--csv: {args.csv}: no rows" + (f" of method {args.method!r}" if args.method else ""))
        results, findings = review(rows)
    else:
        results = reproduce(args.method, args.all)
    scores = summary(results)
    if args.json:
        data = {"results": [] if args.summary else [record(item) for item in results],
                "summary": [asdict(item) for item in scores], "findings": [asdict(item) for item in findings]}  # fmt: skip
        print(json.dumps(data))
    elif args.latex or args.markdown:
        _print_text(args, results, scores, findings)
    else:
        _print_screen(args, results, scores, findings)
    return 1 if any(item.level == "error" for item in findings) else 0


def _lines(args: argparse.Namespace, results: Sequence[Result]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    if args.why:
        return (*HEADER, "why"), [(*cells(item), item.why) for item in results]
    return HEADER, [cells(item) for item in results]


def _print_text(args: argparse.Namespace, results: Sequence[Result], scores: Sequence[Score], findings: Sequence[Finding]) -> None:
    table = latex if args.latex else markdown
    if not args.summary:
        print(table(*_lines(args, results)))
        print()
    if scores and not args.csv:
        print(table(SCORES, [score_cells(item) for item in scores]))
    for item in findings:
        sys.stderr.write(f"{item.level}: {item.row}: {item.text}\n")


def _print_reasons(console: Console, results: Sequence[Result], every: bool) -> None:
    """Why rows are comparable or not, the same reason once."""
    from rich.markup import escape

    reasons: dict[str, list[str]] = {}
    for item in results:
        if item.verdict == "impossible":
            reasons.setdefault("[red]beyond the floor: cannot have been measured as described[/]", []).append(item.row.id)
        if item.verdict == "doubtful":
            reasons.setdefault(item.why.partition(";")[0], []).append(item.row.id)
        if every or item.verdict == "not comparable":
            reasons.setdefault(item.why, []).append(item.row.id)
    for why, rows in reasons.items():
        shown = rows if len(rows) <= 6 else [*rows[:5], f"and {len(rows) - 5} more"]
        console.print(f"[dim]{escape(', '.join(shown))}:[/] {why}", highlight=False)


def _print_screen(args: argparse.Namespace, results: Sequence[Result], scores: Sequence[Score], findings: Sequence[Finding]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from simulator.commands.screen import console as screen

    console = screen()
    colours = {"inside": "green", "reproduced": "green", "outside": "yellow", "off": "yellow", "doubtful": "yellow", "impossible": "red"}
    if not args.summary:
        shown = Table(box=None, pad_edge=False, header_style="bold")
        for title in HEADER:
            shown.add_column(title, justify="right" if title in HEADER[5:10] else "left")
        for item in results:
            *front, verdict = cells(item)
            colour = colours.get(item.verdict, "dim")
            shown.add_row(*map(escape, front), f"[{colour}]{verdict}[/]")
        console.print(shown)
        _print_reasons(console, results, args.why)
        for entry in dict.fromkeys(item.row.entry for item in results):
            if entry in NOTES:
                console.print(f"[bold]{entry}[/]: {NOTES[entry]}")
    if scores and not args.csv:
        totals = Table(box=None, pad_edge=False, header_style="bold", title="clocks inside the 80 % band", title_justify="left")
        for title in SCORES:
            totals.add_column(title, justify="left" if title == "group" else "right")
        for score in scores:
            totals.add_row(*score_cells(score))
        console.print(totals)
    counted = [item for item in results if item.group == "count" and item.verdict in ("reproduced", "off")]
    if counted:
        whole = sum(item.verdict == "reproduced" for item in counted)
        console.print(f"{whole} of {len(counted)} counted figures (FLOPs, cache bytes) reproduced within 1 % or their last digit")
    for level, row, remark in (finding_cells(item) for item in findings):
        console.print(f"[{'red' if level == 'error' else 'yellow' if level == 'warning' else 'dim'}]{level}[/] {escape(row)}: {escape(remark)}")
