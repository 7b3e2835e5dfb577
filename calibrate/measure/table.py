"""Append-only tables: one CSV per kernel family and its raw samples beside it. A crash loses nothing but its own row."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULT_COLUMNS = (
    "footprint_bytes", "seconds", "median_s", "p20_s", "p80_s", "min_s", "samples", "kept_share", "timer", "status",
    "note", "case",
)  # fmt: skip


def line(values: Sequence[object]) -> str:
    """One CSV line, newline included."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


class Table:
    """``<family>.csv`` with ``key columns + RESULT_COLUMNS``, and ``<family>.raw.jsonl.gz`` with every sample.

    Opening repairs what a kill left behind: a last CSV line without its newline and a raw member without its end are
    cut off. ``done`` holds the ``case`` column of every complete row; inconclusive and too slow ones are not done, and
    may be written again: the last row of a case counts.
    """

    def __init__(self, folder: Path, family: str, key_columns: Sequence[str]) -> None:
        self.path = folder / f"{family}.csv"
        self.raw_path = folder / f"{family}.raw.jsonl.gz"
        self.key_columns = tuple(key_columns)
        self.columns = (*self.key_columns, *RESULT_COLUMNS)
        self.done: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        header = line(self.columns)
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if not whole:
            self.path.write_text(header, encoding="utf-8")
            return
        if not whole.startswith(header):
            raise ValueError(
                f"{self.path}: columns are {whole.splitlines()[0]!r}, this version writes {header.strip()!r}"
            )
        if whole != text:
            with self.path.open("r+b") as file:
                file.truncate(len(whole.encode("utf-8")))
        last = {row["case"]: row["status"] for row in csv.DictReader(io.StringIO(whole)) if row["case"]}
        self.done = {case for case, status in last.items() if status not in ("inconclusive", "too_slow")}
        if self.raw_path.exists():
            with self.raw_path.open("r+b") as file:
                file.truncate(whole_members(file.read()))

    def append(self, key: Mapping[str, object], result: Mapping[str, object], raw: Mapping[str, Any]) -> None:
        """Write the raw samples, then the row that marks the case as done; both reach the disk before returning."""
        if tuple(key) != self.key_columns:
            raise ValueError(f"{self.path.name}: key columns are {tuple(key)}, the table has {self.key_columns}")
        member = gzip.compress((json.dumps(raw, separators=(",", ":")) + "\n").encode(), mtime=0)
        append_bytes(self.raw_path, member)
        cells = [key[name] if name in key else result[name] for name in self.columns]
        append_bytes(self.path, line([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells]).encode())
        self.done.add(str(result["case"]))


def append_bytes(path: Path, data: bytes) -> None:
    """Append and flush."""
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def whole_members(data: bytes) -> int:
    """Length [bytes] of the leading complete gzip members of ``data``."""
    position = 0
    while position < len(data):
        reader = zlib.decompressobj(wbits=31)
        cursor = position
        while not reader.eof:
            chunk = data[cursor : cursor + 65536]
            if not chunk:
                return position
            try:
                reader.decompress(chunk)
            except zlib.error:
                return position
            cursor += len(chunk)
        position = cursor - len(reader.unused_data)
    return position


def read_raw(path: Path) -> list[dict[str, Any]]:
    """Every record of a raw file, in the order of writing."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(text) for text in file]
