"""Processors of LLaVA's own code and of VILA."""

from __future__ import annotations

import re
from typing import Any, cast

from simulator.interop.processor.given import Given
from simulator.spec.preprocessing import DynamicTiles, Fixed, GridPinpoints, Preprocessing, VideoSampling
from simulator.spec.source import SpecError
from simulator.spec.validated import shown


def square(given: Given) -> tuple[int, int, int]:
    """Side of the encoder's picture and of a patch [pixel], and patches per side."""
    size, patch = given.encoder("image_size", 336), given.encoder("patch_size", 14)
    return size, patch, size // patch


def llava_original(given: Given) -> Preprocessing:
    """LLaVA's own code: a square (padded or cropped), or the canvases of `image_grid_pinpoints`."""
    size, patch, side = square(given)
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


def _pinpoints(stated: Any, tile: int) -> tuple[tuple[int, int], ...]:
    """(height, width) of the canvases, from (width, height) pairs or from `(1x1),...,(6x6)` in tiles."""
    listed = stated
    if isinstance(stated, str):
        ends = re.findall(r"\((\d+)x(\d+)\)", stated)
        if len(ends) >= 2 and "..." in stated:
            (a, b), (c, d) = [(int(x), int(y)) for x, y in (ends[0], ends[-1])]
            return tuple((i * tile, j * tile) for i in range(a, min(c, 20) + 1) for j in range(b, min(d, 20) + 1))
        listed = [[int(x), int(y)] for x, y in re.findall(r"[\[(](\d+),\s*(\d+)[\])]", listed)]
    pairs = cast("list[Any]", listed) if isinstance(listed, list) else []
    try:
        out = tuple((int(height), int(width)) for width, height in pairs)
    except (TypeError, ValueError):
        out = ()
    if not out or len(out) > 400:
        raise SpecError(f"image_grid_pinpoints: {shown(stated)} is not accepted: a list of (width, height) pairs")
    return out


def vila(given: Given) -> Preprocessing:
    """VILA and NVILA: one square, tiles and a thumbnail (`dynamic`), or tiles at three scales (`dynamic_s2`)."""
    size, patch, side = square(given)
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
    size, patch, side = square(given)
    return Fixed(size=size, patch=patch, tokens=side**2)


def video_llava(given: Given) -> Preprocessing:
    """Video-LLaVA: one square; frames keep their class token."""
    size, patch, side = square(given)
    return Fixed(size=size, patch=patch, tokens=side**2, video=VideoSampling(max_frames=8, tokens=side**2 + 1))
