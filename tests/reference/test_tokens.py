"""Visual tokens against transformers' own processors: stored counts everywhere, the processors themselves where they load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from simulator.build.pixels import sampled, visual_input
from simulator.interop.processor_defaults import preprocessing_for
from simulator.spec.load_model import load_model
from simulator.spec.preprocessing import Preprocessing
from simulator.spec.source import SpecError
from simulator.spec.workload import Clip, Picture

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = json.loads((HERE / "tokens.json").read_text(encoding="utf-8"))["cases"]
EXAMPLES: dict[str, Any] = yaml.safe_load((HERE / "preprocessing.yaml").read_text(encoding="utf-8"))
SCHEMES = TypeAdapter(Preprocessing)


def scheme_of(case: dict[str, Any]) -> Preprocessing:
    """The scheme that the importer makes of a checkpoint's settings; Kimi-VL is its own type (pictures only)."""
    family = "kimi_vl" if case["name"].startswith("kimi-vl") else case["config"]["model_type"]
    scheme, assumptions = preprocessing_for(family, case["config"], case["settings"])
    assert assumptions == []
    return scheme


def tokens(scheme: Preprocessing, width: Any, height: Any) -> Any:
    """Visual tokens of one picture."""
    return visual_input(scheme, [Picture(width, height)]).tokens


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_pictures(case: dict[str, Any]) -> None:
    scheme = scheme_of(case)
    ours = [tokens(scheme, float(width), float(height)) for width, height in case["pictures"]]
    assert ours == case["counts"]["pictures"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_clips(case: dict[str, Any]) -> None:
    scheme = scheme_of(case)
    for (frames, width, height), theirs in zip(case["clips"], case["counts"]["clips"], strict=True):
        clip = Clip(float(width), float(height), float(frames))
        if theirs is None:
            assert scheme.video is None
            with pytest.raises(SpecError, match="takes no video"):
                visual_input(scheme, [], [clip])
        else:
            assert visual_input(scheme, [], [clip]).tokens == theirs


@pytest.mark.parametrize("case", [case for case in CASES if case["samples"]], ids=lambda case: case["name"])
def test_sampling(case: dict[str, Any]) -> None:
    video = scheme_of(case).video
    assert video is not None
    ours = [sampled(video, Clip(64.0, 64.0, None, total / fps, fps)) for total, fps in case["samples"]]
    assert ours == case["counts"]["samples"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_arrays_equal_scalars(case: dict[str, Any]) -> None:
    scheme = scheme_of(case)
    rng = np.random.default_rng(7)
    sizes = np.concatenate([np.array(case["pictures"]), rng.integers(40, 4000, (200, 2))]).astype(float)
    together = np.broadcast_to(np.asarray(tokens(scheme, sizes[:, 0], sizes[:, 1])), len(sizes))
    assert together.tolist() == [tokens(scheme, float(width), float(height)) for width, height in sizes]


@pytest.mark.parametrize("case", [case for case in CASES if "(" not in case["name"]], ids=lambda case: case["name"])
def test_model_files_say_the_same(case: dict[str, Any]) -> None:
    assert load_model(case["name"]).preprocessing == scheme_of(case)


@pytest.mark.parametrize(
    ("family", "config", "processor", "named"),
    [
        ("llava9", {}, {}, "model_type"),
        ("llava_next", {"vision_config": {"patch_size": 14}}, {}, "image_grid_pinpoints"),
        ("llava_next", {"image_grid_pinpoints": [336, 672]}, {}, "image_grid_pinpoints"),
        ("llava", {"vision_config": {"patch_size": 0}}, {}, "vision_config.patch_size"),
        ("llava", {"vision_config": 3}, {}, "vision_config"),
        ("mllama", {}, {"size": {"height": "big"}}, "size"),
        ("idefics3", {"scale_factor": 999}, {}, "tokens"),
    ],
)
def test_bad_settings_are_named(family: str, config: dict[str, Any], processor: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        preprocessing_for(family, config, processor)


def test_defaults_are_listed_as_assumptions() -> None:
    scheme, assumptions = preprocessing_for("qwen2_vl", {}, {})
    assert scheme.kind == "native" and any("patch_size 14" in line for line in assumptions)


@pytest.mark.parametrize("name", EXAMPLES)
def test_published_counts(name: str) -> None:
    """Counts that a paper, a model card or the published code states."""
    scheme = SCHEMES.validate_python(EXAMPLES[name]["preprocessing"])
    for size, theirs in EXAMPLES[name]["published"]:
        sides = [float(side) for side in size.split("x")]
        clips = [Clip(sides[1], sides[2], sides[0])] if len(sides) == 3 else []
        pictures = [] if clips else [Picture(*sides)]
        assert visual_input(scheme, pictures, clips).tokens == theirs, size


def test_live_processors(tmp_path: Path) -> None:
    """A few sizes of every scheme through the processors that load here, so that the stored counts cannot go stale."""
    if find_spec("transformers") is None or find_spec("torch") is None:
        pytest.skip("transformers or torch is not installed: the live comparison is left out")
    cases, seen = [], set[str]()
    for case in CASES:
        key = json.dumps([case["class"], case["settings"]], sort_keys=True)
        if key not in seen:
            seen.add(key)
            cases.append(
                {**case, "pictures": [[336, 336], [449, 448], [700, 120]], "clips": [[4, 224, 320]], "samples": []}
            )
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(cases), encoding="utf-8")
    command = [sys.executable, str(HERE / "processors.py"), str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    compared = 0
    for case, theirs in zip(cases, json.loads(done.stdout), strict=True):
        scheme = scheme_of(case)
        for (width, height), count in zip(case["pictures"], theirs["pictures"], strict=True):
            if count is not None:
                assert tokens(scheme, float(width), float(height)) == count, (case["name"], width, height)
                compared += 1
        for (frames, width, height), count in zip(case["clips"], theirs["clips"], strict=True):
            if count is not None:
                clip = Clip(float(width), float(height), float(frames))
                assert visual_input(scheme, [], [clip]).tokens == count, (case["name"], frames)
    if not compared:
        pytest.skip("no image processor of transformers loads here")
    assert compared >= 20
