"""Encoders on square crops: CLIP, SigLIP, InternViT, Llama-3.2 and Llama-4, BLIP-2."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.text import stack
from simulator.interop.hf.tower import grid_side, mixer, plain, uniform
from simulator.spec.model import Block, FeedForwardSpec, PoolingHead, VisionEncoder
from simulator.spec.source import SpecError


def clip(fields: Fields) -> VisionEncoder:
    """CLIP."""
    hidden, blocks = plain(fields)
    patches = grid_side(fields) ** 2
    return VisionEncoder(
        name="CLIP ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        channels=fields.size("num_channels"),
        extra_rows=1,
        stack=blocks,
        stem_norm_parameters=2 * hidden,
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * (patches + 2),
    )


def siglip(fields: Fields) -> VisionEncoder:
    """SigLIP, with its pooling head where the class builds one; `idle_head`: it is built and never run (DeepSeek)."""
    hidden, blocks = plain(fields)
    side, width = grid_side(fields), fields.size("intermediate_size")
    pooled = fields.type == "phi4_multimodal_vision" or (
        fields.type == "siglip_vision_model" and fields.flag("vision_use_head")
    )
    pooling = PoolingHead(heads=fields.size("num_attention_heads"), width=width, rows=side**2) if pooled else None
    owned = 3 * hidden if pooled else 0
    if fields.flag("idle_head", False):
        owned = 4 * hidden**2 + 2 * width * hidden + width + 8 * hidden
    return VisionEncoder(
        name="SigLIP ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels"),
        stack=blocks,
        final_norm_parameters=2 * hidden,
        pooling=pooling,
        other_parameters=hidden * side**2 + owned,
    )


def internvl(fields: Fields) -> VisionEncoder:
    """InternViT."""
    hidden, side = fields.size("hidden_size"), grid_side(fields)
    normed, bias = fields.flag("use_qk_norm"), fields.flag("attention_bias")
    per_norm = 2 if fields.word("norm_type", ("layer_norm", "rms_norm")) == "layer_norm" else 1
    attention = mixer(
        fields,
        hidden,
        fields.size("num_attention_heads"),
        qkv=bias,
        out=True,
        rope=False,
        norm=2 * hidden if normed else 0,
    )
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"), gated=False, bias=True)
    block = Block(
        attention=attention, feed_forward=mlp, norm_parameters=2 * per_norm * hidden, other_parameters=2 * hidden
    )
    positions = hidden * (side**2 + 1) if fields.flag("use_absolute_position_embeddings", True) else 0
    masks = hidden if fields.flag("use_mask_token", False) else 0
    return VisionEncoder(
        name="InternViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels"),
        extra_rows=1,
        stack=uniform(block, fields.layers("num_hidden_layers")),
        final_norm_parameters=0 if fields.flag("use_mean_pooling", True) else 2 * hidden,
        other_parameters=hidden + positions + masks,
    )


def llama4(fields: Fields) -> VisionEncoder:
    """Llama-4."""
    hidden, blocks = plain(fields, rope=True)
    return VisionEncoder(
        name="Llama-4 ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        channels=fields.size("num_channels"),
        extra_rows=1,
        stack=blocks,
        stem_norm_parameters=2 * hidden,
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * (grid_side(fields) ** 2 + 2),
    )


def mllama(fields: Fields) -> VisionEncoder:
    """Tiles of a picture attend jointly; each is padded to a multiple of 8 rows; gated layers follow."""
    hidden, rows = fields.size("hidden_size"), grid_side(fields) ** 2 + 1
    tiles, ratios = fields.size("max_num_tiles"), fields.value("supported_aspect_ratios")
    if not isinstance(ratios, list) or not ratios:
        raise SpecError(f"{fields.name('supported_aspect_ratios')}: a list of (rows, columns) is expected")
    table = len(ratios) + 1  # pyright: ignore[reportUnknownArgumentType]
    heads = fields.size("attention_heads" if fields.has("attention_heads") else "num_attention_heads")
    attention = mixer(fields, hidden, heads, qkv=False, out=False, rope=False)
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"), gated=False, bias=True)
    local = Block(attention=attention, feed_forward=mlp, norm_parameters=4 * hidden)
    gated = Block(attention=attention, feed_forward=mlp, norm_parameters=4 * hidden, other_parameters=2)
    order = ["local"] * fields.layers("num_hidden_layers") + ["gated"] * fields.layers("num_global_layers")
    positions = 1 + rows * hidden + table * tiles * rows * hidden + 2 * (1 + table * tiles * hidden)
    return VisionEncoder(
        name="Llama-3.2 ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        channels=fields.size("num_channels"),
        extra_rows=1 + (-rows) % 8,
        joint_crops=tiles,
        stack=stack({"local": local, "gated": gated}, order),
        stem_norm_parameters=2 * hidden,
        final_norm_parameters=2 * hidden,
        other_parameters=hidden + positions,
    )


def blip(fields: Fields) -> VisionEncoder:
    """ViT-g of EVA-CLIP in BLIP-2 and InstructBLIP: the bias of Q, K and V is owned whole, though that of K is zero."""
    hidden = fields.size("hidden_size")
    attention = mixer(
        fields, hidden, fields.size("num_attention_heads"), qkv=fields.flag("qkv_bias"), out=True, rope=False
    )
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"), gated=False, bias=True)
    block = Block(attention=attention, feed_forward=mlp, norm_parameters=4 * hidden)
    return VisionEncoder(
        name="EVA ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels", 3),
        extra_rows=1,
        stack=uniform(block, fields.layers("num_hidden_layers")),
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * (grid_side(fields) ** 2 + 2),
    )
