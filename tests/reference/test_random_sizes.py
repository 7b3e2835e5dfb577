"""Random pictures and videos: visual tokens against the size rules of transformers' own processors, refusals included.

Sizes are drawn from single pixels to twelve thousand a side, slender ones and exact multiples of tiles among them. `full` draws
more, and sends random pictures and clips through the whole processors as well.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed: transformers' size rules are left out")
pytest.importorskip("transformers", reason="transformers is not installed: its size rules are left out")

from more_size_rules import MORE_CASES, idefics2_patches, scheme
from size_rules import CLIP_RULES, RULES, SAMPLERS, frames_taken
from test_tokens import CASES, EXAMPLES, SCHEMES, scheme_of

from simulator.build.pixels import sampled, visual_input
from simulator.interop.processor_defaults import preprocessing_for
from simulator.spec.preprocessing import Preprocessing
from simulator.spec.source import SpecError
from simulator.spec.workload import Clip, Picture

HERE = Path(__file__).parent
DRAWS = (pytest.param(150, id="150"), pytest.param(2000, id="2000", marks=pytest.mark.full))
TILES = (224, 336, 364, 384, 448, 512, 560, 640, 896, 1024)
SIDES = st.one_of(
    st.integers(1, 40),
    st.integers(40, 4000),
    st.integers(4000, 12000),
    st.builds(
        lambda tile, times, off: max(tile * times + off, 1),
        st.sampled_from(TILES),
        st.integers(1, 9),
        st.integers(-1, 1),
    ),
)
SLENDER = st.builds(
    lambda short, ratio, tall: (short, short * ratio) if tall else (short * ratio, short),
    st.integers(1, 120),
    st.integers(2, 260),
    st.booleans(),
)
PICTURES = st.one_of(st.tuples(SIDES, SIDES), SLENDER, st.builds(lambda side: (side, side), SIDES))
FRAMES = st.one_of(st.integers(1, 16), st.integers(1, 1024))


def _cohere() -> tuple[dict[str, Any], Preprocessing]:
    processor = {"size": {"height": 512, "width": 512}, "max_patches": 12, "crop_to_patches": True}
    config = {"downsample_factor": 2, "vision_config": {"image_size": 512, "patch_size": 16}}
    return {"settings": processor}, preprocessing_for("cohere2_vision", config, processor)[0]


def _schemes() -> dict[str, tuple[str, dict[str, Any], Preprocessing]]:
    """(rule, case, scheme) by a name; one of the cases that ask the same of the same class."""
    out: dict[str, tuple[str, dict[str, Any], Preprocessing]] = {}
    seen = set[str]()
    for case in CASES:
        key = json.dumps([case["class"], case["settings"], case["config"]["model_type"]], sort_keys=True)
        if key not in seen:
            seen.add(key)
            out[case["name"]] = (case["class"], case, scheme_of(case))
    glm = next(case for case in CASES if case["config"]["model_type"] == "glm4v")
    newer = {**glm, "name": "glm-4.6v", "config": {**glm["config"], "model_type": "glm46v"}}
    out["glm-4.6v"] = ("Glm4vImageProcessor", newer, scheme_of(newer))
    out["command-a-vision"] = ("Cohere2VisionImageProcessor", *_cohere())
    for name, rule in (
        ("deepseek-vl2", "DeepSeek-VL2"),
        ("deepseek-ocr", "DeepSeek-OCR"),
        ("minicpm-v-2.6", "MiniCPM-V"),
    ):
        out[name] = (rule, {}, SCHEMES.validate_python(EXAMPLES[name]["preprocessing"]))
    out.update({name: (name, {}, scheme(name)) for name in MORE_CASES})
    return out


RULES.update({name: rule for name, (rule, *_) in MORE_CASES.items()})
SCHEME = _schemes()


def _theirs(rule: Any, *arguments: Any) -> int | str:
    try:
        return rule(*arguments)
    except (ValueError, ZeroDivisionError):
        return "refused"


def _ours(scheme: Preprocessing, pictures: list[Picture], clips: list[Clip]) -> Any:
    try:
        return visual_input(scheme, pictures, clips).tokens
    except SpecError as error:
        assert "\n" not in str(error) and str(error).startswith(("image:", "videos:"))
        return "refused"


def _quick(draws: int) -> Any:
    return settings(
        max_examples=draws, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )


def test_every_scheme_is_compared() -> None:
    assert {scheme.kind for _, _, scheme in SCHEME.values()} == {
        "fixed", "pan_and_scan", "grid_pinpoints", "dynamic_tiles", "longest_edge_split", "canvas_tiles",
        "dynamic_hd", "native", "longest_edge", "patch_limit", "candidate_tiles", "slices",
        "patch_budget", "edges", "native_tiles", "hd_canvas", "overlapping_tiles",
    }  # fmt: skip


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize("name", SCHEME)
def test_pictures(name: str, draws: int) -> None:
    rule, case, scheme = SCHEME[name]

    @_quick(draws)
    @example((1, 1))
    @example((1400, 7))
    @example((1401, 7))
    @example((8001, 8000))
    @given(PICTURES)
    def same(size: tuple[int, int]) -> None:
        width, height = size
        ours = _ours(scheme, [Picture(float(width), float(height))], [])
        assert ours == _theirs(RULES[rule], case, width, height)

    same()


@pytest.mark.parametrize("name", MORE_CASES)
def test_arrays_equal_scalars(name: str) -> None:
    found = SCHEME[name][2]
    sizes = np.random.default_rng(3).integers(60, 4000, (200, 2)).astype(float)
    together = visual_input(found, [Picture(sizes[:, 0], sizes[:, 1])]).tokens
    each = [visual_input(found, [Picture(float(width), float(height))]).tokens for width, height in sizes]
    assert np.broadcast_to(np.asarray(together), len(sizes)).tolist() == each


@_quick(150)
@given(PICTURES)
def test_patches_of_idefics2(size: tuple[int, int]) -> None:
    (grid,) = visual_input(SCHEME["idefics2"][2], [Picture(*map(float, size))]).grids
    assert (grid.height, grid.width) == idefics2_patches(*size)


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize(
    "name", [n for n, (_, c, s) in SCHEME.items() if s.video and c and c["config"]["model_type"] in CLIP_RULES]
)
def test_clips(name: str, draws: int) -> None:
    _, case, scheme = SCHEME[name]

    @_quick(draws)
    @example(1, (224, 224))
    @example(2, (1, 1))
    @given(FRAMES, PICTURES)
    def same(frames: int, size: tuple[int, int]) -> None:
        width, height = size
        ours = _ours(scheme, [], [Clip(float(width), float(height), float(frames))])
        assert ours == _theirs(CLIP_RULES[case["config"]["model_type"]], case, frames, width, height)

    same()


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize(
    "name", [n for n, (_, c, _) in SCHEME.items() if c.get("config", {}).get("model_type") in SAMPLERS]
)
def test_sampling(name: str, draws: int) -> None:
    _, case, scheme = SCHEME[name]
    video = scheme.video
    assert video is not None

    @_quick(draws)
    @given(st.integers(1, 40000), st.sampled_from((1, 2, 5, 8, 10, 12.5, 15, 23.976, 24, 25, 29.97, 30, 50, 60, 120)))
    def same(total: int, fps: float) -> None:
        if name == "glm-4.6v":  # its class stops after the whole seconds of a file: see TOKENS.md
            assume(total >= fps != 2)
        assert sampled(video, Clip(64.0, 64.0, None, total / fps, fps)) == frames_taken(case, total, fps)

    same()


@pytest.mark.full
def test_whole_processors(tmp_path: Path) -> None:
    """Blank pictures (and clips, where torchvision loads) of random sizes through everything that a processor does."""
    rng = random.Random(11)
    sides = [(1, 60), (60, 1500), (60, 1500), (1500, 3000)]
    pictures = [[1, 1], [3, 1], [1, 3], [1400, 7], [1401, 7], [1, 1025]]
    pictures += [[rng.randint(*rng.choice(sides)), rng.randint(*rng.choice(sides))] for _ in range(20)]
    clips = [[1, 224, 224], [2, 30, 30], [7, 5, 300]]
    clips += [[rng.randint(1, 12), rng.randint(10, 700), rng.randint(10, 700)] for _ in range(10)]
    cases = [
        {**case, "pictures": pictures, "clips": clips, "samples": []}
        for _, case, _ in SCHEME.values()
        if "class" in case
    ]
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(cases), encoding="utf-8")
    command = [sys.executable, str(HERE / "processors.py"), str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    compared = 0
    for case, theirs in zip(cases, json.loads(done.stdout), strict=True):
        scheme = SCHEME[case["name"]][2]
        for (width, height), count in zip(pictures, theirs["pictures"], strict=True):
            if count is not None:
                assert _ours(scheme, [Picture(float(width), float(height))], []) == count, (case["name"], width, height)
                compared += 1
        for (frames, width, height), count in zip(clips, theirs["clips"], strict=True):
            if count is not None:
                ours = _ours(scheme, [], [Clip(float(width), float(height), float(frames))])
                assert ours == count, (case["name"], frames, width, height)
    assert compared >= 300
