"""ERNIE 4.5 VL: text and visual tokens pass mixtures of their own beside shared experts."""

from __future__ import annotations

from typing import Any

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.text import heads_of, stack
from simulator.spec.model import AttentionSpec, Block, FeedForwardSpec, LanguageModel
from simulator.spec.source import SpecError
from simulator.spec.validated import shown


def ernie_vl(fields: Fields, tied: bool) -> LanguageModel:
    """The decoder: dense layers, then mixtures."""
    hidden, count = fields.size("hidden_size"), fields.layers("num_hidden_layers")
    heads, kv_heads, head_dim = heads_of(fields, hidden)
    bias = fields.flag("use_bias")
    attention = AttentionSpec(
        kind="full", heads=heads, kv_heads=kv_heads, head_dim=head_dim, q_bias=bias, kv_bias=bias, o_bias=bias
    )
    widths = fields.sizes("moe_intermediate_size", [1536, 512], least=1) or [1536, 512]
    if len(widths) != 2:
        raise SpecError(f"{fields.name('moe_intermediate_size')}: {shown(widths)} is not accepted: one of text, one of pictures")
    dense = FeedForwardSpec(width=fields.size("intermediate_size"), bias=bias)
    shared = fields.count("moe_num_shared_experts") * widths[0]
    mixture = FeedForwardSpec(
        width=widths[0],
        visual_width=widths[1],
        experts=fields.size("moe_num_experts"),
        active=fields.size("moe_k"),
        shared_width=shared,
        router_bias=True,
    )
    owned = 2 * shared + hidden if shared and bias else 0  # the always-on experts have biases, the routed ones none
    blocks = {
        "dense": Block(attention=attention, feed_forward=dense, norm_parameters=2 * hidden),
        "experts": Block(attention=attention, feed_forward=mixture, norm_parameters=2 * hidden, other_parameters=owned),
    }
    order = ["experts" if kind == "sparse" else "dense" for kind in _kinds(fields, count)]
    return LanguageModel(
        name="ernie4_5_vl_moe",
        hidden=hidden,
        vocabulary=fields.size("vocab_size"),
        tied_embeddings=tied,
        stack=stack({name: block for name, block in blocks.items() if name in order}, order),
        final_norm_parameters=hidden,
        max_context=fields.size("max_position_embeddings"),
    )


def _kinds(fields: Fields, count: int) -> list[str]:
    stated: Any = fields.value("mlp_layer_types", None)
    if stated is None:
        return ["dense", *["sparse"] * (count - 1)]
    if not isinstance(stated, list) or len(stated) != count or any(kind not in ("dense", "sparse") for kind in stated):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        raise SpecError(f"{fields.name('mlp_layer_types')}: a list of {count} is expected, of dense, sparse")
    return [str(kind) for kind in stated]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
