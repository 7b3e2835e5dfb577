"""Encoders for `make_more_models` that the importer does not know."""

from __future__ import annotations

from simulator.spec.model import AttentionSpec, Block, ConvolutionSpec, FeedForwardSpec, Stack, VisionEncoder


def _mixer(hidden: int, heads: int, window: int = 0, qkv: bool = True) -> AttentionSpec:
    return AttentionSpec(
        kind="grid" if window else "full",
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        window=window,
        filled=window > 0,
        q_bias=qkv,
        kv_bias=qkv,
        o_bias=True,
        rope=False,
    )


def _mlp(width: int) -> FeedForwardSpec:
    return FeedForwardSpec(width=width, gated=False, bias=True)


def _depthwise(hidden: int, kernel: int, scale: float, bias: bool, norm: int = 0) -> ConvolutionSpec:
    return ConvolutionSpec(
        inputs=hidden, outputs=hidden, kernel=kernel, groups=hidden, bias=bias, scale=scale, norm_parameters=norm
    )


def fastvit(blocks: tuple[int, ...], widths: tuple[int, ...]) -> VisionEncoder:
    """FastViTHD, branches fused: a stem at a quarter of the side, three convolution stages, two attention stages, a last
    depthwise convolution that doubles the width, with squeeze-and-excite."""
    first, stages = widths[0], len(widths)
    final = 4.0 ** (stages - 1)
    stem = (
        ConvolutionSpec(inputs=3, outputs=first, kernel=3, stride=2, scale=4 * final),
        ConvolutionSpec(inputs=first, outputs=first, kernel=3, stride=2, groups=first, scale=final),
        ConvolutionSpec(inputs=first, outputs=first, kernel=1, scale=final),
    )
    named: dict[str, Block] = {"stem": Block(convolutions=stem, norms=0)}
    order = ["1 stem"]
    for index, (count, wide) in enumerate(zip(blocks, widths, strict=True)):
        scale = 4.0 ** (stages - 1 - index)
        enter: tuple[ConvolutionSpec, ...] = ()
        if index:
            before = widths[index - 1]
            enter = (
                ConvolutionSpec(inputs=before, outputs=wide, kernel=7, stride=2, groups=before, scale=scale),
                ConvolutionSpec(inputs=wide, outputs=wide, kernel=1, scale=scale),
            )
        attends = index >= stages - 2
        if attends:
            enter = (*enter, _depthwise(wide, 7, scale, True))
        if enter:
            named[f"enter {index + 1}"] = Block(convolutions=enter, norms=0)
            order.append(f"1 enter {index + 1}")
        inside = _depthwise(wide, 7, scale, False, 2 * wide)
        feed = _mlp(4 * wide)
        if attends:
            mixer = _mixer(wide, wide // 32, qkv=False)
            block = Block(attention=mixer, feed_forward=feed, convolutions=(inside,), hidden=wide, scale=scale, norms=1,
                          norm_parameters=2 * wide, other_parameters=2 * wide)  # fmt: skip
        else:
            mix = (_depthwise(wide, 3, scale, True), inside)
            block = Block(feed_forward=feed, convolutions=mix, hidden=wide, scale=scale, norms=0, other_parameters=wide)
        named[f"stage {index + 1}"] = block
        order.append(f"{count} stage {index + 1}")
    last = widths[-1]
    widen = ConvolutionSpec(inputs=last, outputs=2 * last, kernel=3, groups=last)
    squeeze = _mlp(2 * last // 16)  # on one row per crop of 16 x 16
    named["last"] = Block(convolutions=(widen,), feed_forward=squeeze, hidden=2 * last, scale=1 / 256, norms=0)
    return VisionEncoder(
        name="FastViTHD", hidden=2 * last, patch=64, patch_kernel=0, stack=Stack(blocks=named, order=(*order, "1 last"))
    )


def convnext(blocks: tuple[int, ...], widths: tuple[int, ...]) -> VisionEncoder:
    """ConvNeXt with one more stage: depthwise 7 x 7, norm, two matrices of four times the width, layer scale. The last norm is
    owned and not run."""
    stages = len(widths)
    final = 4.0 ** (stages - 1)
    named: dict[str, Block] = {}
    order: list[str] = []
    for index, (count, wide) in enumerate(zip(blocks, widths, strict=True)):
        scale = 4.0 ** (stages - 1 - index)
        before = widths[index - 1] if index else 3
        down = ConvolutionSpec(
            inputs=before,
            outputs=wide,
            kernel=2 if index else 4,
            stride=2 if index else 4,
            scale=scale if index else final,
        )
        named[f"enter {index + 1}"] = Block(
            convolutions=(down,), hidden=wide, scale=scale, norms=1, norm_parameters=2 * (before if index else wide)
        )
        named[f"stage {index + 1}"] = Block(feed_forward=_mlp(4 * wide), convolutions=(_depthwise(wide, 7, scale, True),),
                                            hidden=wide, scale=scale, norms=1, norm_parameters=2 * wide,
                                            other_parameters=wide)  # fmt: skip
        order += [f"1 enter {index + 1}", f"{count} stage {index + 1}"]
    return VisionEncoder(
        name="ConvNeXt-L",
        hidden=widths[-1],
        patch=2 ** (stages + 1),
        patch_kernel=0,
        stack=Stack(blocks=named, order=tuple(order)),
        other_parameters=2 * widths[-1],
    )


def _plain(hidden: int, width: int, heads: int, extra: int = 0) -> Block:
    return Block(
        attention=_mixer(hidden, heads), feed_forward=_mlp(width), norm_parameters=4 * hidden, other_parameters=extra
    )


def eva(layers: int) -> VisionEncoder:
    """ViT-g/14 of EVA-CLIP at 224 as BLIP-2 has it: no bias on K is stored as one on all of Q, K and V."""
    hidden = 1408
    return VisionEncoder(
        name="EVA ViT-g",
        hidden=hidden,
        patch=14,
        patch_kernel=14,
        patch_bias=True,
        extra_rows=1,
        stack=Stack(blocks={"block": _plain(hidden, 6144, 16)}, order=(f"{layers} block",)),
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * (256 + 1 + 1),
    )


def openclip(hidden: int, width: int, layers: int, heads: int, image: int, patch: int) -> VisionEncoder:
    """Qwen-VL's ViT-bigG: no class token, learned positions of the 256 pre-training patches, norm before the blocks."""
    return VisionEncoder(
        name="OpenCLIP ViT-bigG",
        hidden=hidden,
        patch=patch,
        patch_kernel=patch,
        stack=Stack(blocks={"block": _plain(hidden, width, heads)}, order=(f"{layers} block",)),
        stem_norm_parameters=2 * hidden,
        other_parameters=256 * hidden,
    )


def umt(hidden: int, width: int, layers: int, heads: int, patch: int) -> VisionEncoder:
    """UMT-L on groups of frames that attend jointly; fixed positions, a norm after the blocks."""
    return VisionEncoder(
        name="UMT-L",
        hidden=hidden,
        patch=patch,
        patch_kernel=patch,
        patch_bias=True,
        stack=Stack(blocks={"block": _plain(hidden, width, heads)}, order=(f"{layers} block",)),
        final_norm_parameters=2 * hidden,
    )


def dino_and_siglip() -> VisionEncoder:
    """DINOv2-L/14 with registers (five extra rows) and SigLIP-so400m/14, both at 384, one after the other."""
    dino = _plain(1024, 4096, 16, extra=2048).model_copy(update={"hidden": 1024})
    siglip = _plain(1152, 4304, 16).model_copy(update={"extra_rows": False})
    embed = Block(
        convolutions=(ConvolutionSpec(inputs=3, outputs=1024, kernel=14, stride=14),),
        hidden=1024,
        norms=1,
        norm_parameters=2 * 1024,
        extra_rows=False,
    )
    return VisionEncoder(
        name="DINOv2-L and SigLIP",
        hidden=1152,
        patch=14,
        patch_kernel=14,
        patch_bias=True,
        extra_rows=5,
        stack=Stack(
            blocks={"dino embedding": embed, "dino": dino, "siglip": siglip},
            order=("1 dino embedding", "24 dino", "27 siglip"),
        ),
        final_norm_parameters=2 * 1152,
        other_parameters=1152 * 729 + 1024 * (729 + 5),
    )


def deep_encoder() -> VisionEncoder:
    """DeepSeek-OCR: SAM-base on patches (windows of 14 except blocks 3, 6, 9, 12), its neck and two strided convolutions (16
    patches become one row), then CLIP-L on those rows and a class token. CLIP's own patch embedding is owned and not run."""
    sam, clip = 768, 1024
    relative = 2 * sam // 12  # per side and offset: tables of both axes, shared by the heads

    def of_sam(window: int, side: int) -> Block:
        return Block(
            attention=_mixer(sam, 12, window),
            feed_forward=_mlp(3072),
            norm_parameters=4 * sam,
            other_parameters=relative * (2 * side - 1),
            extra_rows=False,
        )

    def convolution(
        inputs: int, outputs: int, kernel: int, stride: int, scale: float, norm: int = 0
    ) -> ConvolutionSpec:
        return ConvolutionSpec(
            inputs=inputs, outputs=outputs, kernel=kernel, stride=stride, bias=False, scale=scale, norm_parameters=norm
        )

    neck = (
        convolution(sam, 256, 1, 1, 1.0, 512),
        convolution(256, 256, 3, 1, 1.0, 512),
        convolution(256, 512, 3, 2, 1 / 4),
        convolution(512, clip, 3, 2, 1 / 16),
    )
    blocks = {
        "window": of_sam(14, 14),
        "full": of_sam(0, 64),
        "compressor": Block(convolutions=neck, norms=0, extra_rows=False),
        "clip norm": Block(hidden=clip, scale=1 / 16, norms=1, norm_parameters=2 * clip),
        "clip": _plain(clip, 4096, 16).model_copy(update={"hidden": clip, "scale": 1 / 16}),
    }
    return VisionEncoder(
        name="DeepEncoder (SAM-base and CLIP-L)",
        hidden=sam,
        patch=16,
        patch_kernel=16,
        patch_bias=True,
        extra_rows=1,
        stack=Stack(blocks=blocks, order=(*("2 window", "1 full") * 4, "1 compressor", "1 clip norm", "24 clip")),
        other_parameters=64 * 64 * sam + clip * (257 + 1) + 3 * 14 * 14 * clip,
    )
