"""Gemma 3n and Gemma 4: embeddings per layer, layers that share keys and values, heads that differ by layer, experts beside a dense part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.layers import listed
from simulator.interop.hf.text import heads_of, stack
from simulator.interop.hf.tower import uniform
from simulator.spec.model import (
    AttentionSpec,
    Block,
    FeedForwardSpec,
    LanguageModel,
    LinearSpec,
    Projector,
    Step,
    VisionEncoder,
)
from simulator.spec.source import SpecError
from simulator.spec.validated import shown


@dataclass(frozen=True)
class _Layer:
    """What tells one layer from another."""

    sliding: bool
    shared: bool
    width: int
    head_dim: int
    kv_heads: int
    tied_kv: bool = False
    place: str = ""  # "first", "last" where a layer owns more


def gemma4_text(fields: Fields, tied: bool) -> LanguageModel:
    """Gemma 4. The last layer is always a full one; full layers have wider heads, and may take V from the matrix of K. Layers
    without keys of their own run on the whole prompt, though only its last row is wanted of them: engines do so unless told otherwise."""
    count = fields.layers("num_hidden_layers")
    _, kv_heads, head_dim = heads_of(fields, fields.size("hidden_size"))
    kinds = listed(fields, count, ("full_attention", "sliding_attention"))
    kinds = kinds or ["sliding_attention" if (index + 1) % 6 else "full_attention" for index in range(count)]
    kinds[-1] = "full_attention"
    same, width = fields.flag("attention_k_eq_v"), fields.size("intermediate_size")
    wide = fields.size("global_head_dim", 512)
    fewer = fields.size("num_global_key_value_heads") if same and fields.has("num_global_key_value_heads") else kv_heads
    own = _overrides(fields)
    shared = count - fields.count("num_kv_shared_layers")
    double = fields.flag("use_double_wide_mlp")
    layers: list[_Layer] = []
    for index, kind in enumerate(kinds):
        sliding = kind == "sliding_attention"
        part = Fields(own.get(str(index), {}), fields.name(f"per_layer_config.{index}"), fields.type, [])
        usual = (head_dim, kv_heads) if sliding or own else (wide, fewer)
        layers.append(
            _Layer(
                sliding,
                index >= shared,
                width * (2 if double and index >= shared else 1),
                part.size("head_dim") if part.has("head_dim") else usual[0],
                part.size("num_key_value_heads") if part.has("num_key_value_heads") else usual[1],
                same and not sliding,
            )
        )
    seen: Any = fields.value("use_bidirectional_attention")
    if seen not in (None, "vision"):
        raise SpecError(f"{fields.name('use_bidirectional_attention')}: {shown(seen)} is not accepted: null or vision")
    model = _model(fields, tied, layers, 0)
    return model.model_copy(update={"bidirectional": "local images" if seen == "vision" else "none"})


def _overrides(fields: Fields) -> dict[str, dict[str, Any]]:
    """`per_layer_config`, which transformers writes: what some layers have of their own."""
    found: Any = fields.data.get("per_layer_config")
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(
        isinstance(part, dict) for part in cast("dict[str, Any]", found).values()
    ):
        raise SpecError(f"{fields.name('per_layer_config')}: {shown(found)} is not accepted: a mapping by layer")
    return cast("dict[str, dict[str, Any]]", found)


def gemma3n_text(fields: Fields, tied: bool) -> LanguageModel:
    """Gemma 3n: four streams (AltUp) that one layer predicts and corrects, and a low-rank path beside attention (LAuReL)."""
    count = fields.layers("num_hidden_layers")
    _, kv_heads, head_dim = heads_of(fields, fields.size("hidden_size"))
    kinds = listed(fields, count, ("full_attention", "sliding_attention"))
    kinds = kinds or ["sliding_attention" if (index + 1) % 5 else "full_attention" for index in range(count)]
    stated = fields.value("intermediate_size")
    widths = (
        fields.sizes("intermediate_size", least=1)
        if isinstance(stated, list)
        else [fields.size("intermediate_size")] * count
    )
    if len(widths) != count:
        raise SpecError(
            f"{fields.name('intermediate_size')}: {len(widths)} values, {count} are expected, one per layer"
        )
    shared = count - fields.count("num_kv_shared_layers")
    places = {0: "first", count - 1: "last"}
    layers = [
        _Layer(
            kind == "sliding_attention", index >= shared, widths[index], head_dim, kv_heads, place=places.get(index, "")
        )
        for index, kind in enumerate(kinds)
    ]
    return _model(fields, tied, layers, fields.size("altup_num_inputs"))


def _model(fields: Fields, tied: bool, layers: list[_Layer], streams: int) -> LanguageModel:
    """streams: of AltUp (0: none)."""
    hidden, vocabulary = fields.size("hidden_size"), fields.size("vocab_size")
    per_layer = fields.count("hidden_size_per_layer_input")
    other = per_layer + fields.size("vocab_size_per_layer_input") * per_layer * len(layers) if per_layer else 0
    blocks: dict[str, Block] = {}
    order: list[str] = []
    for layer in layers:
        name = "-".join(
            part
            for part in ("local" if layer.sliding else "full", "shared" if layer.shared else "", layer.place)
            if part
        )
        while name in blocks and blocks[name] != _block(fields, layer, hidden, per_layer, streams):
            name += "-more"
        if name not in blocks:
            blocks[name] = _block(fields, layer, hidden, per_layer, streams)
        order.append(name)
    return LanguageModel(
        name=fields.type,
        hidden=hidden,
        vocabulary=vocabulary,
        tied_embeddings=tied,
        stack=stack(blocks, order),
        final_norm_parameters=hidden,
        max_context=fields.size("max_position_embeddings"),
        other_parameters=other,
    )


def _block(fields: Fields, layer: _Layer, hidden: int, per_layer: int, streams: int) -> Block:
    heads, bias = fields.size("num_attention_heads"), fields.flag("attention_bias")
    if heads % layer.kv_heads:
        raise SpecError(
            f"{fields.name('num_key_value_heads')}: {layer.kv_heads} is not accepted: it must divide {heads}"
        )
    window = fields.count("sliding_window") if layer.sliding else 0
    context = fields.size("max_position_embeddings")
    attention = AttentionSpec(
        kind="sliding" if 0 < window < context else "full",
        heads=heads,
        kv_heads=layer.kv_heads,
        head_dim=layer.head_dim,
        window=window if 0 < window < context else 0,
        q_bias=bias,
        kv_bias=bias,
        o_bias=bias,
        qk_norm=(1 if layer.shared else 2) * layer.head_dim,
        shared_kv=layer.shared,
        tied_kv=layer.tied_kv,
    )
    norms, other = 4, 0
    side: list[LinearSpec] = []
    if per_layer:  # the embedding of this layer is made, gated and added
        side.append(LinearSpec(name="per_layer_model_projection", inputs=hidden, outputs=per_layer))
        side.append(LinearSpec(name="per_layer_gate", inputs=hidden, outputs=per_layer))
        side.append(LinearSpec(name="per_layer_projection", inputs=per_layer, outputs=hidden))
        norms += 1
    feed = FeedForwardSpec(width=layer.width)
    if fields.type == "gemma4_text" and fields.flag("enable_moe_block"):
        experts = fields.size("num_experts")
        feed = FeedForwardSpec(
            width=fields.size("moe_intermediate_size"),
            experts=experts,
            active=fields.size("top_k_experts"),
            shared_width=layer.width,
        )
        norms, other = norms + 3, other + hidden + experts
    if streams:
        rank = fields.size("laurel_rank")
        side += [
            LinearSpec(name="laurel_left", inputs=hidden, outputs=rank),
            LinearSpec(name="laurel_right", inputs=rank, outputs=hidden),
            LinearSpec(name="altup_router", inputs=hidden, outputs=streams),
            LinearSpec(name="altup_prediction", inputs=streams, outputs=streams**2),
            LinearSpec(name="altup_correction", inputs=streams, outputs=streams),
        ]
        side += (
            [LinearSpec(name="altup_stream", inputs=hidden, outputs=hidden, copies=streams - 1)] if layer.place else []
        )
        norms, other = norms + 2, other + hidden
    return Block(
        attention=attention,
        feed_forward=feed,
        side=tuple(side),
        norms=norms,
        norm_parameters=norms * hidden,
        other_parameters=other,
    )


def gemma4_vision(fields: Fields) -> VisionEncoder:
    """Gemma 4's ViT: norms before and after each part, normalised Q and K, a gated MLP, tables of positions for both axes."""
    hidden, head_dim = fields.size("hidden_size"), fields.size("head_dim")
    heads, kv_heads = fields.size("num_attention_heads"), fields.size("num_key_value_heads")
    if heads % kv_heads:
        raise SpecError(f"{fields.name('num_key_value_heads')}: {kv_heads} is not accepted: it must divide {heads}")
    attention = AttentionSpec(kind="full", heads=heads, kv_heads=kv_heads, head_dim=head_dim, qk_norm=2 * head_dim)
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"))
    block = Block(attention=attention, feed_forward=mlp, norms=4, norm_parameters=4 * hidden)
    return VisionEncoder(
        name="Gemma 4 ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        stack=uniform(block, fields.layers("num_hidden_layers")),
        other_parameters=2 * fields.size("position_embedding_size") * hidden,
    )


def gemma4(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Average pooling, a norm without weights, one matrix."""
    hidden, merge = vision.size("hidden_size"), vision.size("pooling_kernel_size")
    steps = (
        Step(op="gather", name="pool", rows="patches", outputs=hidden),
        Step(op="norm", name="norm", outputs=hidden),
        Step(op="linear", name="linear", inputs=hidden, outputs=text.size("hidden_size")),
    )
    return Projector(kind="average-pool", merge=merge, steps=steps)
