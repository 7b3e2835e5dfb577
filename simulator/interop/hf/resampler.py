"""Projectors of checkpoints that ship their own code: poolers, downsamplers, resamplers."""

from __future__ import annotations

import itertools
import re

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.projector import Rows, activation, linear, norm
from simulator.spec.model import Projector, Step
from simulator.spec.source import SpecError
from simulator.spec.validated import shown


def mlp(widths: tuple[int, ...], rows: Rows) -> tuple[Step, ...]:
    """Matrices with biases from each width to the next, an activation between them."""
    steps: list[Step] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        steps += [activation(inputs, rows)] if index else []
        steps.append(linear(f"linear_{index + 1}", inputs, outputs, True, rows))
    return tuple(steps)


def llava_original(top: Fields, vision: Fields, text: Fields) -> Projector:
    """LLaVA's own: as many layers as the name of the projector says; a newline vector where padding is cut off again."""
    kind, hidden, out = top.value("mm_projector_type", "linear"), vision.size("hidden_size"), text.size("hidden_size")
    rows: Rows = "tokens" if top.data.get("mm_vision_select_feature") == "cls_patch" else "patches"
    newline = out if "unpad" in str(top.data.get("mm_patch_merge_type")) else 0
    if kind == "ldpnetv2":
        return ldp(hidden, out)
    depth = re.fullmatch(r"mlp([1-9])x_gelu", kind) if isinstance(kind, str) else None
    if kind is not None and kind != "linear" and depth is None:
        raise SpecError(
            f"mm_projector_type: {shown(kind)} is not accepted: linear, mlp2x_gelu (or another number), ldpnetv2"
        )
    layers = int(depth[1]) if depth else 1
    return Projector(kind="mlp", steps=mlp((hidden, *(out,) * layers), rows), other_parameters=newline)


def vila(top: Fields, vision: Fields, text: Fields) -> Projector:
    """VILA: patches joined 2 x 2 or 3 x 3, norm, two or three layers; with `s2` the features of all scales side by side."""
    scales = (
        str(top.data.get("s2_scales") or "").split(",") if top.data.get("s2") or top.data.get("dynamic_s2") else [""]
    )
    wide, out = vision.size("hidden_size") * len(scales), text.size("hidden_size")
    kind = top.value("mm_projector_type")
    if kind in ("mlp_downsample", "mlp_downsample_2x2_fix"):
        joined = 4 * wide
        steps = (norm(joined, 2 * joined, "tokens"), *mlp((joined, out, out), "tokens"))
    elif kind == "mlp_downsample_3x3_fix":
        joined, middle = 9 * wide, 3 * wide
        first = (norm(joined, 2 * joined, "tokens"), linear("linear_1", joined, middle, True, "tokens"))
        rest = (activation(middle, "tokens"), norm(middle, 2 * middle, "tokens"), *mlp((middle, out, out), "tokens"))
        steps = (*first, *rest)
    elif kind in ("linear", "mlp2x_gelu"):
        steps = mlp((wide, out) if kind == "linear" else (wide, out, out), "patches")
    else:
        known = "linear, mlp2x_gelu, mlp_downsample, mlp_downsample_2x2_fix, mlp_downsample_3x3_fix"
        raise SpecError(f"mm_projector_cfg.mm_projector_type: {shown(kind)} is not accepted: one of {known}")
    return Projector(kind="mlp", steps=steps)


def minicpm_v(top: Fields, vision: Fields, text: Fields) -> Projector:
    """MiniCPM-V: learned queries; heads of 128."""
    out = text.size("hidden_size")
    return resampler(vision.size("hidden_size"), out, max(1, out // 128), top.size("query_num", 64))


def qwen_vl(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Qwen-VL: 256 learned queries with stored positions; heads of 128."""
    out = vision.size("output_dim", text.size("hidden_size"))
    queries = vision.size("n_queries", 256)
    return resampler(vision.size("hidden_size"), out, max(1, out // 128), queries, positions=queries)


def deepseek_vl_v2(top: Fields, vision: Fields, text: Fields) -> Projector:
    """DeepSeek-VL2: patches joined 2 x 2 (padded to an even side), then layers; newline and separator vectors."""
    part = top.sub("projector_config", "mlp_projector")
    out, wide = text.size("hidden_size"), part.size("n_embed", text.size("hidden_size"))
    kind = part.word("projector_type", ("downsample_mlp_gelu",), "downsample_mlp_gelu")
    ratio, merge, depth = part.size("mlp_ratio", 1), part.size("downsample_ratio", 2), part.size("depth", 2)
    if wide != out or not 2 <= depth <= 9:
        raise SpecError(f"projector_config: {shown(part.data)} is not accepted: {kind} of n_embed {out}, depth 2 to 9")
    widths = (vision.size("hidden_size") * merge**2, *(ratio * wide,) * (depth - 1), wide)
    return Projector(kind="mlp", steps=mlp(widths, "tokens"), other_parameters=2 * out)


def deepseek_ocr(top: Fields, vision: Fields, text: Fields) -> Projector:
    """DeepSeek-OCR: features of both encoders side by side, one matrix; newline and separator vectors."""
    part, out = top.sub("projector_config", "mlp_projector"), text.size("hidden_size")
    step = linear("linear", part.size("input_dim", 2048), part.size("n_embed", out), True, "tokens")
    return Projector(kind="compressor", steps=(step,), other_parameters=2 * out)


def phi3_v(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Phi-3-vision: 2 x 2 patches joined, two layers on them and on the separators; two learned separators."""
    joined, out = 4 * vision.size("hidden_size"), text.size("hidden_size")
    return Projector(kind="mlp", steps=mlp((joined, out, out), "tokens"), other_parameters=2 * joined)


def ovis2(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Ovis: patches joined, logits over a visual vocabulary, softmax, and the mean of that vocabulary's embeddings."""
    stride, words, out = vision.size("hidden_stride"), vision.size("vocab_size"), text.size("hidden_size")
    joined, logits = vision.size("hidden_size") * stride**2, words - vision.count("num_visual_indicator_tokens")
    steps = (
        linear("head", joined, logits, False, "tokens"),
        norm(logits, 2 * logits, "tokens"),
        activation(logits, "tokens"),
        linear("table", words, out, False, "tokens"),
    )
    return Projector(kind="mlp", steps=steps)


def lfm2_vl(top: Fields, vision: Fields, text: Fields) -> Projector:
    """LFM2-VL: patches joined, norm, two layers."""
    merge, wide, bias = top.size("downsample_factor"), top.size("projector_hidden_size"), top.flag("projector_bias")
    joined = vision.size("hidden_size") * merge**2
    steps = (
        linear("linear_1", joined, wide, bias),
        activation(wide),
        linear("linear_2", wide, text.size("hidden_size"), bias),
    )
    if top.flag("projector_use_layernorm"):
        steps = (norm(joined, 2 * joined), *steps)
    return Projector(kind="pixel-shuffle", merge=merge, steps=steps)


def perception_lm(top: Fields, vision: Fields, text: Fields) -> Projector:
    """PerceptionLM: two layers on every patch, then average pooling."""
    hidden, out, pooled = vision.size("hidden_size"), text.size("hidden_size"), top.size("projector_pooling_ratio")
    steps = mlp((hidden, out, out), "patches")
    if pooled > 1:
        steps = (*steps, Step(op="gather", name="pool", rows="patches", outputs=out))
    return Projector(kind="average-pool" if pooled > 1 else "mlp", merge=pooled, steps=steps)


def video_llama_3(top: Fields, vision: Fields, text: Fields) -> Projector:
    """VideoLLaMA 3: two layers on every token that is left after merging."""
    out = text.size("hidden_size")
    return Projector(kind="mlp", steps=mlp((vision.size("hidden_size"), out, out), "tokens"))


def got_ocr2(top: Fields, vision: Fields, text: Fields) -> Projector:
    """GOT-OCR 2: two strided convolutions, 16 patches to a token, one matrix."""
    channels, out = vision.size("output_channels"), text.size("hidden_size")

    def halved(inputs: int, outputs: int, share: float) -> Step:
        return Step(
            op="convolution", name="convolution", rows="patches", share=share, inputs=inputs, outputs=outputs, kernel=3
        )

    steps = (
        halved(channels, 2 * channels, 1 / 4),
        halved(2 * channels, out, 1 / 16),
        linear("linear", out, out, True, "tokens"),
    )
    return Projector(kind="compressor", merge=4, steps=steps)


def glm_4v(top: Fields, vision: Fields, text: Fields) -> Projector:
    """GLM-4V and CogVLM2: a strided convolution that joins 2 x 2 patches, then a gated MLP; two learned vectors around the picture."""
    out, wide = (
        text.size("hidden_size"),
        text.size("ffn_hidden_size" if text.type == "chatglm" else "intermediate_size"),
    )
    joined = top.size("joined_size", out)
    steps = (
        linear("downsample", 4 * vision.size("hidden_size"), joined, True),
        linear("proj", joined, out, False),
        norm(out, 2 * out),
        linear("gate_up", out, 2 * wide, False),
        activation(2 * wide),
        linear("down", wide, out, False),
    )
    return Projector(kind="patch-merger", merge=2, steps=steps, other_parameters=2 * out)


def idefics2(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Idefics2: a gated MLP on every patch, then a Perceiver: queries that attend to the patches and to themselves."""
    part = top.sub("perceiver_config", "idefics2_perceiver")
    part.type = "idefics2_perceiver"
    hidden, wide = text.size("hidden_size"), text.size("intermediate_size")
    heads, kv_heads, size = (
        part.size("resampler_n_heads"),
        part.size("num_key_value_heads"),
        part.size("resampler_head_dim"),
    )
    depth, queries = part.size("resampler_depth"), part.size("resampler_n_latents")

    def matrix(name: str, inputs: int, outputs: int, rows: Rows = "tokens") -> Step:
        return linear(name, inputs, outputs, False, rows).model_copy(update={"count": depth})

    def normed(rows: Rows, count: int) -> Step:
        return norm(hidden, hidden, rows).model_copy(update={"count": count})

    steps = (
        linear("gate_up", vision.size("hidden_size"), 2 * wide, False, "patches"),
        activation(2 * wide, "patches"),
        linear("down", wide, hidden, False, "patches"),
        normed("patches", depth),
        normed("tokens", depth),
        matrix("q", hidden, heads * size),
        matrix("kv", hidden, 2 * kv_heads * size, "all"),
        Step(op="attention", name="attention", rows="tokens", heads=heads, head_dim=size, keys="all", count=depth),
        matrix("o", heads * size, hidden),
        normed("tokens", depth + 1),
        matrix("resampler_gate_up", hidden, 8 * hidden),
        Step(op="activation", name="activation", rows="tokens", outputs=8 * hidden, count=depth),
        matrix("resampler_down", 4 * hidden, hidden),
    )
    return Projector(kind="resampler", steps=steps, other_parameters=queries * hidden)


def ldp(inputs: int, outputs: int) -> Projector:
    """MobileVLM V2's LDPv2: two layers, 2 x 2 average pooling, a depthwise convolution beside a skip connection."""
    steps = (
        *mlp((inputs, outputs, outputs), "patches"),
        Step(op="gather", name="pool", rows="patches", outputs=outputs),
        Step(
            op="convolution",
            name="position",
            rows="tokens",
            inputs=outputs,
            outputs=outputs,
            kernel=3,
            groups=outputs,
            bias=True,
        ),
    )
    return Projector(kind="average-pool", steps=steps)


def resampler(inputs: int, outputs: int, heads: int, queries: int, positions: int = 0) -> Projector:
    """One cross-attention of learned queries to all patches (Qwen-VL, MiniCPM-V), norms around it, one matrix after it.
    positions: stored vectors (MiniCPM-V computes them)."""
    steps = (
        linear("kv_in", inputs, outputs, False, "patches"),
        norm(outputs, 2 * outputs, "patches"),
        norm(outputs, 2 * outputs, "tokens"),
        linear("q", outputs, outputs, True, "tokens"),
        linear("kv", outputs, 2 * outputs, True, "patches"),
        Step(op="attention", name="attention", rows="tokens", heads=heads, head_dim=outputs // heads),
        linear("o", outputs, outputs, True, "tokens"),
        norm(outputs, 2 * outputs, "tokens"),
        linear("out", outputs, outputs, False, "tokens"),
    )
    return Projector(kind="resampler", steps=steps, other_parameters=(queries + positions) * outputs)
