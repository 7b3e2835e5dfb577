"""An author's own table, before it is sent off: what physics forbids, what a reader cannot compare, what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

from simulator.reproduce.clock import answer, single
from simulator.reproduce.counts import CACHE, FLOPS
from simulator.reproduce.pictures import picture_in
from simulator.reproduce.predict import MEMORY, METRICS, RATES, SHARES, SPEEDUPS, TIMES
from simulator.reproduce.question import questions
from simulator.reproduce.series import doubted
from simulator.reproduce.setting import NotComparableError, evicts, techniques_of
from simulator.reproduce.table import Row
from simulator.reproduce.verdict import Result, judge
from simulator.spec.source import SpecError

Level = Literal["error", "warning", "note"]
CLOCKS = (*TIMES, *RATES, *SPEEDUPS, *SHARES)
NEEDED: dict[str, tuple[str, ...]] = {
    "clock": ("hardware", "engine", "precision", "batch", "text_tokens"),
    "decode": ("output_tokens",),
    "memory": ("precision", "batch"),
}
BUDGET = 0.05
"""Budgets that differ by more are not equal."""


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One remark on a row. level: `error` is impossible or wrong, `warning` misleads a reader, `note` is a gap."""

    level: Level
    row: str
    text: str


def review(rows: Sequence[Row]) -> tuple[tuple[Result, ...], tuple[Finding, ...]]:
    """Verdicts on an author's rows, and what to mend: floor violations, eager baselines, unequal budgets, missing settings."""
    own = tuple(_own(row) for row in rows)
    results = doubted((judge(row) for row in own), own)
    findings: list[Finding] = []
    for item in results:
        findings += _forbidden(item)
        findings += [replace(found, text=f"baseline: {found.text}") for found in _baseline(item.row) if found.level == "error"]
        findings += _eager(item.row)
        findings += _missing(item.row)
        findings += _contradicted(item.row)
    return results, (*findings, *_unequal(rows))


def _own(row: Row) -> Row:
    """An author's row: measured with pictures unless it says otherwise."""
    return row if row.kind else replace(row, kind="measured" if row.visual_before != 0.0 else "text_only")


def _forbidden(item: Result) -> Iterator[Finding]:
    row = item.row
    if item.verdict == "impossible" and item.floor is not None and item.published is not None:
        side = "above" if row.metric in RATES else "below"
        yield Finding("error", row.id, f"{row.metric} {item.published:.4g} lies {side} the physical floor of {item.floor:.4g} on {row.hardware or 'any device in question'}{_slipped(item)}")
    elif item.verdict == "outside" and item.published and item.lower and item.upper:
        far = max(item.published / item.upper, item.lower / item.published)
        yield Finding("warning" if far > 2.0 else "note", row.id,
                      f"{row.metric} {item.published:.4g} is outside what is predicted, {item.lower:.4g} to {item.upper:.4g}{_slipped(item)}")  # fmt: skip
    elif item.verdict == "doubtful":
        yield Finding("warning", row.id, item.why.partition(";")[0])
    elif item.verdict == "off" and item.published and item.predicted:
        yield Finding("warning", row.id, f"{row.metric} {item.published:.4g} does not follow from the setting: {item.predicted:.4g}{_slipped(item)}")
    elif item.verdict == "not comparable":
        yield Finding("warning" if row.metric in (*METRICS, *FLOPS, *CACHE) and row.value is not None else "note", row.id, f"not compared: {item.why}")
    if row.metric in SPEEDUPS and row.value is not None and row.baseline not in (None, 0.0, 1.0):
        yield Finding("warning", row.id, f"a speed-up has baseline 1 or none, not {row.baseline:g}; give the two times instead")


SLIPS = {"s": (1e-3, "milliseconds"), "s/token": (1e-3, "milliseconds"), "B": (1e9, "gigabytes"), "1": (0.01, "per cent")}


def _slipped(item: Result) -> str:
    """Another unit in which the figure would be what is predicted, within a factor of two."""
    factor, name = SLIPS.get(item.row.unit, (1.0, ""))
    if not name or not item.published or not item.predicted or not 0.5 < item.published * factor / item.predicted < 2.0:
        return ""
    return f"; is it in {name}? Column `unit` says {item.row.unit}"


def _baseline(row: Row) -> list[Finding]:
    """The baseline of a printed time against the floor of the dense model."""
    if not row.baseline or row.metric not in (*TIMES, *RATES):
        return []
    return list(_forbidden(judge(replace(
        _own(row), value=row.baseline, baseline=None, techniques="", precision=row.precision_baseline, method=f"dense, for {row.method}"
    ))))  # fmt: skip


def _eager(row: Row) -> Iterator[Finding]:
    if row.metric not in SPEEDUPS and not (row.metric in TIMES and row.baseline):
        return
    if row.engine == "hf-eager":
        yield Finding("warning", row.id, "the baseline runs eager attention (score maps in memory, repeated KV heads); say so, or compare with a fused one as well")
    elif not row.engine and _evicting(row):
        yield Finding("warning", row.id, "engine is missing, and an un-fused baseline inflates what a smaller cache gains; name the attention kernel of the baseline")


def _evicting(row: Row) -> bool:
    try:
        return evicts(row)
    except SpecError:
        return False


def _contradicted(row: Row) -> Iterator[Finding]:
    """The visual tokens that are left, where both the columns and the setting say so."""
    left = row.visual_after
    if left is None and row.visual_kept is not None and row.visual_before is not None:
        left = row.visual_kept * row.visual_before
    shares = kept(row)
    if left is None or row.visual_before is None or not shares:
        return
    said = [row.visual_before * share for share in (shares[-1], sum(shares) / len(shares))]  # in the last layer, or on average
    if all(abs(left - one) > max(BUDGET * one, 1.0) for one in said):
        yield Finding("warning", row.id, f"{left:g} visual tokens are said to be left, but {row.techniques} leaves {said[0]:.0f} of {row.visual_before:g} ({said[1]:.0f} on average over layers)")


def _missing(row: Row) -> Iterator[Finding]:
    if row.metric not in METRICS:
        return
    names = list(NEEDED["memory" if row.metric in MEMORY else "clock"])
    if row.metric in CLOCKS and (TIMES | RATES | SPEEDUPS | SHARES)[row.metric] in ("tpot", "latency"):
        names += NEEDED["decode"]
    absent = [name for name in names if getattr(row, name) in ("", None) and not (name == "text_tokens" and row.prompt_tokens is not None)]
    if row.visual_before is None and row.prompt_tokens is None and picture_in(row.image) is None:
        absent.append("visual_before (or the size of the picture in `image`, as 1920x1080)")
    try:
        reduces = bool(row.techniques) and row.visual_before is not None and row.visual_after is None and row.visual_kept is None
    except SpecError:
        reduces = False
    if reduces and _drops(row):
        absent.append("visual_after")
    if absent:
        yield Finding("note", row.id, f"missing: {', '.join(absent)}")


def _drops(row: Row) -> bool:
    """Whether fewer visual tokens than given reach some layer."""
    kinds = ("fastv", "pyramiddrop", "sparsevlm", "visionzip", "prumerge", "divprune", "in_llm_prune", "pre_llm_reduce", "post_encoder_reduce")
    return row.techniques.split(":")[0] in kinds


def _unequal(rows: Sequence[Row]) -> Iterator[Finding]:
    """Methods under the same metric, model and device whose mean visual tokens over layers differ."""
    groups: dict[tuple[str, str, str, float | None], list[tuple[Row, float]]] = {}
    for row in rows:
        mean = mean_kept(row)
        if mean is not None and mean < 1.0:
            groups.setdefault((row.metric, row.model, row.hardware, row.visual_before), []).append((row, mean))
    for members in groups.values():
        low, high = min(members, key=lambda item: item[1]), max(members, key=lambda item: item[1])
        if high[1] > low[1] * (1.0 + BUDGET):
            yield Finding(
                "warning", f"{low[0].id}, {high[0].id}",
                f"unequal budgets: {low[0].method or low[0].techniques} keeps {low[1]:.1%} of the visual tokens on average over layers, "
                f"{high[0].method or high[0].techniques} {high[1]:.1%}",
            )  # fmt: skip


def mean_kept(row: Row) -> float | None:
    """Mean over layers of the share of visual tokens kept; None where the setting says nothing about it."""
    shares = kept(row)
    return sum(shares) / len(shares) if shares else None


def kept(row: Row) -> tuple[float, ...]:
    """Share of the visual tokens in every layer; empty where the setting says nothing about it."""
    try:
        if not row.visual_before or not techniques_of(row):
            return ()
        asked = questions(replace(_own(row), engine="hf-sdpa", hardware="h100-sxm", devices=1.0)).pairs[0][0]
        program = answer(single(asked, 0)).run.program
    except (NotComparableError, SpecError):
        return ()
    return tuple(float(program.visual_keep * layer.keep) for layer in program.decoder.layers for _ in range(layer.count))
