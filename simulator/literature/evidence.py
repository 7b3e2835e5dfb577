"""Accuracy retained as published: what fidelity is predicted from."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import final

TABLE = Path(__file__).with_name("evidence.csv")

AXES = ("visual_tokens", "kv_tokens", "bits", "attention", "frames", "draft", "output", "weights")
"""What `kept` is a fraction of: visual tokens, cached tokens, bits of the cache over 16, attention pairs, frames, draft
tokens verified strictly, output tokens, bits of the weights over 16."""

TASKS = ("grounding", "text_rich", "general_vqa", "reasoning", "captioning", "video")
"""Task classes, after the survey's table of benchmarks (arXiv 2604.05546, Table 6)."""

CLASSES = ("fixed_grid", "tiled", "native_resolution", "cross_attention", "other")
"""How a model turns a picture into tokens."""

_MORE, _FEWER = "cells without a column", "no cell for this column"

_NUMBERS = ("kept", "baseline", "value", "retained", "items")


@final
@dataclass(frozen=True)
class Evidence:
    """One published accuracy with its baseline."""

    technique: str
    entry: str
    family: str
    model: str
    model_class: str
    setting: str
    axis: str
    kept: float
    """Fraction kept along `axis`, in (0, 1]."""
    benchmark: str
    task_class: str
    baseline: float
    value: float
    retained: float
    """value / baseline."""
    items: int
    """Benchmarks averaged in this row."""
    source: str

    @property
    def paper(self) -> str:
        """Where it was published: the source up to its table."""
        return self.source.split(":")[0]


@cache
def load_evidence(path: Path = TABLE) -> tuple[Evidence, ...]:
    """Every row of the evidence table. Raises ValueError, with the line, for a fraction, axis, model or task class out of range."""
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines, restkey=_MORE, restval=_FEWER)
        return tuple(_read(row, f"{path.name} line {reader.line_num}") for row in reader)


def _read(row: dict[str, str], line: str) -> Evidence:
    if _MORE in row or _FEWER in row.values():
        raise ValueError(f"{line} ({row['technique']}): {'more' if _MORE in row else 'fewer'} cells than columns; text with a comma needs quotes")
    for name in _NUMBERS:
        try:
            float(row[name])
        except ValueError:
            raise ValueError(f"{name}: {row[name]!r} in {line} ({row['technique']}) is not a number; is a column missing before it?") from None
    kept, retained = float(row["kept"]), float(row["retained"])
    baseline, value = float(row["baseline"]), float(row["value"])
    where = f"{line}, {row['technique']} on {row['benchmark']}"
    if row["model_class"] not in CLASSES:
        raise ValueError(f"model_class: {row['model_class']!r} in {where}; accepted: {', '.join(CLASSES)}")
    if not 0 < kept <= 1:
        raise ValueError(f"kept: {kept} in {where}; accepted: above 0, at most 1")
    if row["axis"] not in AXES:
        raise ValueError(f"axis: {row['axis']!r} in {where}; accepted: {', '.join(AXES)}")
    if row["task_class"] not in TASKS:
        raise ValueError(f"task_class: {row['task_class']!r} in {where}; accepted: {', '.join(TASKS)}")
    if abs(retained - value / baseline) > 1e-4:
        raise ValueError(f"retained: {retained} in {where} is not value/baseline = {value / baseline:.5f}")
    return Evidence(
        technique=row["technique"],
        entry=row["entry"],
        family=row["family"],
        model=row["model"],
        model_class=row["model_class"],
        setting=row["setting"],
        axis=row["axis"],
        kept=kept,
        benchmark=row["benchmark"],
        task_class=row["task_class"],
        baseline=baseline,
        value=value,
        retained=retained,
        items=int(row["items"]),
        source=row["source"],
    )
