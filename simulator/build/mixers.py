"""Token mixers other than self-attention: cross-attention, latent attention, linear mixers."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from simulator.attention import Attention
from simulator.build.blocks import divided, reduce
from simulator.ops import AbstractOp, Convolution, Elementwise, Matmul
from simulator.program import Cache
from simulator.spec.model import AttentionSpec, LanguageModel


class Mixer(NamedTuple):
    """The token-mixing part of a layer in both phases, and what it keeps."""

    prefill: tuple[AbstractOp, ...]
    decode: tuple[AbstractOp, ...]
    cache: Cache


def cross(language: LanguageModel, spec: AttentionSpec, tp: int, bits: float) -> Mixer:
    """Text attends to the projected pictures: Q from text rows, K and V from visual rows, once."""
    hidden = float(language.hidden)
    heads = divided(spec.heads, tp, "the language model", spec.kv_heads)
    kv_heads = max(1.0, spec.kv_heads / tp)
    width, keys, values = heads * spec.head_dim, kv_heads * spec.head_dim, kv_heads * spec.v_dim
    q = Matmul("q", width, hidden, weight_bits=bits, bias=spec.q_bias, visual=0.0)
    kv = Matmul("kv", keys + values, hidden, weight_bits=bits, bias=spec.kv_bias, text=0.0)
    norm = Elementwise("qk_norm", "norm", width, width, owned=float(spec.qk_norm), visual=0.0)
    attention = Attention(
        "attention", heads, kv_heads, float(spec.head_dim), float(spec.v_dim), "cross", visual=0.0, visible_text=0.0
    )
    out = Matmul("o", hidden, heads * spec.v_dim, weight_bits=bits, bias=spec.o_bias, visual=0.0)
    after = (norm, attention, out, *reduce(hidden, tp, 0.0, 1.0))
    return Mixer((q, kv, *after), (q, *after), Cache(keys, values, text=0.0, grows=False))


def latent(language: LanguageModel, spec: AttentionSpec, tp: int, bits: float) -> Mixer:
    """Multi-head latent attention (DeepSeek-V2, 2024): prefill expands the latent into heads; decode folds kv_b into the
    query and the output and attends to the latent itself, which is stored once per token on every device."""
    hidden = float(language.hidden)
    heads = divided(spec.heads, tp, "the language model")
    nope, rank, rope, value = (
        float(spec.head_dim - spec.rope_dim),
        float(spec.kv_rank),
        float(spec.rope_dim),
        float(spec.v_dim),
    )
    query = heads * spec.head_dim
    down: tuple[AbstractOp, ...]
    if spec.q_rank:
        down = (
            Matmul("q_a", float(spec.q_rank), hidden, weight_bits=bits, bias=spec.q_bias),
            Elementwise("qk_norm", "norm", float(spec.q_rank), float(spec.q_rank), owned=float(spec.q_rank)),
            Matmul("q_b", query, float(spec.q_rank), weight_bits=bits),
        )
    else:
        down = (Matmul("q", query, hidden, weight_bits=bits, bias=spec.q_bias),)
    kv_a = Matmul("kv_a", rank + rope, hidden, weight_bits=bits, bias=spec.kv_bias)
    norm = Elementwise("qk_norm", "norm", rank, rank, owned=rank)
    turn = Elementwise("rope", "rope", heads * rope + rope, heads * rope + rope)
    kv_b = Matmul("kv_b", heads * (nope + value), rank, weight_bits=bits)
    expanded = Attention(
        "attention", heads, heads, float(spec.head_dim), value, "causal"
    )
    into = Matmul("absorb_q", rank, nope, weight_bits=bits, copies=heads)
    latent = Attention("attention", heads, 1.0, rank + rope, rank, "causal", shared=True)
    outof = Matmul("absorb_o", value, rank, weight_bits=bits, copies=heads)
    out = (Matmul("o", hidden, heads * value, weight_bits=bits, bias=spec.o_bias), *reduce(hidden, tp, 1.0, 1.0))
    return Mixer(
        (*down, kv_a, norm, turn, kv_b, expanded, *out),
        (*down, kv_a, norm, turn, into, latent, outof, *out),
        Cache(rank + rope, 0.0),
    )


def linear(language: LanguageModel, spec: AttentionSpec, tp: int, bits: float) -> Mixer:
    """A recurrent mixer: matrices, a scan over tokens, and a state that does not grow. A prompt is scanned with the state on the
    chip; a decode step reads and writes it."""
    hidden = language.hidden
    ops: list[AbstractOp] = []
    *inner, last = spec.projections
    for item in inner:
        ops.append(
            Matmul(
                "in_proj",
                item.outputs / tp,
                float(item.inputs),
                weight_bits=bits,
                bias=item.bias,
                copies=float(item.copies),
            )
        )
    if spec.conv_channels:
        channels = spec.conv_channels / tp
        ops.append(
            Convolution(
                "convolution",
                channels,
                channels,
                1.0,
                groups=channels,
                bias=spec.conv_bias,
                taps=float(spec.conv_kernel),
            )
        )
    moved = spec.scan_elements / tp
    state = (spec.state_elements * spec.state_bits / 8.0 + 2.0 * spec.conv_channels * spec.conv_kernel) / tp  # [byte]
    held = state / 2.0  # in elements of 16 bit
    scan = Elementwise("scan", "scan", moved, moved, owned=spec.other_parameters / tp)
    step = replace(scan, read=moved + held, write=moved + held)
    out = Matmul("out_proj", float(last.outputs), last.inputs / tp, weight_bits=bits, bias=last.bias)
    after = (out, *reduce(hidden, tp, 1.0, 1.0))
    return Mixer((*ops, scan, *after), (*ops, step, *after), Cache(0.0, 0.0, grows=False, state_bytes=state))
