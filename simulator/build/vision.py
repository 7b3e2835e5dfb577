"""The vision tower as a program: patch embedding, blocks, what follows them, then the projector.

Rows of a crop are its patches (visual) and its class, register and padding rows (text). Blocks of a hierarchical encoder run
on `scale` rows per final patch.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import ceil

from simulator.attention import Attention
from simulator.build.blocks import feed_forward, norm_kind, norms, reduce
from simulator.build.projector import build_projector
from simulator.ops import AbstractOp, Convolution, Elementwise, Matmul
from simulator.program import Grid, Layer, Tower
from simulator.spec.model import AttentionSpec, Block, ConvolutionSpec, Lvlm, VisionEncoder
from simulator.spec.source import SpecError


def build_tower(model: Lvlm, grids: tuple[Grid, ...], tp: int = 1, bits: float = 16.0) -> Tower:
    """The tower and projector of `model` with the crops it sees; everything but `grids` is cached."""
    return replace(_tower(model, tp, bits), grids=grids)


@lru_cache(maxsize=512)
def _tower(model: Lvlm, tp: int, bits: float) -> Tower:
    vision = model.vision
    if vision is None:
        raise SpecError(f"model: {model.name} is a language model without a vision encoder; give no images or videos")
    if tp < 1:
        raise SpecError(f"tp: {tp} is not accepted: at least 1")
    layers = [_stem(vision)]
    index = 0
    made: dict[int, tuple[AbstractOp, ...]] = {}  # equal blocks share their operators
    for count, block in vision.stack.runs:
        if id(block) not in made:
            made[id(block)] = _block(vision, block, tp, bits)
        layers.append(Layer("block", index, count, made[id(block)]))
        index += count
    head = _head(vision)
    if head:
        layers.append(Layer("head", index, 1, head))
    projector = build_projector(model, bits)
    return Tower(
        name=vision.name,
        grids=(),
        layers=tuple(layers),
        projector=projector,
        extra_rows=float(vision.extra_rows),
        devices=float(tp),
        other_parameters=float(vision.other_parameters),
        projector_other_parameters=float(model.projector.other_parameters if model.projector else 0),
    )


def _stem(vision: VisionEncoder) -> Layer:
    """The patch embedding is a matrix over the pixels of a patch; positions are added."""
    hidden = float(vision.hidden)
    position = Elementwise("position", "add", 2.0 * hidden, hidden, owned=float(vision.stem_norm_parameters))
    if not vision.patch_kernel:
        return Layer("stem", -1, 1, ())
    pixels = float(vision.channels * vision.temporal_patch * vision.patch_kernel**2)
    patches = Matmul("patch_embedding", hidden, pixels, bias=vision.patch_bias, text=0.0)
    return Layer("stem", -1, 1, (patches, position))


def _block(vision: VisionEncoder, block: Block, tp: int, bits: float) -> tuple[AbstractOp, ...]:
    hidden, scale = block.hidden or vision.hidden, block.scale
    text = 1.0 if block.extra_rows else 0.0
    norm = norms(block, float(hidden), scale, text)
    if not norm and block.norm_parameters + block.other_parameters:
        owned = float(block.norm_parameters + block.other_parameters)
        norm = (Elementwise("scale", "add", 0.0, 0.0, owned=owned, launches=0.0),)
    ops: list[AbstractOp] = [*norm[:1]]
    for item in block.convolutions:
        ops.extend(_convolution(item))
    if block.attention is not None:
        ops.extend(_attention(block.attention, hidden, tp, bits, scale, text, vision.joint_crops))
    ops.extend(norm[1:])
    if block.feed_forward is not None:
        ops.extend(feed_forward(block.feed_forward, hidden, tp, 1, bits, scale, text))
    return tuple(ops)


def _attention(
    spec: AttentionSpec, hidden: int, tp: int, bits: float, scale: float, text: float, joint: int
) -> tuple[AbstractOp, ...]:
    """Bidirectional attention of a crop, of its windows, or of `joint` crops together. Heads that tp does not divide are padded."""
    heads = float(ceil(spec.heads / tp))
    kv_heads = float(max(1, ceil(spec.kv_heads / tp)))
    filled = float(spec.window) if spec.filled else 0.0
    width, own = heads * spec.head_dim, kv_heads * (spec.head_dim + spec.v_dim)
    thinner = float(spec.kv_stride**2)
    both = Matmul(
        "qkv",
        width + own,
        float(hidden),
        weight_bits=bits,
        bias=spec.q_bias and spec.kv_bias,
        visual=scale,
        text=text,
        filled=filled,
    )
    ops: list[AbstractOp] = [both]
    if spec.kv_stride > 1:
        ops = [replace(both, name="q", n=width), replace(both, name="kv", n=own, visual=scale / thinner)]
    if spec.q_bias != spec.kv_bias:
        owned = width if spec.q_bias else own
        ops.append(Elementwise("bias", "add", 0.0, 0.0, owned=owned, launches=0.0))
    turned = width + kv_heads * spec.head_dim
    if spec.qk_norm:
        ops.append(Elementwise("qk_norm", "norm", turned, turned, owned=float(spec.qk_norm), visual=scale, text=text))
    if spec.rope:
        ops.append(Elementwise("rope", "rope", turned, turned, visual=scale, text=text))
    # A hierarchical stage has `scale` rows per patch, `joint` crops are one sequence: both lengthen keys and queries alike, and
    # `density` undoes the double count of the queries.
    longer = scale * joint / thinner
    ops.append(
        Attention(
            "attention",
            heads,
            kv_heads,
            float(spec.head_dim),
            float(spec.v_dim),
            "grid" if spec.kind == "grid" else "full",
            window=float(spec.window),
            visual=scale,
            text=scale * text,
            visible_visual=longer,
            visible_text=joint * text,
            density=thinner / (scale * joint) if spec.kv_stride > 1 else 1.0 / longer,
            filled=spec.filled,
        )
    )
    ops.append(
        Matmul(
            "o",
            float(hidden),
            heads * spec.v_dim,
            weight_bits=bits,
            bias=spec.o_bias,
            visual=scale,
            text=text,
            filled=filled,
        )
    )
    return (*ops, *reduce(float(hidden), tp, scale, text))


def _convolution(item: ConvolutionSpec) -> tuple[AbstractOp, ...]:
    one = Convolution(
        "convolution",
        float(item.inputs),
        float(item.outputs),
        float(item.kernel),
        groups=float(item.groups),
        stride=float(item.stride),
        bias=item.bias,
        group=1.0 / item.scale,
        text=0.0,
    )
    ops: list[AbstractOp] = [one] * item.count
    if item.norm_parameters:
        ops.append(Elementwise("norm", "norm", 0.0, 0.0, owned=float(item.norm_parameters * item.count), launches=0.0))
    return tuple(ops)


def _head(vision: VisionEncoder) -> tuple[AbstractOp, ...]:
    """The norm after the last block, and attention pooling where the published class runs it."""
    hidden = float(vision.hidden)
    ops: list[AbstractOp] = []
    if vision.final_norm_parameters:
        ops.append(
            Elementwise(
                "final_norm",
                norm_kind(vision.final_norm_parameters, hidden),
                hidden,
                hidden,
                owned=float(vision.final_norm_parameters),
            )
        )
    if vision.pooling is not None:
        # One query row per crop: `group` patches make one row.
        pool, crop = vision.pooling, float(vision.pooling.rows)
        ops.append(Matmul("pool_q", hidden, hidden, bias=True, text=0.0, group=crop))
        ops.append(Matmul("pool_kv", 2.0 * hidden, hidden, bias=True))
        ops.append(
            Attention(
                "pool_attention",
                float(pool.heads),
                float(pool.heads),
                hidden / pool.heads,
                hidden / pool.heads,
                "full",
                density=1.0 / crop,
            )
        )
        ops.append(Matmul("pool_o", hidden, hidden, bias=True, text=0.0, group=crop))
        ops.append(Matmul("pool_up", float(pool.width), hidden, bias=True, text=0.0, group=crop))
        ops.append(Matmul("pool_down", hidden, float(pool.width), bias=True, text=0.0, group=crop))
    return tuple(ops)
