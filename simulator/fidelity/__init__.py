"""What a mix of techniques does to accuracy, from published figures, or nothing.

Three grades. `direct`: this technique was published on this class of model and task, at fractions that enclose the one asked
for. `pooled`: other papers of its family were, and a regression over family, task and fraction kept speaks for it, with a wider
band. `none`: nobody published anything near, and then there is no number at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, final

import numpy as np

from simulator.fidelity.curve import FLOOR, Z80, Curve, build_curve
from simulator.fidelity.model import Pool, band, load_pools, load_spread, losses, span
from simulator.literature.evidence import TASKS, load_evidence
from simulator.quantity import Numeric, is_array, log, maximum, sqrt, where

Grade = Literal["direct", "pooled", "none"]

LOSSLESS = frozenset(
    {
        "chunked_prefill", "prefix_cache", "embedding_cache", "sequence_parallel_encoder", "encoder_data_parallel", "offload",
        "disaggregate", "parallelism",
    }
)  # fmt: skip
"""Families that change where and when, not what. Speculation is lossless at kept = 1, its share of strict verification."""

MODEL_CLASSES = ("fixed_grid", "tiled", "native_resolution", "cross_attention", "other")
"""By how a picture becomes tokens: a fixed grid (LLaVA-1.5), tiles (LLaVA-NeXT, OneVision, InternVL), its own size (Qwen2-VL)."""

UNTESTED = 0.25
"""Each further lossy technique of a mix nobody tested widens the band by this share (a judgement; no mix is in the table)."""

_ROUNDING = 1.0 - 1e-9
"""Fractions this close are the same."""

_STARTS = (
    ("fixed_grid", ("llava-1.5", "vila", "pllava", "st-llm", "video-llava", "llava-v1.5")),
    ("native_resolution", ("qwen", "glm", "kimi")),
    ("cross_attention", ("llama-3.2",)),
    ("tiled", ("llava", "internvl", "nvila", "minicpm", "idefics", "smolvlm", "phi", "drivemm", "llama-4", "gemma", "deepseek-vl2")),
)


@final
@dataclass(frozen=True, slots=True)
class Use:
    """One technique in a mix: its name (preset or general), its family (general name) and what it keeps.

    kept: fraction in [0, 1], one or many (0 has no evidence). axis: visual_tokens (mean over the decoder's layers of the share of visual tokens
    carried), kv_tokens (share of the cache resident), bits (of the cache, over 16), weights (bits over 16), attention, frames,
    draft (share of tokens verified strictly), output.
    """

    technique: str
    family: str
    kept: Numeric
    axis: str


@final
@dataclass(frozen=True, slots=True)
class Fidelity:
    """Accuracy over the baseline's, with its 80 % band [fraction]. All None at grade `none`; NaN for such elements of an array.

    evidence: where the figures are published; at grade `none` what nothing is published of.
    """

    retained: Numeric | None
    low: Numeric | None
    high: Numeric | None
    grade: Grade
    evidence: tuple[str, ...]


def model_class_of(name: str) -> str:
    """Class of a model by its name."""
    lower = name.lower()
    return next((kind for kind, starts in _STARTS if lower.startswith(starts)), "other")


def retained(uses: Sequence[Use], model: str, model_class: str = "", task_class: str = "general_vqa") -> Fidelity:
    """What is left of the accuracy when these techniques work together on this model.

    `model_class` is one of MODEL_CLASSES; anything else (a family name, nothing) and the class follows from the model's name.
    Losses of log-accuracy add over techniques and so do their variances; techniques that keep everything add nothing.
    Raises ValueError for a fraction outside [0, 1] or an unknown task class.
    """
    if task_class not in TASKS:
        raise ValueError(f"task_class: {task_class!r} is not known; accepted: {', '.join(TASKS)}")
    kind = model_class if model_class in MODEL_CLASSES else model_class_of(model)
    total: Numeric = 0.0
    below: Numeric = 0.0
    above: Numeric = 0.0
    active: Numeric = 0.0
    grades: list[Grade] = []
    evidence: list[str] = []
    lacking: list[str] = []
    for use in _joined(uses, kind, task_class):
        rule = _rule(use.technique, use.family, use.axis, kind, task_class)
        works = use.kept < _ROUNDING
        if not _any(works):
            continue
        grade, low_loss, loss, high_loss, sources = rule.losses(where(works, use.kept, 1.0))
        total = total + loss
        below = below + (high_loss - loss) ** 2
        above = above + (loss - low_loss) ** 2
        active = active + where(works, 1.0, 0.0)
        grades.append(grade)
        said = lacking if grade == "none" else evidence
        said.extend(source for source in sources if source not in said)
    if lacking and not is_array(total):
        return Fidelity(None, None, None, "none", tuple(lacking))
    stretch = 1.0 + UNTESTED * maximum(active - 1.0, 0.0)
    floor = where(active > 0.0, FLOOR, 0.0) * stretch
    middle, low, high = band(total - stretch * sqrt(above), total, total + stretch * sqrt(below), floor)
    several = len(grades) > 1
    overall: Grade = "none" if "none" in grades else "pooled" if several or "pooled" in grades else "direct"
    return Fidelity(middle, low, high, overall, (*lacking, *evidence))


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """Everything known about one technique on one class of model and task; made once, asked often."""

    curve: Curve | None
    pool: Pool | None
    family: str
    task: str
    scale: float
    reach: float
    spread: float
    smallest: float
    sources: tuple[str, ...]
    reason: str

    def losses(self, kept: Numeric) -> tuple[Grade, Numeric, Numeric, Numeric, tuple[str, ...]]:
        """(grade, losses of log-accuracy at the 10th, 50th, 90th percentile, sources); NaN where there is no evidence.

        Each element is direct where the curve covers it, else pooled where the family does; the grade is that of the worst.
        """
        inside = kept >= self.curve.smallest * _ROUNDING if self.curve is not None else kept > 1.0
        all_inside = _all(inside)
        sources: tuple[str, ...] = ()
        low = middle = high = _nan(kept)
        if not all_inside and self.pool is not None:
            covered = kept >= self.smallest * _ROUNDING
            known = where(covered, 1.0, float("nan"))
            low, middle, high = losses(self.pool, self.family, self.task, kept, self.scale)
            low, middle, high = low / self.reach * known, middle * known, high * self.reach * known
            sources = self.sources
        if self.curve is not None and _any(inside):
            loss = -log(maximum(self.curve.middle(kept), 1e-6))
            reach = where(kept < 1.0, sqrt(FLOOR**2 + (Z80 * self.spread * loss) ** 2), 0.0)
            low, middle, high = (
                where(inside, loss - reach, low),
                where(inside, loss, middle),
                where(inside, loss + reach, high),
            )
            sources = (*self.curve.sources, *sources)
        if _any(_missing(middle)):
            return "none", low, middle, high, (self.reason,)
        return "direct" if all_inside else "pooled", low, middle, high, sources


@lru_cache(maxsize=4096)
def _rule(technique: str, family: str, axis: str, kind: str, task: str) -> _Rule:
    rows = tuple(row for row in load_evidence() if row.axis == axis)
    curve = build_curve(rows, technique, kind, task)
    pool = load_pools().get(axis)
    spoken = None if pool is None else span(pool, family, task)
    usable = None if spoken is None else pool
    smallest, reach = spoken or (1.0, 1.0)
    lent = reach > 1.0
    papers = len({row.entry for row in rows if row.family == family or lent})
    source = f"pooled over {papers} papers of {'visual token reduction' if lent else family}, {task}, {axis}"
    where_at = f"{technique} ({family}, {axis}) on {kind} models, {task}"
    return _Rule(
        curve=curve,
        pool=usable,
        family=family,
        task=task,
        scale=1.0 if usable is None else usable.methods.get(technique, 1.0),
        reach=reach,
        spread=load_spread(),
        smallest=smallest,
        sources=(source,),
        reason=f"no evidence: {where_at}",
    )


def _joined(uses: Sequence[Use], kind: str, task: str) -> list[Use]:
    """Lossy uses. The parts of one preset on one axis stand for the preset as published where it has evidence of its own."""
    lossy = [use for use in uses if use.family not in LOSSLESS]
    for use in lossy:
        if not _all(use.kept >= 0.0) or not _all(use.kept * _ROUNDING <= 1.0):
            raise ValueError(f"kept: {use.kept} of {use.technique}; accepted: 0 to 1")
    parts: dict[tuple[str, str], Use] = {}
    singles: list[Use] = []
    for use in lossy:
        key = (use.technique, use.axis)
        if key not in parts:
            parts[key] = use
        elif _rule(use.technique, parts[key].family, use.axis, kind, task).curve is not None:
            parts[key] = Use(use.technique, parts[key].family, parts[key].kept * use.kept, use.axis)
        else:
            singles.append(use)
    return [*parts.values(), *singles]


def _any(condition: Any) -> bool:
    return bool(np.any(condition)) if is_array(condition) else bool(condition)


def _all(condition: Any) -> bool:
    return bool(np.all(condition)) if is_array(condition) else bool(condition)


def _missing(value: Numeric) -> Any:
    return np.isnan(value) if is_array(value) else math.isnan(value)  # pyright: ignore[reportArgumentType]


def _nan(like: Numeric) -> Numeric:
    return where(like < 1.0, float("nan"), 0.0)
