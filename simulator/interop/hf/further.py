"""Encoders of fewer families: Qwen-VL, Ovis, LFM2-VL, PerceptionLM, GOT-OCR, GLM-4V and CogVLM."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.stages import mixer as windowed
from simulator.interop.hf.text import stack
from simulator.interop.hf.tower import grid_side, mixer, plain, uniform
from simulator.spec.model import Block, ConvolutionSpec, FeedForwardSpec, VisionEncoder
from simulator.spec.source import SpecError


def open_clip(fields: Fields) -> VisionEncoder:
    """Qwen-VL's ViT: no class token, learned positions of the 256 pre-training patches, a norm before the blocks."""
    hidden = fields.size("hidden_size")
    attention = mixer(fields, hidden, fields.size("num_attention_heads"), qkv=True, out=True, rope=False)
    width = int(hidden * fields.ratio("mlp_ratio"))
    block = Block(
        attention=attention,
        feed_forward=FeedForwardSpec(width=width, gated=False, bias=True),
        norm_parameters=4 * hidden,
    )
    return VisionEncoder(
        name="OpenCLIP ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        stack=uniform(block, fields.layers("num_hidden_layers")),
        stem_norm_parameters=2 * hidden,
        other_parameters=256 * hidden,
    )


def aim(fields: Fields) -> VisionEncoder:
    """AIMv2 in Ovis2: RMS norms, one of them after the patches, a gated MLP."""
    hidden, qkv, bias = fields.size("hidden_size"), fields.flag("qkv_bias"), fields.flag("mlp_bias")
    attention = mixer(fields, hidden, fields.size("num_attention_heads"), qkv=qkv, out=qkv, rope=False)
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"), bias=bias)
    block = Block(attention=attention, feed_forward=mlp, norm_parameters=2 * hidden)
    return VisionEncoder(
        name="AIMv2 ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels"),
        stack=uniform(block, fields.layers("num_hidden_layers")),
        stem_norm_parameters=hidden,
        final_norm_parameters=hidden,
        other_parameters=hidden * grid_side(fields) ** 2,
    )


def siglip2(fields: Fields) -> VisionEncoder:
    """SigLIP 2 at a picture's own aspect ratio: a stored grid of `num_patches` positions, resized to the picture's."""
    if fields.flag("vision_use_head"):
        raise SpecError(
            f"{fields.name('vision_use_head')}: {True} is not accepted: false (its pooling head is not known)"
        )
    hidden, blocks = plain(fields)
    return VisionEncoder(
        name="SigLIP 2 ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels"),
        stack=blocks,
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * fields.size("num_patches"),
    )


def perception(fields: Fields) -> VisionEncoder:
    """The Perception Encoder as timm builds it: a norm before the blocks, layer scale, rotary positions beside learned ones."""
    hidden, bias = fields.size("hidden_size"), True
    attention = mixer(fields, hidden, fields.size("num_attention_heads"), qkv=bias, out=True, rope=True)
    block = Block(
        attention=attention,
        feed_forward=FeedForwardSpec(width=fields.size("intermediate_size"), gated=False, bias=True),
        norm_parameters=4 * hidden,
        other_parameters=2 * hidden if fields.flag("layer_scale", True) else 0,
    )
    token = int(fields.flag("class_token"))
    return VisionEncoder(
        name="Perception Encoder",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        extra_rows=token,
        stack=uniform(block, fields.layers("num_hidden_layers")),
        stem_norm_parameters=2 * hidden,
        final_norm_parameters=2 * hidden if fields.flag("post_norm", False) else 0,
        other_parameters=hidden * (grid_side(fields) ** 2 + 2 * token),
    )


def sam(fields: Fields) -> VisionEncoder:
    """SAM's ViT in GOT-OCR 2: windows that are filled up, some full blocks, tables of relative positions (whose products, 0.4 %, are
    left out), a neck of two convolutions."""
    hidden, heads, side = fields.size("hidden_size"), fields.size("num_attention_heads"), grid_side(fields)
    if hidden % heads:
        raise SpecError(f"{fields.path}: {heads} heads do not divide the hidden size {hidden}")
    window, whole = fields.size("window_size"), fields.sizes("global_attn_indexes")
    out, qkv, relative = fields.size("output_channels"), fields.flag("qkv_bias"), fields.flag("use_rel_pos")

    def block(window: int) -> Block:
        return Block(
            attention=windowed(hidden, heads, window, qkv),
            feed_forward=FeedForwardSpec(width=fields.size("mlp_dim"), gated=False, bias=True),
            norm_parameters=4 * hidden,
            other_parameters=2 * (hidden // heads) * (2 * (window or side) - 1) if relative else 0,
        )

    neck = (
        ConvolutionSpec(inputs=hidden, outputs=out, kernel=1, bias=False, norm_parameters=2 * out),
        ConvolutionSpec(inputs=out, outputs=out, kernel=3, bias=False, norm_parameters=2 * out),
    )
    blocks = {"window": block(window), "full": block(0), "neck": Block(convolutions=neck, norms=0)}
    order = ["full" if index in whole else "window" for index in range(fields.layers("num_hidden_layers"))]
    return VisionEncoder(
        name="SAM ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels"),
        stack=stack({name: part for name, part in blocks.items() if name in order or name == "neck"}, [*order, "neck"]),
        other_parameters=hidden * side**2 if fields.flag("use_abs_pos") else 0,
    )


def video_llama_3(fields: Fields) -> VisionEncoder:
    """VideoLLaMA 3: SigLIP with rotary positions in place of stored ones."""
    hidden, blocks = plain(fields, rope=True)
    return VisionEncoder(
        name="VideoLLaMA3 ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels"),
        stack=blocks,
        final_norm_parameters=2 * hidden,
    )


def eva_2(fields: Fields) -> VisionEncoder:
    """EVA2-CLIP-E in GLM-4V and CogVLM2: biases everywhere, a class token, learned positions."""
    hidden, blocks = plain(fields)
    return VisionEncoder(
        name="EVA2-CLIP",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        extra_rows=1,
        stack=blocks,
        other_parameters=hidden * (grid_side(fields) ** 2 + 2),
    )
