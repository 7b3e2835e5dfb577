"""A scenario is the same after a trip through JSON or through its own file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulator import estimate
from simulator.interop.share import as_yaml
from simulator.presets import presets
from simulator.spec import deployment
from simulator.spec.deployment import Parallelism
from simulator.spec.scenario import HardwareScale, Scenario, TechniqueUse
from simulator.spec.source import SpecError
from simulator.spec.workload import Image, Video, Workload
from simulator.spec.yaml import parse_yaml, read_yaml, write_yaml
from simulator.technique import parameters, registry


@st.composite
def whole_scenarios(draw: st.DrawFn) -> Scenario:
    """Any scenario that can be written down, techniques with and without their defaults included; it need not run."""
    side, degree, factor = st.integers(1, 100_000), st.integers(1, 64), st.floats(1e-3, 1e3)
    uses: list[TechniqueUse] = []
    for kind in draw(st.lists(st.sampled_from([*registry(), *presets()]), max_size=4)):
        knobs = {knob.name: knob.default for knob in parameters(registry()[kind])} if kind in registry() else {}
        kept = draw(st.lists(st.sampled_from(sorted(knobs)), unique=True)) if knobs else []
        uses.append(TechniqueUse(kind=kind, parameters={name: draw(st.sampled_from([knobs[name], 0.5, "8|16", 3])) for name in kept}))
    images = st.builds(Image, width=side, height=side, count=degree, format=st.sampled_from(["jpeg", "png", "webp", "raw", "other"]))
    clip = st.builds(Video, width=side, height=side, duration=st.floats(0.1, 1e6), fps=st.floats(0.1, 1e3))
    sampled = st.builds(Video, width=side, height=side, frames=side)
    tp, joined = draw(degree), draw(st.sampled_from([1, 2]))
    return Scenario(
        model=draw(st.text(min_size=1, max_size=20)),
        hardware=draw(st.sampled_from(["h100-sxm", "mine.yaml", "null", "1e3", "2024-01-01"])),
        engine=draw(st.sampled_from(["vllm", "yes", "010"])),
        workload=Workload(
            images=tuple(draw(st.lists(images, max_size=3))), videos=tuple(draw(st.lists(clip | sampled, max_size=2))),
            text_tokens=draw(side), output_tokens=draw(side), batch=draw(side), processor=draw(st.sampled_from(["fast", "slow"])),
        ),
        format=draw(st.sampled_from(["bf16", "fp8", "int4"])),
        parallel=Parallelism(tp=tp, pp=draw(degree), dp=joined * draw(degree), ep=draw(st.sampled_from([1, joined * tp])), encoder=draw(st.sampled_from(["tensor", "data"]))),
        techniques=tuple(uses),
        preprocess=draw(st.booleans()),
        scale=HardwareScale(bandwidth=draw(factor), flops=draw(factor), capacity=draw(factor), link=draw(factor), price=draw(factor)),
        task=draw(st.sampled_from(["grounding", "video", "general_vqa"])),
    )  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(whole_scenarios())
def test_a_scenario_survives_json(scenario: Scenario) -> None:
    again = Scenario.model_validate_json(scenario.model_dump_json())
    assert again.canonical() == scenario.canonical() and again.digest() == scenario.digest()
    assert Scenario.model_validate(json.loads(scenario.canonical())).canonical() == scenario.canonical()


@settings(max_examples=40, deadline=None)
@given(whole_scenarios())
def test_a_scenario_survives_its_yaml_file(scenario: Scenario) -> None:
    again = Scenario.model_validate(parse_yaml(as_yaml(scenario), "scenario"))
    assert again.canonical() == scenario.canonical()


@settings(deadline=None)
@given(st.text(max_size=25))
@example("\x85")
@example("\u2028a\n b")
@example("1e3")
def test_any_text_survives_yaml(text: str) -> None:
    assert parse_yaml(write_yaml({"a": text, "b": [text]}), "t") == {"a": text, "b": [text]}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"fits": "x"}, "'x' has no kernels"), ({"reserve_bytes": float("inf")}, "reserve_bytes"), ({"kernels": {"norm": float("inf")}}, "kernels.norm"),
        ({"step": {"seconds": float("inf"), "spread": 0.1, "source": {"kind": "assumed", "reference": "none"}}}, "step.seconds"),
        ({"step": {"seconds": 0.1, "spread": 1e300, "source": {"kind": "assumed", "reference": "none"}}}, "step.spread"),
    ],
)  # fmt: skip
def test_an_engine_of_ones_own_that_cannot_be_is_refused(tmp_path: Path, change: dict[str, Any], wanted: str) -> None:
    shipped = read_yaml(Path(deployment.__file__).with_name("engines.yaml"))["vllm"]
    path = tmp_path / "engine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", **shipped, **change}))
    with pytest.raises(SpecError, match=wanted):
        estimate(Scenario(model="llama-3.1-8b", hardware="h100-sxm", engine=str(path), workload=Workload(text_tokens=10)))
