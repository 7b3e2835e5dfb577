"""Language models: from the fields of a text configuration to blocks and their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from simulator.interop.hf.families import FAMILIES, Family, Flag
from simulator.interop.hf.fields import Fields
from simulator.spec.model import AttentionKind, AttentionSpec, Block, FeedForwardSpec, LanguageModel, Stack
from simulator.spec.source import SpecError

KINDS = ("full_attention", "sliding_attention", "chunked_attention")


def language(fields: Fields, tied: bool, bidirectional: Literal["none", "images", "prompt"] = "none") -> LanguageModel:
    """The decoder that a text configuration describes. tied: whether lm_head is the embedding."""
    family = FAMILIES[fields.type]
    hidden = fields.size("hidden_size")
    layers = fields.layers("num_hidden_layers")
    context = fields.size("max_position_embeddings")
    blocks: dict[str, Block] = {}
    order: list[str] = []
    for index in range(layers):
        kind, window = _kind(fields, family, index, layers, context)
        rope = _turned(fields, index, layers) if kind != "cross" else False
        routed = _routed(fields, family, index, layers)
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
        head_bias=_decided(fields, family.head_bias),
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


def listed(fields: Fields, layers: int, accepted: tuple[str, ...]) -> list[str] | None:
    """`layer_types`, if the configuration lists them: one per layer."""
    found: Any = fields.value("layer_types", None)
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != layers or any(item not in accepted for item in found):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        raise SpecError(f"{fields.name('layer_types')}: a list of {layers} is expected, of {', '.join(accepted)}")
    return [str(item) for item in found]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _runs(order: Sequence[str]) -> tuple[str, ...]:
    out: list[tuple[int, str]] = []
    for name in order:
        if out and out[-1][1] == name:
            out[-1] = (out[-1][0] + 1, name)
        else:
            out.append((1, name))
    return tuple(f"{count} {name}" for count, name in out)


def _decided(fields: Fields, flag: Flag) -> bool:
    return fields.flag(flag, False) if isinstance(flag, str) else flag


def _kind(fields: Fields, family: Family, index: int, layers: int, context: int) -> tuple[AttentionKind, int]:
    """Attention kind and window of one layer."""
    if family.latent:
        return ("mla" if _is_latent(fields) else "full"), 0
    if fields.type == "mllama_text_model":
        return ("cross", 0) if index in fields.sizes("cross_attention_layers") else ("full", 0)
    stated = listed(fields, layers, KINDS)
    if family.windows == "chunks":
        chunked = _turned(fields, index, layers) if stated is None else stated[index] == "chunked_attention"
        chunk = fields.count("attention_chunk_size")
        return ("chunked", chunk) if chunked and chunk else ("full", 0)
    window = _window(fields, family, index, None if stated is None else stated[index], layers)
    return ("sliding", window) if 0 < window < context else ("full", 0)


def _is_latent(fields: Fields) -> bool:
    """DeepSeek's own class has a switch that its smaller vision-language models turn off."""
    return "use_mla" not in fields.data or fields.flag("use_mla")


def _window(fields: Fields, family: Family, index: int, stated: str | None, layers: int) -> int:
    """Sliding window of one layer [tokens]; 0: none."""
    rule = family.windows
    if rule == "" or (
        rule in ("qwen", "qwen2_moe", "qwen3_moe", "nope") and not fields.flag("use_sliding_window", False)
    ):
        return 0
    if rule in ("always", "qwen3_moe"):  # the class gives every layer the window and reads no `layer_types`
        return fields.count("sliding_window")
    if stated is not None:
        sliding = stated == "sliding_attention"
    elif rule == "nope":
        sliding = not _turned(fields, index, layers)
    elif rule == "qwen":
        sliding = index >= fields.count("max_window_layers")
    elif rule == "qwen2_moe":
        sliding = index % 2 == 0 and index < fields.count("max_window_layers")
    else:
        period = fields.count("sliding_window_pattern", family.period)
        sliding = period == 0 or (index + 1) % period != 0
    return fields.count("sliding_window") if sliding else 0


def _turned(fields: Fields, index: int, layers: int) -> bool:
    """Whether rotary positions are applied in a layer."""
    if fields.type not in ("llama4_text", "smollm3"):
        return True
    stated = fields.sizes("no_rope_layers", []) if fields.has("no_rope_layers") else []
    if len(stated) >= layers:
        return bool(stated[index])
    return (index + 1) % fields.size("no_rope_layer_interval") != 0


def _routed(fields: Fields, family: Family, index: int, layers: int) -> bool:
    """Whether the layer's feed-forward part is a mixture of experts."""
    if family.routed == "from":
        return index >= fields.count("first_k_dense_replace")
    if family.routed == "listed":
        kinds: Any = fields.value("mlp_layer_types", None)
        return index > 0 if not isinstance(kinds, list) or len(kinds) != layers else kinds[index] == "sparse"  # pyright: ignore[reportUnknownArgumentType]
    if family.routed == "interleaved":
        if fields.has("moe_layers"):
            return index in fields.sizes("moe_layers")
        return (index + 1) % fields.size("interleave_moe_layer_step") == 0
    if family.routed == "sparse":
        if fields.count(family.experts) == 0 or index in fields.sizes("mlp_only_layers"):
            return False
        return (index + 1) % fields.size("decoder_sparse_step") == 0
    if family.routed == "ranged":
        last: Any = fields.value("moe_layer_end_index")
        end = layers - 1 if last in (None, -1) else fields.count("moe_layer_end_index")
        between = fields.count("moe_layer_start_index") <= index <= end
        return between and (index + 1) % fields.size("moe_layer_interval") == 0
    return family.routed == "all"


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
    norms = 1 if family.parallel and _decided(fields, family.parallel) else family.norms
    other = 2 if kind == "cross" else fields.size("num_attention_heads") if family.sinks else family.other
    mixture = _experts(fields, family) if routed else None
    if mixture is not None and mixture.shared_width and _decided(fields, family.mlp_bias):
        other += 2 * mixture.shared_width + hidden  # the always-on experts have biases, the routed ones none
    return Block(
        attention=_latent(fields, family) if kind == "mla" else _attention(fields, family, hidden, kind, window, rope),
        feed_forward=_dense(fields, family) if mixture is None else mixture,
        norms=norms,
        norm_parameters=norms * family.norm * hidden,
        other_parameters=other,
    )


def _attention(
    fields: Fields, family: Family, hidden: int, kind: AttentionKind, window: int, rope: bool
) -> AttentionSpec:
    heads, kv_heads, head_dim = heads_of(fields, hidden)
    qkv = _decided(fields, family.qkv_bias)
    norm = 0
    if kind == "cross":
        norm = 2 * head_dim
    elif family.qk_norm and _decided(fields, family.qk_normed):
        norm = (2 if family.qk_norm == "head" else heads + kv_heads) * head_dim
        norm *= 2 if fields.type == "phi" else 1
    return AttentionSpec(
        kind=kind,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        window=window,
        q_bias=qkv,
        kv_bias=qkv,
        o_bias=_decided(fields, family.o_bias),
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
    bias, rank = _decided(fields, family.qkv_bias), fields.count("q_lora_rank")
    return AttentionSpec(
        kind="mla",
        heads=heads,
        kv_heads=heads,
        head_dim=fields.size("qk_nope_head_dim") + rope,
        value_dim=fields.size("v_head_dim"),
        q_bias=bias and rank > 0,  # only the compressing matrix has one
        kv_bias=bias,
        o_bias=_decided(fields, family.o_bias),
        q_rank=rank,
        kv_rank=fields.size("kv_lora_rank"),
        rope_dim=rope,
    )


def _dense(fields: Fields, family: Family) -> FeedForwardSpec:
    width = fields.size("intermediate_size_mlp" if fields.type == "llama4_text" else "intermediate_size")
    return FeedForwardSpec(width=width, gated=family.gated, bias=_decided(fields, family.mlp_bias))


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
