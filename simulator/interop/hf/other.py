"""Language models whose configuration does not follow the common names: first-generation Qwen and InternLM, Mamba, OPT."""

from __future__ import annotations

from collections.abc import Callable

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.gemma import gemma3n_text, gemma4_text
from simulator.interop.hf.hybrid import gated_delta, lfm2
from simulator.spec.model import AttentionSpec, Block, FeedForwardSpec, LanguageModel, LinearSpec, Stack
from simulator.spec.source import SpecError


def _qwen(fields: Fields, tied: bool) -> LanguageModel:
    """Qwen-1: no grouped heads, bias on Q, K and V only; `intermediate_size` counts both halves of the gated MLP."""
    hidden, heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    head_dim = fields.derived("kv_channels", hidden // heads, "hidden_size / num_attention_heads")
    mixer = AttentionSpec(kind="full", heads=heads, kv_heads=heads, head_dim=head_dim, q_bias=True, kv_bias=True)
    mlp = FeedForwardSpec(width=fields.size("intermediate_size") // 2)
    return _uniform(fields, tied, "qwen", Block(attention=mixer, feed_forward=mlp, norm_parameters=2 * hidden))


def _internlm(fields: Fields, tied: bool) -> LanguageModel:
    """InternLM-1: one `bias` for Q, K, V and O."""
    hidden, heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    bias = fields.flag("bias")
    mixer = AttentionSpec(
        kind="full", heads=heads, kv_heads=heads, head_dim=hidden // heads, q_bias=bias, kv_bias=bias, o_bias=bias
    )
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"))
    return _uniform(fields, tied, "internlm", Block(attention=mixer, feed_forward=mlp, norm_parameters=2 * hidden))


def _uniform(fields: Fields, tied: bool, name: str, block: Block) -> LanguageModel:
    hidden = fields.size("hidden_size")
    context = fields.size("max_position_embeddings" if fields.has("max_position_embeddings") else "seq_length")
    return LanguageModel(
        name=name,
        hidden=hidden,
        vocabulary=fields.size("vocab_size"),
        tied_embeddings=tied,
        stack=Stack(blocks={"full": block}, order=(f"{fields.layers('num_hidden_layers')} full",)),
        final_norm_parameters=hidden,
        max_context=context,
    )


def _mamba(fields: Fields, tied: bool) -> LanguageModel:
    """Mamba (Gu and Dao, 2023): input, selection, step and output matrices around a selective scan."""
    hidden, state, kernel = fields.size("hidden_size"), fields.size("state_size"), fields.size("conv_kernel")
    inner = fields.size("expand") * hidden
    stated = fields.data.get("time_step_rank", "auto")
    rank = -(-hidden // 16) if stated == "auto" else fields.size("time_step_rank")
    bias, conv_bias = fields.flag("use_bias"), fields.flag("use_conv_bias")
    mixer = AttentionSpec(
        kind="linear",
        projections=(
            LinearSpec(name="in_proj", inputs=hidden, outputs=2 * inner, bias=bias),
            LinearSpec(name="x_proj", inputs=inner, outputs=rank + 2 * state),
            LinearSpec(name="dt_proj", inputs=rank, outputs=inner, bias=True),
            LinearSpec(name="out_proj", inputs=inner, outputs=hidden, bias=bias),
        ),
        conv_channels=inner,
        conv_kernel=kernel,
        conv_bias=conv_bias,
        state_elements=inner * state,
        scan_elements=inner * (3 + 2 * state // 16),
        other_parameters=inner * state + inner,
        rope=False,
    )
    return LanguageModel(
        name="mamba",
        hidden=hidden,
        vocabulary=fields.size("vocab_size"),
        tied_embeddings=tied,
        stack=Stack(
            blocks={"scan": Block(attention=mixer, norms=1, norm_parameters=hidden)},
            order=(f"{fields.layers('num_hidden_layers')} scan",),
        ),
        final_norm_parameters=hidden,
        max_context=fields.size("max_position_embeddings", 10**6),
    )


def _opt(fields: Fields, tied: bool) -> LanguageModel:
    """OPT: biases everywhere, LayerNorm, a two-matrix MLP, learned positions, embeddings that may be narrower than the model."""
    hidden, heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    bias, affine = fields.flag("enable_bias"), fields.flag("layer_norm_elementwise_affine")
    narrow = fields.derived("word_embed_proj_dim", hidden, "hidden_size")
    if narrow != hidden:
        raise SpecError(
            f"{fields.name('word_embed_proj_dim')}: {narrow} is not accepted: hidden_size {hidden} is expected"
        )
    if hidden % heads:
        raise SpecError(f"{fields.name('num_attention_heads')}: {heads} is not accepted: it must divide {hidden}")
    mixer = AttentionSpec(
        kind="full",
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        q_bias=bias,
        kv_bias=bias,
        o_bias=bias,
        rope=False,
    )
    mlp = FeedForwardSpec(width=fields.size("ffn_dim"), gated=False, bias=bias)
    weights = 2 * hidden if affine else 0
    context = fields.size("max_position_embeddings")
    last = weights if fields.flag("do_layer_norm_before") and not fields.flag("_remove_final_layer_norm", False) else 0
    return LanguageModel(
        name="opt",
        hidden=hidden,
        vocabulary=fields.size("vocab_size"),
        tied_embeddings=tied,
        stack=Stack(
            blocks={"full": Block(attention=mixer, feed_forward=mlp, norm_parameters=2 * weights)},
            order=(f"{fields.layers('num_hidden_layers')} full",),
        ),
        final_norm_parameters=last,
        max_context=context,
        other_parameters=(context + 2) * hidden,
    )


OTHERS: dict[str, Callable[[Fields, bool], LanguageModel]] = {
    "qwen": _qwen,
    "internlm": _internlm,
    "mamba": _mamba,
    "opt": _opt,
    "qwen3_next": gated_delta,
    "qwen3_5_text": gated_delta,
    "qwen3_5_moe_text": gated_delta,
    "lfm2": lfm2,
    "gemma3n_text": gemma3n_text,
    "gemma4_text": gemma4_text,
}
