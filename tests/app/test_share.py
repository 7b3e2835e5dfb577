"""What is downloaded gives the numbers on the page."""

from __future__ import annotations

import json

import pytest

from simulator import Image, Scenario, Video, Workload, estimate
from simulator.cli import main
from simulator.interop import share
from simulator.spec.scenario import TechniqueUse
from simulator.spec.yaml import read_yaml

CASES = {
    "plain": Scenario(model="qwen2.5-vl-7b", hardware="l40s", workload=Workload(images=(Image(width=800, height=600, count=2),), text_tokens=5)),
    "mixed": Scenario(
        model="internvl3-8b", hardware="h100-sxm", engine="sglang", format="fp8", preprocess=False, task="text_rich", parallel={"tp": 2, "encoder": "data"},
        workload=Workload(images=(Image(width=1654, height=2339, format="png"),), processor="slow", batch=3, output_tokens=17),
        techniques=(TechniqueUse(kind="fastv", parameters={"keep": (0.25,)}), TechniqueUse(kind="kv_quant", parameters={"bits": 4.0, "fused": False})),
    ),
    "scaled": Scenario(model="qwen2.5-vl-7b", hardware="l40s", workload=Workload(images=(Image(width=640, height=480),)), scale={"bandwidth": 2.0, "flops": 0.5}),
    "video": Scenario(model="qwen2.5-vl-7b", hardware="h100-sxm", workload=Workload(videos=(Video(width=640, height=360, duration=60.0, fps=30.0),))),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_command(name, capsys):
    import shlex

    words = shlex.split(share.as_command(CASES[name]))
    assert words[:2] == ["lvlm-sim", "estimate"]
    assert main([*words[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["latency_s"] == pytest.approx(estimate(CASES[name]).latency_s, rel=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_yaml(name, tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text(share.as_yaml(CASES[name]), encoding="utf-8")
    assert estimate(Scenario.model_validate(read_yaml(path))).latency_s == pytest.approx(estimate(CASES[name]).latency_s, rel=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_python(name, capsys):
    space: dict = {}
    exec(compile(share.as_python(CASES[name]), "snippet", "exec"), space)
    assert space["result"].latency_s == pytest.approx(estimate(CASES[name]).latency_s, rel=1e-12)
    capsys.readouterr()
