"""Towers known in closed form: small models that score frames, and encoders and adapters that take another's place.

Sizes are those of published checkpoints; a companion's work is that of its matrices and attention.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from simulator.attention import Attention
from simulator.ops import AbstractOp, Convolution, Elementwise, Matmul
from simulator.program import Grid, Layer, Tower
from simulator.quantity import Numeric, maximum


@final
@dataclass(frozen=True, slots=True)
class Transformer:
    """hidden, width (feed-forward), heads and depth of a plain transformer; side: patches per side of a square crop of
    `patch` pixels each (0: a text model). extra: elements projected once per row behind the blocks."""

    name: str
    hidden: float
    depth: int
    width: float
    heads: float
    kv_heads: float
    side: float = 0.0
    patch: float = 14.0
    gated: bool = False
    extra: float = 0.0


SCORERS: dict[str, Transformer] = {
    # Radford et al. (2021): CLIP ViT-L/14 at 224 pixels.
    "clip": Transformer("clip-vit-l-14", 1024.0, 24, 4096.0, 16.0, 16.0, side=16.0),
    # Zhai et al. (2023): SigLIP SO400M/14 at 384 pixels.
    "siglip": Transformer("siglip-so400m-14", 1152.0, 27, 4304.0, 16.0, 16.0, side=27.0),
    # Li et al. (2022): BLIP image-text matching, ViT-L/16 at 384 pixels; twelve text layers of width 768 attend to it.
    "blip": Transformer("blip-itm-large", 1024.0, 24, 4096.0, 16.0, 16.0, side=24.0, patch=16.0, extra=2.0 * 768.0 * 12.0),
    # Qwen2.5 1.5B and 7B stand for selectors that are language models themselves.
    "mllm": Transformer("language-model-1.5b", 1536.0, 28, 8960.0, 12.0, 2.0, gated=True),
    "llm": Transformer("language-model-7b", 3584.0, 28, 18944.0, 28.0, 4.0, gated=True),
}


def block(spec: Transformer, causal: bool) -> tuple[AbstractOp, ...]:
    """One layer: norm, attention, norm, feed-forward part."""
    size = spec.hidden / spec.heads
    norm = Elementwise("norm", "norm", 2.0 * spec.hidden, 2.0 * spec.hidden, owned=spec.hidden)
    into = spec.width * (2.0 if spec.gated else 1.0)
    return (
        norm,
        Matmul("qkv", spec.hidden + 2.0 * spec.kv_heads * size, spec.hidden),
        Attention("attention", spec.heads, spec.kv_heads, size, size, "full", density=0.5 if causal else 1.0),
        Matmul("o", spec.hidden, spec.hidden),
        norm,
        Matmul("up", into, spec.hidden),
        Elementwise("activation", "activation", into, spec.width),
        Matmul("down", spec.hidden, spec.width),
    )


def scorer(kind: str, frames: Numeric) -> Tower:
    """A vision model that looks at `frames` frames of one request."""
    spec = SCORERS[kind]
    patches = Matmul("patch_embedding", spec.hidden, 3.0 * spec.patch**2)
    layers = [Layer("stem", -1, 1, (patches,)), Layer("block", 0, spec.depth, block(spec, False))]
    if spec.extra:
        layers.append(Layer("head", spec.depth, 1, (Matmul("text_keys", spec.extra, spec.hidden),)))
    side = spec.side * spec.patch
    return Tower(f"scorer {spec.name}", (Grid(frames, spec.side, spec.side, 0.0, side * side),), tuple(layers), ())


def reader(kind: str, tokens: Numeric) -> Tower:
    """A language model that reads `tokens` tokens in one pass."""
    spec = SCORERS[kind]
    layers = (Layer("block", 0, spec.depth, block(spec, True)),)
    return Tower(f"scorer {spec.name}", (Grid(1.0, tokens, 1.0, 0.0, 0.0),), layers, ())


def runs(tower: Tower, share: Numeric) -> Tower:
    """The tower run in `share` of the requests; where that is 0 it has next to nothing to see and runs zero times."""
    grids = tuple(replace(grid, crops=grid.crops * maximum(share, 1e-9)) for grid in tower.grids)
    layers = tuple(replace(layer, executed_prefill=layer.executed_prefill * share) for layer in tower.layers)
    return replace(tower, grids=grids, layers=layers)


# Vasu et al. (FastVLM, 2025): FastViTHD. Depth and width of stages at strides 4, 8, 16, 32, 64; the last two attend.
_STAGES = ((2, 96.0), (12, 192.0), (24, 384.0), (4, 768.0), (2, 1536.0))


def hierarchical(factor: int, grids: tuple[Grid, ...]) -> tuple[Tower, float]:
    """An encoder of convolution stages down to `factor` pixels per token side, attention in the last ones; its width."""
    stages = _STAGES[: {16: 3, 32: 4, 64: 5}[factor]]
    layers: list[Layer] = []
    index, before, last = 0, 0.0, 0.0
    for number, (depth, hidden) in enumerate(stages):
        scale = (factor / (4.0 * 2.0**number)) ** 2  # rows per final token
        down = Matmul("downsample", hidden, before * 4.0 if before else 48.0, visual=scale)
        layers.append(Layer("block", index, 1, (down,)) if number else Layer("stem", -1, 1, (down,)))
        index += 1 if number else 0
        attends = number >= 3
        layers.append(Layer("block", index, depth, _stage(hidden, scale, attends)))
        index, before, last = index + depth, hidden, hidden
    return Tower(f"hierarchical /{factor}", grids, tuple(layers), ()), last


def _stage(hidden: float, scale: float, attends: bool) -> tuple[AbstractOp, ...]:
    def depthwise(kernel: float) -> Convolution:
        return Convolution("convolution", hidden, hidden, kernel, groups=hidden, group=1.0 / scale)

    mixer: tuple[AbstractOp, ...] = (depthwise(3.0),)
    if attends:
        heads = hidden / 32.0
        mixer = (
            Matmul("qkv", 3.0 * hidden, hidden, visual=scale),
            Attention("attention", heads, heads, 32.0, 32.0, "full", visual=scale, visible_visual=scale, density=1.0 / scale),
            Matmul("o", hidden, hidden, visual=scale),
        )
    inner = 4.0 * hidden
    feed = (Matmul("up", inner, hidden, visual=scale), Elementwise("activation", "activation", inner, inner, visual=scale),
            Matmul("down", hidden, inner, visual=scale))  # fmt: skip
    return (*mixer, depthwise(7.0), *feed)


def perceptron(width: Numeric, hidden: Numeric, depth: int = 2) -> tuple[Layer, ...]:
    """A projector of `depth` linear layers on the tokens handed on, width -> hidden -> ... -> hidden."""
    first = Layer("linear", 0, 1, (Matmul("in", hidden, width, visual=0.0), Elementwise("activation", "activation", hidden, hidden, visual=0.0)))
    if depth < 2:
        return (first,)
    return (first, Layer("linear", 1, depth - 1, (Matmul("out", hidden, hidden, visual=0.0),)))


def resampler(width: float, hidden: Numeric, depth: int) -> tuple[Layer, ...]:
    """`depth` layers in which the tokens handed on are queries to all patches (Q-Former, Perceiver, Qwen-VL)."""
    heads = max(1.0, width // 64.0)
    size = width / heads
    ops: tuple[AbstractOp, ...] = (
        Matmul("kv", 2.0 * width, width, text=0.0),
        Matmul("q", width, width, visual=0.0),
        Attention("resample", heads, heads, size, size, "cross", visual=0.0, visible_text=0.0),
        Matmul("o", width, width, visual=0.0),
        Matmul("up", 4.0 * width, width, visual=0.0),
        Matmul("down", width, 4.0 * width, visual=0.0),
    )
    return (Layer("resample", 0, depth, ops), Layer("linear", 1, 1, (Matmul("out", hidden, width, visual=0.0),)))


def abstractor(width: float, hidden: Numeric, depth: int) -> tuple[Layer, ...]:
    """Convolution blocks, average pooling to the tokens handed on, as many blocks again (Cha et al., Honeybee, 2024)."""

    def half(visual: float, text: float) -> tuple[AbstractOp, ...]:
        one = Matmul("convolution_1x1", width, width, visual=visual, text=text)
        mix = Matmul("convolution_3x3", 1.0, 9.0, copies=width, visual=visual, text=text)
        return (one, mix, one)

    return (
        Layer("convolution", 0, depth, half(1.0, 0.0)),
        Layer("convolution", 1, depth, half(0.0, 1.0)),
        Layer("linear", 2, 1, (Matmul("in", hidden, width, visual=0.0), Matmul("out", hidden, hidden, visual=0.0))),
    )
