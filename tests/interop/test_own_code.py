"""Configurations of checkpoints that ship their own code: read, sized and fed pictures as their publishers state."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from simulator import Image, Scenario, Workload, estimate
from simulator.build.count import parameters
from simulator.build.language import build_decoder
from simulator.build.pixels import visual_input
from simulator.interop.hf_config import import_config
from simulator.interop.write_model import model_yaml
from simulator.ops import Matmul, Shape, Tokens
from simulator.spec.load_model import load_model
from simulator.spec.workload import Picture
from simulator.spec.yaml import read_yaml

FILES: dict[str, Any] = read_yaml(Path(__file__).with_name("own_code.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_parameters(name: str) -> None:
    entry = FILES[name]
    counted = parameters(import_config(entry["config"], name))
    if "parameters" in entry:
        assert counted["total"] == entry["parameters"]
    if "billions" in entry:
        stated, decimals = entry["billions"]
        assert round(counted["total"] / 1e9, decimals) == stated
    if "like" in entry:  # a file of the same model that is made another way
        theirs = parameters(load_model(entry["like"]))
        assert counted["total"] == theirs["total"] - entry.get("fewer", 0)
        assert [counted[part] for part in ("vision", "projector")] == [theirs[part] for part in ("vision", "projector")]


@pytest.mark.parametrize("name", [name for name in FILES if "tokens" in FILES[name]])
def test_visual_tokens(name: str) -> None:
    scheme = import_config(FILES[name]["config"], name).preprocessing
    assert scheme is not None
    for size, tokens in FILES[name]["tokens"].items():
        width, height = map(float, size.split("x"))
        assert visual_input(scheme, [Picture(width, height)]).tokens == tokens


@pytest.mark.parametrize("name", [name for name in FILES if "like" in FILES[name]])
def test_sees_pictures_like_the_file_that_ships(name: str) -> None:
    ours, theirs = import_config(FILES[name]["config"], name), load_model(FILES[name]["like"])
    assert ours.preprocessing is not None and theirs.preprocessing is not None
    for size in ((700.0, 500.0), (1920.0, 1080.0), (800.0, 2100.0)):
        one, two = (
            visual_input(model.preprocessing, [Picture(*size)]) for model in (ours, theirs) if model.preprocessing
        )
        assert (one.tokens, one.grids) == (two.tokens, two.grids)


@pytest.mark.parametrize("name", FILES)
def test_can_be_written_and_estimated(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.yaml"
    path.write_text(model_yaml(import_config(FILES[name]["config"], name)), encoding="utf-8")
    images = [] if FILES[name].get("text") else [Image(width=900, height=700)]
    load = Workload(images=images, text_tokens=16, output_tokens=4)
    found = estimate(Scenario(model=str(path), hardware="h100-sxm", workload=load))
    assert found.ttft_s > 0.0 and (not images or found.stages["project"].matmul_flops > 0.0)


def _moondream_tiles(width: int, height: int) -> int:
    """The published rule: windows of 19 patches within tiles of 27, at most twelve."""
    wide, tall, window = width - 112, height - 112, 266
    if tall <= window or wide <= window:
        return 1
    rows, columns = math.ceil(tall / window), math.ceil(wide / window)
    if rows * columns > 12:
        ratio = math.sqrt(12 / (rows * columns))
        return max(1, math.floor(rows * ratio)) * max(1, math.floor(columns * ratio))
    rows = max(math.floor(math.sqrt(12 * tall / wide)), rows)
    columns = max(math.floor(math.sqrt(12 * wide / tall)), columns)
    if rows * columns > 12:
        rows, columns = (rows, 12 // rows) if columns > rows else (12 // columns, columns)
    return max(1, rows) * max(1, columns)


def test_tiles_of_moondream() -> None:
    scheme, draw = import_config(FILES["moondream2"]["config"], "it").preprocessing, random.Random(5)
    assert scheme is not None
    for _ in range(500):
        width, height = (draw.choice([draw.randint(1, 600), draw.randint(100, 5000)]) for _ in range(2))
        grids = visual_input(scheme, [Picture(float(width), float(height))]).grids
        assert sum(float(grid.crops) for grid in grids) == 1 + _moondream_tiles(width, height), (width, height)


def test_what_is_low_rank_in_xcomposer_costs_visual_tokens_alone() -> None:
    """Per visual token and layer 2 x 256 x (inputs + outputs of the five matrices); a token of text passes the language model as it is."""
    layer = build_decoder(import_config(FILES["internlm-xcomposer2d5-7b"]["config"], "it")).layers[0]

    def flops(visual: float, text: float) -> float:
        shape = Shape("prefill", 1.0, Tokens(visual, text))
        return sum(float(op.work(shape).flops) for op in layer.prefill if isinstance(op, Matmul) and "lora" in op.name)

    assert flops(0.0, 7.0) == 0.0
    assert flops(3.0, 7.0) == 3 * 2 * 256 * (4096 + 6144 + 2 * 4096 + 3 * (4096 + 14336))
