"""Language models with names of their own for everything: GPT-2, BLOOM, Falcon."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.spec.model import AttentionSpec, Block, FeedForwardSpec, LanguageModel, Stack
from simulator.spec.source import SpecError


def _heads(fields: Fields, name: str, hidden: int) -> int:
    heads = fields.size(name)
    if hidden % heads:
        raise SpecError(f"{fields.name(name)}: {heads} is not accepted: it must divide {hidden}")
    return heads


def _model(
    fields: Fields, tied: bool, hidden: int, layers: int, block: Block, context: int, positions: int
) -> LanguageModel:
    return LanguageModel(
        name=fields.type,
        hidden=hidden,
        vocabulary=fields.size("vocab_size"),
        tied_embeddings=tied,
        stack=Stack(blocks={"full": block}, order=(f"{layers} full",)),
        final_norm_parameters=2 * hidden,
        max_context=context,
        other_parameters=positions,
    )


def gpt2(fields: Fields, tied: bool) -> LanguageModel:
    """GPT-2: biases everywhere, LayerNorm, learned positions."""
    hidden, context = fields.size("n_embd"), fields.size("n_positions")
    heads = _heads(fields, "n_head", hidden)
    attention = AttentionSpec(
        kind="full", heads=heads, kv_heads=heads, head_dim=hidden // heads, q_bias=True, kv_bias=True, o_bias=True, rope=False
    )
    inner = fields.size("n_inner") if fields.has("n_inner") else 4 * hidden
    feed = FeedForwardSpec(width=inner, gated=False, bias=True)
    block = Block(attention=attention, feed_forward=feed, norm_parameters=4 * hidden)
    return _model(fields, tied, hidden, fields.layers("n_layer"), block, context, context * hidden)


def bloom(fields: Fields, tied: bool) -> LanguageModel:
    """BLOOM: biases everywhere, LayerNorm (one after the embedding too), distances in place of positions."""
    hidden = fields.size("hidden_size" if fields.has("hidden_size") or not fields.has("n_embed") else "n_embed")
    name = "n_head" if fields.has("n_head") or not fields.has("num_attention_heads") else "num_attention_heads"
    heads = _heads(fields, name, hidden)
    attention = AttentionSpec(
        kind="full", heads=heads, kv_heads=heads, head_dim=hidden // heads, q_bias=True, kv_bias=True, o_bias=True, rope=False
    )
    feed = FeedForwardSpec(width=4 * hidden, gated=False, bias=True)
    block = Block(attention=attention, feed_forward=feed, norm_parameters=4 * hidden)
    layers = fields.layers("n_layer" if fields.has("n_layer") or not fields.has("num_hidden_layers") else "num_hidden_layers")
    return _model(fields, tied, hidden, layers, block, fields.size("seq_length", 2048), 2 * hidden)


def falcon(fields: Fields, tied: bool) -> LanguageModel:
    """Falcon: one head of K and V, or groups of them in the newer architecture; attention and MLP side by side."""
    hidden = fields.size("hidden_size")
    heads, bias = _heads(fields, "num_attention_heads", hidden), fields.flag("bias")
    newer = fields.flag("new_decoder_architecture")
    few = 1 if fields.flag("multi_query") else heads
    kv_heads = fields.derived("num_kv_heads", heads, "as many as attention heads") if newer else few
    if heads % kv_heads:
        raise SpecError(f"{fields.name('num_kv_heads')}: {kv_heads} is not accepted: it must divide {heads}")
    attention = AttentionSpec(
        kind="full", heads=heads, kv_heads=kv_heads, head_dim=hidden // heads, q_bias=bias, kv_bias=bias, o_bias=bias,
        rope=not fields.flag("alibi"),
    )  # fmt: skip
    inner = fields.size("ffn_hidden_size") if fields.has("ffn_hidden_size") else 4 * hidden
    norms = 2
    if fields.flag("parallel_attn"):
        norms = fields.derived("num_ln_in_parallel_attn", 2 if newer else 1, "2 in the newer architecture, else 1")
    feed = FeedForwardSpec(width=inner, gated=False, bias=bias)
    block = Block(attention=attention, feed_forward=feed, norms=norms, norm_parameters=norms * 2 * hidden)
    return _model(fields, tied, hidden, fields.layers("num_hidden_layers"), block, fields.size("max_position_embeddings"), 0)
