"""One row held against its prediction: where it lies, by how much it is off, and why it can be compared or not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, final

from simulator.reproduce import counts, predict
from simulator.reproduce.setting import NotComparableError, techniques_of
from simulator.reproduce.stand_ins import is_stand_in
from simulator.reproduce.table import Row
from simulator.spec.source import SpecError
from simulator.spec.validated import nearest

Verdict = Literal["inside", "outside", "impossible", "doubtful", "reproduced", "off", "calibration", "not comparable"]
Group = Literal["clock", "memory", "count", "none"]

CALIBRATION: dict[str, str] = {
    **dict.fromkeys(("p0067", "p0110", "p0137", "p0140"), "the host time of transformers was read off this figure (engines.yaml)"),
    **dict.fromkeys(("p0286", "p0288"), "the host time of TinyChat was read off this figure (tinychat.yaml)"),
}
"""Rows that engine parameters were read off: shown, never scored."""
TOLERANCE = 0.01


@final
@dataclass(frozen=True, slots=True)
class Result:
    """A row with its prediction. SI units. lower, upper: 80 % band. error: predicted over published, less 1. floor: least
    (of a rate, most) that physics allows. baseline_*: the row's dense figure, where it is counted too. why: what makes the row
    comparable, or not. visual: whether the setting acts on visual tokens or their cache."""

    row: Row
    group: Group
    quantity: str
    published: float | None
    predicted: float | None
    lower: float | None
    upper: float | None
    floor: float | None
    error: float | None
    baseline_published: float | None
    baseline_predicted: float | None
    verdict: Verdict
    why: str
    visual: bool

    @property
    def scored(self) -> bool:
        """Whether it counts: a clock held against a band and not used to set an engine's parameters."""
        return self.group == "clock" and self.verdict in ("inside", "outside", "impossible")


@lru_cache(maxsize=4096)
def judge(row: Row) -> Result:
    """The verdict on a row."""
    viewed = row.entry == "prumerge" and row.metric in counts.VIEWER
    group: Group = "none"
    try:
        if viewed or row.metric in (*counts.FLOPS, *counts.CACHE):
            group = "count"
            found, before = counts.counted(row)
        elif row.metric in predict.METRICS:
            group = "memory" if row.metric in predict.MEMORY else "clock"
            found, before = predict.predict(row), None
        else:
            raise NotComparableError(_no_cost(row))
    except (NotComparableError, SpecError) as error:
        return Result(row, group, row.metric, row.value, None, None, None, None, None, row.baseline, None, "not comparable", str(error), False)
    band = found.band
    return Result(
        row, group, found.quantity, found.published, band.expected, band.lower, band.upper, found.floor,
        band.expected / found.published - 1.0 if found.published else None,
        None if before is None else before.published,
        None if before is None else before.band.expected,
        _verdict(row, group, found, before), _why(row, found), _visual(row),
    )  # fmt: skip


def _no_cost(row: Row) -> str:
    if row.metric.startswith("accuracy"):
        return "an accuracy; see the evidence on fidelity"
    if row.metric.startswith("attention_rate"):
        return "an attention kernel alone; see lvlm-sim kernel"
    known = (*predict.METRICS, *counts.FLOPS, *counts.CACHE)
    close = ", ".join(nearest(row.metric, known))
    return f"{row.metric} is no cost of a scenario with what the source states" + (f"; nearest: {close}" if close else "")


def _verdict(row: Row, group: Group, found: predict.Prediction, before: predict.Prediction | None) -> Verdict:
    if row.id in CALIBRATION:
        return "calibration"
    if group == "count":
        return "reproduced" if all(_agrees(item) for item in (found, before) if item is not None) else "off"
    below = found.floor is not None and (
        found.published > found.floor * 1.005 if row.metric in predict.RATES else found.published < found.floor * 0.995
    )
    if below:
        return "impossible"
    return "inside" if found.band.lower <= found.published <= found.band.upper else "outside"


def _agrees(item: predict.Prediction) -> bool:
    """Within 1 %, or half a unit of the last digit printed; where the text length is open, within what it spans."""
    low, high = item.band.lower * (1.0 - TOLERANCE), item.band.upper * (1.0 + TOLERANCE)
    return low <= item.published <= high or abs(item.band.expected - item.published) <= 0.5 * last_digit(item.published)


def last_digit(value: float) -> float:
    """Unit of the last digit that was printed, taken to be the last that is not zero."""
    if value == 0.0:
        return 0.0
    digits = max(len(f"{value:.12g}".split("e")[0].replace(".", "").strip("0")), 1)
    return 10.0 ** (math.floor(math.log10(abs(value))) + 1 - digits)


def _why(row: Row, found: predict.Prediction) -> str:
    parts = [CALIBRATION[row.id]] if row.id in CALIBRATION else []
    whole = "specified but for the variant" if "hardware_variant" in row.assumed_fields else "nothing assumed"
    parts.append("fully specified" if row.specified else "assumed: " + "; ".join(found.assumed) if found.assumed else whole)
    if row.specified and found.assumed:
        parts.append("; ".join(found.assumed))
    if is_stand_in(row.model):
        parts.append(f"{row.model} is put together from parts of other models")
    return "; ".join(parts)


def _visual(row: Row) -> bool:
    """Whether techniques act on visual tokens, attention or the cache (not on weights or drafts alone)."""
    return row.kind == "measured" and any(
        not text.startswith(("awq", "gptq", "weight_quant", "medusa", "eagle", "vispec", "specvlm", "speculative")) for text in techniques_of(row)
    )
