"""`lvlm-sim sweep SPACE.yaml`: every point of a space as a table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Generator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import pandas as pd

MOST_WORKERS = 1024
_FILES = (".csv", ".parquet")
_OTHER = (".json", ".jsonl", ".txt", ".tsv", ".xlsx", ".feather", ".yaml", ".yml", ".html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    add_space(parser)
    parser.add_argument("--out", metavar="FOLDER|FILE.csv|FILE.parquet", help="a folder: Parquet in parts, resumable; else one file")
    parser.add_argument("--rows", type=int, default=20, help="rows to print (default 20)")


def add_space(parser: argparse.ArgumentParser) -> None:
    """Options that the sweep and the search share."""
    parser.add_argument("space", metavar="SPACE.yaml", help="base, axes, constraints")
    parser.add_argument("--metrics", help="metric columns, parted by commas (default all)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.add_argument("--json", action="store_true", help="rows as a JSON list")


@contextmanager
def workers(count: int) -> Generator[Executor | None]:
    """A pool of processes, or none for one."""
    if not 1 <= count <= MOST_WORKERS:
        raise SpecError(f"--workers: {count} is not accepted; 1..{MOST_WORKERS}")
    if count == 1:
        yield None
        return
    with ProcessPoolExecutor(count) as pool:
        yield pool


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain data; missing values are null."""
    return json.loads(str(frame.to_json(orient="records", double_precision=15)))


def run(args: argparse.Namespace) -> int:
    """Sweep and write."""
    from simulator.search import read_space, store, sweep

    space = read_space(args.space)
    metrics = args.metrics.split(",") if args.metrics else None
    out = Path(args.out) if args.out else None
    show = not args.no_progress and not args.json
    if args.rows < 0:
        raise SpecError(f"--rows: {args.rows} is not accepted; 0 or more")
    if out is not None and out.suffix in _FILES and not out.parent.is_dir():
        raise SpecError(f"--out: {out.parent} is not a folder")
    if out is not None and out.suffix in _OTHER:
        raise SpecError(f"--out: {out} is not accepted; a folder, or a file that ends in {' or '.join(_FILES)}")
    with workers(args.workers) as pool:
        if out is not None and out.suffix not in _FILES:
            try:
                stored = store(space, out, metrics, executor=pool, progress=show)
            except KeyboardInterrupt:
                print(f"what is finished stays in {out}: the same command goes on from there", file=sys.stderr)
                raise
            summary = {"folder": str(out), "points": stored.points, "rows": stored.rows, "files": stored.chunks}
            print(json.dumps(summary) if args.json else f"{stored.points} points, {stored.rows} rows in {stored.chunks} files in {out}")
            return 0
        frame = sweep(space, metrics, executor=pool, progress=show)
    if out is not None:
        frame.to_csv(out, index=False) if out.suffix == ".csv" else frame.to_parquet(out, index=False)
        if not args.json:
            print(f"{space.size} points, {len(frame)} rows in {out}")
            return 0
    if args.json:
        print(json.dumps(rows_of(frame)))
        return 0
    print_frame(frame.head(args.rows), [axis.path for axis in space.axes])
    print(f"{space.size} points, {len(frame)} rows" + (f", {args.rows} shown" if len(frame) > args.rows else ""))
    return 0


_SHOWN = ("ttft_s", "tpot_s", "latency_s", "output_tokens_per_s", "peak_bytes", "energy_j", "cost_usd", "fidelity", "fits")
_UNITS = {"ttft_s": "s", "tpot_s": "s", "latency_s": "s", "peak_bytes": "B", "energy_j": "J", "output_tokens_per_s": "token/s"}


def print_frame(frame: pd.DataFrame, first: list[str]) -> None:
    """The axis columns and the main metrics of a frame as a table."""
    from rich.table import Table

    from simulator.commands.screen import console

    names = [*first, *(name for name in _SHOWN if name in frame)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for row in frame[names].astype(object).itertuples(index=False):
        table.add_row(*(cell(name, value) for name, value in zip(names, row, strict=True)))
    console().print(table)


def cell(name: str, value: object) -> str:
    """A value for people."""
    from simulator.quantity import text

    if not isinstance(value, float):
        return str(value)
    return text(value, _UNITS[name]) if name in _UNITS else f"{value:.4g}"
