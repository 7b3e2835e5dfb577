"""Hybrid language models: linear mixers with full attention in between (Qwen3-Next, Qwen3.5, LFM2)."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.layers import listed
from simulator.interop.hf.text import heads_of, stack
from simulator.spec.model import AttentionSpec, Block, FeedForwardSpec, LanguageModel, LinearSpec


def gated_delta(fields: Fields, tied: bool) -> LanguageModel:
    """Gated delta-rule layers, every fourth one gated full attention. Qwen3-Next and Qwen3.5-MoE route to experts beside a
    gated shared one; Qwen3.5 is dense."""
    hidden = fields.size("hidden_size")
    layers = fields.layers("num_hidden_layers")
    stated = listed(fields, layers, ("full_attention", "linear_attention"))
    every = fields.size("full_attention_interval", 4)
    mixers = {"linear": _delta(fields, hidden), "full": _gated(fields, hidden)}
    blocks: dict[str, Block] = {}
    order: list[str] = []
    for index in range(layers):
        full = (index + 1) % every == 0 if stated is None else stated[index] == "full_attention"
        kind = "full" if full else "linear"
        routed = _routed(fields, index)
        name = kind if routed == _routed(fields, layers - 1) else f"{kind}-{'experts' if routed else 'dense'}"
        order.append(name)
        if name not in blocks:
            mlp = _experts(fields) if routed else FeedForwardSpec(width=fields.size("intermediate_size"))
            blocks[name] = Block(attention=mixers[kind], feed_forward=mlp, norm_parameters=2 * hidden)
    return _decoder(fields, tied, hidden, blocks, order)


def lfm2(fields: Fields, tied: bool) -> LanguageModel:
    """LFM2: short gated convolutions, and full attention with normalised Q and K where `layer_types` says so."""
    hidden = fields.size("hidden_size")
    layers = fields.layers("num_hidden_layers")
    stated = listed(fields, layers, ("full_attention", "conv"))
    if stated is None:
        whole = fields.sizes("full_attn_idxs", [])
        every = not fields.has("full_attn_idxs")
        stated = ["full_attention" if every or index in whole else "conv" for index in range(layers)]
    heads, kv_heads, head_dim = heads_of(fields, hidden)
    full = AttentionSpec(kind="full", heads=heads, kv_heads=kv_heads, head_dim=head_dim, qk_norm=2 * head_dim)
    bias, kernel = fields.flag("conv_bias"), fields.size("conv_L_cache")
    short = AttentionSpec(
        kind="linear",
        projections=(
            LinearSpec(name="in_proj", inputs=hidden, outputs=3 * hidden, bias=bias),
            LinearSpec(name="out_proj", inputs=hidden, outputs=hidden, bias=bias),
        ),
        conv_channels=hidden,
        conv_kernel=kernel,
        conv_bias=bias,
        scan_elements=3 * hidden,
        rope=False,
    )
    mlp = FeedForwardSpec(width=_adjusted(fields))
    mixers = {"conv": short, "full": full}
    blocks: dict[str, Block] = {}
    order: list[str] = []
    for index, kind in enumerate(stated):
        kind = "conv" if kind == "conv" else "full"
        routed = fields.type == "lfm2_moe" and index >= fields.count("num_dense_layers")
        order.append(f"{kind}-experts" if routed else kind)
        feed = _experts(fields) if routed else mlp
        blocks[order[-1]] = Block(attention=mixers[kind], feed_forward=feed, norm_parameters=2 * hidden)
    return _decoder(fields, tied, hidden, blocks, order)


def _adjusted(fields: Fields) -> int:
    """Width of LFM2's feed-forward part: two thirds of what is stated, times a factor, rounded up to a multiple."""
    width = fields.size("block_ff_dim" if fields.has("block_ff_dim") else "intermediate_size")
    if fields.type == "lfm2_moe" or not fields.flag("block_auto_adjust_ff_dim"):
        return width
    width = int(2 * width / 3)
    if fields.value("block_ffn_dim_multiplier") is None:
        return width
    multiple = fields.size("block_multiple_of")
    return multiple * -(-int(fields.ratio("block_ffn_dim_multiplier") * width) // multiple)


def _decoder(fields: Fields, tied: bool, hidden: int, blocks: dict[str, Block], order: list[str]) -> LanguageModel:
    return LanguageModel(
        name=fields.type,
        hidden=hidden,
        vocabulary=fields.size("vocab_size"),
        tied_embeddings=tied,
        stack=stack({name: block for name, block in blocks.items() if name in order}, order),
        final_norm_parameters=hidden,
        max_context=fields.size("max_position_embeddings"),
    )


def _gated(fields: Fields, hidden: int) -> AttentionSpec:
    """Full attention whose output is gated by a matrix of its own."""
    heads, kv_heads, head_dim = heads_of(fields, hidden)
    bias = fields.flag("attention_bias")
    return AttentionSpec(
        kind="full",
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        gate=heads * head_dim,
        q_bias=bias,
        kv_bias=bias,
        o_bias=bias,
        qk_norm=2 * head_dim,
    )


def _delta(fields: Fields, hidden: int) -> AttentionSpec:
    """A gated delta rule over a matrix-valued state (Yang and others, Gated DeltaNet, 2024)."""
    key_heads, value_heads = fields.size("linear_num_key_heads"), fields.size("linear_num_value_heads")
    key_dim, value_dim = fields.size("linear_key_head_dim"), fields.size("linear_value_head_dim")
    keys, values, kernel = key_heads * key_dim, value_heads * value_dim, fields.size("linear_conv_kernel_dim")
    return AttentionSpec(
        kind="linear",
        projections=(
            LinearSpec(name="in_proj_qkvz", inputs=hidden, outputs=2 * keys + 2 * values),
            LinearSpec(name="in_proj_ba", inputs=hidden, outputs=2 * value_heads),
            LinearSpec(name="out_proj", inputs=values, outputs=hidden),
        ),
        conv_channels=2 * keys + values,
        conv_kernel=kernel,
        state_elements=values * key_dim,
        scan_elements=2 * keys + 2 * values,
        other_parameters=2 * value_heads + value_dim,
        rope=False,
    )


def _routed(fields: Fields, index: int) -> bool:
    if fields.type == "qwen3_5_text":
        return False
    if fields.type == "qwen3_5_moe_text":
        return True
    if fields.count("num_experts") == 0 or index in fields.sizes("mlp_only_layers"):
        return False
    return (index + 1) % fields.size("decoder_sparse_step") == 0


def _experts(fields: Fields) -> FeedForwardSpec:
    shared = 0 if fields.type == "lfm2_moe" else fields.count("shared_expert_intermediate_size")
    return FeedForwardSpec(
        width=fields.size("moe_intermediate_size"),
        experts=fields.size("num_experts"),
        active=fields.size("num_experts_per_tok"),
        shared_width=shared,
        shared_gate=shared > 0,
    )
