"""Parameter counts equal those of the transformers classes, to the parameter."""

from __future__ import annotations

import json
from typing import Any

import counting
import pytest
import torch
import transformers
from make_models import configurations

from simulator.build.count import parameters
from simulator.interop.hf_config import import_config
from simulator.spec.load_model import load_model

CONFIGURATIONS = configurations()
FAST = (
    "gemma-3-12b",
    "glm-4.1v-9b",
    "internvl3-8b",
    "kimi-vl-a3b",
    "llama-3.2-11b-vision",
    "llama-4-scout",
    "llava-1.5-7b",
    "llava-onevision-7b",
    "paligemma2-3b-448",
    "phi-4-multimodal",
    "pixtral-12b",
    "qwen2-vl-2b",
    "qwen2.5-vl-7b",
    "qwen3-vl-8b",
    "smolvlm2-2.2b",
    "phi-2",
    "qwen2.5-0.5b",
    "qwen3-8b",
)
NAMES = [
    pytest.param(name, marks=() if name in FAST else pytest.mark.full)
    for name, entry in CONFIGURATIONS.items()
    if entry["cls"] is not None
]


@pytest.mark.parametrize("name", NAMES)
def test_every_part_equals_the_class(name: str) -> None:
    entry = CONFIGURATIONS[name]
    ours = parameters(load_model(name))
    theirs = counting.owned(counting.build(entry))
    assert {part: ours[part] for part in ours if part != "active"} == {p: theirs[p] for p in ours if p != "active"}


@pytest.mark.parametrize("name", [name for name, entry in CONFIGURATIONS.items() if entry.get("published_params")])
def test_totals_equal_what_publishers_state(name: str) -> None:
    """Three totals are known to hold more than the class: buffers (Kimi-VL), adapters and audio (Phi-4)."""
    entry = CONFIGURATIONS[name]
    beyond = {"kimi-vl-a3b": 3392, "phi-4-multimodal": 5574460384 - 4277571776}.get(name, 0)
    assert parameters(load_model(name))["total"] == entry["published_params"] - beyond


@pytest.mark.parametrize(
    ("name", "active"), [("qwen3-vl-30b-a3b", 3.89e9), ("kimi-vl-a3b", 3.36e9), ("kimi-k2.5", 33.3e9)]
)
def test_active_parameters_of_mixtures(name: str, active: float) -> None:
    """Checkpoint names say about 3 and 32 billion (without embeddings and vision)."""
    assert parameters(load_model(name))["active"] == pytest.approx(active, rel=2e-3)


TYPES = ("gemma", "gemma2", "llama", "mamba", "mistral", "mixtral", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3")
MORE = ("qwen3_moe", "qwen3_next", "deepseek_v3", "mistral3", "idefics3", "internvl", "paligemma", "llava")


@pytest.mark.parametrize("type", (*TYPES, *MORE))
@pytest.mark.parametrize("whole", [True, False], ids=["every field", "stated fields"])
def test_import_of_any_supported_type_counts_like_its_class(type: str, whole: bool) -> None:
    """From the file that transformers itself writes, with every field and with those that differ from the defaults."""
    wrapped = type in ("mistral3", "idefics3", "internvl", "paligemma", "llava")
    config = transformers.CONFIG_MAPPING[type](**({} if wrapped else {"num_hidden_layers": 5}))
    auto: Any = transformers.AutoModelForImageTextToText if wrapped else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        total = sum(parameter.numel() for parameter in auto.from_config(config).parameters())
    data = json.loads(config.to_json_string(use_diff=not whole)) | {"model_type": type}
    assert parameters(import_config(data, "it"))["total"] == total
