"""Language models: from the fields of a text configuration to blocks and their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from simulator.interop.hf.fields import Fields
from simulator.spec.model import AttentionKind, AttentionSpec, Block, FeedForwardSpec, LanguageModel, Stack
from simulator.spec.source import SpecError


@dataclass(frozen=True)
class Family:
    """What a family's classes fix in code. norm: weights per normalised element (1 RMS, 2 with a bias). biases: None where
    the configuration states them (`attention_bias`)."""

    gated: bool = True
    norms: int = 2
    norm: int = 1
    qkv_bias: bool | None = False
    o_bias: bool | None = False
    mlp_bias: bool | None = False
    qk_norm: bool = False
    head_bias: bool = False
    experts: Literal["", "num_experts", "num_local_experts"] = ""
    default_window: bool = False


FAMILIES: dict[str, Family] = {
    "llama": Family(qkv_bias=None, o_bias=None, mlp_bias=None),
    "mistral": Family(),
    "mixtral": Family(experts="num_local_experts"),
    "qwen2": Family(qkv_bias=True),
    "qwen2_vl_text": Family(qkv_bias=True),
    "qwen2_5_vl_text": Family(qkv_bias=True),
    "qwen2_moe": Family(qkv_bias=True, experts="num_experts"),
    "qwen3": Family(qkv_bias=None, o_bias=None, qk_norm=True),
    "qwen3_vl_text": Family(qkv_bias=None, o_bias=None, qk_norm=True),
    "qwen3_moe": Family(qkv_bias=None, o_bias=None, qk_norm=True, experts="num_experts"),
    "qwen3_vl_moe_text": Family(qkv_bias=None, o_bias=None, qk_norm=True, experts="num_experts"),
    "gemma": Family(qkv_bias=None, o_bias=None),
    "gemma2": Family(qkv_bias=None, o_bias=None, norms=4),
    "gemma3_text": Family(qkv_bias=None, o_bias=None, norms=4, qk_norm=True),
    "phi": Family(gated=False, norms=1, norm=2, qkv_bias=True, o_bias=True, mlp_bias=True, head_bias=True),
    "phi3": Family(),
    "phi4_multimodal": Family(),
    "glm4v_text": Family(qkv_bias=True, norms=4),
    "mllama_text_model": Family(),
    "llama4_text": Family(qkv_bias=None, o_bias=None, experts="num_local_experts"),
    "internlm2": Family(qkv_bias=None, o_bias=None),
    "deepseek_v2": Family(),
    "deepseek_v3": Family(),
}


def language(fields: Fields, tied: bool, bidirectional: Literal["none", "images", "prompt"] = "none") -> LanguageModel:
    """The decoder that a text configuration describes. tied: whether lm_head is the embedding."""
    family = FAMILIES[fields.type]
    hidden = fields.size("hidden_size")
    layers = fields.layers("num_hidden_layers")
    context = fields.size("max_position_embeddings")
    blocks: dict[str, Block] = {}
    order: list[str] = []
    for index in range(layers):
        kind, window = _kind(fields, index, layers, context)
        routed = _routed(fields, family, index)
        name = _name(kind, routed, fields, family)
        order.append(name)
        if name not in blocks:
            blocks[name] = _block(fields, family, hidden, kind, window, routed)
    vocabulary = fields.size("vocab_size")
    return LanguageModel(
        name=fields.type,
        hidden=hidden,
        vocabulary=vocabulary,
        embedding_rows=vocabulary + 8 if fields.type == "mllama_text_model" else 0,
        tied_embeddings=tied,
        head_bias=family.head_bias,
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


def _kind(fields: Fields, index: int, layers: int, context: int) -> tuple[AttentionKind, int]:
    """Attention kind and window of one layer."""
    type = fields.type
    if type in ("deepseek_v2", "deepseek_v3"):
        return "mla", 0
    if type == "mllama_text_model":
        return ("cross", 0) if index in fields.sizes("cross_attention_layers") else ("full", 0)
    stated = _stated(fields, index, layers)
    if type == "llama4_text":
        every = fields.size("no_rope_layer_interval")
        listed = fields.sizes("no_rope_layers", []) if fields.has("no_rope_layers") else []
        chunked = bool(listed[index]) if len(listed) == layers else (index + 1) % every != 0
        chunk = fields.count("attention_chunk_size")
        if stated is not None:
            chunked = stated == "chunked_attention"
        return ("chunked", chunk) if chunked and chunk else ("full", 0)
    window = _window(fields, index, stated)
    return ("sliding", window) if 0 < window < context else ("full", 0)


def _stated(fields: Fields, index: int, layers: int) -> str | None:
    """The entry of `layer_types`, if the configuration lists them."""
    listed: Any = fields.value("layer_types", None)
    if listed is None:
        return None
    accepted = ("full_attention", "sliding_attention", "chunked_attention")
    if not isinstance(listed, list) or len(listed) != layers or any(item not in accepted for item in listed):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        raise SpecError(f"{fields.name('layer_types')}: a list of {layers} is expected, of {', '.join(accepted)}")
    return str(listed[index])  # pyright: ignore[reportUnknownArgumentType]


def _window(fields: Fields, index: int, stated: str | None) -> int:
    """Sliding window of one layer [tokens]; 0: none."""
    type = fields.type
    if type in ("qwen2", "qwen2_vl_text", "qwen2_5_vl_text", "qwen2_moe", "qwen3", "qwen3_moe"):
        if not fields.flag("use_sliding_window", False):
            return 0
        sliding = index >= fields.count("max_window_layers") if stated is None else stated == "sliding_attention"
        return fields.count("sliding_window") if sliding else 0
    if type == "gemma2":
        sliding = index % 2 == 0 if stated is None else stated == "sliding_attention"
        return fields.count("sliding_window") if sliding else 0
    if type == "gemma3_text":
        sliding = (
            (index + 1) % fields.size("sliding_window_pattern", 6) != 0
            if stated is None
            else stated == "sliding_attention"
        )
        return fields.count("sliding_window") if sliding else 0
    if type in ("mistral", "mixtral", "phi3", "phi4_multimodal"):
        return fields.count("sliding_window")
    return 0


def _routed(fields: Fields, family: Family, index: int) -> bool:
    """Whether the layer's feed-forward part is a mixture of experts."""
    if fields.type in ("deepseek_v2", "deepseek_v3"):
        return index >= fields.count("first_k_dense_replace")
    if fields.type == "llama4_text":
        return (index + 1) % fields.size("interleave_moe_layer_step") == 0
    if fields.type in ("qwen2_moe", "qwen3_moe", "qwen3_vl_moe_text"):
        return index not in fields.sizes("mlp_only_layers") and (index + 1) % fields.size("decoder_sparse_step") == 0
    return bool(family.experts)


def _name(kind: AttentionKind, routed: bool, fields: Fields, family: Family) -> str:
    mixed = bool(family.experts) or kind == "mla"
    name = {"sliding": "local", "chunked": "local", "cross": "cross"}.get(kind, "full" if not mixed else "")
    tail = ("experts" if routed else "dense") if mixed else ""
    return "-".join(part for part in (name or ("global" if fields.type == "llama4_text" else ""), tail) if part)


def _block(fields: Fields, family: Family, hidden: int, kind: AttentionKind, window: int, routed: bool) -> Block:
    cross = kind == "cross"
    return Block(
        attention=_latent(fields) if kind == "mla" else _attention(fields, family, hidden, kind, window),
        feed_forward=_experts(fields, family) if routed else _dense(fields, family),
        norms=family.norms,
        norm_parameters=family.norms * family.norm * hidden,
        other_parameters=2 if cross else 0,
    )


def _attention(fields: Fields, family: Family, hidden: int, kind: AttentionKind, window: int) -> AttentionSpec:
    heads = fields.size("num_attention_heads")
    kv_heads = fields.derived("num_key_value_heads", heads, "as many as attention heads")
    head_dim = fields.derived("head_dim", max(1, hidden // heads), "hidden_size / num_attention_heads")
    if heads % kv_heads:
        raise SpecError(
            f"{fields.name('num_key_value_heads')}: {kv_heads} is not accepted: it must divide {heads} heads"
        )
    stated = "attention_bias" if fields.type != "internlm2" else "bias"
    qkv = fields.flag(stated, False) if family.qkv_bias is None else family.qkv_bias
    out = fields.flag(stated, False) if family.o_bias is None else family.o_bias
    norm = family.qk_norm or kind == "cross"
    return AttentionSpec(
        kind=kind,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        window=window,
        q_bias=qkv,
        kv_bias=qkv,
        o_bias=out,
        qk_norm=2 * head_dim if norm else 0,
        rope=kind != "cross" and not (fields.type == "llama4_text" and kind == "full"),
    )


def _latent(fields: Fields) -> AttentionSpec:
    heads = fields.size("num_attention_heads")
    rope = fields.size("qk_rope_head_dim")
    bias = fields.flag("attention_bias")
    return AttentionSpec(
        kind="mla",
        heads=heads,
        kv_heads=heads,
        head_dim=fields.size("qk_nope_head_dim") + rope,
        value_dim=fields.size("v_head_dim"),
        q_bias=bias,
        kv_bias=bias,
        o_bias=bias,
        q_rank=fields.count("q_lora_rank"),
        kv_rank=fields.size("kv_lora_rank"),
        rope_dim=rope,
    )


def _dense(fields: Fields, family: Family) -> FeedForwardSpec:
    bias = fields.flag("mlp_bias", False) if family.mlp_bias is None else family.mlp_bias
    width = fields.size("intermediate_size_mlp" if fields.type == "llama4_text" else "intermediate_size")
    return FeedForwardSpec(width=width, gated=family.gated, bias=bias)


def _experts(fields: Fields, family: Family) -> FeedForwardSpec:
    type = fields.type
    active = fields.size("num_experts_per_tok")
    if type in ("deepseek_v2", "deepseek_v3"):
        width = fields.size("moe_intermediate_size")
        return FeedForwardSpec(
            width=width,
            experts=fields.size("n_routed_experts"),
            active=active,
            shared_width=width * fields.count("n_shared_experts"),
        )
    experts = fields.size(family.experts)
    if type == "llama4_text":
        width = fields.size("intermediate_size")
        return FeedForwardSpec(width=width, experts=experts, active=active, shared_width=width)
    if type == "mixtral":
        return FeedForwardSpec(width=fields.size("intermediate_size"), experts=experts, active=active)
    shared = fields.count("shared_expert_intermediate_size") if type == "qwen2_moe" else 0
    return FeedForwardSpec(
        width=fields.size("moe_intermediate_size"),
        experts=experts,
        active=active,
        shared_width=shared,
        shared_gate=shared > 0,
    )
