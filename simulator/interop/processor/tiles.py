"""Processors that cut a picture into equal tiles, or resize it to one crop."""

from __future__ import annotations

from simulator.interop.processor.given import Given
from simulator.interop.processor.native import pixtral
from simulator.spec.preprocessing import (
    CanvasTiles,
    DynamicHd,
    DynamicTiles,
    Fixed,
    GridPinpoints,
    LongestEdgeSplit,
    PanAndScan,
    Preprocessing,
    VideoSampling,
)
from simulator.spec.source import SpecError


def _square(given: Given, size: int, patch: int = 14) -> tuple[int, int]:
    """Side of a crop and of a patch [pixel]."""
    return given.tile(size, "height", "shortest_edge"), given.encoder("patch_size", patch)


def _cropped(given: Given) -> tuple[int, int]:
    """The same where the picture is cut to the square (CLIP)."""
    return given.tile(336, "height", "shortest_edge", field="crop_size"), given.encoder("patch_size", 14)


def _cut(given: Given) -> tuple[int, int]:
    """Least and most tiles."""
    if not given.processor.get("crop_to_patches", True):
        return 1, 1
    return given.number("min_patches", 1), given.number("max_patches", 12)


def _grown(given: Given) -> tuple[int, int]:
    """The same as InternVL's own code has them in config.json, where the processor's file says nothing."""
    most = given.config.get("max_dynamic_patch")
    if most is None or "max_patches" in given.processor:
        return _cut(given)
    if given.config.get("dynamic_image_size") is False:
        return 1, 1
    least = given.whole("min_dynamic_patch", given.config.get("min_dynamic_patch"), 1)
    return least, max(least, given.whole("max_dynamic_patch", most, 12))


def llava(given: Given) -> Preprocessing:
    """LLaVA: one square crop."""
    if given.vision.get("model_type") == "pixtral":
        return pixtral(given)
    size, patch = _cropped(given)
    # The class token is handed on with the strategy `full`; `default` drops the first row, whatever it is (modeling_llava).
    rows = (size // patch) ** 2 + (0 if "siglip" in str(given.vision.get("model_type")) else 1)
    dropped = given.config.get("vision_feature_select_strategy", "default") == "default"
    return Fixed(size=size, patch=patch, tokens=rows - int(dropped), center_crop=True)


def vipllava(given: Given) -> Preprocessing:
    """ViP-LLaVA: one square crop."""
    size, patch = _cropped(given)
    rows = (size // patch) ** 2 - (1 if "siglip" in str(given.vision.get("model_type")) else 0)
    return Fixed(size=size, patch=patch, tokens=rows, center_crop=True)


def _pinpoints(given: Given) -> tuple[tuple[int, int], ...]:
    listed = given.processor.get("image_grid_pinpoints") or given.config.get("image_grid_pinpoints")
    if not listed:
        raise SpecError("image_grid_pinpoints: is missing; it lists the (height, width) canvases")
    try:
        return tuple((int(height), int(width)) for height, width in listed)
    except (TypeError, ValueError):
        raise SpecError(f"image_grid_pinpoints: {str(listed)[:60]} is not a list of (height, width) pairs") from None


def llava_next(given: Given) -> Preprocessing:
    """LLaVA-NeXT: listed canvases."""
    tile, patch = _cropped(given)
    return GridPinpoints(tile=tile, patch=patch, side=tile // patch, pinpoints=_pinpoints(given))


def llava_next_video(given: Given) -> Preprocessing:
    """LLaVA-NeXT-Video: as LLaVA-NeXT, frames pooled."""
    scheme = llava_next(given)
    tile, patch = _cropped(given)
    pooled = tile // patch // int(given.top("spatial_pool_stride", 2))
    return scheme.model_copy(update={"video": VideoSampling(max_frames=32, tokens=pooled * pooled)})


def aya(given: Given) -> Preprocessing:
    """Aya Vision."""
    tile, patch = _square(given, 384)
    side = tile // patch // int(given.top("downsample_factor", 2))
    low, high = _cut(given)
    return DynamicTiles(
        tile=tile,
        patch=patch,
        tokens=side * side,
        min_tiles=low,
        max_tiles=high,
    )


def cohere2(given: Given) -> Preprocessing:
    """Command A Vision."""
    tile, patch = _square(given, 512, 16)
    side = tile // patch // int(given.top("downsample_factor", 2))
    return CanvasTiles(
        tile=tile,
        patch=patch,
        tokens=side * side,
        max_tiles=_cut(given)[1],
        thumbnail=True,
    )


def llava_onevision(given: Given) -> Preprocessing:
    """LLaVA-OneVision: listed canvases, shrunk to so many tiles."""
    tile, patch = _square(given, 384)
    side = tile // patch
    aspect = str(given.config.get("vision_aspect_ratio") or "anyres_max_9")
    pooled = -(-side // 2)
    return GridPinpoints(
        tile=tile,
        patch=patch,
        side=side,
        pinpoints=_pinpoints(given),
        max_tiles=int(aspect.removeprefix("anyres_max_")) if aspect.startswith("anyres_max_") else 0,
        single_picture_only=True,
        video=VideoSampling(max_frames=32, tokens=pooled * pooled, newline="clip"),
    )


def internvl(given: Given) -> Preprocessing:
    """InternVL."""
    tile, patch = _square(given, 448)
    side = int(tile // patch * given.top("downsample_ratio", 0.5))
    low, high = _grown(given)
    return DynamicTiles(
        tile=tile,
        patch=patch,
        tokens=max(1, side * side),
        min_tiles=low,
        max_tiles=high,
        thumbnail=given.config.get("use_thumbnail") is not False,
        video=VideoSampling(max_frames=8),
    )


def idefics3(given: Given) -> Preprocessing:
    """Idefics3."""
    tile, patch = given.tile(364, "longest_edge", field="max_image_size"), given.encoder("patch_size", 14)
    side = tile // patch // int(given.top("scale_factor", 2))
    return LongestEdgeSplit(
        longest_edge=given.size(4 * tile, "longest_edge"),
        tile=tile,
        patch=patch,
        tokens=side * side,
        split=bool(given.processor.get("do_image_splitting", True)),
    )


def smolvlm(given: Given) -> Preprocessing:
    """SmolVLM."""
    scheme = idefics3(given)
    return scheme.model_copy(update={"video": VideoSampling(fps=1.0, max_frames=64, rounding="round")})


def mllama(given: Given) -> Preprocessing:
    """Llama-3.2-Vision."""
    tile, patch = _square(given, 560)
    tiles = given.number("max_image_tiles", 4)
    return CanvasTiles(tile=tile, patch=patch, tokens=(tile // patch) ** 2 + 1, max_tiles=tiles, pad_to_max=True)


def llama4(given: Given) -> Preprocessing:
    """Llama-4."""
    tile, patch = _square(given, 336)
    ratio = float(given.vision.get("pixel_shuffle_ratio") or 0.5)
    return CanvasTiles(
        tile=tile,
        patch=patch,
        tokens=int((tile // patch * ratio) ** 2),
        max_tiles=given.number("max_patches", 16),
        thumbnail=True,
        to_max_canvas=bool(given.processor.get("resize_to_max_canvas", False)),
    )


def phi4(given: Given) -> Preprocessing:
    """Phi-4-multimodal."""
    tile, patch = _square(given, 448)
    return DynamicHd(tile=tile, patch=patch, side=tile // patch // 2, max_tiles=given.number("dynamic_hd", 36))


def gemma3(given: Given) -> Preprocessing:
    """Gemma 3."""
    size, patch = _square(given, 896)
    read = given.processor.get
    return PanAndScan(
        size=size,
        patch=patch,
        tokens=int(given.top("mm_tokens_per_image", 256)),
        enabled=bool(read("do_pan_and_scan") or False),
        min_crop=int(read("pan_and_scan_min_crop_size") or 256),
        max_crops=int(read("pan_and_scan_max_num_crops") or 4),
        min_ratio=float(read("pan_and_scan_min_ratio_to_activate") or 1.2),
    )


def paligemma(given: Given) -> Preprocessing:
    """One square crop, every patch a token."""
    size, patch = _square(given, 224)
    return Fixed(size=size, patch=patch, tokens=(size // patch) ** 2)


def queries(given: Given) -> Preprocessing:
    """One square crop, so many learned queries."""
    size, patch = _square(given, 224)
    return Fixed(size=size, patch=patch, tokens=int(given.top("num_query_tokens", 32)))
