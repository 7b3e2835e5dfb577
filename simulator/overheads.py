"""What techniques pay for choosing: similarities, sorting, gathering, extra passes. Operators with shapes of their own."""

from __future__ import annotations

from simulator.ops import Elementwise, Matmul, Shape, Tokens
from simulator.program import Extra, StageName
from simulator.quantity import Numeric


def rows(batch: Numeric, tokens: Numeric, stage: StageName) -> Shape:
    """`tokens` rows for each of `batch` sequences."""
    phase = "encode" if stage in ("encode", "preprocess") else stage
    return Shape(phase, batch, Tokens(0.0, tokens))


def similarity(
    label: str, stage: StageName, batch: Numeric, left: Numeric, right: Numeric, width: Numeric, repeats: Numeric = 1.0
) -> Extra:
    """A left x right matrix of dot products of `width` elements, per sequence; counted as FLOPs."""
    op = Matmul(f"{label} similarity", n=right, k=width, weight_bits=16.0)
    return Extra(f"{label} similarity", stage, op, rows(batch, left, stage), repeats)


def topk(label: str, stage: StageName, batch: Numeric, tokens: Numeric, repeats: Numeric = 1.0) -> Extra:
    """Ranking `tokens` scores per sequence."""
    op = Elementwise(f"{label} top-k", "topk", read=1.0, write=1.0, bits=32.0)
    return Extra(f"{label} top-k", stage, op, rows(batch, tokens, stage), repeats)


def gather(
    label: str, stage: StageName, batch: Numeric, tokens: Numeric, width: Numeric, repeats: Numeric = 1.0
) -> Extra:
    """Copying the `tokens` rows that stay, `width` elements each."""
    op = Elementwise(f"{label} gather", "gather", read=width, write=width)
    return Extra(f"{label} gather", stage, op, rows(batch, tokens, stage), repeats)


def sequential(label: str, stage: StageName, batch: Numeric, steps: Numeric, tokens: Numeric) -> Extra:
    """A greedy loop: `steps` dependent passes over `tokens` scores (latency-bound: each pass is a kernel)."""
    op = Elementwise(f"{label} greedy step", "topk", read=2.0, write=1.0, bits=32.0)
    return Extra(f"{label} greedy step", stage, op, rows(batch, tokens, stage), steps)
