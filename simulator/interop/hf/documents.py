"""Encoders and projectors at a picture's own aspect ratio of models that came for documents: GLM-OCR, PaddleOCR-VL, dots.ocr, HunyuanOCR; ERNIE 4.5 VL and RICE."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.projector import activation, linear, norm
from simulator.interop.hf.resampler import mlp
from simulator.interop.hf.tower import grid_side, mixer, plain, uniform
from simulator.spec.model import Block, FeedForwardSpec, Projector, Step, VisionEncoder


def glm_ocr(fields: Fields) -> VisionEncoder:
    """GLM-OCR: GLM-4.1V's encoder without stored positions, Q and K normalised, an MLP as wide as it says."""
    hidden, heads, bias = fields.size("hidden_size"), fields.size("num_heads"), fields.flag("attention_bias")
    attention = mixer(fields, hidden, heads, qkv=bias, out=bias, rope=True, norm=2 * (hidden // max(1, heads)))
    feed = FeedForwardSpec(width=fields.size("intermediate_size"), bias=bias)
    return VisionEncoder(
        name="GLM-OCR ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("in_channels"),
        temporal_patch=fields.size("temporal_patch_size"),
        stack=uniform(Block(attention=attention, feed_forward=feed, norm_parameters=2 * hidden), fields.layers("depth")),
        final_norm_parameters=hidden,
    )


def glm_ocr_merger(top: Fields, vision: Fields, text: Fields) -> Projector:
    """GLM-OCR: GLM-4.1V's merger, as many times as wide as there are colour channels."""
    merge, out = vision.size("spatial_merge_size"), vision.size("out_hidden_size")
    wide = out * vision.size("in_channels")
    steps = (
        linear("downsample", vision.size("hidden_size") * merge**2, out, True),
        linear("proj", out, out, False),
        norm(out, 2 * out),
        linear("gate_up", out, 2 * wide, False),
        activation(2 * wide),
        linear("down", wide, out, False),
    )
    return Projector(kind="patch-merger", merge=merge, steps=steps)


def paddle(fields: Fields) -> VisionEncoder:
    """PaddleOCR-VL: SigLIP at own aspect ratio, rotary positions beside stored ones."""
    hidden, blocks = plain(fields, rope=True)
    return VisionEncoder(
        name="PaddleOCR-VL ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels"),
        stack=blocks,
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * grid_side(fields) ** 2,
    )


def paddle_merger(top: Fields, vision: Fields, text: Fields) -> Projector:
    """PaddleOCR-VL, Keye, dots.ocr and LLaVA-OneVision 1.5: norm on patches, then two layers on 2 x 2 of them."""
    hidden, merge = vision.size("hidden_size"), vision.size("spatial_merge_size", 2)
    joined = hidden * merge**2
    steps = (norm(hidden, 2 * hidden, "patches"), *mlp((joined, joined, text.size("hidden_size")), "merged"))
    return Projector(kind="patch-merger", merge=merge, steps=steps)


def dots(fields: Fields) -> VisionEncoder:
    """dots.ocr: RMS norms, rotary positions, a gated MLP, one norm after the patches and one after the blocks."""
    hidden, bias = fields.size("hidden_size"), fields.flag("use_bias", False)
    attention = mixer(fields, hidden, fields.size("num_attention_heads"), qkv=bias, out=bias, rope=True)
    feed = FeedForwardSpec(width=fields.size("intermediate_size"), bias=bias)
    block = Block(attention=attention, feed_forward=feed, norm_parameters=2 * hidden)
    return VisionEncoder(
        name="dots.ocr ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels", 3),
        temporal_patch=fields.size("temporal_patch_size", 1),
        stack=uniform(block, fields.layers("num_hidden_layers")),
        stem_norm_parameters=hidden,
        final_norm_parameters=hidden if fields.flag("post_norm", True) else 0,
    )


def ernie(fields: Fields) -> VisionEncoder:
    """ERNIE 4.5 VL: biases everywhere, rotary positions, a norm after the blocks."""
    hidden = fields.size("hidden_size")
    attention = mixer(fields, hidden, fields.size("num_heads"), qkv=True, out=True, rope=True)
    feed = FeedForwardSpec(width=fields.size("intermediate_size"), gated=False, bias=True)
    return VisionEncoder(
        name="ERNIE 4.5 ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        channels=fields.size("in_channels"),
        stack=uniform(Block(attention=attention, feed_forward=feed, norm_parameters=4 * hidden), fields.layers("depth")),
        final_norm_parameters=2 * hidden,
    )


def ernie_resampler(top: Fields, vision: Fields, text: Fields) -> Projector:
    """ERNIE 4.5 VL: two layers on 2 x 2 patches, two on two frames of them (a picture counts twice), one matrix, norms."""
    merge, out = vision.size("spatial_merge_size"), text.size("hidden_size")
    joined = vision.size("hidden_size") * merge**2
    steps: tuple[Step, ...] = (
        *mlp((joined, joined, joined), "merged"),
        norm(joined, 2 * joined),
        *mlp((vision.size("temporal_merge_size") * joined, joined, joined), "tokens"),
        norm(joined, 2 * joined, "tokens"),
        linear("linear", joined, out, True, "tokens"),
        norm(out, out, "tokens"),
    )
    return Projector(kind="patch-merger", merge=merge, steps=steps)


def rice(fields: Fields) -> VisionEncoder:
    """RICE in LLaVA-OneVision 1.5: biases everywhere, rotary positions (the class token's is learned), a norm before the blocks."""
    hidden, heads = fields.size("hidden_size", 1024), fields.size("num_heads", 16)
    attention = mixer(fields, hidden, heads, qkv=True, out=True, rope=True)
    feed = FeedForwardSpec(width=fields.size("intermediate_size", 4096), gated=False, bias=True)
    block = Block(attention=attention, feed_forward=feed, norm_parameters=4 * hidden)
    patch = fields.side("patch_size", 14)
    return VisionEncoder(
        name="RICE ViT",
        hidden=hidden,
        patch=patch,
        patch_kernel=patch,
        channels=fields.size("in_channels", 3),
        extra_rows=1,
        stack=uniform(block, fields.layers("depth") if fields.has("depth") else 24),
        stem_norm_parameters=2 * hidden,
        other_parameters=hidden + hidden // heads // 2,
    )


def hunyuan(fields: Fields) -> VisionEncoder:
    """HunyuanOCR: stored positions of the largest picture, no norm after the blocks."""
    hidden, blocks = plain(fields)
    patch = fields.side("patch_size")
    stored = (fields.size("max_image_size") // patch) ** 2 + 1
    return VisionEncoder(
        name="Hunyuan ViT",
        hidden=hidden,
        patch=patch,
        patch_kernel=patch,
        patch_bias=True,
        channels=fields.size("num_channels"),
        stack=blocks,
        other_parameters=hidden * stored,
    )


def hunyuan_merger(top: Fields, vision: Fields, text: Fields) -> Projector:
    """HunyuanOCR: a convolution on 2 x 2 patches, a second matrix, one more on tokens and newlines, norms before and after; a newline and
    three further vectors."""
    hidden, merge, out = vision.size("hidden_size"), vision.size("spatial_merge_size"), text.size("hidden_size")
    steps = (
        norm(hidden, hidden, "patches"),
        *mlp((hidden * merge**2, 2 * hidden, 4 * hidden), "merged"),
        linear("linear", 4 * hidden, out, True, "tokens"),
        norm(out, out, "tokens"),
    )
    return Projector(kind="patch-merger", merge=merge, steps=steps, other_parameters=4 * hidden + 3 * out)
