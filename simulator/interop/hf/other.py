"""Language models whose configuration does not follow the common names: first-generation Qwen and InternLM, Mamba, and the
hybrid Qwen3-Next."""

from __future__ import annotations

from collections.abc import Callable

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.text import stack
from simulator.spec.model import AttentionSpec, Block, FeedForwardSpec, LanguageModel, LinearSpec, Stack


def _qwen(fields: Fields) -> LanguageModel:
    """Qwen-1: no grouped heads, bias on Q, K and V only; `intermediate_size` counts both halves of the gated MLP."""
    hidden, heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    head_dim = fields.derived("kv_channels", hidden // heads, "hidden_size / num_attention_heads")
    mixer = AttentionSpec(kind="full", heads=heads, kv_heads=heads, head_dim=head_dim, q_bias=True, kv_bias=True)
    mlp = FeedForwardSpec(width=fields.size("intermediate_size") // 2)
    return _uniform(fields, "qwen", Block(attention=mixer, feed_forward=mlp, norm_parameters=2 * hidden))


def _internlm(fields: Fields) -> LanguageModel:
    """InternLM-1: one `bias` for Q, K, V and O."""
    hidden, heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    bias = fields.flag("bias")
    mixer = AttentionSpec(
        kind="full", heads=heads, kv_heads=heads, head_dim=hidden // heads, q_bias=bias, kv_bias=bias, o_bias=bias
    )
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"))
    return _uniform(fields, "internlm", Block(attention=mixer, feed_forward=mlp, norm_parameters=2 * hidden))


def _uniform(fields: Fields, name: str, block: Block) -> LanguageModel:
    hidden = fields.size("hidden_size")
    context = fields.size("max_position_embeddings" if fields.has("max_position_embeddings") else "seq_length")
    return LanguageModel(
        name=name,
        hidden=hidden,
        vocabulary=fields.size("vocab_size"),
        tied_embeddings=fields.flag("tie_word_embeddings", False),
        stack=Stack(blocks={"full": block}, order=(f"{fields.layers('num_hidden_layers')} full",)),
        final_norm_parameters=hidden,
        max_context=context,
    )


def _mamba(fields: Fields) -> LanguageModel:
    """Mamba (Gu and Dao, 2023): input, selection, step and output matrices around a selective scan."""
    hidden, state, kernel = fields.size("hidden_size"), fields.size("state_size"), fields.size("conv_kernel")
    inner = fields.size("expand") * hidden
    rank = fields.derived("time_step_rank", -(-hidden // 16), "hidden_size / 16")
    bias, conv_bias = fields.flag("use_bias"), fields.flag("use_conv_bias")
    mixer = AttentionSpec(
        kind="linear",
        projections=(
            LinearSpec(name="in_proj", inputs=hidden, outputs=2 * inner, bias=bias),
            LinearSpec(name="x_proj", inputs=inner, outputs=rank + 2 * state),
            LinearSpec(name="dt_proj", inputs=rank, outputs=inner, bias=True),
            LinearSpec(name="out_proj", inputs=inner, outputs=hidden, bias=bias),
        ),
        state_elements=inner * (state + kernel),
        scan_elements=inner * (4 + 2 * state // 16),
        other_parameters=inner * kernel + (inner if conv_bias else 0) + inner * state + inner,
        rope=False,
    )
    return LanguageModel(
        name="mamba",
        hidden=hidden,
        vocabulary=fields.size("vocab_size"),
        tied_embeddings=fields.flag("tie_word_embeddings"),
        stack=Stack(
            blocks={"scan": Block(attention=mixer, norms=1, norm_parameters=hidden)},
            order=(f"{fields.layers('num_hidden_layers')} scan",),
        ),
        final_norm_parameters=hidden,
        max_context=fields.size("max_position_embeddings", 10**6),
    )


def _qwen3_next(fields: Fields) -> LanguageModel:
    """Three gated delta-rule layers to one gated full-attention layer, all with routed experts and a gated shared one."""
    hidden, head_dim = fields.size("hidden_size"), fields.size("head_dim")
    heads, kv_heads = fields.size("num_attention_heads"), fields.size("num_key_value_heads")
    key_heads, value_heads = fields.size("linear_num_key_heads"), fields.size("linear_num_value_heads")
    keys = key_heads * fields.size("linear_key_head_dim")
    values = value_heads * fields.size("linear_value_head_dim")
    kernel = fields.size("linear_conv_kernel_dim")
    bias = fields.flag("attention_bias")
    full = AttentionSpec(
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
    linear = AttentionSpec(
        kind="linear",
        projections=(
            LinearSpec(name="in_proj_qkvz", inputs=hidden, outputs=2 * keys + 2 * values),
            LinearSpec(name="in_proj_ba", inputs=hidden, outputs=2 * value_heads),
            LinearSpec(name="out_proj", inputs=values, outputs=hidden),
        ),
        state_elements=values * fields.size("linear_key_head_dim") + (2 * keys + values) * kernel,
        scan_elements=4 * keys + 3 * values,
        other_parameters=(2 * keys + values) * kernel + 2 * value_heads + fields.size("linear_value_head_dim"),
        rope=False,
    )
    shared = fields.count("shared_expert_intermediate_size")
    experts = FeedForwardSpec(
        width=fields.size("moe_intermediate_size"),
        experts=fields.size("num_experts"),
        active=fields.size("num_experts_per_tok"),
        shared_width=shared,
        shared_gate=shared > 0,
    )
    every = fields.size("full_attention_interval", 4)
    layers = fields.layers("num_hidden_layers")
    order = ["full" if (index + 1) % every == 0 else "linear" for index in range(layers)]
    blocks = {
        name: Block(attention=mixer, feed_forward=experts, norm_parameters=2 * hidden)
        for name, mixer in (("linear", linear), ("full", full))
    }
    return LanguageModel(
        name="qwen3_next",
        hidden=hidden,
        vocabulary=fields.size("vocab_size"),
        tied_embeddings=fields.flag("tie_word_embeddings"),
        stack=stack(blocks, order),
        final_norm_parameters=hidden,
        max_context=fields.size("max_position_embeddings"),
    )


OTHERS: dict[str, Callable[[Fields], LanguageModel]] = {
    "qwen": _qwen,
    "internlm": _internlm,
    "mamba": _mamba,
    "qwen3_next": _qwen3_next,
}
