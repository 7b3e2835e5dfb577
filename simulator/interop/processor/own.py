"""Processors of checkpoints that ship their own code, and those of transformers that need a scheme of their own."""

from __future__ import annotations

import re
from typing import Any, cast

from simulator.interop.processor.given import Given
from simulator.spec.preprocessing import (
    CandidateTiles,
    CanvasTiles,
    DynamicTiles,
    Edges,
    Fixed,
    GridPinpoints,
    HdCanvas,
    Native,
    NativeTiles,
    PatchBudget,
    Preprocessing,
    Slices,
    VideoSampling,
)
from simulator.spec.source import SpecError
from simulator.spec.validated import shown


def _square(given: Given) -> tuple[int, int, int]:
    """Side of the encoder's picture and of a patch [pixel], and patches per side."""
    size, patch = given.encoder("image_size", 336), given.encoder("patch_size", 14)
    return size, patch, size // patch


def llava_original(given: Given) -> Preprocessing:
    """LLaVA's own code: a square (padded or cropped), or the canvases of `image_grid_pinpoints`."""
    size, patch, side = _square(given)
    config, aspect = given.config, given.config.get("image_aspect_ratio")
    merged = str(config.get("mm_patch_merge_type") or "flat")
    if isinstance(aspect, str) and "anyres" in aspect:
        most = re.search(r"anyres_max_(\d+)", aspect)
        return GridPinpoints(
            tile=size,
            patch=patch,
            side=side,
            pinpoints=_pinpoints(config.get("image_grid_pinpoints"), size),
            unpad="unpad" in merged,
            newline="unpad" in merged,
            max_tiles=int(most[1]) if most else 0,
            single_picture_only=most is not None,
            video=_frames(given, side),
        )
    if aspect not in (None, "pad", "square", "resize"):
        raise SpecError(
            f"image_aspect_ratio: {shown(aspect)} is not accepted: pad, square, resize, anyres or anyres_max_N"
        )
    token = (
        config.get("mm_vision_select_feature") == "cls_patch" and given.vision.get("model_type") == "clip_vision_model"
    )
    pooled = 2 if config.get("mm_projector_type") == "ldpnetv2" else 1
    return Fixed(
        size=size,
        patch=patch,
        tokens=(side // pooled) ** 2 + int(token),
        center_crop=aspect is None,
        video=_frames(given, side),
    )


def _frames(given: Given, side: int) -> VideoSampling | None:
    """Clips, where the file says how frames are pooled (LLaVA-Video, LLaVA-OneVision)."""
    stride = given.config.get("mm_spatial_pool_stride")
    if isinstance(stride, bool) or not isinstance(stride, int) or not 1 <= stride <= side:
        return None
    average = given.config.get("mm_spatial_pool_mode") == "average"
    pooled = side // stride if average else -(-side // stride)
    newline = "row" if given.config.get("mm_newline_position") == "grid" else "clip"
    return VideoSampling(max_frames=given.number("num_frames", 32), tokens=pooled**2, newline=newline)


def _pinpoints(listed: Any, tile: int) -> tuple[tuple[int, int], ...]:
    """(height, width) of the canvases, from (width, height) pairs or from `(1x1),...,(6x6)` in tiles."""
    if isinstance(listed, str):
        ends = re.findall(r"\((\d+)x(\d+)\)", listed)
        if len(ends) >= 2 and "..." in listed:
            (a, b), (c, d) = [(int(x), int(y)) for x, y in (ends[0], ends[-1])]
            return tuple((i * tile, j * tile) for i in range(a, min(c, 20) + 1) for j in range(b, min(d, 20) + 1))
        listed = [[int(x), int(y)] for x, y in re.findall(r"[\[(](\d+),\s*(\d+)[\])]", listed)]
    pairs = cast("list[Any]", listed) if isinstance(listed, list) else []
    try:
        out = tuple((int(height), int(width)) for width, height in pairs)
    except (TypeError, ValueError):
        out = ()
    if not out or len(out) > 400:
        raise SpecError(f"image_grid_pinpoints: {shown(listed)} is not accepted: a list of (width, height) pairs")
    return out


def vila(given: Given) -> Preprocessing:
    """VILA and NVILA: one square, tiles and a thumbnail (`dynamic`), or tiles at three scales (`dynamic_s2`)."""
    size, patch, side = _square(given)
    joined = {"mlp_downsample": 2, "mlp_downsample_2x2_fix": 2, "mlp_downsample_3x3_fix": 3}
    per = joined.get(str(given.config.get("mm_projector_type")), 1)
    tokens, aspect = (-(-side // per)) ** 2, given.config.get("image_aspect_ratio", "resize")
    video = VideoSampling(max_frames=given.number("num_video_frames", 8))
    if aspect in ("resize", "pad", "square", None):
        return Fixed(size=size, patch=patch, tokens=tokens, video=video)
    if aspect == "dynamic":
        most = int(given.config.get("max_tiles") or 12)
        return DynamicTiles(tile=size, patch=patch, tokens=tokens, max_tiles=most, video=video)
    if aspect == "dynamic_s2":
        sides = [int(scale) // size for scale in str(given.config.get("s2_scales") or "448,896,1344").split(",")]
        least, most = sides[-1] ** 2, int(given.config.get("max_tiles") or 12)
        return DynamicTiles(
            tile=size, patch=patch, tokens=tokens, min_tiles=least, max_tiles=max(most, least), thumbnail=False,
            scales=tuple(sides[:-1]), video=video,
        )  # fmt: skip
    raise SpecError(f"image_aspect_ratio: {shown(aspect)} is not accepted: resize, dynamic or dynamic_s2")


def fast_vlm(given: Given) -> Preprocessing:
    """FastVLM: one square."""
    size, patch, side = _square(given)
    return Fixed(size=size, patch=patch, tokens=side**2)


def video_llava(given: Given) -> Preprocessing:
    """Video-LLaVA: one square; frames keep their class token."""
    size, patch, side = _square(given)
    return Fixed(size=size, patch=patch, tokens=side**2, video=VideoSampling(max_frames=8, tokens=side**2 + 1))


def minicpm_v(given: Given) -> Preprocessing:
    """MiniCPM-V: an overview and slices."""
    asked: Any = given.config.get("slice_config")
    slices: dict[str, Any] = cast("dict[str, Any]", asked) if isinstance(asked, dict) else {}
    most = slices.get("max_slice_nums", given.processor.get("max_slice_nums")) or 9
    tile = slices.get("scale_resolution", given.processor.get("scale_resolution")) or 448
    newer = str(given.config.get("version", "2.6")) != "2.5"
    return Slices(
        tile=int(tile),
        patch=given.encoder("patch_size", 14),
        tokens=int(given.config.get("query_num") or 64),
        max_slices=int(most) if given.config.get("slice_mode", True) else 1,
        video=VideoSampling(fps=1.0, max_frames=64, max_slices=2) if newer else None,
    )


def deepseek_vl_v2(given: Given) -> Preprocessing:
    """DeepSeek-VL2: canvases of at most so many tiles."""
    size, patch, side = _square(given)
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
    size, patch, _ = _square(given)
    return Fixed(size=size, patch=patch, tokens=int(given.vision.get("n_queries") or 256))


def phi3_v(given: Given) -> Preprocessing:
    """Phi-3-vision: tiles of a padded canvas, 2 x 2 patches to a token."""
    size, patch, side = _square(given)
    return HdCanvas(tile=size, patch=patch, side=side // 2, max_tiles=given.number("num_crops", 16))


def ovis2(given: Given) -> Preprocessing:
    """Ovis2: the fewest tiles that cover the picture; what its own code does unless the processor's file says otherwise."""
    size, patch, side = _square(given)
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
        return int(read(name) or config.get(name) or default)

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
    size, patch, side = _square(given)
    if not given.processor.get("crop_to_patches", False):
        return Fixed(size=size, patch=patch, tokens=(side // 4) ** 2)
    most = given.number("max_patches", 12)
    return DynamicTiles(tile=size, patch=patch, tokens=(side // 4) ** 2, max_tiles=most)


def glm_4v(given: Given) -> Preprocessing:
    """GLM-4V: one square, 2 x 2 patches to a token, a learned vector before and one after."""
    size, patch, side = _square(given)
    return Fixed(size=size, patch=patch, tokens=(side // 2) ** 2 + 2)


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
