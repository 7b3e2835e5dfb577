"""Size rules of further processors: see `size_rules`. Cases are made here, from the settings that the classes have by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from size_rules import blank, module
from transformers.image_utils import SizeDict

from simulator.interop.processor_defaults import preprocessing_for
from simulator.spec.preprocessing import Preprocessing

Rule = Callable[[dict[str, Any], int, int], int]


def ovis2(case: dict[str, Any], width: int, height: int) -> int:
    columns, rows = module("ovis2.image_processing_pil_ovis2").get_min_tile_covering_grid((height, width), 448, 9)
    tiles = columns * rows
    return 256 * (tiles + 1 if tiles > 1 else 1)


def lfm2_vl(case: dict[str, Any], width: int, height: int) -> int:
    kind = module("lfm2_vl.image_processing_lfm2_vl").Lfm2VlImageProcessor
    self = object.__new__(kind)
    most = {"max_image_tokens": 256, "encoder_patch_size": 16, "downsample_factor": 2}
    wide, tall = self.smart_resize(height, width, min_image_tokens=64, **most)
    own = tall // 32 * (wide // 32)
    if not self._is_image_too_large(height, width, max_pixels_tolerance=2.0, **most):
        return own
    tiles = self._get_grid_layout(height, width, 2, 10, 512)[-1]
    return 256 * tiles + (own if tiles > 1 else 0)


def idefics2(case: dict[str, Any], width: int, height: int) -> int:
    """The queries, whatever the size; that the size is right is asked by `idefics2_patches`."""
    return 64


def idefics2_patches(width: int, height: int) -> tuple[int, int]:
    """(rows, columns) of patches."""
    rules = module("idefics2.image_processing_pil_idefics2")
    tall, wide = rules.get_resize_output_image_size(blank(width, height), SizeDict(shortest_edge=378, longest_edge=980))
    return tall // 14, wide // 14


def gemma4(case: dict[str, Any], width: int, height: int) -> int:
    tall, wide = module("gemma4.image_processing_pil_gemma4").get_aspect_ratio_preserving_size(
        height, width, 16, 2520, 3
    )
    return tall // 48 * (wide // 48)


def perception_lm(case: dict[str, Any], width: int, height: int) -> int:
    kind = module("perception_lm.image_processing_perception_lm").PerceptionLMImageProcessor
    self = object.__new__(kind)
    canvas = self._fit_image_to_canvas(width, height, 448) or self._find_closest_aspect_ratio(width, height, 448)
    return 256 * (1 + canvas[0] * canvas[1])


def phi3_v(case: dict[str, Any], width: int, height: int) -> int:
    """The published rule, step by step: scale while so many tiles allow, pad the shorter side."""
    turned = width < height
    long, short = (height, width) if turned else (width, height)
    ratio, scale = long / short, 1
    while scale * math.ceil(scale / ratio) <= 16:
        scale += 1
    scale -= 1
    across = math.ceil(int(scale * 336 / ratio) / 336)
    if across == 0:
        raise ValueError("no side of 0 can be resized to")
    rows = scale if turned else across
    return (scale * across + 1) * 144 + 1 + (rows + 1) * 12


def molmo2(case: dict[str, Any], width: int, height: int) -> int:
    rules = module("molmo2.image_processing_molmo2")
    _, _, tall, wide = rules.compute_crop_geometry(height, width, 8, [4, 4], 378, 14)
    return 14 * 14 + math.ceil(tall // 14 / 2) * math.ceil(wide // 14 / 2)


def molmo(case: dict[str, Any], width: int, height: int) -> int:
    """Its successor's rule with its own tiles."""
    rules = module("molmo2.image_processing_molmo2")
    _, _, tall, wide = rules.compute_crop_geometry(height, width, 12, [4, 4], 336, 14)
    return 12 * 12 + math.ceil(tall // 14 / 2) * math.ceil(wide // 14 / 2)


def paddleocr_vl(case: dict[str, Any], width: int, height: int) -> int:
    tall, wide = module("paddleocr_vl.image_processing_paddleocr_vl").smart_resize(height, width)
    return tall // 28 * (wide // 28)


def ernie(case: dict[str, Any], width: int, height: int) -> int:
    rules = module("ernie4_5_vl_moe.image_processing_ernie4_5_vl_moe")
    tall, wide = rules.smart_resize(height, width, min_pixels=56 * 56, max_pixels=28 * 28 * 6177)
    return tall // 28 * (wide // 28)


def hunyuan(case: dict[str, Any], width: int, height: int) -> int:
    rules = module("hunyuan_vl.image_processing_hunyuan_vl")
    tall, wide = rules.smart_resize(height, width, factor=32, min_pixels=512 * 512, max_pixels=2048 * 2048)
    return tall // 32 * (wide // 32 + 1) + 2


def aria(case: dict[str, Any], width: int, height: int) -> int:
    return 256


_NATIVE = {"vision_config": {"patch_size": 14, "spatial_merge_size": 2}}
_SQUARE = {"vision_config": {"image_size": 448, "patch_size": 14, "hidden_stride": 2}}
MORE_CASES: dict[str, tuple[Rule, str, dict[str, Any], dict[str, Any]]] = {
    "ovis2": (ovis2, "ovis2", _SQUARE, {}),
    "lfm2-vl": (lfm2_vl, "lfm2_vl", {"downsample_factor": 2, "vision_config": {"patch_size": 16}}, {}),
    "idefics2": (idefics2, "idefics2", {"vision_config": {"patch_size": 14}}, {}),
    "gemma-4": (gemma4, "gemma4", {"vision_config": {"patch_size": 16, "pooling_kernel_size": 3}}, {}),
    "perception-lm": (
        perception_lm,
        "perception_lm",
        {"projector_pooling_ratio": 2, "vision_config": {"patch_size": 14}},
        {"tile_size": 448, "max_num_tiles": 36},
    ),
    "molmo2": (molmo2, "molmo2", {"vision_config": {"image_size": [378, 378], "patch_size": 14}}, {}),
    "molmo": (molmo, "molmo", {"vision_config": {"image_size": 336, "patch_size": 14}}, {}),
    "paddleocr-vl": (paddleocr_vl, "paddleocr_vl", _NATIVE, {}),
    "ernie-4.5-vl": (ernie, "ernie4_5_vl_moe", _NATIVE, {}),
    "hunyuan-ocr": (hunyuan, "hunyuan_vl", {"vision_config": {"patch_size": 16, "spatial_merge_size": 2}}, {}),
    "aria": (aria, "aria", {"vision_config": {"patch_size": 14}}, {}),
    "phi-3.5-vision": (phi3_v, "phi3_v", {"vision_config": {"image_size": 336, "patch_size": 14}}, {"num_crops": 16}),
}


def scheme(name: str) -> Preprocessing:
    """What the importer makes of a case."""
    _, kind, config, processor = MORE_CASES[name]
    return preprocessing_for(kind, config, processor)[0]
