"""The language model as a program: what one layer of each attention kind multiplies and moves, per device.

`build_decoder` is pure and cached on the spec and the parallel degrees. Operator names are the vocabulary by which techniques
edit: qkv (or q and kv), rope, attention, o, norm, gate_up or up, activation, down, router, topk, permute, expert_*,
shared_*, combine, q_a, q_b, kv_a, kv_b, absorb_q, absorb_o, in_proj, convolution, scan, out_proj, all_reduce, all_to_all, send,
embedding, merge, final_norm, lm_head, all_gather, sample.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Literal

from simulator.attention import Attention, Mask
from simulator.build.blocks import divided, feed_forward, norm_kind, norms, reduce
from simulator.build.mixers import Mixer, cross, latent, linear
from simulator.ops import AbstractOp, Collective, Elementwise, Matmul
from simulator.program import Cache, Decoder, Layer, edit
from simulator.spec.model import AttentionSpec, Block, LanguageModel, Lvlm
from simulator.spec.source import SpecError

_MASK: dict[str, Mask] = {"full": "causal", "sliding": "window", "chunked": "chunk"}


@lru_cache(maxsize=512)
def build_decoder(model: Lvlm, tp: int = 1, pp: int = 1, ep: int = 1, bits: float = 16.0) -> Decoder:
    """The decoder of `model` on one of `tp` devices; weights of linear layers have `bits` bits.

    Layers of all `pp` pipeline stages are listed; experts are split over `ep` devices (a divisor or a multiple of tp).
    """
    for field, value in (("tp", tp), ("pp", pp), ("ep", ep)):
        if value < 1:
            raise SpecError(f"{field}: {value} is not accepted: at least 1")
    language = model.language
    if pp > language.stack.layers:
        raise SpecError(f"pp: {pp} is more than the {language.stack.layers} layers of {model.name}")
    if ep > 1 and not has_experts(model):
        raise SpecError(f"ep: {ep} is not accepted: {model.name} has no experts to split")
    layers: list[Layer] = []
    index = 0
    made: dict[int, Layer] = {}  # equal layers share their operators, so that their work need be computed once
    for count, block in language.stack.runs:
        if id(block) not in made:
            made[id(block)] = _layer(language, block, tp, ep, bits)
        layers.append(replace(made[id(block)], index=index, count=count))
        index += count
    return Decoder(
        name=model.name,
        embedding=_embedding(language, tp),
        layers=_staged(tuple(layers), language, pp),
        head=_head(language, tp),
        hidden=float(language.hidden),
        vocabulary=float(language.vocabulary),
        max_context=float(language.max_context),
        devices=float(tp),
        pipeline=float(pp),
        other_parameters=float(language.other_parameters),
        tied=language.tied_embeddings,
        crossed=language.cross_attention,
    )


def has_experts(model: Lvlm) -> bool:
    """True for a mixture of experts."""
    return any(block.feed_forward is not None and bool(block.feed_forward.experts) for _, block in model.language.stack.runs)


def split_qkv(op: Matmul, heads: float, kv_heads: float, head_dim: float, value_dim: float) -> tuple[Matmul, Matmul]:
    """A fused `qkv` as separate `q` and `kv` (visual bypass, cross-attention); sizes are those on one device."""
    q = replace(op, name="q", n=heads * head_dim)
    return q, replace(op, name="kv", n=kv_heads * (head_dim + value_dim))


def _embedding(language: LanguageModel, tp: int) -> Layer:
    hidden = float(language.hidden)
    owned = (language.embedding_rows or language.vocabulary) * hidden / tp
    lookup = Elementwise("embedding", "embedding", hidden, hidden, owned=owned, visual=0.0)
    ops = (lookup, *reduce(hidden, tp, 0.0, 1.0))
    if language.cross_attention:
        return Layer("embedding", -1, 1, ops, ops)
    merge = Elementwise("merge", "gather", hidden, hidden, text=0.0)
    return Layer("embedding", -1, 1, (*ops, merge), ops)


def _staged(layers: tuple[Layer, ...], language: LanguageModel, pp: int) -> tuple[Layer, ...]:
    """Every row that is alive after the last layer of a pipeline stage goes to the next one."""
    send = Collective("send", "send", float(language.hidden), 2.0, visual=0.0 if language.cross_attention else 1.0)
    for stage in range(1, pp):
        last = stage * language.stack.layers // pp - 1
        layers = edit(layers, lambda layer: replace(layer, prefill=(*layer.prefill, send), decode=(*layer.decode, send)), last, last + 1)
    return layers


def _head(language: LanguageModel, tp: int) -> Layer:
    hidden, vocabulary = float(language.hidden), float(language.vocabulary)
    visual = 0.0 if language.cross_attention else 1.0
    ops: list[AbstractOp] = []
    ops.append(
        Elementwise(
            "final_norm", norm_kind(language.final_norm_parameters, hidden), 2.0 * hidden, hidden, owned=float(language.final_norm_parameters), visual=visual
        )
    )
    ops.append(
        Matmul(
            "lm_head",
            vocabulary / tp,
            hidden,
            bias=language.head_bias,
            visual=visual,
            rows="last",
            shared=language.tied_embeddings,
        )
    )
    if tp > 1:
        ops.append(Collective("all_gather", "all_gather", vocabulary, float(tp), visual=visual, rows="last"))
    ops.append(Elementwise("sample", "sample", vocabulary, 1.0, bits=32.0, visual=visual, rows="last", launches=2.0))
    return Layer("head", language.stack.layers, 1, tuple(ops), tuple(ops))


def _layer(language: LanguageModel, block: Block, tp: int, ep: int, bits: float) -> Layer:
    hidden = language.hidden
    visual = 0.0 if language.cross_attention else 1.0
    mixer = _mixer(language, block.attention, tp, bits, visual)
    norm = norms(block, float(hidden), visual, 1.0)
    after: tuple[AbstractOp, ...] = norm[1:]
    if block.feed_forward is not None:
        after = (*norm[1:], *feed_forward(block.feed_forward, hidden, tp, ep, bits, visual))
    for item in block.side:
        matrix = Matmul(
            item.name, float(item.outputs), float(item.inputs), weight_bits=bits, bias=item.bias, visual=visual
        )
        after = (*after, replace(matrix, copies=float(item.copies), text=0.0 if item.rows == "visual" else 1.0))
    kind = block.attention.kind if block.attention is not None else "none"
    prefill = (*norm[:1], *mixer.prefill, *after)
    decode = (*norm[:1], *mixer.decode, *after)
    return Layer(kind, 0, 1, prefill, decode, mixer.cache)


def _mixer(language: LanguageModel, spec: AttentionSpec | None, tp: int, bits: float, visual: float) -> Mixer:
    if spec is None:
        return Mixer((), (), Cache(0.0, 0.0))
    if spec.kind == "mla":
        return latent(language, spec, tp, bits)
    if spec.kind == "linear":
        return linear(language, spec, tp, bits)
    if spec.kind == "cross":
        return cross(language, spec, tp, bits)
    return _self(language, spec, tp, bits, visual)


def _self(language: LanguageModel, spec: AttentionSpec, tp: int, bits: float, visual: float) -> Mixer:
    hidden = float(language.hidden)
    heads = divided(spec.heads, tp, "the language model", spec.kv_heads)
    kv_heads = max(1.0, spec.kv_heads / tp)
    width = heads * spec.head_dim
    keys, values = kv_heads * spec.head_dim, kv_heads * spec.v_dim
    own = 0.0 if spec.shared_kv else keys + (0.0 if spec.tied_kv else values)
    ops: list[AbstractOp] = []
    bias = spec.q_bias and spec.kv_bias
    ops.append(Matmul("qkv", width + own + spec.gate / tp, hidden, weight_bits=bits, bias=bias, visual=visual))
    ops.extend(_partial_bias(spec, width, own))
    if spec.qk_norm:
        size = width + keys
        ops.append(Elementwise("qk_norm", "norm", size, size, owned=float(spec.qk_norm), visual=visual))
    if spec.rope:
        ops.append(Elementwise("rope", "rope", width + keys, width + keys, visual=visual))
    ops.append(
        Attention(
            "attention",
            heads,
            kv_heads,
            float(spec.head_dim),
            float(spec.v_dim),
            _MASK[spec.kind],
            window=float(spec.window),
            bidirectional=_both_ways(language, spec),
            visual=visual,
            visible_visual=visual,
        )
    )
    if spec.gate:
        ops.append(Elementwise("gate", "activation", 2.0 * spec.gate / tp, spec.gate / tp, visual=visual))
    out = Matmul("o", hidden, heads * spec.v_dim, weight_bits=bits, bias=spec.o_bias, visual=visual)
    both = (*ops, out, *reduce(hidden, tp, visual, 1.0))
    window = float(spec.window) if spec.kind in ("sliding", "chunked") else 0.0
    stored = 0.0 if spec.shared_kv else 1.0
    cache = Cache(keys * stored, values * stored, visual=visual, window=window, chunked=spec.kind == "chunked")
    return Mixer(both, both, cache)


def _both_ways(language: LanguageModel, spec: AttentionSpec) -> Literal["none", "images", "windowed images", "prompt"]:
    if language.bidirectional == "local images":
        return "windowed images" if spec.kind == "sliding" else "none"
    return language.bidirectional


def _partial_bias(spec: AttentionSpec, width: float, own: float) -> tuple[AbstractOp, ...]:
    """A bias on Q alone or on K and V alone owns parameters that the fused matrix cannot state."""
    if spec.q_bias == spec.kv_bias:
        return ()
    owned = width if spec.q_bias else own
    return (Elementwise("bias", "add", 0.0, 0.0, owned=owned, launches=0.0),)
