"""The compute format of a language model's linear layers."""

from __future__ import annotations

from dataclasses import replace

from simulator.ops import AbstractOp, Experts, Matmul
from simulator.program import Decoder, map_ops
from simulator.quantity import Numeric
from simulator.spec.hardware import BITS

LINEAR = frozenset(
    ("qkv", "q", "kv", "o", "q_a", "q_b", "kv_a", "kv_b", "gate_up", "up", "down", "expert_gate_up", "expert_up")
    + ("expert_down", "shared_gate_up", "shared_up", "shared_down", "in_proj", "out_proj")
)


def requantised(op: AbstractOp, format: str, weight_bits: Numeric, activation_bits: Numeric) -> AbstractOp:
    """A linear operator whose weights have `weight_bits` and whose products run in `format`; others as they are."""
    if isinstance(op, Matmul | Experts) and op.name in LINEAR:
        return replace(op, format=format, weight_bits=weight_bits, activation_bits=activation_bits)
    return op


def in_format(decoder: Decoder, format: str) -> Decoder:
    """The decoder with its linear layers in `format` (embedding, head, norms and attention stay as they are)."""
    if format == "bf16":
        return decoder
    bits = float(BITS[format])
    if bits >= 16.0:
        layers = map_ops(decoder.layers, lambda op: requantised(op, format, bits, bits))
    else:
        layers = map_ops(decoder.layers, lambda op: requantised(op, format, bits, 16.0))
    return replace(decoder, layers=layers)
