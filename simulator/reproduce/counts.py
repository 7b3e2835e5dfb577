"""Rows that a formula gives: FLOPs by the convention of the paper, cache bytes, and PruMerge's table by its own roofline tool."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from simulator.conventions import program_flops
from simulator.reproduce.clock import answer, single
from simulator.reproduce.llm_viewer import V100, V100_BANDWIDTH, Roofline, roofline
from simulator.reproduce.mixture import Band
from simulator.reproduce.predict import Prediction
from simulator.reproduce.prior import TEXT
from simulator.reproduce.question import Question, questions, shipped
from simulator.reproduce.setting import UNSAID, NotComparableError, techniques_of
from simulator.reproduce.stand_ins import bytes_per_token
from simulator.reproduce.table import Row, load_table

CONVENTIONS = {"fastv": "c3", "pyramiddrop": "c1", "sparsevlm": "c7", "divprune": "c3"}
"""FLOP convention of a paper (`simulator.conventions`); others: c4, every product doubled, text included."""
FLOPS = ("llm_flops", "flops", "flops_ratio")
CACHE = ("kv_bytes_visual", "kv_bytes_per_hour", "kv_elements_per_token")
VIEWER = {"prefill_flops": "flops", "memory_traffic": "moved", "activation_bytes": "stored", "prefill_time": "seconds"}
METRICS = (*FLOPS, *CACHE, *VIEWER)


def counted(row: Row) -> tuple[Prediction, Prediction | None]:
    """Prediction of a counted row and of its baseline. Raises NotComparableError with the reason where there is none."""
    if row.value is None:
        raise NotComparableError("no figure is printed")
    if row.entry == "prumerge" and row.metric in VIEWER:
        return _viewed(row)
    if row.metric in CACHE:
        return _cached(row)
    return _flops(row)


def _exact(value: float, published: float, quantity: str, *assumed: str) -> Prediction:
    return Prediction(Band(value, value, value), published, None, quantity, assumed)


def _viewed(row: Row) -> tuple[Prediction, Prediction | None]:
    """PruMerge, table 2: 698 tokens before and 70 after; LLM-Viewer on a V100 of 112 TFLOP/s (62 for 4 bits) and 900 GB/s."""
    language = shipped(row).language
    assert row.prompt_tokens and row.prompt_after and row.value is not None
    four = row.precision == "w4a4kv4"
    note = f"{row.prompt_tokens:g} tokens before and {row.prompt_after:g} after, the counts that fit all figures of the table"

    def one(tokens: float) -> float:
        found: Roofline = roofline(language, tokens, 4.0 if four else 16.0, V100["int8" if four else "fp16"], V100_BANDWIDTH)
        value = float(getattr(found, VIEWER[row.metric]))
        return value / 4.0 if four and row.metric == "prefill_flops" else value  # the table divides operations by four

    baseline = None if row.baseline is None else _exact(one(row.prompt_tokens), row.baseline, f"{row.metric} before", note)
    return _exact(one(row.prompt_after), row.value, row.metric, note), baseline


def _cached(row: Row) -> tuple[Prediction, Prediction | None]:
    per_token = bytes_per_token(shipped(row))
    assert row.value is not None
    if row.metric == "kv_elements_per_token":
        return _exact(per_token / 2.0, row.value, row.metric), None
    tokens = row.visual_after if row.visual_after is not None else row.visual_before
    if tokens is None:
        raise NotComparableError("the number of cached tokens is not stated")
    baseline = None
    if row.baseline is not None and row.visual_before is not None:
        baseline = _exact(per_token * _paired(row), row.baseline, f"{row.metric} before")
    return _exact(per_token * tokens, row.value, row.metric), baseline


def _paired(row: Row) -> float:
    assert row.visual_before is not None
    return row.visual_before


def _flops(row: Row) -> tuple[Prediction, Prediction | None]:
    method = techniques_of(row)
    if not method:
        raise NotComparableError(UNSAID)
    convention = CONVENTIONS.get(row.entry, "c4")
    asked = questions(replace(row, engine="hf-sdpa", hardware=row.hardware or "a100-sxm-80gb"))
    first = asked.pairs[0][0]
    text, notes = first.text, [f"convention {convention}", *(note for note in asked.assumed if not note.startswith(("output", "engine", "hardware", "batch")))]
    solved = _solved_text(row, convention)
    if solved is not None and row.text_tokens is None:
        text = (solved,) * len(text)
        notes = [f"convention {convention}", f"{solved:.0f} text tokens from the paper's own baseline figure"]
    both = [_count(replace(first, text=text, techniques=mix), row, convention) for mix in (method, ())]
    assert row.value is not None
    if row.metric == "flops_ratio":
        return _spread(both[0] / both[1], row.value, "flops_ratio", notes), None
    before = None if row.baseline is None else _spread(both[1], row.baseline, f"{row.metric} before", notes)
    return _spread(both[0], row.value, row.metric, notes), before


def _spread(values: np.ndarray, published: float, quantity: str, notes: list[str]) -> Prediction:
    lower, middle, upper = np.quantile(values, (0.1, 0.5, 0.9))
    return Prediction(Band(float(middle), float(lower), float(upper)), published, None, quantity, tuple(notes))


def _count(question: Question, row: Row, convention: str) -> np.ndarray:
    """FLOPs per draw; one program where nothing is left open."""
    model = shipped(row)
    varies = len(set(zip(question.visual, question.text, strict=True))) > 1
    return np.array([
        program_flops(answer(single(question, draw)).run.program, model.language, convention)
        for draw in range(len(question.visual) if varies else 1)
    ])  # fmt: skip


@lru_cache(maxsize=64)
def _solved_text(row: Row, convention: str) -> float | None:
    """Text tokens at which the dense model costs what the paper says, where that is within what questions take."""
    known = row if row.metric == "llm_flops" else _sister(row)
    if known is None or known.baseline is None or known.visual_before is None:
        return None
    language, visual, low, high = shipped(known).language, known.visual_before, 0.0, 4.0 * TEXT[1]
    base = questions(replace(known, techniques="", text_tokens=0.0, engine="hf-sdpa", hardware="a100-sxm-80gb")).pairs[0][0]

    def dense(text: float) -> float:
        size = len(base.text)
        asked = replace(base, visual=(visual,) * size, text=(text,) * size, techniques=())
        return program_flops(answer(single(asked, 0)).run.program, language, convention)

    if not dense(low) <= known.baseline <= dense(high):
        return None
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if dense(middle) < known.baseline else (low, middle)
    return 0.5 * (low + high)


def _sister(row: Row) -> Row | None:
    """The row that prints FLOPs of the same setting."""
    for other in load_table():
        if (other.entry, other.model, other.metric) == (row.entry, row.model, "llm_flops"):
            return other
    return None
