"""Language models and projectors for `make_more_models`: through the importer where it knows the type, else by hand."""

from __future__ import annotations

from typing import Any, Literal

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.projector import activation, linear, norm
from simulator.interop.hf.vision import vision
from simulator.interop.hf_config import import_config
from simulator.spec.model import (
    AttentionSpec,
    Block,
    FeedForwardSpec,
    LanguageModel,
    Projector,
    Stack,
    Step,
    VisionEncoder,
)

ASSUMED: list[str] = []
Rows = Literal["patches", "merged", "tokens"]


def decoder(type: str, **sizes: Any) -> LanguageModel:
    """A language model of a known type; what its class had to add is noted."""
    stated = {"max_position_embeddings": 32768 if type == "qwen2" else 2048, "tie_word_embeddings": False}
    if type == "qwen2":
        stated["use_sliding_window"] = False
    model = import_config({"model_type": type} | stated | sizes, "text")
    ASSUMED.extend(f"language: {note}" for note in model.assumptions if "hidden_size / num_attention_heads" not in note)
    return model.language


def tower(type: str, **sizes: Any) -> VisionEncoder:
    """A tower of a known type."""
    return vision(Fields({"num_channels": 3} | sizes, "vision_config", type, ASSUMED))


def siglip(image: int, layers: int = 27) -> VisionEncoder:
    """SigLIP-so400m/14 without pooling head, for pictures of `image` pixels."""
    return tower(
        "siglip_vision_model",
        hidden_size=1152,
        intermediate_size=4304,
        num_hidden_layers=layers,
        num_attention_heads=16,
        image_size=image,
        patch_size=14,
        vision_use_head=False,
    )


def opt(hidden: int, width: int, layers: int, heads: int, vocabulary: int, context: int = 2048) -> LanguageModel:
    """OPT (arXiv 2205.01068): biases everywhere, LayerNorm, learned positions (2 more than the context), tied head."""
    mixer = AttentionSpec(
        kind="full",
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        q_bias=True,
        kv_bias=True,
        o_bias=True,
        rope=False,
    )
    mlp = FeedForwardSpec(width=width, gated=False, bias=True)
    return LanguageModel(
        name="opt",
        hidden=hidden,
        vocabulary=vocabulary,
        tied_embeddings=True,
        stack=Stack(
            blocks={"full": Block(attention=mixer, feed_forward=mlp, norm_parameters=4 * hidden)},
            order=(f"{layers} full",),
        ),
        final_norm_parameters=2 * hidden,
        max_context=context,
        other_parameters=(context + 2) * hidden,
    )


def experts(
    hidden: int,
    layers: int,
    heads: int,
    dense: int,
    width: int,
    routed: int,
    shared: int,
    vocabulary: int,
    latent: int = 0,
    context: int = 4096,
) -> LanguageModel:
    """DeepSeekMoE as in DeepSeek-V2: one dense layer, then `routed` experts of which 6 run, and `shared` ones; with latent
    attention where `latent` is above 0 (128 + 64 wide heads), else plain heads of 128."""
    mixer = AttentionSpec(kind="full", heads=heads, kv_heads=heads, head_dim=128)
    if latent:
        mixer = AttentionSpec(
            kind="mla", heads=heads, kv_heads=heads, head_dim=192, value_dim=128, kv_rank=latent, rope_dim=64
        )
    first = FeedForwardSpec(width=dense)
    rest = FeedForwardSpec(width=width, experts=routed, active=6, shared_width=shared * width)
    return LanguageModel(
        name="deepseek_v2",
        hidden=hidden,
        vocabulary=vocabulary,
        tied_embeddings=False,
        stack=Stack(
            blocks={
                "dense": Block(attention=mixer, feed_forward=first, norm_parameters=2 * hidden),
                "experts": Block(attention=mixer, feed_forward=rest, norm_parameters=2 * hidden),
            },
            order=("1 dense", f"{layers - 1} experts"),
        ),
        final_norm_parameters=hidden,
        max_context=context,
    )


def _mlp(inputs: int, middle: int, outputs: int, rows: Rows) -> tuple[Step, ...]:
    return (
        linear("linear_1", inputs, middle, True, rows),
        activation(middle, rows),
        linear("linear_2", middle, outputs, True, rows),
    )


def mlp(inputs: int, middle: int, outputs: int, rows: Rows = "patches", other: int = 0, merged: str = "") -> Projector:
    """Two layers with GELU between, on patches, or on tokens after something `merged` them."""
    first = (Step(op="gather", name=merged, rows="patches", outputs=inputs),) if merged else ()
    return Projector(kind="mlp", steps=(*first, *_mlp(inputs, middle, outputs, rows)), other_parameters=other)


def downsample_mlp(inputs: int, outputs: int, ratio: int) -> Projector:
    """DeepSeek-VL2: 2 x 2 patches (27 padded to 28 a side) joined, two layers; newline and separator vectors."""
    return Projector(
        kind="mlp", steps=_mlp(4 * inputs, ratio * outputs, outputs, "tokens"), other_parameters=2 * outputs
    )


def downsample_2(inputs: int, outputs: int) -> Projector:
    """NVILA: 2 x 2 patches joined, norm, two layers."""
    steps = (norm(4 * inputs, 8 * inputs, "tokens"), *_mlp(4 * inputs, outputs, outputs, "tokens"))
    return Projector(kind="mlp", steps=steps)


def compressor(inputs: int, outputs: int) -> Projector:
    """DeepSeek-OCR: features of both encoders side by side, one matrix; newline and separator vectors."""
    return Projector(
        kind="compressor", steps=(linear("linear", inputs, outputs, True, "tokens"),), other_parameters=2 * outputs
    )


def fused_mlp(inputs: int, outputs: int) -> Projector:
    """Prismatic's three layers on two encoders' features side by side, the first four times as wide."""
    steps = (
        linear("linear_1", inputs, 4 * inputs, True, "patches"),
        activation(4 * inputs, "patches"),
        linear("linear_2", 4 * inputs, outputs, True, "patches"),
        activation(outputs, "patches"),
        linear("linear_3", outputs, outputs, True, "patches"),
    )
    return Projector(kind="mlp", steps=steps)


def ldp(inputs: int, outputs: int) -> Projector:
    """MobileVLM V2's LDPv2: two layers, 2 x 2 average pooling, a depthwise convolution beside a skip connection."""
    steps = (
        *_mlp(inputs, outputs, outputs, "patches"),
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


def _bert(
    layers: int, crossed: int, encoder: int, rows: Rows, share: float, keys: float, density: float = 1.0
) -> tuple[Step, ...]:
    """BERT-base blocks on learned queries, `crossed` of them with cross-attention to `keys` rows per patch of the encoder."""
    hidden, width, heads = 768, 3072, 12
    own: Literal["tokens", "own"] = "tokens" if rows == "tokens" else "own"

    def matrix(name: str, inputs: int, outputs: int, count: int) -> Step:
        return Step(
            op="linear", name=name, rows=rows, share=share, inputs=inputs, outputs=outputs, bias=True, count=count
        )

    def normed(count: int) -> Step:
        return Step(op="norm", name="norm", rows=rows, share=share, outputs=hidden, parameters=2 * hidden, count=count)

    def attended(count: int, to: Literal["patches", "tokens", "own"], density: float) -> Step:
        return Step(op="attention", name="attention", rows=rows, share=share, heads=heads, head_dim=hidden // heads, keys=to,
                    density=density, count=count)  # fmt: skip

    return (
        normed(1),
        matrix("qkv", hidden, 3 * hidden, layers),
        attended(layers, own, 1.0),
        matrix("o", hidden, hidden, layers),
        normed(layers),
        matrix("cross_q", hidden, hidden, crossed),
        Step(
            op="linear",
            name="cross_kv",
            rows="patches",
            share=keys,
            inputs=encoder,
            outputs=2 * hidden,
            bias=True,
            count=crossed,
        ),
        attended(crossed, "patches", density),
        matrix("cross_o", hidden, hidden, crossed),
        normed(crossed),
        matrix("up", hidden, width, layers),
        Step(op="activation", name="activation", rows=rows, share=share, outputs=width, count=layers),
        matrix("down", width, hidden, layers),
        normed(layers),
    )


def q_former(encoder: int, outputs: int, text: bool) -> Projector:
    """BLIP-2: norm of the encoder belongs to the tower; 32 queries; InstructBLIP also owns the path of the instruction."""
    steps = (*_bert(12, 6, encoder, "tokens", 1.0, 257 / 256), linear("out", 768, outputs, True, "tokens"))
    owned = 32 * 768
    if text:  # word and position embeddings, and a second feed-forward part per layer
        owned += (30523 + 512) * 768 + 12 * (2 * 768 * 3072 + 3072 + 768 + 2 * 768)
    return Projector(kind="q-former", steps=steps, other_parameters=owned)


def video_q_former(encoder: int, outputs: int, positions: int) -> Projector:
    """Video-LLaMA: a Q-Former per frame (32 queries for 256 patches), then one over the queries of all frames."""
    steps = (
        *_bert(12, 6, encoder, "patches", 0.125, 257 / 256),
        *_bert(2, 2, 768, "tokens", 1.0, 0.125),
        linear("out", 768, outputs, True, "tokens"),
    )
    return Projector(kind="q-former", steps=steps, other_parameters=(2 * 32 + positions) * 768)


def abstractor(hidden: int, outputs: int, depth: int, side: int, pooled: int) -> Projector:
    """Honeybee's C-Abstractor: `depth` residual blocks, pooling to pooled x pooled, as many blocks, two layers."""

    def stage(rows: Rows, per_crop: float) -> tuple[Step, ...]:
        def convolution(kernel: int, groups: int) -> Step:
            return Step(op="convolution", name="convolution", rows=rows, inputs=hidden, outputs=hidden, kernel=kernel, groups=groups,
                        count=depth)  # fmt: skip

        squeezed = hidden // 4
        return (
            convolution(1, 1),
            convolution(3, hidden),
            Step(
                op="linear",
                name="squeeze",
                rows="patches",
                share=per_crop,
                inputs=hidden,
                outputs=squeezed,
                bias=True,
                count=depth,
            ),
            Step(
                op="linear",
                name="excite",
                rows="patches",
                share=per_crop,
                inputs=squeezed,
                outputs=hidden,
                bias=True,
                count=depth,
            ),
            convolution(1, 1),
            Step(op="norm", name="norm", rows=rows, outputs=hidden, parameters=2 * hidden, count=3 * depth),
        )

    steps = (
        *stage("patches", 1 / side**2),
        Step(op="gather", name="pool", rows="patches", outputs=hidden),
        *stage("tokens", 1 / side**2),
        linear("linear_1", hidden, outputs, True, "tokens"),
        activation(outputs, "tokens"),
        linear("linear_2", outputs, outputs, True, "tokens"),
    )
    return Projector(kind="abstractor", steps=steps, other_parameters=(side**2 + 1) * hidden)


def packer(hidden: int, outputs: int, levels: int, heads: int, merge: int, patches: int) -> Projector:
    """TokenPacker: every point of the map pooled by `merge` attends to its merge x merge patches of `levels` layers' features."""
    keyed = (
        linear("feature_1", levels * hidden, hidden, True, "patches", copies=2),
        activation(hidden, "patches", copies=2),
        linear("feature_2", hidden, hidden, True, "patches", copies=2),
        norm(hidden, 4 * hidden, "patches", copies=2),
        linear("kv", hidden, hidden, True, "patches", copies=2),
    )
    steps = (
        Step(op="gather", name="pool", rows="patches", outputs=hidden),
        linear("query", hidden, hidden, False, "tokens"),
        norm(hidden, 2 * hidden, "tokens"),
        linear("q", hidden, hidden, True, "tokens"),
        *keyed,
        Step(
            op="attention",
            name="attention",
            rows="tokens",
            heads=heads,
            head_dim=hidden // heads,
            density=merge**2 / patches,
        ),
        linear("o", hidden, hidden, True, "tokens"),
        *_mlp(hidden, outputs, outputs, "tokens"),
    )
    return Projector(kind="token-packer", steps=steps)
