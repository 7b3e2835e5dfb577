"""Figures that stand in one series with an impossible one: whatever was measured there was not what the column says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from simulator.reproduce.predict import RATES, TIMES
from simulator.reproduce.table import Row
from simulator.reproduce.verdict import Result, judge


def series(row: Row) -> tuple[object, ...] | None:
    """What the points of a series have in common: a time or rate of one model on one device with one baseline, in one table. None: no series."""
    if row.metric not in (*TIMES, *RATES) or not row.baseline:
        return None
    return row.entry, row.source, row.model, row.hardware, row.devices, row.engine, row.precision, row.batch, row.metric, row.baseline


def doubted(results: Iterable[Result], table: Sequence[Row]) -> tuple[Result, ...]:
    """The results, those marked `doubtful` whose series (in the whole table) has a point below the physical floor. They are shown and not scored."""
    members: dict[tuple[object, ...], list[Row]] = {}
    for row in table:
        key = series(row)
        if key is not None:
            members.setdefault(key, []).append(row)
    broken: dict[tuple[object, ...], str] = {}
    found: list[Result] = []
    for item in results:
        key = series(item.row)
        if key is None or item.verdict not in ("inside", "outside"):
            found.append(item)
            continue
        if key not in broken:
            broken[key] = next((row.id for row in members.get(key, ()) if judge(row).verdict == "impossible"), "")
        why = f"{broken[key]} of the same series is below the floor: the column is not what it says; {item.why}"
        found.append(replace(item, verdict="doubtful", why=why) if broken[key] else item)
    return tuple(found)
