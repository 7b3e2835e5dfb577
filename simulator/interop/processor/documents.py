"""Processors of Molmo, Aria, and of models that came for documents."""

from __future__ import annotations

from typing import Any, cast

from simulator.interop.hf.aria import queries
from simulator.interop.processor.given import Given
from simulator.interop.processor.llava import square
from simulator.interop.processor.native import pixels
from simulator.spec.preprocessing import Fixed, HdCanvas, Native, OverlappingTiles, Preprocessing, VideoSampling
from simulator.spec.source import SpecError
from simulator.spec.validated import shown


def _sum(given: Given, name: str, default: int) -> int:
    """The sum of a pair of the processor's file."""
    found: Any = given.processor.get(name)
    if found is None:
        return given.whole(name, None, default)
    pair = cast("list[Any]", found) if isinstance(found, list | tuple) else []
    if len(pair) != 2 or any(isinstance(item, bool) or not isinstance(item, int) or not 0 <= item < 1000 for item in pair):
        raise SpecError(f"{name}: {shown(cast('object', found))} is not accepted: two whole numbers")
    return sum(pair)


def molmo2(given: Given) -> Preprocessing:
    """Molmo 2: overlapping tiles; frames are one tile, pooled 3 x 3."""
    size, patch = given.tile(378, "height"), given.encoder("patch_size", 14)
    pool = _sum(given, "pooling_size", 4) // 2
    frame = VideoSampling(fps=2.0, max_frames=64, tokens=(-(-(size // patch) // 3)) ** 2)
    margin, most = _sum(given, "overlap_margins", 8), given.number("max_crops", 8)
    return OverlappingTiles(tile=size, patch=patch, margin=margin, pool=max(1, pool), max_tiles=most, video=frame)


def molmo(given: Given) -> Preprocessing:
    """Molmo: overlapping tiles."""
    size, patch, _ = square(given)
    margin, most = _sum(given, "overlap_margins", 8), given.number("max_crops", 12)
    return OverlappingTiles(tile=size, patch=patch, margin=margin, pool=2, max_tiles=most)


def moondream(given: Given) -> Preprocessing:
    """Moondream 2: overlapping tiles whose features join those of the whole picture."""
    size, patch, _ = square(given)
    asked: Any = given.config.get("config")
    seen: Any = cast("dict[str, Any]", asked).get("vision") if isinstance(asked, dict) else None
    stated = cast("dict[str, Any]", seen) if isinstance(seen, dict) else {}
    most = given.whole("config.vision.max_crops", stated.get("max_crops"), 12)
    margin = 2 * given.whole("config.vision.overlap_margin", stated.get("overlap_margin"), 4)
    return OverlappingTiles(tile=size, patch=patch, margin=margin, pool=1, max_tiles=most, rule="most", joined=True)


def aria(given: Given) -> Preprocessing:
    """Aria: one padded square; as many queries as the table says for its patches."""
    if given.processor.get("split_image"):
        raise SpecError("split_image: true is not accepted: false (one square of max_image_size)")
    size, patch = given.number("max_image_size", 980), given.encoder("patch_size", 14)
    table = queries(given.config.get("projector_patch_to_query_dict") or {"1225": 128, "4900": 256})
    rows = (size // patch) ** 2
    if rows not in table:
        known = ", ".join(map(str, sorted(table)))
        raise SpecError(f"projector_patch_to_query_dict: {rows} patches of {size} pixels are not in it; it has {known}")
    return Fixed(size=size, patch=patch, tokens=table[rows])


def xcomposer2(given: Given) -> Preprocessing:
    """InternLM-XComposer 2: one square; 2.5: tiles of a padded canvas that grows at most one and a half times, 2 x 2 patches to a token."""
    size, patch, side = square(given)
    if "img_size" in given.config:
        return Fixed(size=size, patch=patch, tokens=side**2)
    most = given.whole("hd_num", given.config.get("hd_num"), 24)
    return HdCanvas(tile=size, patch=patch, side=side // 2, max_tiles=most, scale=1.5)


def llava_onevision_1_5(given: Given) -> Preprocessing:
    """LLaVA-OneVision 1.5: Qwen2-VL's pictures, one frame per patch."""
    return _own(given, 3136, 12845056)


def paddleocr_vl(given: Given) -> Preprocessing:
    """PaddleOCR-VL: sides below a token are enlarged first."""
    return _own(given, 384 * 384, 1536 * 1536, enlarge=True)


def keye(given: Given) -> Preprocessing:
    """Keye-VL: the same rule within other bounds."""
    return _own(given, 28 * 28 * 130, 28 * 28 * 1280, enlarge=True)


def ernie4_5_vl_moe(given: Given) -> Preprocessing:
    """ERNIE 4.5 VL pictures. Clips are left out: two frames join after the encoder, which no scheme says."""
    return _own(given, 56 * 56, 28 * 28 * 6177)


def dots_ocr(given: Given) -> Preprocessing:
    """dots.ocr."""
    return _own(given, 3136, 11289600)


def hunyuan_vl(given: Given) -> Preprocessing:
    """HunyuanOCR: rows of tokens end in a learned vector, one stands before and one after all."""
    return _own(given, 512 * 512, 2048 * 2048, framed=True)


def _own(given: Given, low: int, high: int, enlarge: bool = False, framed: bool = False) -> Preprocessing:
    low, high = pixels(given, low, high)
    patch, merge = given.encoder("patch_size", 16 if framed else 14), given.encoder("spatial_merge_size", 2)
    return Native(
        patch=patch, merge=merge, min_pixels=low, max_pixels=high, temporal_patch=1, enlarge=enlarge, framed=framed
    )
