"""Encoders at a picture's own aspect ratio: Pixtral, Qwen-VL, GLM-V, Kimi."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.text import stack
from simulator.interop.hf.tower import grid_side, mixer, plain, uniform
from simulator.spec.model import Block, FeedForwardSpec, VisionEncoder


def pixtral(fields: Fields) -> VisionEncoder:
    """Pixtral: RMS norms, rotary positions, no biases."""
    hidden = fields.size("hidden_size")
    heads = fields.size("num_attention_heads")
    attention = mixer(fields, hidden, heads, qkv=False, out=False, rope=True)
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"))
    block = Block(attention=attention, feed_forward=mlp, norm_parameters=2 * hidden)
    return VisionEncoder(
        name="Pixtral ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        channels=fields.size("num_channels"),
        stack=uniform(block, fields.layers("num_hidden_layers")),
        stem_norm_parameters=hidden,
    )


def qwen(fields: Fields) -> VisionEncoder:
    """Qwen2-VL, Qwen2.5-VL (windows; EXAONE 4.5 with fewer heads of K and V) and Qwen3-VL."""
    first = fields.type == "qwen2_vl_vision"
    second = fields.type in ("qwen2_5_vl_vision", "exaone4_5_vision")
    fewer = fields.size("num_key_value_heads") if fields.type == "exaone4_5_vision" else 0
    hidden = fields.size("embed_dim" if first else "hidden_size")
    width = round(hidden * fields.ratio("mlp_ratio")) if first else fields.size("intermediate_size")
    depth, patch = fields.layers("depth"), fields.side("patch_size")
    mlp = FeedForwardSpec(width=width, gated=second, bias=True)
    heads, norm = fields.size("num_heads"), (2 if second else 4) * hidden
    whole = Block(
        attention=mixer(fields, hidden, heads, qkv=True, out=True, rope=True, kv_heads=fewer),
        feed_forward=mlp,
        norm_parameters=norm,
    )
    blocks, order = {"block": whole}, ["block"] * depth
    if second:
        merge = fields.size("spatial_merge_size")
        window = max(1, fields.size("window_size") // merge // patch) * merge
        local = mixer(fields, hidden, heads, qkv=True, out=True, rope=True, window=window, kv_heads=fewer)
        blocks = {"window": Block(attention=local, feed_forward=mlp, norm_parameters=norm), "full": whole}
        full = fields.sizes("fullatt_block_indexes")
        order = ["full" if index in full else "window" for index in range(depth)]
    positions = 0 if first or second else hidden * fields.size("num_position_embeddings")
    return VisionEncoder(
        name={"qwen2_vl_vision": "Qwen2-VL ViT", "qwen2_5_vl_vision": "Qwen2.5-VL ViT", "exaone4_5_vision": "EXAONE 4.5 ViT"}.get(
            fields.type, "Qwen3-VL ViT"
        ),
        hidden=hidden,
        patch=patch,
        patch_kernel=patch,
        patch_bias=not (first or second),
        channels=fields.size("in_chans" if fields.has("in_chans") else "in_channels"),
        temporal_patch=fields.size("temporal_patch_size"),
        stack=stack(blocks, order),
        other_parameters=positions,
    )


def glm(fields: Fields) -> VisionEncoder:
    """GLM-4.1V."""
    hidden = fields.size("hidden_size")
    bias = fields.flag("attention_bias")
    attention = mixer(fields, hidden, fields.size("num_heads"), qkv=bias, out=False, rope=True)
    # The blocks' MLP is as wide as the output; `intermediate_size` is that of the merger.
    mlp = FeedForwardSpec(width=fields.size("out_hidden_size"))
    block = Block(attention=attention, feed_forward=mlp, norm_parameters=2 * hidden)
    return VisionEncoder(
        name="GLM-4.1V ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("in_channels"),
        temporal_patch=fields.size("temporal_patch_size"),
        stack=uniform(block, fields.layers("depth")),
        stem_norm_parameters=hidden,
        final_norm_parameters=hidden,
        other_parameters=hidden * grid_side(fields) ** 2,
    )


def kimi(fields: Fields) -> VisionEncoder:
    """MoonViT."""
    hidden, blocks = plain(fields, rope=True)
    return VisionEncoder(
        name="MoonViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        stack=blocks,
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * fields.size("pos_emb_height") * fields.size("pos_emb_width"),
    )
