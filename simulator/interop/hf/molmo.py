"""Molmo, Molmo 2 and Moondream 2: features of two layers side by side, pooled 2 x 2 by an attention whose query is their mean, a gated MLP."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.projector import Rows, activation, linear
from simulator.interop.hf.resampler import mlp
from simulator.interop.hf.square import clip
from simulator.interop.hf.text import heads_of, language
from simulator.interop.hf.tower import plain
from simulator.spec.model import (
    AttentionSpec,
    Block,
    FeedForwardSpec,
    LanguageModel,
    Projector,
    Stack,
    Step,
    VisionEncoder,
)
from simulator.spec.source import SpecError


def tower(fields: Fields) -> VisionEncoder:
    """Molmo 2's SigLIP 2: neither a norm after its blocks nor a pooling head."""
    hidden, blocks = plain(fields)
    heads, head_dim = fields.size("num_attention_heads"), fields.size("head_dim")
    bias, block = fields.flag("attention_bias"), blocks.blocks["block"]
    kv_heads = fields.size("num_key_value_heads")
    if heads % kv_heads:
        raise SpecError(f"{fields.name('num_key_value_heads')}: {kv_heads} is not accepted: it must divide {heads}")
    assert block.attention is not None
    own = {"head_dim": head_dim, "kv_heads": kv_heads, "q_bias": bias, "kv_bias": bias, "o_bias": bias}
    block = block.model_copy(update={"attention": block.attention.model_copy(update=own)})
    side = fields.side("image_size", [378, 378]) // fields.side("patch_size")
    stored = fields.derived("num_position_embeddings", side**2, "one per patch of image_size")
    return VisionEncoder(
        name="Molmo 2 ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels"),
        stack=blocks.model_copy(update={"blocks": {"block": block}}),
        other_parameters=hidden * stored,
    )


def first_tower(fields: Fields) -> VisionEncoder:
    """Molmo's CLIP: no norm after its blocks."""
    return clip(fields).model_copy(update={"name": "Molmo CLIP ViT", "final_norm_parameters": 0})


def first_text(fields: Fields, tied: bool) -> LanguageModel:
    """Molmo (OLMo's code): one matrix for both halves of the MLP, norms on all heads of Q and K where `attention_layer_norm` is set."""
    if fields.count("moe_num_experts", 0):
        raise SpecError(f"{fields.name('moe_num_experts')}: MolmoE is not accepted: a Molmo without experts")
    hidden = fields.size("hidden_size")
    heads, kv_heads, head_dim = heads_of(fields, hidden)
    bias, rows = fields.flag("qkv_bias", False), fields.size("embedding_size", fields.size("vocab_size"))
    normed = (heads + kv_heads) * head_dim if fields.flag("attention_layer_norm", False) else 0
    attention = AttentionSpec(
        kind="full", heads=heads, kv_heads=kv_heads, head_dim=head_dim, q_bias=bias, kv_bias=bias, qk_norm=normed
    )
    feed = FeedForwardSpec(width=fields.size("intermediate_size") // 2)
    block = Block(attention=attention, feed_forward=feed, norm_parameters=2 * hidden)
    return LanguageModel(
        name="molmo",
        hidden=hidden,
        vocabulary=rows,
        embedding_rows=rows + fields.count("additional_vocab_size", 128),
        tied_embeddings=fields.flag("weight_tying", tied),
        stack=Stack(blocks={"full": block}, order=(f"{fields.layers('num_hidden_layers')} full",)),
        final_norm_parameters=hidden,
        max_context=fields.size("max_position_embeddings", 4096),
    )


def text(fields: Fields, tied: bool) -> LanguageModel:
    """Norms on Q and K by head (Qwen3) or on all heads (OLMo); rows of the embedding that the head has not."""
    whole, more = fields.word("qk_norm_type", ("qwen3", "olmo")) == "olmo", fields.count("additional_vocab_size")
    found = language(fields, tied, "images")
    block = found.stack.blocks["full"]
    assert block.attention is not None
    if whole:
        norm = (block.attention.heads + block.attention.kv_heads) * block.attention.head_dim
        block = block.model_copy(update={"attention": block.attention.model_copy(update={"qk_norm": norm})})
    stack = found.stack.model_copy(update={"blocks": {"full": block}})
    rows = found.vocabulary + more
    return found.model_copy(update={"name": "molmo2", "embedding_rows": rows, "stack": stack})


def molmo2(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Molmo 2: the pooling runs on what is left of overlapping crops, four slots per token; its products (four keys per query) are
    left out."""
    part = top.sub("adapter_config", "molmo2_adapter")
    part.type = "molmo2_adapter"
    hidden, wide = part.size("hidden_size"), part.size("intermediate_size")
    levels = len(part.sizes("vision_feature_layer", [24, 18], least=-4096))
    joined, bias, gated = hidden * levels, part.flag("attention_bias"), part.flag("mlp_bias")
    width = part.size("num_attention_heads") * part.size("head_dim")
    keys = part.size("num_key_value_heads") * part.size("head_dim")
    steps = (
        linear("q", joined, width, bias, "tokens"),
        linear("kv", joined, 2 * keys, bias, "tokens").model_copy(update={"share": 4.0}),
        linear("o", width, hidden, bias, "tokens"),
        *_gated(hidden, wide, part.size("text_hidden_size"), gated, "tokens"),
    )
    return Projector(kind="resampler", steps=steps)


def molmo(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Molmo: the pooling runs on every crop; two vectors tell padding and border patches."""
    hidden, out = vision.size("hidden_size"), text.size("hidden_size")
    joined, wide = 2 * hidden, top.size("intermediate_size") // 2
    steps = (
        linear("q", joined, hidden, True),
        linear("kv", joined, 2 * hidden, True, "patches"),
        linear("o", hidden, hidden, True),
        *_gated(hidden, wide, out, False, "merged"),
    )
    return Projector(kind="resampler", merge=2, steps=steps, other_parameters=2 * joined)


def _gated(inputs: int, wide: int, outputs: int, bias: bool, rows: Rows) -> tuple[Step, ...]:
    """A gated MLP without a bias at its end."""
    return (
        linear("gate_up", inputs, 2 * wide, bias, rows),
        activation(2 * wide, rows),
        linear("down", wide, outputs, False, rows),
    )


def moondream(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Moondream 2: two layers on the features of the view and of the tiles side by side."""
    wide, hidden = top.size("proj_inner_dim"), vision.size("hidden_size")
    return Projector(kind="mlp", steps=mlp((2 * hidden, wide, text.size("hidden_size")), "tokens"))
