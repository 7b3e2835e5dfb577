"""A whole model in one format: vision tower, attention, element-wise passes and cache, not the linear layers alone."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from simulator.attention import Attention
from simulator.ops import AbstractOp, Convolution, Elementwise, Experts, Matmul
from simulator.program import Cache, Decoder, Layer, Program, map_ops
from simulator.spec.hardware import BITS


def uniform(program: Program, format: str) -> Program:
    """The program with every operator, and what it keeps, in `format`; weights stay as wide as their format."""
    towers = tuple(
        replace(tower, layers=_layers(tower.layers, format), projector=_layers(tower.projector, format))
        for tower in program.towers
    )
    return replace(program, towers=towers, decoder=_decoder(program.decoder, format))


def uniform_extras(program: Program, format: str) -> Program:
    """The program with what techniques pay for choosing in `format` too, where they left the format open (bf16)."""
    extras = tuple(replace(extra, op=_op(extra.op, format)) if _open(extra.op) else extra for extra in program.extras)
    return replace(program, extras=extras)


def _open(op: AbstractOp) -> bool:
    return isinstance(op, Elementwise) or (isinstance(op, Matmul | Experts | Convolution) and op.format == "bf16" and op.weight_bits == 16.0)


@lru_cache(maxsize=256)
def _decoder(decoder: Decoder, format: str) -> Decoder:
    return replace(
        decoder,
        embedding=_layer(decoder.embedding, format),
        layers=_layers(decoder.layers, format),
        head=_layer(decoder.head, format),
        embedding_bits=float(BITS[format]),
    )


@lru_cache(maxsize=256)
def _layers(layers: tuple[Layer, ...], format: str) -> tuple[Layer, ...]:
    changed = map_ops(layers, lambda op: _op(op, format))
    return tuple(replace(layer, cache=_cache(layer.cache, format)) for layer in changed)


def _layer(layer: Layer, format: str) -> Layer:
    return _layers((layer,), format)[0]


def _op(op: AbstractOp, format: str) -> AbstractOp:
    bits = float(BITS[format])
    if isinstance(op, Matmul | Experts | Convolution):
        return replace(op, format=format, weight_bits=bits, activation_bits=max(bits, 16.0))
    if isinstance(op, Attention):
        return replace(op, format=format, k_bits=bits, v_bits=bits, full_bits=bits)
    if isinstance(op, Elementwise) and op.bits == 16.0:
        return replace(op, bits=max(bits, 16.0))
    return op


def _cache(cache: Cache | None, format: str) -> Cache | None:
    if cache is None:
        return None
    bits = float(BITS[format])
    return replace(cache, k_bits=bits, v_bits=bits, full_bits=bits)
