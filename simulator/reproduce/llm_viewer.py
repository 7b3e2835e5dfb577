"""The roofline of LLM-Viewer (arXiv 2402.16363) for one prefill, operator by operator, as PruMerge's table uses it.

Every operator takes max(operations / peak, bytes / bandwidth). Attention is not fused and not causal: the score map is
written, read by softmax, written and read again. Counted bytes are weights, activations read and written, and KV.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from simulator.spec.model import LanguageModel
from simulator.spec.source import SpecError

V100 = {"fp16": 112e12, "int8": 62e12}
"""Rates [FLOP/s] that LLM-Viewer has for the V100; 4 bits run at the 8-bit rate."""
V100_BANDWIDTH = 900e9


@final
@dataclass(frozen=True, slots=True)
class Roofline:
    """Totals of a prefill. stored: activations written [B]; moved: all bytes."""

    flops: float
    moved: float
    stored: float
    seconds: float


@final
@dataclass(frozen=True, slots=True)
class _Operator:
    flops: float
    weights: float = 0.0
    read: float = 0.0
    stored: float = 0.0
    cache: float = 0.0


def _layer(language: LanguageModel, tokens: float, width: float) -> Iterator[_Operator]:
    """Operators of one decoder layer on `tokens` tokens, `width` bytes an element."""
    block = language.stack.runs[0][1]
    attention, feed_forward = block.attention, block.feed_forward
    if attention is None or feed_forward is None or feed_forward.experts:
        raise SpecError("model: the LLM-Viewer roofline is defined for dense decoders with attention in every layer")
    hidden, inner, rows = float(language.hidden), float(feed_forward.width), tokens * width
    queries = float(attention.heads * attention.head_dim)
    keys = float(attention.kv_heads * attention.head_dim)

    def linear(inputs: float, outputs: float, cached: bool = False) -> _Operator:
        stored = outputs * rows
        return _Operator(2.0 * inputs * outputs * tokens, inputs * outputs * width, inputs * rows, 0.0 if cached else stored, stored * cached)

    yield linear(hidden, queries)
    yield linear(hidden, keys, True)
    yield linear(hidden, keys, True)
    yield linear(queries, hidden)
    yield linear(hidden, inner)
    yield linear(hidden, inner)
    yield linear(inner, hidden)
    scores = tokens * tokens * attention.heads
    yield _Operator(2.0 * scores * attention.head_dim, 0.0, queries * rows, scores * width, keys * rows)
    yield _Operator(2.0 * scores * attention.head_dim, 0.0, scores * width, queries * rows, keys * rows)
    yield _Operator(5.0 * scores, 0.0, scores * width, scores * width)
    for _ in range(2):
        yield _Operator(7.0 * hidden * tokens, 0.0, hidden * rows, hidden * rows)  # norm
        yield _Operator(hidden * tokens, 0.0, hidden * rows, hidden * rows)  # residual
    yield _Operator(2.0 * hidden * tokens, 0.0, 2.0 * hidden * rows, hidden * rows)  # activation


def roofline(language: LanguageModel, tokens: float, bits: float, peak: float, bandwidth: float) -> Roofline:
    """One prefill of `tokens` tokens with weights, activations and cache of `bits` bits; the head on the last token, which the tool
    (github hahnyuan/LLM-Viewer, model_analyzer.py until its configurations took the head over) counts as one operation and one byte a
    weight, whatever its width."""
    width, layers = bits / 8.0, float(language.stack.layers)
    head = float(language.hidden * language.vocabulary)
    operators = [(layers, item) for item in _layer(language, tokens, width)]
    operators.append((1.0, _Operator(head, head, language.hidden * width, language.vocabulary * width)))
    flops = moved = stored = seconds = 0.0
    for count, item in operators:
        bytes_ = item.weights + item.read + item.stored + item.cache
        flops += count * item.flops
        moved += count * bytes_
        stored += count * item.stored
        seconds += count * max(item.flops / peak, bytes_ / bandwidth)
    return Roofline(flops, moved, stored, seconds)
