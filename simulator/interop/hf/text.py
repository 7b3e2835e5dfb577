"""Language models: from the fields of a text configuration to blocks and their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from simulator.interop.hf.families import FAMILIES, Family
from simulator.interop.hf.fields import Fields
from simulator.interop.hf.layers import decided, kind_of, routed_at, turned
from simulator.spec.model import AttentionKind, AttentionSpec, Block, FeedForwardSpec, LanguageModel, LinearSpec, Stack
from simulator.spec.source import SpecError


def language(fields: Fields, tied: bool, bidirectional: Literal["none", "images", "prompt"] = "none") -> LanguageModel:
    """The decoder that a text configuration describes. tied: whether lm_head is the embedding."""
    family = FAMILIES[fields.type]
    hidden = fields.size("hidden_size")
    layers = fields.layers("num_hidden_layers")
    context = fields.size("max_position_embeddings")
    blocks: dict[str, Block] = {}
    order: list[str] = []
    for index in range(layers):
        kind, window = kind_of(fields, family, index, layers, context)
        rope = turned(fields, index, layers) if kind != "cross" else False
        routed = routed_at(fields, family, index, layers)
        name = _name(kind, routed, rope, fields, family)
        order.append(name)
        if name not in blocks:
            blocks[name] = _block(fields, family, hidden, kind, window, routed, rope)
    vocabulary = fields.size("vocab_size")
    return LanguageModel(
        name=fields.type,
        hidden=hidden,
        vocabulary=vocabulary,
        embedding_rows=vocabulary + 8 if fields.type == "mllama_text_model" else 0,
        tied_embeddings=tied,
        head_bias=decided(fields, family.head_bias),
        stack=stack(blocks, order),
        final_norm_parameters=hidden * family.norm,
        max_context=context,
        bidirectional=bidirectional,
    )


def stack(blocks: dict[str, Block], order: Sequence[str]) -> Stack:
    """Run lengths, and the shortest period where there are many runs."""
    runs = _runs(order)
    if len(runs) <= 4:
        return Stack(blocks=blocks, order=runs)
    for period in range(2, len(order) // 2 + 1):
        if all(order[i] == order[i % period] for i in range(len(order))):
            whole = len(order) // period
            tail = order[whole * period :]
            return Stack(blocks=blocks, order=_runs(order[:period]), repeat=whole, tail=_runs(tail))
    return Stack(blocks=blocks, order=runs)


def _runs(order: Sequence[str]) -> tuple[str, ...]:
    out: list[tuple[int, str]] = []
    for name in order:
        if out and out[-1][1] == name:
            out[-1] = (out[-1][0] + 1, name)
        else:
            out.append((1, name))
    return tuple(f"{count} {name}" for count, name in out)


def _name(kind: AttentionKind, routed: bool, rope: bool, fields: Fields, family: Family) -> str:
    mixed = bool(family.routed)
    name = {"sliding": "local", "chunked": "local", "cross": "cross"}.get(kind, "full" if not mixed else "")
    if family.windows == "chunks":
        name = name or "global"
        name += "" if rope == (name == "local") else "-rope" if rope else "-plain"
    elif family.windows == "nope" and not rope:
        name += "-plain"
    tail = ("experts" if routed else "dense") if mixed else ""
    return "-".join(part for part in (name, tail) if part)


def _block(
    fields: Fields, family: Family, hidden: int, kind: AttentionKind, window: int, routed: bool, rope: bool
) -> Block:
    norms = 1 if family.parallel and decided(fields, family.parallel) else family.norms
    other = 2 if kind == "cross" else fields.size("num_attention_heads") if family.sinks else family.other
    mixture = _experts(fields, family) if routed else None
    index = _index(fields, hidden) if family.indexed and kind == "mla" else ()
    other += 2 * fields.size("index_head_dim") if index else 0
    if mixture is not None and mixture.shared_width and decided(fields, family.mlp_bias):
        other += 2 * mixture.shared_width + hidden  # the always-on experts have biases, the routed ones none
    return Block(
        attention=_latent(fields, family) if kind == "mla" else _attention(fields, family, hidden, kind, window, rope),
        feed_forward=_dense(fields, family) if mixture is None else mixture,
        side=index,
        norms=norms,
        norm_parameters=norms * family.norm * hidden,
        other_parameters=other,
    )


def _index(fields: Fields, hidden: int) -> tuple[LinearSpec, ...]:
    """The matrices of DeepSeek's index. What it saves and its own products are left out: every pair is counted."""
    note = (
        f"{fields.name('index_topk')} is not simulated: every token attends to all before it, as where the context is "
        f"at most {fields.size('index_topk')} tokens; products and cache of the index itself are left out"
    )
    if note not in fields.assumed:
        fields.assumed.append(note)
    heads, width = fields.size("index_n_heads"), fields.size("index_head_dim")
    return (
        LinearSpec(name="index_q", inputs=fields.size("q_lora_rank"), outputs=heads * width),
        LinearSpec(name="index_k", inputs=hidden, outputs=width),
        LinearSpec(name="index_weights", inputs=hidden, outputs=heads),
    )


def _attention(
    fields: Fields, family: Family, hidden: int, kind: AttentionKind, window: int, rope: bool
) -> AttentionSpec:
    heads, kv_heads, head_dim = heads_of(fields, hidden)
    qkv = decided(fields, family.qkv_bias)
    norm = 0
    if kind == "cross":
        norm = 2 * head_dim
    elif family.qk_norm and decided(fields, family.qk_normed):
        norm = (2 if family.qk_norm == "head" else heads + kv_heads) * head_dim
        norm *= 2 if fields.type in ("phi", "persimmon") else 1
    return AttentionSpec(
        kind=kind,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        window=window,
        q_bias=qkv,
        kv_bias=qkv,
        o_bias=decided(fields, family.o_bias),
        qk_norm=norm,
        rope=rope,
    )


def heads_of(fields: Fields, hidden: int) -> tuple[int, int, int]:
    """Heads, KV heads, width of a head."""
    heads = fields.size("num_attention_heads")
    kv_heads = fields.derived("num_key_value_heads", heads, "as many as attention heads")
    head_dim = fields.derived("head_dim", max(1, hidden // heads), "hidden_size / num_attention_heads")
    if heads % kv_heads:
        raise SpecError(
            f"{fields.name('num_key_value_heads')}: {kv_heads} is not accepted: it must divide {heads} heads"
        )
    return heads, kv_heads, head_dim


def _latent(fields: Fields, family: Family) -> AttentionSpec:
    heads = fields.size("num_attention_heads")
    rope = fields.size("qk_rope_head_dim")
    bias, rank = decided(fields, family.qkv_bias), fields.count("q_lora_rank")
    return AttentionSpec(
        kind="mla",
        heads=heads,
        kv_heads=heads,
        head_dim=fields.size("qk_nope_head_dim") + rope,
        value_dim=fields.derived("v_head_dim", max(1, fields.size("hidden_size") // heads), "hidden_size / num_attention_heads"),
        q_bias=bias and rank > 0,  # only the compressing matrix has one
        kv_bias=bias,
        o_bias=decided(fields, family.o_bias),
        q_rank=rank,
        kv_rank=fields.size("kv_lora_rank"),
        rope_dim=rope,
    )


def _dense(fields: Fields, family: Family) -> FeedForwardSpec:
    width = fields.size("intermediate_size_mlp" if fields.type == "llama4_text" else "intermediate_size")
    return FeedForwardSpec(width=width, gated=family.gated, bias=decided(fields, family.mlp_bias))


def _experts(fields: Fields, family: Family) -> FeedForwardSpec:
    width = fields.size(family.expert_width)
    shared = fields.count(family.shared) if family.shared else 0
    if shared and not family.shared.endswith("_size"):
        shared *= width
    return FeedForwardSpec(
        width=width,
        bias=family.expert_bias,
        experts=fields.size(family.experts),
        active=fields.size(family.active),
        shared_width=shared,
        shared_gate=family.shared_gate and shared > 0,
        router_bias=family.router_bias,
    )
