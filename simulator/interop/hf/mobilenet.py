"""MobileNet-V5 300M, the encoder of Gemma 3n: edge residuals, inverted bottlenecks, multi-query attention, and a fusion of two scales."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.spec.model import AttentionSpec, Block, ConvolutionSpec, Projector, Stack, Step, VisionEncoder
from simulator.spec.source import SpecError
from simulator.spec.validated import shown

PATCH = 48  # of 768 pixels a side 16 x 16 tokens are left


def mobilenet_v5(fields: Fields) -> VisionEncoder:
    """As timm builds `mobilenetv5_300m_enc`: rows of a stage per token are its pixels' share; norms have one weight per channel."""
    named = fields.data.get("architecture", "mobilenetv5_300m_enc")
    if named != "mobilenetv5_300m_enc":
        raise SpecError(f"{fields.name('architecture')}: {shown(named)} is not accepted: mobilenetv5_300m_enc")
    blocks: dict[str, Block] = {"stem": Block(convolutions=(_conv(3, 64, 3, 576.0, stride=2, bias=True),), norms=0)}
    order = ["1 stem"]

    def add(name: str, block: Block, count: int = 1) -> None:
        blocks[name] = block
        order.append(f"{count} {name}")

    add("edge 1", _edge(64, 256, 128, 144.0, 2))
    add("edge", _edge(128, 512, 128, 144.0), 2)
    add("enter 2", _bottleneck(128, 768, 256, 144.0, first=3, inside=5, after=36.0))
    for kernel in (5, 3, 5, 3):
        add(f"256 by {kernel}", _bottleneck(256, 1024, 256, 36.0, first=kernel))
    add("enter 3", _bottleneck(256, 1536, 640, 36.0, first=5, inside=5, after=9.0))
    add("640", _bottleneck(640, 2560, 640, 9.0, first=5), 7)
    add("640 narrow", _bottleneck(640, 640, 640, 9.0))
    blocks["640 attention"], blocks["640 mlp"] = _attention(640, 12, 64, 9.0, 2), _bottleneck(640, 1280, 640, 9.0)
    order += ["1 640 attention", "1 640 mlp"] * 14
    add("enter 4", _bottleneck(640, 3840, 1280, 9.0, first=5, inside=5, after=2.25))
    blocks["1280 attention"], blocks["1280 mlp"] = (
        _attention(1280, 16, 96, 2.25, 1),
        _bottleneck(1280, 2560, 1280, 2.25),
    )
    order += ["1 1280 attention", "1 1280 mlp"] * 19
    fused = (_conv(1920, 3840, 1, 9.0), _conv(3840, 2048, 1, 9.0))
    add("fusion", Block(convolutions=fused, norms=0))
    return VisionEncoder(
        name="MobileNet-V5",
        hidden=2048,
        patch=PATCH,
        patch_kernel=0,
        stack=Stack(blocks=blocks, order=tuple(order)),
        final_norm_parameters=2048,
    )


def _conv(
    inputs: int,
    outputs: int,
    kernel: int,
    scale: float,
    *,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
    norm: bool = True,
) -> ConvolutionSpec:
    return ConvolutionSpec(
        inputs=inputs,
        outputs=outputs,
        kernel=kernel,
        stride=stride,
        groups=groups,
        bias=bias,
        scale=scale,
        norm_parameters=outputs if norm else 0,
    )


def _edge(inputs: int, middle: int, outputs: int, scale: float, stride: int = 1) -> Block:
    return Block(
        convolutions=(_conv(inputs, middle, 3, scale, stride=stride), _conv(middle, outputs, 1, scale)), norms=0
    )


def _bottleneck(
    inputs: int, middle: int, outputs: int, scale: float, first: int = 0, inside: int = 0, after: float = 0.0
) -> Block:
    """Depthwise `first`, widen, depthwise `inside` (by which the rows become `after`), narrow; a scale per channel. 0: no such one."""
    end = after or scale
    parts = [_conv(inputs, inputs, first, scale, groups=inputs)] if first else []
    parts.append(_conv(inputs, middle, 1, scale))
    if inside:
        parts.append(_conv(middle, middle, inside, end, stride=2, groups=middle))
    parts.append(_conv(middle, outputs, 1, end))
    return Block(convolutions=tuple(parts), norms=0, other_parameters=outputs)


def _attention(hidden: int, heads: int, head_dim: int, scale: float, stride: int) -> Block:
    """Multi-query attention; keys and values on every `stride`-th row and column, reached by depthwise convolutions."""
    mixer = AttentionSpec(kind="full", heads=heads, kv_heads=1, head_dim=head_dim, kv_stride=stride, rope=False)
    down: tuple[ConvolutionSpec, ...] = ()
    if stride > 1:
        down = (_conv(hidden, hidden, 3, scale / stride**2, stride=stride, groups=hidden),) * 2
    return Block(
        attention=mixer,
        convolutions=down,
        hidden=hidden,
        scale=scale,
        norms=1,
        norm_parameters=hidden,
        other_parameters=hidden,
    )


def gemma3n(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Average pooling to 16 x 16, norm, one matrix; an embedding of 128 hard tokens and its norm besides."""
    hidden = 2048
    steps = (
        Step(op="norm", name="norm", rows="tokens", outputs=hidden, parameters=hidden),
        Step(op="linear", name="linear", rows="tokens", inputs=hidden, outputs=text.size("hidden_size")),
    )
    words = vision.size("vocab_size", 128)
    return Projector(kind="average-pool", steps=steps, other_parameters=words * hidden + hidden)
