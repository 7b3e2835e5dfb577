"""The table of published figures, row by row, typed. The same schema serves an author's own table."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from simulator.spec.source import SpecError

PUBLISHED = Path(__file__).resolve().parents[1] / "literature" / "published.csv"
FRESH = PUBLISHED.with_name("fresh.csv")
"""Figures that were entered before they were predicted."""

NUMBERS = (
    "devices", "batch", "visual_before", "visual_after", "visual_kept", "text_tokens", "prompt_tokens", "prompt_after",
    "output_tokens", "baseline", "value", "accuracy_baseline", "accuracy_value",
)  # fmt: skip
UNITS = ("", "s", "s/token", "token/s", "B", "B/h", "FLOP", "MAC", "FLOP/s", "1", "token", "element", "frame/s")
REQUIRED = ("model", "metric", "value")
KINDS = ("", "measured", "modelled", "text_only")
WHOLE = {"devices": 1e5, "batch": 1e6}
"""Columns of whole numbers from 1 up to so many."""
MOST = {"visual_before": 1e8, "visual_after": 1e8, "text_tokens": 1e8, "prompt_tokens": 1e8, "prompt_after": 1e8, "output_tokens": 1e8, "visual_kept": 1.0}
UNIT_OF: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("ttft", "prefill_time", "encode_time", "latency", "cuda_time", "answer_time", "benchmark_time"), ("s",)), "tpot": ("s/token", "s"),
    **dict.fromkeys(("decode_throughput", "generate_throughput"), ("token/s",)), **dict.fromkeys(("gpu_memory", "kv_bytes"), ("B",)),
}  # fmt: skip
"""Units of clocks and memory readings; speed-ups and ratios have unit 1. An empty cell is the first."""


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One figure. Numbers in SI units, None where not stated; text is empty where not stated. Columns: PUBLISHED.md."""

    id: str
    entry: str
    method: str
    techniques: str
    model: str
    draft: str
    hardware: str
    devices: float | None
    engine: str
    precision: str
    precision_baseline: str
    batch: float | None
    image: str
    visual_before: float | None
    visual_after: float | None
    visual_schedule: str
    visual_kept: float | None
    prune_layer: str
    text_tokens: float | None
    prompt_tokens: float | None
    prompt_after: float | None
    output_tokens: float | None
    metric: str
    unit: str
    baseline: float | None
    value: float | None
    accuracy_metric: str
    accuracy_baseline: float | None
    accuracy_value: float | None
    kind: str
    specified: bool
    assumed_fields: tuple[str, ...]
    provenance: str
    source: str
    notes: str


COLUMNS = tuple(item.name for item in fields(Row))


@lru_cache(maxsize=4)
def load_table(path: Path = PUBLISHED) -> tuple[Row, ...]:
    """Every row of a table in the published schema. Missing columns are empty; SpecError names a bad cell by line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = tuple(name.strip() for name in reader.fieldnames or ())
            reader.fieldnames = list(header)
            rows = list(reader)
    except OSError as error:
        raise SpecError(f"--csv: {path}: {error.strerror}; a CSV file is wanted") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"--csv: {path}: not a CSV file in UTF-8 ({error})") from None
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise SpecError(f"--csv: {path.name}: cells are not separated by commas; a CSV file with commas is wanted")
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise SpecError(f"--csv: {path.name}: column {missing[0]!r} is missing; needed: {', '.join(REQUIRED)}; known: {', '.join(COLUMNS)}")
    strange = [name for name in header if name not in COLUMNS]
    if strange:
        raise SpecError(f"--csv: {path.name}: column {strange[0]!r} is not known; accepted: {', '.join(COLUMNS)}")
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise SpecError(f"--csv: {path.name}: column {twice[0]!r} stands there twice")
    lines = [(line, row) for line, row in enumerate(rows, start=2) if row.get(None) or any(row.values())]  # type: ignore[call-overload]
    return tuple(_row(row, f"{path.name} line {line}", f"line {line}") for line, row in lines)


def _row(cells: dict[str, Any], where: str, name: str) -> Row:
    values: dict[str, Any] = {}
    more: list[str] = cells.get(None, [])  # type: ignore[call-overload]
    if more:
        raise SpecError(f"--csv: {where}: {len(more)} cells more than columns, from {more[0]!r} on; put text with commas in quotes")
    for column in COLUMNS:
        text = " ".join(str(cells.get(column) or "").split())
        if column in NUMBERS:
            values[column] = _number(text, f"{where}: {column}", column)
        elif column == "specified":
            values[column] = text.lower() == "true"
        elif column == "assumed_fields":
            values[column] = tuple(filter(None, text.split("|")))
        else:
            values[column] = text
    if values["unit"] not in UNITS:
        raise SpecError(f"--csv: {where}: unit: {values['unit']!r} is not accepted; SI: {', '.join(filter(None, UNITS))}")
    if not values["metric"]:
        raise SpecError(f"--csv: {where}: metric: is empty; a name like ttft, tpot, latency or decode_speedup")
    if values["kind"] not in KINDS:
        raise SpecError(f"--csv: {where}: kind: {values['kind']!r} is not accepted; {', '.join(filter(None, KINDS))}, or empty")
    units = UNIT_OF.get(values["metric"], ("1",) if values["metric"].endswith(("speedup", "ratio", "reduction")) else ())
    if values["unit"] and units and values["unit"] not in units:
        raise SpecError(f"--csv: {where}: unit: {values['unit']!r} is not accepted for {values['metric']}; {' or '.join(units)}")
    values["id"] = values["id"] or name
    if units and not values["unit"]:
        values["unit"] = units[0]
    return Row(**values)


def _number(text: str, where: str, column: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise SpecError(f"--csv: {where}: {text!r} is not accepted; a number in SI units, or empty") from None
    if not 0.0 <= value < float("inf"):
        raise SpecError(f"--csv: {where}: {text!r} is not accepted; a finite number of at least 0")
    if column in WHOLE and not (1.0 <= value <= WHOLE[column] and value == int(value)):
        raise SpecError(f"--csv: {where}: {text!r} is not accepted; a whole number from 1 to {WHOLE[column]:.0f}")
    if value > MOST.get(column, value):
        raise SpecError(f"--csv: {where}: {text!r} is not accepted; at most {MOST[column]:g}")
    return value
