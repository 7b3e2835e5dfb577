"""Architectures of the stages suite: configurations shipped beside this file, models built from them with random weights."""

from __future__ import annotations

import importlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from calibrate.measure.case import Unsupported
from calibrate.measure.device import DTYPES, Device

PATH = Path(__file__).with_name("architectures.json")
RESIDENT_SHARE = 0.6


@dataclass(frozen=True)
class Architecture:
    """A published LVLM or a cut of one. ``kind`` names the vision path; ``images`` are picture sizes [pixels]."""

    name: str
    kind: str
    like: str
    devices: tuple[str, ...]
    images: tuple[tuple[int, int], ...]
    config: dict[str, Any]

    @property
    def language_layers(self) -> int:
        return int(self.config["text_config"]["num_hidden_layers"])

    @property
    def vision_layers(self) -> int:
        vision = self.config["vision_config"]
        return int(vision["depth"] if self.kind == "qwen" else vision["num_hidden_layers"])

    @property
    def is_floor(self) -> bool:
        """Whether it exists to measure what a layer costs when it has no work."""
        return self.name.startswith("floor-")

    def visual_tokens(self, width: int, height: int) -> int:
        """Visual tokens of one picture (of one tile for tiling models)."""
        vision = self.config["vision_config"]
        if self.kind == "qwen":
            cell = vision["patch_size"] * vision["spatial_merge_size"]
            return (width // cell) * (height // cell)
        patch = vision["patch_size"]
        side = width // (patch[0] if isinstance(patch, list) else patch)
        if self.kind == "smolvlm":
            return (side // self.config["scale_factor"]) ** 2
        return (side // 2) ** 2 if self.kind == "internvl" else side * side

    def parameters(self) -> int:
        """Rough count, for the memory check before building."""
        text, vision = self.config["text_config"], self.config["vision_config"]
        hidden, ffn = text["hidden_size"], text["intermediate_size"]
        wide = vision.get("embed_dim", vision["hidden_size"])
        language = (
            text["num_hidden_layers"] * (4 * hidden * hidden + 3 * hidden * ffn) + 2 * text["vocab_size"] * hidden
        )
        return int(language + self.vision_layers * 12 * wide * wide)


def architectures(device_kind: str) -> list[Architecture]:
    """Those meant for this kind of device."""
    listed = json.loads(PATH.read_text(encoding="utf-8"))
    every = [
        Architecture(
            name,
            one["kind"],
            one["like"],
            tuple(one["devices"]),
            tuple((w, h) for w, h in one["images"]),
            one["config"],
        )
        for name, one in listed.items()
    ]
    return [one for one in every if device_kind in one.devices]


class Lvlm(Protocol):
    """The parts that every class of transformers used here has."""

    lm_head: Callable[..., torch.Tensor]
    model: Any
    config: Any


class Shelf:
    """Built models, the latest used kept while they fill no more than 60 % of memory."""

    def __init__(self) -> None:
        self.models: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def get(self, architecture: Architecture, format: str, attention: str, device: Device) -> Any:
        """The model in ``format`` with an attention implementation (``eager`` or ``sdpa``), in evaluation mode."""
        key = (architecture.name, format)
        if key not in self.models:
            needed = architecture.parameters() * DTYPES[format].itemsize
            while self.models and needed > RESIDENT_SHARE * device.available_bytes():
                self.models.popitem(last=False)
                device.release()
            self.models[key] = build(architecture, format, device)
        self.models.move_to_end(key)
        model = self.models[key]
        model.set_attn_implementation(attention)
        return model


def build(architecture: Architecture, format: str, device: Device) -> Any:
    """A model with random weights on the device."""
    try:
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise Unsupported("transformers is not installed") from error
    mapping = transformers.CONFIG_MAPPING
    kind = architecture.config["model_type"]
    if kind not in mapping:
        raise Unsupported(f"this transformers has no {kind}")
    config = mapping[kind].from_dict(architecture.config)
    torch.manual_seed(0)
    with torch.device(device.torch):
        model = transformers.AutoModelForImageTextToText.from_config(
            config, dtype=DTYPES[format], attn_implementation="sdpa"
        )
    return model.to(device.torch).eval()


def projector_of(model: Any, kind: str) -> Any:
    """The module between the vision tower and the language model."""
    inner = model.model
    return {
        "qwen": lambda: inner.visual.merger,
        "smolvlm": lambda: inner.connector,
        "llava": lambda: inner.multi_modal_projector,
        "internvl": lambda: inner.multi_modal_projector,
        "paligemma": lambda: inner.multi_modal_projector,
    }[kind]()


def language_of(model: Any, kind: str) -> Any:
    """The decoder without its head."""
    return model.model.text_model if kind == "smolvlm" else model.model.language_model


def pictures(
    architecture: Architecture, width: int, height: int, count: int, format: str, device: Device
) -> dict[str, Any]:
    """Inputs of the vision path for ``count`` pictures."""
    if architecture.kind == "qwen":
        vision = architecture.config["vision_config"]
        patch = vision["patch_size"]
        rows, columns = height // patch, width // patch
        depth = 3 * vision["temporal_patch_size"] * patch * patch
        grid = torch.tensor([[1, rows, columns]] * count, device=device.torch)
        return {"pixel_values": device.take((count * rows * columns, depth), format), "image_grid_thw": grid}
    return {"pixel_values": device.take((count, 3, height, width), format)}


def encoder_call(
    model: Any, architecture: Architecture, inputs: dict[str, Any]
) -> tuple[Callable[[], Any], Callable[[], None]]:
    """A call of the vision tower alone, and what puts the model back together afterwards."""
    inner, pixels = model.model, inputs["pixel_values"]
    if architecture.kind == "qwen":
        visual = inner.visual
        merger = visual.merger
        visual.merger = torch.nn.Identity()

        def restore() -> None:
            visual.merger = merger

        return (lambda: visual(pixels, inputs["image_grid_thw"])), restore
    if architecture.kind == "smolvlm":
        return (lambda: inner.vision_model(pixel_values=pixels)), lambda: None
    if architecture.kind == "llava":
        return (lambda: inner.vision_tower(pixels, output_hidden_states=True)), lambda: None
    return (lambda: inner.vision_tower(pixels)), lambda: None


def projector_call(model: Any, architecture: Architecture, inputs: dict[str, Any]) -> Callable[[], Any]:
    """A call of the projector alone, on what the vision tower hands it."""
    projector = projector_of(model, architecture.kind)
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    handle = projector.register_forward_pre_hook(
        lambda _, args, options: seen.append((args, options)), with_kwargs=True
    )
    try:
        given = dict(inputs)
        if architecture.kind == "smolvlm":
            given["pixel_values"] = given["pixel_values"][None]
        with torch.inference_mode():
            model.model.get_image_features(**given)
    finally:
        handle.remove()
    arguments, options = seen[0]
    return lambda: projector(*arguments, **options)
