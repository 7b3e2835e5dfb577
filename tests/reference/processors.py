"""Visual tokens by transformers' own image and video processors, run on blank pictures: the outside truth for `tokens.json`.

    python tests/reference/processors.py CASES.json > COUNTS.json

CASES: [{"name", "class", "settings", "config", "pictures": [[width, height]], "clips": [[frames, width, height]], "samples":
[[frames in the file, frames per second]]}]. Answers, in the same order: {"name", "processor", "pictures": [tokens], "clips":
[tokens], "samples": [frames taken]}; null where this machine or the model cannot do it, "refused" where the processor raises.

It runs in a process of its own, because transformers decides at import whether torchvision is there. torchvision has no build
for the CPU that loads beside torch 2.13.0, but its compiled operators are not needed here: they are declared, not
implemented (`stub_operators`). Where torchvision is absent (set LVLM_TORCHVISION to a folder that holds it, filled with
`pip install --no-deps --target FOLDER torchvision`), the Pillow variants of the processors are used, and videos are left out.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any


def stub_operators() -> bool:
    """Makes torchvision importable if it is there; says whether it is."""
    folder = os.environ.get("LVLM_TORCHVISION")
    if folder:
        sys.path.insert(0, folder)
    if find_spec("torchvision") is None:
        return False
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401

    sys.modules[__name__].__dict__["_library"] = library  # must outlive this call
    return True


HAS_TORCHVISION = stub_operators()


def processor_class(name: str) -> Any:
    """The processor: the torchvision one where that can be imported, else its Pillow variant."""
    import transformers

    for candidate in (name, f"{name}Pil") if HAS_TORCHVISION else (f"{name}Pil", name):
        try:
            found = getattr(transformers, candidate)
            found()
            return found
        except (ImportError, AttributeError, RuntimeError):
            continue
    return None


def picture_tokens(case: dict[str, Any], processor: Any, width: int, height: int) -> int:
    """Visual tokens of one blank picture."""
    from PIL import Image

    picture = Image.new("RGB", (width, height))
    family, config = case["config"]["model_type"], case["config"]
    vision = config["vision_config"]
    nested = family in ("idefics3", "smolvlm", "mllama")
    out = processor([[picture]] if nested else [picture], return_tensors="pt", **case.get("call", {}))
    if "image_grid_thw" in out:
        merge = vision.get("spatial_merge_size") or vision["merge_kernel_size"][0]
        return int(out["image_grid_thw"].prod()) // merge**2
    if "num_img_tokens" in out:
        return int(out["num_img_tokens"][0])
    if vision.get("model_type") == "pixtral":
        tall, wide = out["image_sizes"][0]
        return int(tall) // vision["patch_size"] * (int(wide) // vision["patch_size"])
    pixels = out["pixel_values"]
    if family in ("llava_next", "llava_onevision"):
        return packed(config, pixels, out["image_sizes"])
    crops = pixels.reshape(-1, *pixels.shape[-3:]).shape[0]
    side = pixels.shape[-1] // (
        vision["patch_size"][0] if isinstance(vision["patch_size"], list) else vision["patch_size"]
    )
    if family == "mllama":
        return crops * (side**2 + 1)
    if family == "gemma3":
        return crops * config["mm_tokens_per_image"]
    shrink = {
        "internvl": 1.0 / config.get("downsample_ratio", 1.0),
        "llama4": 1.0 / vision.get("pixel_shuffle_ratio", 1.0),
        "idefics3": config.get("scale_factor", 1),
        "smolvlm": config.get("scale_factor", 1),
    }.get(family, 1)
    return crops * int(side // shrink) ** 2


def packed(config: dict[str, Any], pixels: Any, sizes: Any) -> int:
    """Length of what the model's own `pack_image_features` makes of empty features."""
    import torch
    from transformers.models.llava_next.modeling_llava_next import LlavaNextModel
    from transformers.models.llava_onevision.modeling_llava_onevision import LlavaOnevisionModel

    vision = SimpleNamespace(**config["vision_config"])
    self = SimpleNamespace(
        config=SimpleNamespace(vision_config=vision, image_grid_pinpoints=config["image_grid_pinpoints"])
    )
    side = vision.image_size // vision.patch_size
    features = [torch.zeros(pixels.shape[1], side * side, 1)]
    newline = torch.zeros(1)
    if config["model_type"] == "llava_onevision":
        _, lengths = LlavaOnevisionModel.pack_image_features(self, features, sizes, image_newline=newline)
    else:
        _, lengths = LlavaNextModel.pack_image_features(self, features, sizes, "default", image_newline=newline)
    return int(lengths[0])


VIDEO = {
    "qwen2_vl": "Qwen2VLVideoProcessor",
    "qwen2_5_vl": "Qwen2VLVideoProcessor",
    "qwen3_vl": "Qwen3VLVideoProcessor",
    "qwen3_vl_moe": "Qwen3VLVideoProcessor",
    "glm4v": "Glm4vVideoProcessor",
    "kimi_k25": "Kimi_K25VideoProcessor",
    "llava_onevision": "LlavaOnevisionVideoProcessor",
    "internvl": "InternVLVideoProcessor",
    "smolvlm": "SmolVLMVideoProcessor",
}


def clip_tokens(case: dict[str, Any], frames: int, width: int, height: int) -> int | None:
    """Visual tokens of a blank clip whose frames are all taken; None where this machine or the model does no video."""
    import torch
    import transformers

    config = case["config"]
    name = VIDEO.get(config["model_type"])
    if name is None or not HAS_TORCHVISION or not case.get("video", True):
        return None
    vision, processor = config["vision_config"], getattr(transformers, name)(**case.get("video_settings", {}))
    clip = torch.zeros(frames, 3, height, width, dtype=torch.uint8)
    kwargs = {"cap_pixels_per_frame": True} if name == "Qwen2VLVideoProcessor" else {}
    out = processor(videos=[clip], return_tensors="pt", do_sample_frames=False, **kwargs)
    if "video_grid_thw" in out:
        merge = vision.get("spatial_merge_size") or vision["merge_kernel_size"][0]
        grid = out["video_grid_thw"]
        cells = grid[:, 1] * grid[:, 2] if config["model_type"] == "kimi_k25" else grid.prod(dim=1)
        return int(cells.sum()) // merge**2
    pixels = out["pixel_values_videos" if "pixel_values_videos" in out else "pixel_values"]
    if config["model_type"] == "llava_onevision":
        from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

        side = vision["image_size"] // vision["patch_size"]
        self = SimpleNamespace(num_image_tokens=side * side)
        inputs = {"pixel_values_videos": pixels}
        self.video_token = "v"
        return len(LlavaOnevisionProcessor.replace_video_token(self, inputs, 0))
    count = pixels.reshape(-1, *pixels.shape[-3:]).shape[0]
    patch = vision["patch_size"][0] if isinstance(vision["patch_size"], list) else vision["patch_size"]
    shrink = 1.0 / config["downsample_ratio"] if "downsample_ratio" in config else config["scale_factor"]
    return count * int(pixels.shape[-1] // patch // shrink) ** 2


def frames_taken(case: dict[str, Any], total: int, fps: float) -> int | None:
    """Frames that the video processor takes of a file with `total` frames; None where it has no rule of its own."""
    import transformers
    from transformers.video_utils import VideoMetadata

    settings = case.get("sampling")
    if settings is None or not HAS_TORCHVISION:
        return None
    processor = getattr(transformers, VIDEO[case["config"]["model_type"]])(**case.get("video_settings", {}))
    metadata = VideoMetadata(total_num_frames=total, fps=fps, duration=total / fps)
    return len(processor.sample_frames(metadata, **settings))


def counts(case: dict[str, Any]) -> dict[str, Any]:
    """All counts of one case."""
    found = processor_class(case["class"])
    processor = found(**case["settings"]) if found else None
    return {
        "name": case["name"],
        "processor": found.__name__ if found else None,
        "pictures": [
            _tried(picture_tokens, case, processor, *size) if processor else None for size in case["pictures"]
        ],
        "clips": [_tried(clip_tokens, case, *size) for size in case["clips"]],
        "samples": [_tried(frames_taken, case, *file) for file in case["samples"]],
    }


def _tried(count: Any, *arguments: Any) -> int | str | None:
    try:
        return count(*arguments)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        print(f"{arguments[0]['name']} {arguments[1:]}: {error}", file=sys.stderr)
        return "refused"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    json.dump([counts(case) for case in cases], sys.stdout)
