"""Bytes of weights on one device."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.ops import AbstractOp, Convolution, Elementwise, Experts, Matmul
from simulator.program import Decoder, Layer, Tower
from simulator.quantity import Numeric, is_array, maximum
from simulator.remembered import Remembered

_OWNED: Remembered[tuple[AbstractOp, ...], Numeric] = Remembered()


def owned(ops: tuple[AbstractOp, ...]) -> Numeric:
    """Bytes of the weights that operators own on one device."""
    known = _OWNED.get(ops)
    if known is not None:
        return known
    total: Numeric = 0.0
    for op in ops:
        if isinstance(op, Matmul | Experts | Convolution):
            total = total + op.parameters * op.weight_bits / 8.0
        elif isinstance(op, Elementwise):
            total = total + op.owned * op.bits / 8.0
    return total if is_array(total) else _OWNED.put(ops, total)


def _layers(layers: Iterable[Layer]) -> Numeric:
    total: Numeric = 0.0
    for layer in layers:
        total = total + owned(layer.prefill) * layer.count
    return total


def decoder_bytes(decoder: Decoder) -> Numeric:
    """Weights of the fullest pipeline stage: its layers and the larger of embedding and head."""
    ends = maximum(owned(decoder.embedding.prefill), owned(decoder.head.prefill))
    if decoder.pipeline == 1.0:
        ends = owned(decoder.embedding.prefill) + (0.0 if decoder.tied else owned(decoder.head.prefill))
    return _layers(decoder.layers) * decoder.fullest + ends + decoder.other_parameters * decoder.embedding_bits / 8.0


def tower_bytes(tower: Tower, bits: float) -> Numeric:
    """Weights of an encoder and its projector on one device; positions and class tokens have `bits` each."""
    other = (tower.other_parameters + tower.projector_other_parameters) * bits / 8.0
    return _layers(tower.layers) + _layers(tower.projector) + other
