"""Encoders of convolution stages, and those built of several encoders."""

from __future__ import annotations

from simulator.spec.model import AttentionSpec, Block, ConvolutionSpec, FeedForwardSpec, Stack, VisionEncoder


def mixer(hidden: int, heads: int, window: int = 0, qkv: bool = True) -> AttentionSpec:
    """Attention over a crop, or over windows that are filled up at its border."""
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


def mlp(width: int) -> FeedForwardSpec:
    """Two matrices with biases."""
    return FeedForwardSpec(width=width, gated=False, bias=True)


def depthwise(hidden: int, kernel: int, scale: float, bias: bool, norm: int = 0) -> ConvolutionSpec:
    """One channel to one channel."""
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
            enter = (*enter, depthwise(wide, 7, scale, True))
        if enter:
            named[f"enter {index + 1}"] = Block(convolutions=enter, norms=0)
            order.append(f"1 enter {index + 1}")
        inside = depthwise(wide, 7, scale, False, 2 * wide)
        feed = mlp(4 * wide)
        if attends:
            attention = mixer(wide, wide // 32, qkv=False)
            block = Block(attention=attention, feed_forward=feed, convolutions=(inside,), hidden=wide, scale=scale, norms=1,
                          norm_parameters=2 * wide, other_parameters=2 * wide)  # fmt: skip
        else:
            mix = (depthwise(wide, 3, scale, True), inside)
            block = Block(feed_forward=feed, convolutions=mix, hidden=wide, scale=scale, norms=0, other_parameters=wide)
        named[f"stage {index + 1}"] = block
        order.append(f"{count} stage {index + 1}")
    last = widths[-1]
    widen = ConvolutionSpec(inputs=last, outputs=2 * last, kernel=3, groups=last)
    squeeze = mlp(2 * last // 16)  # on one row per crop of 16 x 16
    named["last"] = Block(convolutions=(widen,), feed_forward=squeeze, hidden=2 * last, scale=1 / 256, norms=0)
    return VisionEncoder(
        name="FastViTHD", hidden=2 * last, patch=64, patch_kernel=0, stack=Stack(blocks=named, order=(*order, "1 last"))
    )


def plain(hidden: int, width: int, heads: int, extra: int = 0) -> Block:
    """A pre-norm block with biases everywhere."""
    return Block(
        attention=mixer(hidden, heads), feed_forward=mlp(width), norm_parameters=4 * hidden, other_parameters=extra
    )


def deep_encoder() -> VisionEncoder:
    """DeepSeek-OCR: SAM-base on patches (windows of 14 except blocks 3, 6, 9, 12), its neck and two strided convolutions (16
    patches become one row), then CLIP-L on those rows and a class token. CLIP's own patch embedding is owned and not run."""
    sam, clip = 768, 1024
    relative = 2 * sam // 12  # per side and offset: tables of both axes, shared by the heads

    def of_sam(window: int, side: int) -> Block:
        return Block(
            attention=mixer(sam, 12, window),
            feed_forward=mlp(3072),
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
        "clip": plain(clip, 4096, 16).model_copy(update={"hidden": clip, "scale": 1 / 16}),
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
