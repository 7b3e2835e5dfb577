"""Projectors: what lies between each family's tower and its language model."""

from __future__ import annotations

from typing import Literal

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.tower import grid_side
from simulator.spec.model import Projector, Step
from simulator.spec.source import SpecError

Rows = Literal["patches", "merged", "tokens", "all"]


def linear(
    name: str,
    inputs: int,
    outputs: int,
    bias: bool,
    rows: Rows = "merged",
    copies: int = 1,
) -> Step:
    """A matrix step."""
    return Step(op="linear", name=name, rows=rows, inputs=inputs, outputs=outputs, bias=bias, copies=copies)


def norm(width: int, parameters: int, rows: Rows = "merged", copies: int = 1) -> Step:
    """A normalisation step."""
    return Step(op="norm", name="norm", rows=rows, outputs=width, parameters=parameters, copies=copies)


def activation(width: int, rows: Rows = "merged", copies: int = 1) -> Step:
    """An activation step."""
    return Step(op="activation", name="activation", rows=rows, outputs=width, copies=copies)


def _mlp(inputs: int, middle: int, outputs: int, bias: bool) -> tuple[Step, ...]:
    return linear("linear_1", inputs, middle, bias), activation(middle), linear("linear_2", middle, outputs, bias)


def llava(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Two layers on every patch of every crop; newline vectors in the any-resolution models."""
    hidden, out = vision.size("hidden_size"), text.size("hidden_size")
    chosen = top.value("vision_feature_layer")
    layers = len(top.sizes("vision_feature_layer", least=-4096)) if isinstance(chosen, list) else 1
    newline = out if top.type in ("llava_next", "llava_next_video", "llava_onevision") else 0
    bias = top.flag("multimodal_projector_bias")
    if (
        top.type == "llava" and top.data.get("vision_feature_select_strategy") == "full"
    ):  # a class token is among the rows
        wide = hidden * layers
        rows = (
            linear("linear_1", wide, out, bias, "tokens"),
            activation(out, "tokens"),
            linear("linear_2", out, out, bias, "tokens"),
        )
        return Projector(kind="mlp", steps=rows)
    return Projector(kind="mlp", steps=_mlp(hidden * layers, out, out, bias), other_parameters=newline)


def vipllava(top: Fields, vision: Fields, text: Fields) -> Projector:
    """The features of several layers side by side, norm, two layers."""
    levels = (
        len(top.sizes("vision_feature_layer", least=-4096))
        if isinstance(top.value("vision_feature_layer"), list)
        else 1
    )
    joined, out = vision.size("hidden_size") * levels, text.size("hidden_size")
    return Projector(kind="mlp", steps=(norm(joined, 2 * joined), *_mlp(joined, out, out, True)))


def deepseek_vl(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Two layers on every patch."""
    out = text.size("hidden_size")
    return Projector(kind="mlp", steps=_mlp(vision.size("hidden_size"), out, out, True))


def cohere(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Pixel shuffle, a norm in Aya Vision, two layers with a gate between them."""
    merge, out = top.size("downsample_factor"), text.size("hidden_size")
    joined = vision.size("hidden_size") * merge**2
    wide = top.derived("alignment_intermediate_size", out, "the language model's hidden_size")
    steps = (
        linear("linear_1", joined, wide, True),
        activation(wide),
        linear("linear_2", wide // 2, out, True),
    )
    if top.type == "aya_vision":
        steps = (norm(joined, 2 * joined), *steps)
    return Projector(kind="pixel-shuffle", merge=merge, steps=steps)


def mistral3(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Norm, a matrix that joins patches, two layers."""
    hidden, out, merge = vision.size("hidden_size"), text.size("hidden_size"), top.size("spatial_merge_size")
    bias = top.flag("multimodal_projector_bias", False)
    steps = (
        norm(hidden, hidden, "patches"),
        linear("merge", hidden * merge**2, hidden, False),
        *_mlp(hidden, out, out, bias),
    )
    return Projector(kind="patch-merger", merge=merge, steps=steps)


def internvl(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Pixel shuffle, norm, two layers."""
    ratio = top.ratio("downsample_ratio")
    merge = round(1 / ratio)
    if abs(merge * ratio - 1) > 1e-9:
        raise SpecError(f"{top.name('downsample_ratio')}: {ratio} is not accepted: 1 divided by a whole number")
    joined, out = vision.size("hidden_size") * merge**2, text.size("hidden_size")
    return Projector(kind="pixel-shuffle", merge=merge, steps=(norm(joined, 2 * joined), *_mlp(joined, out, out, True)))


def idefics(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Pixel shuffle and one matrix."""
    merge = top.size("scale_factor")
    joined = vision.size("hidden_size") * merge**2
    return Projector(
        kind="pixel-shuffle", merge=merge, steps=(linear("linear", joined, text.size("hidden_size"), False),)
    )


def gemma(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Average pooling to a fixed number of tokens, norm, one matrix."""
    hidden, tokens, side = vision.size("hidden_size"), top.size("mm_tokens_per_image"), grid_side(vision)
    pooled = round(tokens**0.5)
    if pooled**2 != tokens or side % pooled:
        raise SpecError(
            f"{top.name('mm_tokens_per_image')}: {tokens} is not accepted: a square whose root divides {side}"
        )
    steps = (
        Step(op="gather", name="pool", rows="patches", outputs=hidden),
        norm(hidden, hidden),
        linear("linear", hidden, text.size("hidden_size"), False),
    )
    return Projector(kind="average-pool", merge=side // pooled, steps=steps)


def paligemma(top: Fields, vision: Fields, text: Fields) -> Projector:
    """One matrix."""
    out = vision.size("projection_dim") if vision.has("projection_dim") else top.size("projection_dim")
    return Projector(kind="linear", steps=(linear("linear", vision.size("hidden_size"), out, True),))


def qwen(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Patch merger; Qwen3-VL adds one per deepstack level."""
    first = vision.type == "qwen2_vl_vision"
    hidden = vision.size("embed_dim" if first else "hidden_size")
    merge = vision.size("spatial_merge_size")
    joined = hidden * merge**2
    out = vision.size("hidden_size" if first else "out_hidden_size")
    per_norm = 1 if vision.type in ("qwen2_5_vl_vision", "exaone4_5_vision") else 2
    steps: list[Step] = [norm(hidden, per_norm * hidden, "patches"), *_mlp(joined, joined, out, True)]
    levels = len(vision.sizes("deepstack_visual_indexes")) if vision.type == "qwen3_vl_vision" else 0
    if levels:
        steps += [
            norm(joined, 2 * joined * levels, copies=levels),
            linear("deepstack_1", joined, joined, True, copies=levels),
            activation(joined, copies=levels),
            linear("deepstack_2", joined, out, True, copies=levels),
        ]
    return Projector(kind="deepstack" if levels else "patch-merger", merge=merge, steps=tuple(steps))


def glm(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Strided convolution that joins patches, then a gated MLP."""
    merge, out = vision.size("spatial_merge_size"), vision.size("out_hidden_size")
    wide = vision.size("intermediate_size")
    steps = (
        linear("downsample", vision.size("hidden_size") * merge**2, out, True),
        linear("proj", out, out, False),
        norm(out, 2 * out),
        linear("gate_up", out, 2 * wide, False),
        activation(2 * wide),
        linear("down", wide, out, False),
    )
    return Projector(kind="patch-merger", merge=merge, steps=steps)


def kimi(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Norm on patches, then two layers on merged ones."""
    merge = vision.side("merge_kernel_size")
    hidden = top.size("projection_hidden_size")
    joined = hidden * merge**2
    steps = (norm(hidden, 2 * hidden, "patches"), *_mlp(joined, joined, text.size("hidden_size"), True))
    return Projector(kind="patch-merger", merge=merge, steps=steps)


def llama4(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Pixel shuffle, two layers, one matrix."""
    ratio = vision.ratio("pixel_shuffle_ratio")
    merge = round(1 / ratio)
    # As the class has it: fc1 takes the tower's feed-forward width, which must equal the shuffled width.
    joined = vision.size("hidden_size") * merge**2
    if joined != vision.size("intermediate_size"):
        raise SpecError(f"{vision.name('intermediate_size')}: must be hidden_size / pixel_shuffle_ratio^2 = {joined}")
    middle, out = vision.size("projector_input_dim"), vision.size("projector_output_dim")
    steps = (
        linear("linear_1", joined, middle, False),
        activation(middle),
        linear("linear_2", out, out, False),  # the class makes it square: it runs where middle = out
        activation(out),
        linear("linear", vision.size("vision_output_dim"), text.size("hidden_size"), False),
    )
    return Projector(kind="pixel-shuffle", merge=merge, steps=steps)


def mllama(top: Fields, vision: Fields, text: Fields) -> Projector:
    """One matrix on every row that cross-attention sees, class tokens included."""
    out = text.size("hidden_size")
    return Projector(kind="linear", steps=(linear("linear", vision.size("vision_output_dim"), out, True, "tokens"),))


def phi4(top: Fields, vision: Fields, text: Fields) -> Projector:
    """2 x 2 average pooling, then two layers on the tokens; two learned separators."""
    hidden, out = vision.size("hidden_size"), text.size("hidden_size")
    steps = (
        Step(op="gather", name="pool", rows="patches", outputs=hidden),
        linear("linear_1", hidden, out, True, "tokens"),
        activation(out, "tokens"),
        linear("linear_2", out, out, True, "tokens"),
    )
    return Projector(kind="average-pool", merge=2, steps=steps, other_parameters=2 * hidden)
