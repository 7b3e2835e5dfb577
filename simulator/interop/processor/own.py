"""Processors of checkpoints that ship their own code, and those of transformers that need a scheme of their own."""

from __future__ import annotations

from typing import Any, cast

from simulator.interop.processor.given import Given
from simulator.interop.processor.llava import square
from simulator.spec.preprocessing import (
    CandidateTiles,
    CanvasTiles,
    DynamicTiles,
    Edges,
    Fixed,
    HdCanvas,
    Native,
    NativeTiles,
    PatchBudget,
    Preprocessing,
    Slices,
    VideoSampling,
)


def minicpm_v(given: Given) -> Preprocessing:
    """MiniCPM-V: an overview and slices."""
    asked: Any = given.config.get("slice_config")
    slices: dict[str, Any] = cast("dict[str, Any]", asked) if isinstance(asked, dict) else {}
    most = slices.get("max_slice_nums", given.processor.get("max_slice_nums"))
    tile = slices.get("scale_resolution", given.processor.get("scale_resolution"))
    most, tile = most or given.config.get("max_slice_nums"), tile or given.config.get("scale_resolution")
    newer = str(given.config.get("version", "2.6")) != "2.5" and "vision_encoder" not in given.config
    return Slices(
        tile=given.whole("slice_config.scale_resolution", tile, 448),
        patch=given.encoder("patch_size", 14),
        tokens=given.whole("query_num", given.config.get("query_num"), 64),
        max_slices=given.whole("slice_config.max_slice_nums", most, 9) if given.config.get("slice_mode", True) else 1,
        video=VideoSampling(fps=1.0, max_frames=64, max_slices=2) if newer else None,
    )


def deepseek_vl_v2(given: Given) -> Preprocessing:
    """DeepSeek-VL2: canvases of at most so many tiles."""
    size, patch, side = square(given)
    listed: Any = given.config.get("candidate_resolutions") or [[size, 9 * size]]
    most = max(int(w) * int(h) for w, h in listed) // size**2
    merge = int(given.config.get("projector_config", {}).get("downsample_ratio") or 2)
    return CandidateTiles(tile=size, patch=patch, side=-(-side // merge), max_tiles=max(1, most), max_pictures_tiled=2)


def deepseek_ocr(given: Given) -> Preprocessing:
    """DeepSeek-OCR in its default mode (Gundam): a view of 1024 and two to nine tiles of 640, 16 patches to a token."""
    return CandidateTiles(
        rule="nearest_ratio", tile=640, patch=16, side=10, min_tiles=2, max_tiles=9, global_size=1024, global_side=16
    )


def qwen_vl(given: Given) -> Preprocessing:
    """Qwen-VL: one square, learned queries."""
    size, patch, _ = square(given)
    return Fixed(size=size, patch=patch, tokens=int(given.vision.get("n_queries") or 256))


def phi3_v(given: Given) -> Preprocessing:
    """Phi-3-vision: tiles of a padded canvas, 2 x 2 patches to a token."""
    size, patch, side = square(given)
    return HdCanvas(tile=size, patch=patch, side=side // 2, max_tiles=given.number("num_crops", 16))


def ovis2(given: Given) -> Preprocessing:
    """Ovis2: the fewest tiles that cover the picture; what its own code does unless the processor's file says otherwise."""
    size, patch, side = square(given)
    tokens = (-(-side // int(given.vision.get("hidden_stride") or 1))) ** 2
    stated = given.processor.get("crop_to_patches")
    most = given.number("max_patches", 9) if stated is not False else 1
    rule = "nearest_ratio" if given.processor.get("use_covering_area_grid") is False else "covering"
    return DynamicTiles(tile=size, patch=patch, tokens=tokens, max_tiles=most, rule=rule)


def lfm2_vl(given: Given) -> Preprocessing:
    """LFM2-VL: tiles where a picture is large, else its own ratio."""
    read, config = given.processor.get, given.config
    patch = int(read("encoder_patch_size") or given.encoder("patch_size", 16))
    merge = int(read("downsample_factor") or config.get("downsample_factor") or 2)
    token = (patch * merge) ** 2
    split = read("do_image_splitting", config.get("do_image_splitting", True))

    def number(name: str, default: int) -> int:
        return given.whole(name, read(name) or config.get(name), default)

    return NativeTiles(
        tile=number("tile_size", 512),
        patch=patch,
        merge=merge,
        min_pixels=number("min_image_tokens", 64) * token,
        max_pixels=number("max_image_tokens", 256) * token,
        tolerance=float(read("max_pixels_tolerance") or config.get("max_pixels_tolerance") or 2.0),
        min_tiles=number("min_tiles", 2) if split else 1,
        max_tiles=number("max_tiles", 10) if split else 1,
        thumbnail=bool(read("use_thumbnail", config.get("use_thumbnail", True))),
    )


def idefics2(given: Given) -> Preprocessing:
    """Idefics2: own ratio between two edges, learned queries."""
    part: Any = given.config.get("perceiver_config") or {}
    return Edges(
        shortest_edge=given.size(378, "shortest_edge"),
        longest_edge=given.size(980, "longest_edge"),
        patch=given.encoder("patch_size", 14),
        tokens=int(part.get("resampler_n_latents") or 64),
        split=bool(given.processor.get("do_image_splitting", False)),
    )


def gemma4(given: Given) -> Preprocessing:
    """Gemma 4: as many patches as the budget of soft tokens allows; frames have a smaller one."""
    patch, merge = given.encoder("patch_size", 16), given.encoder("pooling_kernel_size", 3)
    most = given.number("max_soft_tokens", 280) * merge**2
    return PatchBudget(patch=patch, merge=merge, max_patches=most, video=VideoSampling(max_frames=32, tokens=70))


def perception_lm(given: Given) -> Preprocessing:
    """PerceptionLM: tiles and always a global one."""
    tile, patch = given.number("tile_size", 448), given.encoder("patch_size", 14)
    side = tile // patch // int(given.config.get("projector_pooling_ratio") or 1)
    tokens = side**2
    video = VideoSampling(max_frames=32)
    if given.processor.get("vision_input_type", "thumb+tile") != "thumb+tile":
        return Fixed(size=tile, patch=patch, tokens=tokens, video=video)
    most = given.number("max_num_tiles", 36)
    return CanvasTiles(tile=tile, patch=patch, tokens=tokens, max_tiles=most, rule="largest_edge", video=video)


def got_ocr2(given: Given) -> Preprocessing:
    """GOT-OCR 2: one square, or tiles where the processor's file asks for them."""
    size, patch, side = square(given)
    if not given.processor.get("crop_to_patches", False):
        return Fixed(size=size, patch=patch, tokens=(side // 4) ** 2)
    most = given.number("max_patches", 12)
    return DynamicTiles(tile=size, patch=patch, tokens=(side // 4) ** 2, max_tiles=most)


def glm_4v(given: Given) -> Preprocessing:
    """GLM-4V: one square, 2 x 2 patches to a token, a learned vector before and one after."""
    size, patch, side = square(given)
    return Fixed(size=size, patch=patch, tokens=(side // 2) ** 2 + 2)


def video_llama_3(given: Given) -> Preprocessing:
    """VideoLLaMA 3: pictures at their own ratio, every patch a token; of clips 2 x 2 patches are merged and 180 frames share a budget."""
    patch = given.encoder("patch_size", 14)
    low, high = given.number("min_pixels", 16 * patch**2), given.number("max_pixels", 16384 * patch**2)
    video = VideoSampling(
        fps=1.0,
        max_frames=180,
        merge=2,
        min_pixels=64 * patch**2,
        max_pixels=65536 * patch**2,
        total_pixels=65536 * patch**2,
    )
    return Native(patch=patch, merge=1, min_pixels=low, max_pixels=high, temporal_patch=1, video=video)


def gemma3n(given: Given) -> Preprocessing:
    """Gemma 3n: one square."""
    return Fixed(
        size=given.size(768, "height"), patch=48, tokens=int(given.config.get("vision_soft_tokens_per_image") or 256)
    )


def ovis2_5(given: Given) -> Preprocessing:
    """Ovis2.5: own ratio within 448 x 448 and 1344 x 1792 pixels."""
    patch, merge = given.encoder("patch_size", 16), given.encoder("hidden_stride", 2)
    low, high = given.number("min_pixels", 448 * 448), given.number("max_pixels", 1344 * 1792)
    return Native(patch=patch, merge=merge, min_pixels=low, max_pixels=high, temporal_patch=1)
