"""RADIO, Janus' encoder, and the projectors of NVLM-D, Nemotron Nano VL and Janus."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.projector import activation, linear, norm
from simulator.interop.hf.resampler import mlp
from simulator.interop.hf.tower import grid_side, mixer, uniform
from simulator.spec.model import Block, FeedForwardSpec, Projector, VisionEncoder
from simulator.spec.source import SpecError


def radio(fields: Fields) -> VisionEncoder:
    """C-RADIO: class and register rows, stored positions for the largest picture, scales of one on each branch, no norm at the end."""
    hidden, patch, bias = fields.size("hidden_size"), fields.side("patch_size"), fields.flag("qkv_bias")
    rows = fields.count("num_cls_tokens") + fields.count("num_registers")
    attention = mixer(fields, hidden, fields.size("num_attention_heads"), qkv=bias, out=True, rope=False)
    wide = int(hidden * fields.ratio("mlp_ratio"))
    if fields.flag("use_swiglu_ffn"):
        raise SpecError(f"{fields.name('use_swiglu_ffn')}: {True} is not accepted: false")
    block = Block(
        attention=attention,
        feed_forward=FeedForwardSpec(width=wide, gated=False, bias=True),
        norm_parameters=4 * hidden,
        other_parameters=2 * hidden,
    )
    frames = fields.count("video_temporal_patch_size")
    stored = (fields.size("max_img_size") // patch) ** 2
    return VisionEncoder(
        name="C-RADIO ViT",
        hidden=hidden,
        patch=patch,
        patch_kernel=patch,
        channels=fields.size("num_channels"),
        extra_rows=rows,
        stack=uniform(block, fields.layers("num_hidden_layers")),
        other_parameters=hidden * (stored + rows + frames * fields.size("num_channels") * patch**2),
    )


def janus_tower(fields: Fields) -> VisionEncoder:
    """Janus: SigLIP with a width of the MLP by its ratio."""
    hidden, bias = fields.size("hidden_size"), fields.flag("attention_bias")
    normed = 4 * hidden if fields.flag("use_qk_norm") else 0
    heads = fields.size("num_attention_heads")
    attention = mixer(fields, hidden, heads, qkv=bias, out=True, rope=False, norm=normed)
    feed = FeedForwardSpec(width=int(hidden * fields.ratio("mlp_ratio")), gated=False, bias=True)
    return VisionEncoder(
        name="Janus ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels"),
        stack=uniform(
            Block(attention=attention, feed_forward=feed, norm_parameters=4 * hidden),
            fields.layers("num_hidden_layers"),
        ),
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * grid_side(fields) ** 2,
    )


def janus(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Janus: layers on every patch."""
    out, depth = vision.size("projection_dim"), vision.size("depth")
    if depth > 64:
        raise SpecError(f"{vision.name('depth')}: {depth} is not accepted: at most 64")
    return Projector(kind="mlp", steps=mlp((vision.size("hidden_size"), *(out,) * depth), "merged"))


def _joined(top: Fields, vision: Fields) -> tuple[int, int]:
    """Patches per side that are joined, and the width of what they make."""
    ratio = top.ratio("downsample_ratio", 0.5)
    merge = round(1 / ratio) or 1
    if abs(merge * ratio - 1) > 1e-9:
        raise SpecError(f"{top.name('downsample_ratio')}: {ratio} is not accepted: 1 divided by a whole number")
    return merge, vision.size("hidden_size") * merge**2


def nvlm(top: Fields, vision: Fields, text: Fields) -> Projector:
    """NVLM-D: InternVL's, as wide in between as the language model's MLP and without biases."""
    (merge, joined), wide = _joined(top, vision), text.size("intermediate_size")
    steps = (
        norm(joined, 2 * joined),
        linear("linear_1", joined, wide, False),
        activation(wide),
        linear("linear_2", wide, text.size("hidden_size"), False),
    )
    return Projector(kind="pixel-shuffle", merge=merge, steps=steps)


def nemotron_vl(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Llama Nemotron Nano VL: InternVL's with a width of its own."""
    (merge, joined), wide = _joined(top, vision), top.size("projector_hidden_size", 4096)
    steps = (norm(joined, 2 * joined), *mlp((joined, wide, text.size("hidden_size")), "merged"))
    return Projector(kind="pixel-shuffle", merge=merge, steps=steps)


def nemotron_vl_2(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Nemotron Nano VL 2: RMS norm, two matrices without biases."""
    (merge, joined), wide = _joined(top, vision), top.size("projector_hidden_size")
    steps = (
        norm(joined, joined),
        linear("linear_1", joined, wide, False),
        activation(wide),
        linear("linear_2", wide, text.size("hidden_size"), False),
    )
    return Projector(kind="pixel-shuffle", merge=merge, steps=steps)
