"""The size rules inside transformers' own processors, called on a width and a height alone: no pixel is computed.

`RULES[name](width, height)` gives the visual tokens of a picture, `CLIP_RULES[name](frames, width, height)` those of a clip;
both raise where the processor refuses. Rules that sit in a file that wants torchvision are read with an empty torchvision in
its place, since a rule computes no pixels. Only what follows a rule (crops x tokens, separators) is written here.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from processors import packed
from transformers.image_processing_utils import select_best_resolution
from transformers.image_utils import SizeDict
from transformers.utils import is_torchvision_available
from transformers.video_utils import VideoMetadata

Rule = Callable[[dict[str, Any], int, int], int]


@contextmanager
def stand_in() -> Iterator[None]:
    """Empty modules in place of torchvision while a file is imported; none of them stays."""
    names = (
        "torchvision",
        "torchvision.transforms",
        "torchvision.transforms.v2",
        "torchvision.transforms.v2.functional",
    )
    empty = {} if is_torchvision_available() else {name: ModuleType(name) for name in names}
    for name, part in empty.items():
        part.__path__ = []  # a package, so that its parts can be imported
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(empty[parent], child, part)
    sys.modules.update(empty)
    try:
        yield
    finally:
        for name in empty:
            del sys.modules[name]


@cache
def module(name: str) -> Any:
    """A file of transformers.models; one that was read beside a stand-in is not left where others would import it."""
    full = f"transformers.models.{name}"
    with stand_in():
        found = importlib.import_module(full)
    if "tvF" in vars(found) and not is_torchvision_available():
        del sys.modules[full]
        package, _, leaf = full.rpartition(".")
        vars(sys.modules[package]).pop(leaf, None)
    return found


@cache
def _sizes_of(kind: Any) -> Any:
    """The class, with a `resize` at the bottom that gives the size asked for (videos), or an empty picture of it."""
    parent = kind.__mro__[1]

    def resize(self: Any, image: Any, size: Any, **_: Any) -> Any:
        return blank(size.width, size.height) if hasattr(image, "strides") else size

    bottom = type(f"Sizes{parent.__name__}", (parent,), {"resize": resize})
    return type(f"Sizes{kind.__name__}", (kind, bottom), {})


@cache
def _processor(name: str, class_name: str, settings: str) -> Any:
    return _sizes_of(getattr(module(f"{name}.image_processing_pil_{name}"), class_name))(**json.loads(settings))


def pil(name: str, class_name: str, settings: dict[str, Any]) -> Any:
    """A processor of the Pillow kind that computes no pixels."""
    return _processor(name, class_name, json.dumps(settings))


def blank(width: int, height: int) -> Any:
    """A picture (channels first) that takes no memory."""
    return np.broadcast_to(np.uint8(0), (3, height, width))


def fixed(case: dict[str, Any], width: int, height: int) -> int:
    """No rule: what one crop gives."""
    return case["counts"]["pictures"][0]


def gemma3(case: dict[str, Any], width: int, height: int) -> int:
    processor = pil("gemma3", "Gemma3ImageProcessorPil", case["settings"])
    crops = []
    if processor.do_pan_and_scan:
        crops = processor.pan_and_scan(
            blank(width, height),
            processor.pan_and_scan_min_crop_size,
            processor.pan_and_scan_max_num_crops,
            processor.pan_and_scan_min_ratio_to_activate,
        )
    return (1 + len(crops)) * case["config"]["mm_tokens_per_image"]


def pinpoints(case: dict[str, Any], width: int, height: int) -> int:
    config = case["config"]
    tile = config["vision_config"]["image_size"]
    tall, wide = select_best_resolution((height, width), config["image_grid_pinpoints"])
    crops = torch.empty(1, 1 + (tall // tile) * (wide // tile), 0)
    return packed(config, crops, torch.tensor([[height, width]]))


def got_ocr2(case: dict[str, Any], width: int, height: int) -> int:
    processor = pil("got_ocr2", "GotOcr2ImageProcessorPil", case["settings"])
    return 256 * processor.get_number_of_image_patches(height, width)


def splits(name: str, class_name: str) -> Rule:
    def rule(case: dict[str, Any], width: int, height: int) -> int:
        processor = pil(name, class_name, case["settings"])
        tile, patch = processor.max_image_size["longest_edge"], case["config"]["vision_config"]["patch_size"]
        image = processor.resize(blank(width, height), processor.size)
        frames, _, _ = processor.split_images(processor.resize_for_vision_encoder(image, tile), {"longest_edge": tile})
        return len(frames) * (tile // patch // case["config"]["scale_factor"]) ** 2

    return rule


def mllama(case: dict[str, Any], width: int, height: int) -> int:
    """The class pads to its largest number of tiles, whatever canvas it takes."""
    settings = case["settings"]
    module("mllama.image_processing_pil_mllama").get_optimal_tiled_canvas(
        height, width, settings["max_image_tiles"], settings["size"]["height"]
    )
    return settings["max_image_tiles"] * 1601


def llama4(case: dict[str, Any], width: int, height: int) -> int:
    rules, settings = module("llama4.image_processing_llama4"), case["settings"]
    tile = settings["size"]["height"]
    canvases = torch.tensor(rules.find_supported_resolutions(settings["max_patches"], SizeDict(tile, tile)))
    tall, wide = rules.get_best_fit((height, width), canvases, settings["resize_to_max_canvas"])
    tiles = int(tall) // tile * (int(wide) // tile)
    return 144 * (tiles + 1 if tiles > 1 else tiles)


def cohere2(case: dict[str, Any], width: int, height: int) -> int:
    rules, settings = module("cohere2_vision.image_processing_cohere2_vision"), case["settings"]
    tile = settings["size"]["height"]
    columns, rows = rules.get_optimal_tiled_canvas((height, width), (tile, tile), 1, settings["max_patches"])
    tiles = int(columns * rows)
    return 256 * (tiles + 1 if tiles > 1 else tiles)


def phi4(case: dict[str, Any], width: int, height: int) -> int:
    """The mask of `dynamic_preprocess`, and the count that `_preprocess` takes from it."""
    rules = module("phi4_multimodal.image_processing_phi4_multimodal")
    rules.tvF = SimpleNamespace(resize=lambda image, size: image, pad=lambda image, sides, fill: image)
    kind = rules.Phi4MultimodalImageProcessor
    self = SimpleNamespace(find_closest_aspect_ratio=lambda *given: kind.find_closest_aspect_ratio(None, *given))
    tile, most = case["settings"]["size"]["height"], case["settings"]["dynamic_hd"]
    picture = SimpleNamespace(shape=(3, height, width), device="cpu")
    _, mask = kind.dynamic_preprocess(self, picture, tile, 14, tile // 14, max_num=most)
    kept = mask[0::2, 0::2]
    return 256 + 1 + int(kept.sum()) + int(kept[:, 0].sum()) + 16


def native(name: str, class_name: str) -> Rule:
    def rule(case: dict[str, Any], width: int, height: int) -> int:
        processor = pil(name, class_name, case["settings"])
        return processor.get_number_of_image_patches(height, width) // processor.merge_size**2

    return rule


def pixtral(case: dict[str, Any], width: int, height: int) -> int:
    rules = module("pixtral.image_processing_pil_pixtral")
    patch = case["settings"]["patch_size"]["height"]
    edge = case["settings"]["size"]["longest_edge"]
    tall, wide = rules.get_resize_output_image_size(
        blank(width, height), (edge, edge), (patch, patch), "channels_first"
    )
    if not tall or not wide:
        raise ValueError("the processor's resize takes no side of 0")
    return tall // patch * (wide // patch)


def kimi(case: dict[str, Any], width: int, height: int) -> int:
    rules, most = module("kimi_k25.image_processing_kimi_k25"), case["settings"]["max_patches"]
    _, (tall, wide) = rules.navit_resize(height, width, 14, 2, most, 512)
    return tall // 28 * (wide // 28)


def deepseek_vl2(case: dict[str, Any], width: int, height: int) -> int:
    """DeepSeek-VL2 chooses its canvas with LLaVA's function; 14 x 14 tokens a tile, a newline a row, one separator."""
    grids = [
        [384 * rows, 384 * (tiles // rows)] for tiles in range(1, 10) for rows in range(1, 10) if tiles % rows == 0
    ]
    tall, wide = select_best_resolution((height, width), grids)
    return 14 * 15 + 1 + 14 * tall // 384 * (14 * wide // 384 + 1)


def deepseek_ocr(case: dict[str, Any], width: int, height: int) -> int:
    """DeepSeek-OCR ("Gundam"): the grid by transformers' function; pictures that one tile holds are not cut."""
    rules = module("deepseek_ocr2.image_processing_pil_deepseek_ocr2")
    columns, rows = rules.get_optimal_tiled_canvas((height, width), (640, 640), 2, 9)
    tiled = 10 * rows * (10 * columns + 1) if max(width, height) > 640 else 0
    return 16 * 17 + 1 + tiled


def minicpm(case: dict[str, Any], width: int, height: int) -> int:
    processor = pil("minicpmv4_6", "MiniCPMV4_6ImageProcessorPil", {})
    grid = processor.get_sliced_grid((height, width), 9, 448)
    return 64 * (1 + (grid[0] * grid[1] if grid else 0))


RULES: dict[str, Rule] = {
    "CLIPImageProcessor": fixed,
    "SiglipImageProcessor": fixed,
    "Gemma3ImageProcessor": gemma3,
    "LlavaNextImageProcessor": pinpoints,
    "LlavaOnevisionImageProcessor": pinpoints,
    "GotOcr2ImageProcessor": got_ocr2,
    "Idefics3ImageProcessor": splits("idefics3", "Idefics3ImageProcessorPil"),
    "SmolVLMImageProcessor": splits("smolvlm", "SmolVLMImageProcessorPil"),
    "MllamaImageProcessor": mllama,
    "Llama4ImageProcessor": llama4,
    "Cohere2VisionImageProcessor": cohere2,
    "Phi4MultimodalImageProcessor": phi4,
    "Qwen2VLImageProcessor": native("qwen2_vl", "Qwen2VLImageProcessorPil"),
    "Glm4vImageProcessor": native("glm4v", "Glm4vImageProcessorPil"),
    "PixtralImageProcessor": pixtral,
    "Kimi_K25ImageProcessor": kimi,
    "DeepSeek-VL2": deepseek_vl2,
    "DeepSeek-OCR": deepseek_ocr,
    "MiniCPM-V": minicpm,
}


def bounded_clip(name: str, class_name: str, **more: Any) -> Callable[[dict[str, Any], int, int, int], int]:
    """Tokens of a clip by the `resize` of a video processor, with its own bounds unless the case has others."""

    def rule(case: dict[str, Any], frames: int, width: int, height: int) -> int:
        kind = getattr(module(f"{name}.video_processing_{name}"), class_name)
        vision = case["config"]["vision_config"]
        patch, merge, group = vision["patch_size"], vision["spatial_merge_size"], vision["temporal_patch_size"]
        self = object.__new__(_sizes_of(kind))
        found = self.resize(
            SimpleNamespace(shape=(1, frames, 3, height, width)),
            SizeDict(**{**kind.size, **case.get("video_settings", {}).get("size", {})}),
            None,
            factor=patch * merge,
            temporal_factor=group,
            **more,
        )
        return -(-frames // group) * (found.height // patch) * (found.width // patch) // merge**2

    return rule


def kimi_clip(case: dict[str, Any], frames: int, width: int, height: int) -> int:
    rules = module("kimi_k25.video_processing_kimi_k25")
    most = rules.Kimi_K25VideoProcessor.max_patches
    _, (tall, wide) = rules.navit_resize(height, width, 14, 2, most, 512)
    return -(-frames // 4) * (tall // 28) * (wide // 28)


CLIP_RULES: dict[str, Callable[[dict[str, Any], int, int, int], int]] = {
    "qwen2_vl": bounded_clip("qwen2_vl", "Qwen2VLVideoProcessor", cap_pixels_per_frame=True),
    "qwen2_5_vl": bounded_clip("qwen2_vl", "Qwen2VLVideoProcessor", cap_pixels_per_frame=True),
    "qwen3_vl": bounded_clip("qwen3_vl", "Qwen3VLVideoProcessor"),
    "glm4v": bounded_clip("glm4v", "Glm4vVideoProcessor"),
    "kimi_k25": kimi_clip,
}

SAMPLERS = {
    "qwen3_vl": ("qwen3_vl", "Qwen3VLVideoProcessor"),
    "glm4v": ("glm4v", "Glm4vVideoProcessor"),
    "glm46v": ("glm46v", "Glm46VVideoProcessor"),
    "smolvlm": ("smolvlm", "SmolVLMVideoProcessor"),
}


def frames_taken(case: dict[str, Any], total: int, fps: float) -> int:
    """Frames that the video processor takes of a file."""
    name, class_name = SAMPLERS[case["config"]["model_type"]]
    kind = getattr(module(f"{name}.video_processing_{name}"), class_name)
    metadata = VideoMetadata(total_num_frames=total, fps=fps, duration=total / fps)
    return len(kind.sample_frames(object.__new__(kind), metadata, **case["sampling"]))
