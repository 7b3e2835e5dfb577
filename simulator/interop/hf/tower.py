"""What the encoders share: a square grid of patches, a bidirectional mixer, blocks of one kind."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.spec.model import AttentionSpec, Block, FeedForwardSpec, Stack
from simulator.spec.source import SpecError


def grid_side(fields: Fields) -> int:
    """Patches per side of a square input."""
    image, patch = fields.side("image_size"), fields.side("patch_size")
    if patch > image:
        raise SpecError(f"{fields.name('patch_size')}: {patch} is not accepted: at most image_size {image}")
    return image // patch


def mixer(
    fields: Fields, hidden: int, heads: int, *, qkv: bool, out: bool, rope: bool, norm: int = 0, window: int = 0,
    kv_heads: int = 0,
) -> AttentionSpec:
    """Bidirectional attention over the rows of a crop, or of its windows. kv_heads 0: as many as heads."""
    if hidden % heads:
        raise SpecError(f"{fields.path}: {heads} heads do not divide the hidden size {hidden}")
    if heads % (kv_heads or heads):
        raise SpecError(f"{fields.name('num_key_value_heads')}: {kv_heads} is not accepted: it must divide {heads} heads")
    return AttentionSpec(
        kind="grid" if window else "full",
        heads=heads,
        kv_heads=kv_heads or heads,
        head_dim=hidden // heads,
        window=window,
        q_bias=qkv,
        kv_bias=qkv,
        o_bias=out,
        qk_norm=norm,
        rope=rope,
    )


def uniform(block: Block, count: int) -> Stack:
    """`count` equal blocks."""
    return Stack(blocks={"block": block}, order=(f"{count} block",))


def plain(fields: Fields, rope: bool = False) -> tuple[int, Stack]:
    """Pre-norm blocks with biases everywhere, LayerNorm and a two-matrix MLP (CLIP, SigLIP, Idefics, Llama-4, Kimi)."""
    hidden = fields.size("hidden_size")
    attention = mixer(fields, hidden, fields.size("num_attention_heads"), qkv=True, out=True, rope=rope)
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"), gated=False, bias=True)
    block = Block(attention=attention, feed_forward=mlp, norm_parameters=4 * hidden)
    return hidden, uniform(block, fields.layers("num_hidden_layers"))
