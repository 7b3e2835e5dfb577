"""Encoders for `make_more_models` that the importer does not know."""

from __future__ import annotations

from simulator.interop.hf.stages import depthwise, mlp, plain
from simulator.spec.model import Block, ConvolutionSpec, Stack, VisionEncoder


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
        named[f"stage {index + 1}"] = Block(feed_forward=mlp(4 * wide), convolutions=(depthwise(wide, 7, scale, True),),
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
        stack=Stack(blocks={"block": plain(hidden, 6144, 16)}, order=(f"{layers} block",)),
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
        stack=Stack(blocks={"block": plain(hidden, width, heads)}, order=(f"{layers} block",)),
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
        stack=Stack(blocks={"block": plain(hidden, width, heads)}, order=(f"{layers} block",)),
        final_norm_parameters=2 * hidden,
    )


def dino_and_siglip() -> VisionEncoder:
    """DINOv2-L/14 with registers (five extra rows) and SigLIP-so400m/14, both at 384, one after the other."""
    dino = plain(1024, 4096, 16, extra=2048).model_copy(update={"hidden": 1024})
    siglip = plain(1152, 4304, 16).model_copy(update={"extra_rows": False})
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
