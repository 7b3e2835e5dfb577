"""How good the predictions are, over rows: shares inside the band, its width, errors; pictures, visual-token methods and halves apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import final

from simulator.reproduce.halves import held_out
from simulator.reproduce.verdict import Result


@final
@dataclass(frozen=True, slots=True)
class Score:
    """Of `rows` clocks, the share whose published figure lies inside the 80 % band, the median of upper over lower, and the
    median absolute error. papers: distinct methods; by_paper: mean over methods of the share inside, each method counting once."""

    name: str
    rows: int
    papers: int
    inside: float
    by_paper: float
    width: float
    error: float
    impossible: int


GROUPS: tuple[tuple[str, Callable[[Result], bool]], ...] = (
    ("all clocks", lambda item: True),
    ("measured with pictures", lambda item: item.row.kind == "measured"),
    ("  of these: visual-token and cache methods", lambda item: item.visual),
    ("  of these: speculative decoding", lambda item: item.row.kind == "measured" and item.row.metric == "decode_speedup" and not item.visual),
    ("  of these: times in seconds", lambda item: item.row.kind == "measured" and item.row.unit in ("s", "s/token", "token/s")),
    ("text only", lambda item: item.row.kind == "text_only"),
    ("development half", lambda item: not held_out(item.row.entry)),
    ("  of these: visual-token and cache methods", lambda item: not held_out(item.row.entry) and item.visual),
    ("held-out half", lambda item: held_out(item.row.entry)),
    ("  of these: measured with pictures", lambda item: held_out(item.row.entry) and item.row.kind == "measured"),
    ("  of these: visual-token and cache methods", lambda item: held_out(item.row.entry) and item.visual),
)


def summary(results: Sequence[Result]) -> tuple[Score, ...]:
    """One score for each group that has rows."""
    scored = [item for item in results if item.scored]
    return tuple(score for name, member in GROUPS if (score := _score(name, [item for item in scored if member(item)])) is not None)


def _score(name: str, items: list[Result]) -> Score | None:
    possible = [item for item in items if item.verdict != "impossible"]
    if not possible:
        return None
    papers: dict[str, list[bool]] = {}
    for item in possible:
        papers.setdefault(item.row.entry, []).append(item.verdict == "inside")
    return Score(
        name=name,
        rows=len(possible),
        papers=len(papers),
        inside=sum(item.verdict == "inside" for item in possible) / len(possible),
        by_paper=sum(sum(flags) / len(flags) for flags in papers.values()) / len(papers),
        width=median((item.upper or 1.0) / (item.lower or 1.0) for item in possible),
        error=median(abs(item.error or 0.0) for item in possible),
        impossible=len(items) - len(possible),
    )
