"""What techniques pay for choosing: similarities, sorting, gathering, extra passes. Operators with shapes of their own.

Every `Extra` made here carries the technique's name at the start of its label, so that what a choice costs can be told from
what it saves. `on` is 0 where the technique keeps everything (nothing is chosen, nothing is paid) and may be an array.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.attention import Attention
from simulator.ops import AbstractOp, Collective, Elementwise, Experts, Matmul, Shape, Tokens
from simulator.program import Extra, Layer, StageName
from simulator.quantity import Numeric, maximum, where
from simulator.spec.source import SpecError

_LEAST = 1e-9
PROJECTIONS = ("qkv", "q", "kv", "q_a", "q_b", "kv_a", "kv_b")


def rows(batch: Numeric, tokens: Numeric, stage: StageName) -> Shape:
    """`tokens` rows for each of `batch` sequences."""
    phase = "encode" if stage in ("encode", "preprocess") else stage
    return Shape(phase, batch, Tokens(0.0, tokens))


def charged(
    label: str, stage: StageName, op: AbstractOp, batch: Numeric, tokens: Numeric, repeats: Numeric = 1.0, memory_bytes: Numeric = 0.0
) -> Extra:
    """An operator on `tokens` rows of `batch` sequences. Where there are none it runs zero times, on a shape that a kernel model
    can still time, so that an array may hold the value at which a technique is off."""
    runs = where(batch * tokens > 0.0, 1.0, 0.0)
    shape = rows(maximum(batch, _LEAST), maximum(tokens, _LEAST), stage)
    return Extra(label, stage, op, shape, repeats * runs, memory_bytes=memory_bytes)


def similarity(
    label: str, stage: StageName, batch: Numeric, left: Numeric, right: Numeric, width: Numeric, repeats: Numeric = 1.0
) -> Extra:
    """A left x right matrix of dot products of `width` elements (at least one wide), per sequence; counted as FLOPs."""
    op = Matmul(f"{label} similarity", n=maximum(right, 1.0), k=maximum(width, 1.0), weight_bits=16.0)
    return charged(f"{label} similarity", stage, op, batch, left, repeats)


def topk(label: str, stage: StageName, batch: Numeric, tokens: Numeric, repeats: Numeric = 1.0) -> Extra:
    """Ranking `tokens` scores per sequence."""
    op = Elementwise(f"{label} top-k", "topk", read=1.0, write=1.0, bits=32.0)
    return charged(f"{label} top-k", stage, op, batch, tokens, repeats)


def gather(
    label: str, stage: StageName, batch: Numeric, tokens: Numeric, width: Numeric, repeats: Numeric = 1.0
) -> Extra:
    """Copying the `tokens` rows that stay, `width` elements each."""
    op = Elementwise(f"{label} gather", "gather", read=width, write=width)
    return charged(f"{label} gather", stage, op, batch, tokens, repeats)


def sequential(
    label: str, stage: StageName, batch: Numeric, steps: Numeric, tokens: Numeric, width: Numeric = 1.0
) -> Extra:
    """A greedy loop: `steps` dependent passes over `tokens` scores (latency-bound: each pass is a kernel)."""
    op = Elementwise(f"{label} greedy step", "topk", read=1.0 + width, write=1.0, bits=32.0)
    return charged(f"{label} greedy step", stage, op, batch, tokens, steps)


def read_map(label: str, stage: StageName, batch: Numeric, queries: Numeric, keys: Numeric, heads: Numeric) -> Extra:
    """A materialised score map read once and averaged over its heads [heads x queries x keys elements per sequence]."""
    op = Elementwise(f"{label} score map", "softmax", read=heads * keys, write=keys)
    return charged(f"{label} score map", stage, op, batch, queries)


def attention_rows(
    label: str, stage: StageName, batch: Numeric, queries: Numeric, keys: Numeric, attention: Attention, repeats: Numeric = 1.0
) -> Extra:
    """Scores of `queries` rows against `keys` tokens in every head, without values."""
    op = Matmul(f"{label} score rows", n=maximum(keys, 1.0), k=attention.head_dim)
    return charged(f"{label} score rows", stage, op, batch * attention.heads, queries, repeats)


def projections_again(label: str, batch: Numeric, tokens: Numeric, layer: Layer) -> list[Extra]:
    """The query, key and value projections of a decoder layer a second time, on `tokens` rows per sequence."""
    found = [op for op in layer.prefill if isinstance(op, Matmul) and op.name in PROJECTIONS]
    return [charged(f"{label} {op.name}", "prefill", op, batch, tokens) for op in found]


def attention_of(layer: Layer) -> Attention | None:
    """The attention operator of a layer's one pass (prefill, or encoding), if it has one."""
    return next((op for op in layer.prefill if isinstance(op, Attention)), None)


def active(share: Numeric) -> Numeric:
    """1 where less than everything is kept, else 0."""
    return where(share < 1.0, 1.0, 0.0)


def reduces(share: Numeric) -> bool:
    """Whether any of the values keeps less than everything; for refusals and notes, never for costs."""
    return bool(np.any(np.asarray(share) < 1.0))


def occurs(amount: Numeric) -> bool:
    """Whether any of the values is above zero; for refusals and notes, never for costs."""
    return bool(np.any(np.asarray(amount) > 0.0))


def layer_index(name: str, index: int, depth: int, low: int = 0) -> int:
    """A layer number of a stack of `depth` layers; negative numbers count from the last."""
    at = index + depth if index < 0 else index
    if not low <= at < depth:
        raise SpecError(f"techniques.{name}: {index} is not accepted; {low} to {depth - 1} in this stack of {depth} layers")
    return at


def acting_on(op: AbstractOp, visual: Numeric, text: Numeric = 1.0) -> AbstractOp:
    """An operator on that share of the visual (and text) rows it acted on; one without rows of its own is left alone."""
    if isinstance(op, Matmul | Experts | Elementwise | Collective | Attention):
        return replace(op, visual=op.visual * visual, text=op.text * text)
    return op
