"""Matrix FLOPs and KV bytes equal those counted on the transformers classes; the rules are in `counting`."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import counting
import evaluated
import pytest
from make_models import configurations

from simulator.build.count import kv_bytes_per_token
from simulator.interop.hf_config import import_config
from simulator.spec.load_model import load_model
from simulator.spec.workload import Clip, Picture

CONFIGURATIONS = {name: entry for name, entry in configurations().items() if "family" in entry}
TEXT = 64
SMALL, LARGE = [Picture(336.0, 336.0)], [Picture(1920.0, 1080.0)]
TOLERANCE = 1e-3
FAST = (
    "internvl3-8b",
    "kimi-vl-a3b",
    "llama-3.2-11b-vision",
    "llama-4-scout",
    "llava-1.5-7b",
    "llava-onevision-7b",
    "paligemma2-3b-448",
    "phi-4-multimodal",
    "pixtral-12b",
    "qwen2.5-vl-3b",
    "smolvlm2-2.2b",
)
NAMES = [pytest.param(name, marks=() if name in FAST else pytest.mark.full) for name in CONFIGURATIONS]


@lru_cache(maxsize=2)
def _class(name: str) -> Any:
    return counting.build(CONFIGURATIONS[name])


def encode_error(name: str, pictures: list[Picture], clips: list[Clip] | None = None) -> tuple[float, float]:
    """(relative error of encode + project, visual tokens)."""
    model = load_model(name)
    view = evaluated.seen(model, pictures, clips)
    grids = [(int(grid.crops), int(grid.height), int(grid.width)) for grid in view.grids]
    theirs = counting.encode(_class(name), CONFIGURATIONS[name], grids, int(view.tokens))
    return evaluated.encode(model, view) / theirs - 1.0, float(view.tokens)


def generate_errors(name: str, pictures: list[Picture]) -> tuple[float, float, float]:
    """Relative errors of prefill and decode FLOPs, difference of KV bytes per token."""
    model = load_model(name)
    view = evaluated.seen(model, pictures)
    visual, images = int(view.tokens), int(view.images)
    prefill, decode, kv = counting.generate(_class(name), CONFIGURATIONS[name], visual, TEXT, images)
    ours = evaluated.generate(model, visual, TEXT, images)
    return ours[0] / prefill - 1.0, ours[1] / decode - 1.0, kv_bytes_per_token(model) - kv


@pytest.mark.parametrize("name", NAMES)
def test_encode_and_project(name: str) -> None:
    for pictures in (SMALL, LARGE):
        assert abs(encode_error(name, pictures)[0]) < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_prefill_decode_and_cache(name: str) -> None:
    prefill, decode, kv = generate_errors(name, SMALL)
    assert abs(prefill) < TOLERANCE
    assert abs(decode) < TOLERANCE
    assert kv == 0.0


def test_windows_shorter_than_the_prompt() -> None:
    """Gemma 3 cut to 8 of its layers: 1024-token windows, eight pictures of 256 tokens that attend among themselves."""
    entry = copy.deepcopy(CONFIGURATIONS["gemma-3-12b"])
    entry["config"]["text_config"]["num_hidden_layers"] = 8
    model = import_config(entry["config"], "short", entry["processor"]["kw"])
    prefill, decode, _ = counting.generate(counting.build(entry), entry, 8 * 256, TEXT, 8)
    assert evaluated.generate(model, 8 * 256, TEXT, 8) == (prefill, decode)


@pytest.mark.full
def test_chunks_shorter_than_the_prompt() -> None:
    """Llama-4: chunks of 8192 tokens."""
    prefill, decode, _ = generate_errors("llama-4-scout", [Picture(1024.0, 1024.0, 4.0)])
    assert abs(prefill) < TOLERANCE
    assert abs(decode) < TOLERANCE
