"""Configurations that nobody has seen: drawn at random, imported, and counted against the classes themselves.

Each is read three times: as drawn, and as transformers writes it with every field and with those that differ from its
defaults. Left out, because the classes multiply differently by rule: FLOPs of linear mixers (a scan is no matrix product),
of Q-Formers (no encoder entry in `counting`), and of Aya, Command A and LightOnOCR encoders.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import counting
import evaluated
import pytest
import torch
import transformers
from drawn import TEXTS, Draw
from drawn_newer import NEWER
from drawn_wrapped import WRAPPED as FIRST

from simulator.build.count import parameters
from simulator.interop.hf.fields import defaults
from simulator.interop.hf_config import import_config
from simulator.spec.model import Lvlm
from simulator.spec.workload import Picture

WRAPPED = FIRST | NEWER
SEEDS = (1, 2, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(3, 15)))
UNCOUNTED = ("deepseek_v32", "glm_moe_dsa", "gpt2", "bloom", "falcon", "qwen3_next", "qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_5_moe_text", "mamba", "opt",
             "gpt_neox", "falcon_mamba", "mamba2", "bamba", "granitemoehybrid", "jamba", "nemotron_h")  # fmt: skip
WINDOWED = ("mistral", "mixtral", "phi3", "starcoder2", "ministral3", "qwen3_moe", "phimoe")
FAMILY = {
    **dict.fromkeys(("llava", "llava_next", "llava_next_video", "llava_onevision", "vipllava"), "llava"),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"), "qwen_vl"),
    **dict.fromkeys(("glm4v", "glm46v", "glm4v_moe"), "glm4v"),
    **dict.fromkeys(("idefics3", "smolvlm"), "idefics3"),
    **{name: name for name in ("internvl", "gemma3", "paligemma", "mllama", "llama4")},
    **{name: name for name in ("idefics2", "ovis2", "lfm2_vl", "video_llava", "gemma4")},
    **{name: name for name in ("molmo2", "aria", "glm_ocr", "paddleocr_vl", "ernie4_5_vl_moe")},
    "mistral3": "pixtral",
    "qianfan_ocr": "internvl",
    "exaone4_5": "exaone4_5",
    "kimi_k25": "kimi",
}


def _class(config: Any, mapping: Any) -> Any:
    """The model on the meta device. Classes that keep a window in their configuration alone get it on their layers, where the
    count of pairs looks for it."""
    config = copy.deepcopy(config)
    for part in (config, getattr(config, "text_config", None)):
        if part is not None:
            part._experts_implementation = "batched_mm"
    with torch.device("meta"):
        attention = "eager" if config.model_type == "falcon" else "probe"  # the one class that knows no other
        model = mapping[type(config)]._from_config(config, attn_implementation=attention).eval()
    text = getattr(config, "text_config", config)
    if text.model_type in WINDOWED and text.sliding_window:
        for module in model.modules():
            if hasattr(module, "layer_idx"):
                module.sliding_window = text.sliding_window
    return model


def _read(kind: str, drawn: dict[str, Any], config: Any) -> list[Lvlm]:
    written = [json.loads(config.to_json_string(use_diff=diff)) for diff in (False, True)]
    return [import_config(data | {"model_type": kind}, "it") for data in (drawn, *written)]


def _generates(models: list[Lvlm], truth: Any, family: str, visual: int, text: int, within: float = 1e-9) -> None:
    prefill, decode, _ = counting.generate(truth, {"family": family}, visual, text, 1 if visual else 0)
    for model in models:
        assert evaluated.generate(model, visual, text, 1 if visual else 0) == pytest.approx(
            (prefill, decode), rel=within
        )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", TEXTS)
def test_language_models(kind: str, seed: int) -> None:
    drawn = TEXTS[kind](Draw(seed))
    config = transformers.CONFIG_MAPPING[kind](**copy.deepcopy(drawn))
    truth = _class(config, transformers.MODEL_FOR_CAUSAL_LM_MAPPING)
    models = _read(kind, drawn, config)
    total = sum(parameter.numel() for parameter in truth.parameters())
    assert [parameters(model)["total"] for model in models] == [total] * 3
    if kind not in UNCOUNTED:
        # AltUp's products of four by four numbers are left out (0.04 % of Gemma 3n, more where layers are tiny).
        _generates(models, truth, "text", 0, 40, 3e-2 if kind == "gemma3n_text" else 1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", WRAPPED)
def test_vision_language_models(kind: str, seed: int) -> None:
    drawn = WRAPPED[kind](Draw(seed))
    config = transformers.CONFIG_MAPPING[kind](**copy.deepcopy(drawn))
    truth = _class(config, transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING)
    models = _read(kind, drawn, config)
    theirs = counting.owned(truth)
    if "blip" in kind:  # its parts have names of their own
        theirs = {"total": theirs["total"]}
    for model in models:
        ours = parameters(model)
        assert {part: ours[part] for part in theirs if part in ours} == {p: theirs[p] for p in theirs if p in ours}
    family = FAMILY.get(kind)
    if family is None:
        return
    if drawn["vision_config"].get("model_type") == "pixtral":
        family = "pixtral"
    entry = {"family": family, "config": drawn | {"model_type": kind}}
    sizes = Draw(seed).random
    for picture in (Picture(336.0, 336.0), Picture(float(sizes.randint(60, 1500)), float(sizes.randint(60, 1500)))):
        view = evaluated.seen(models[0], [picture])
        grids = [(int(grid.crops), int(grid.height), int(grid.width)) for grid in view.grids]
        # Llama-3.2's class also multiplies its tile mask, which is no work of the model.
        tolerance = 3e-3 if family == "mllama" else 1e-9
        counted = counting.encode(truth, entry, grids, int(view.tokens))
        assert evaluated.encode(models[0], view) == pytest.approx(counted, rel=tolerance)
    _generates(models, truth, family, 36, 20)


# What a class derives from other fields, or keeps elsewhere than in a field of that name.
DERIVED = {
    "head_dim", "cross_attention_layers", "supported_aspect_ratios", "mlp_only_layers", "num_experts", "num_hidden_layers",
    "num_attention_heads", "intermediate_layers_indices", "image_grid_pinpoints", "intermediate_size", "qformer_config",
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(defaults()))
def test_defaults_are_those_of_the_class(kind: str) -> None:
    fields = {field.name: field for field in dataclasses.fields(transformers.CONFIG_MAPPING[kind])}
    compared = 0
    for name, value in defaults()[kind].items():
        if name in fields and name not in DERIVED:
            theirs = fields[name].default
            assert value == (list(theirs) if isinstance(theirs, tuple) else theirs), name
            compared += 1
    assert compared or len(defaults()[kind]) < 4
