"""Language models whose configuration does not follow the common names: first-generation Qwen and InternLM, ChatGLM, OPT."""

from __future__ import annotations

from collections.abc import Callable

from simulator.interop.hf import composer, molmo, older, state_space
from simulator.interop.hf.ernie import ernie_vl
from simulator.interop.hf.fields import Fields
from simulator.interop.hf.gemma import gemma3n_text, gemma4_text
from simulator.interop.hf.hybrid import gated_delta, lfm2
from simulator.spec.model import AttentionSpec, Block, FeedForwardSpec, LanguageModel, Stack
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


def _chatglm(fields: Fields, tied: bool) -> LanguageModel:
    """ChatGLM2, 3 and GLM-4 in their own code: shared keys and values in groups, a bias on Q, K and V."""
    hidden, heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    if "kv_channels" not in fields.data:
        raise SpecError(f"{fields.name('kv_channels')} is missing; it is the width of a head")
    groups = fields.size("multi_query_group_num") if fields.flag("multi_query_attention", False) else heads
    bias, linear = fields.flag("add_qkv_bias", False), fields.flag("add_bias_linear", False)
    mixer = AttentionSpec(
        kind="full",
        heads=heads,
        kv_heads=groups,
        head_dim=fields.size("kv_channels"),
        q_bias=bias or linear,
        kv_bias=bias or linear,
        o_bias=linear,
    )
    mlp = FeedForwardSpec(width=fields.size("ffn_hidden_size"), bias=linear)
    norm = hidden * (1 if fields.flag("rmsnorm", True) else 2)
    block = Block(attention=mixer, feed_forward=mlp, norm_parameters=2 * norm)
    return LanguageModel(
        name="chatglm",
        hidden=hidden,
        vocabulary=fields.size("padded_vocab_size"),
        tied_embeddings=tied,
        stack=Stack(blocks={"full": block}, order=(f"{fields.layers('num_layers')} full",)),
        final_norm_parameters=norm if fields.flag("post_layer_norm", True) else 0,
        max_context=fields.size("seq_length"),
    )


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
    "chatglm": _chatglm,
    "mamba": state_space.mamba,
    "falcon_mamba": state_space.mamba,
    "mamba2": state_space.mamba2,
    "bamba": state_space.bamba,
    "granitemoehybrid": state_space.granite_hybrid,
    "jamba": state_space.jamba,
    "nemotron_h": state_space.nemotron_h,
    "lfm2_moe": lfm2,
    "opt": _opt,
    "qwen3_next": gated_delta,
    "qwen3_5_text": gated_delta,
    "qwen3_5_moe_text": gated_delta,
    "lfm2": lfm2,
    "gemma3n_text": gemma3n_text,
    "gemma4_text": gemma4_text,
    "gpt2": older.gpt2,
    "xcomposer2_text": composer.text,
    "bloom": older.bloom,
    "falcon": older.falcon,
    "molmo2_text": molmo.text,
    "molmo_text": molmo.first_text,
    "ernie4_5_vl_moe_text": ernie_vl,
}
