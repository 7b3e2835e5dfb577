"""The command line: JSON that others rely on, and one clear line for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.cli import main

BASE = ["estimate", "--model", "qwen2.5-vl-7b", "--hardware", "h100-sxm", "--no-preprocess"]
FIELDS = {
    "visual_tokens", "visual_tokens_per_layer", "visual_tokens_mean", "parameters", "stages", "ttft_s", "ttft_s_lower", "ttft_s_upper",
    "tpot_s", "latency_s", "output_tokens_per_s", "overhead_s", "memory", "energy_j", "cost_usd", "fidelity", "assumptions", "warnings",
    "calibration",
}  # fmt: skip
STAGE = {"seconds", "seconds_lower", "seconds_upper", "seconds_floor", "matmul_flops", "bytes", "intensity", "bound", "steps"}
MEMORY = {
    "weight_bytes", "kv_bytes_per_token", "kv_bytes_written", "kv_bytes_resident", "kv_bytes_read_per_step", "activation_bytes",
    "peak_bytes", "capacity_bytes", "fits", "max_batch",
}  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = int(stop.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def test_estimate_json_has_the_fields_others_rely_on(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *BASE, "--image", "1920x1080", "--text", "64", "--output", "256", "--json")
    assert status == 0 and err == ""
    data = json.loads(out)
    assert data.keys() >= FIELDS
    assert set(data["stages"]) == {"preprocess", "encode", "project", "prefill", "decode"}
    assert all(stage.keys() >= STAGE for stage in data["stages"].values())
    assert data["memory"].keys() >= MEMORY
    assert set(data["parameters"]) >= {"total", "vision", "projector", "language", "embedding", "lm_head", "active"}
    assert data["parameters"]["total"] == 8_292_166_656  # the published total of the checkpoint


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["estimate", "--model", "qwen2.5-vl-7", "--hardware", "h100-sxm"], "qwen2.5-vl-7b"),
        (["estimate", "--model", "qwen2.5-vl-7b", "--hardware", "h100"], "h100-sxm"),
        (["estimate", "--hardware", "h100-sxm"], "model"),
        ([*BASE, "--image", "0x100"], "image"),
        ([*BASE, "--image", "-5x100"], "image"),
        ([*BASE, "--image", "nanxnan"], "image"),
        ([*BASE, "--image", "999999999x10"], "image"),
        ([*BASE, "--image", "missing.jpg"], "missing.jpg"),
        ([*BASE, "--text", "-1"], "text_tokens"),
        ([*BASE, "--text", "nan"], "text"),
        ([*BASE, "--output", "0"], "output_tokens"),
        ([*BASE, "--batch", "0"], "batch"),
        ([*BASE, "--text", "10000000"], "128000"),
        ([*BASE, "--engine", "vlm"], "vllm"),
        ([*BASE, "--format", "fp7"], "format"),
        ([*BASE, "--with", "fastvv"], "fastv"),
        ([*BASE, "--with", "fastv:keep=2"], "keep"),
        ([*BASE, "--with", "fastv:keep"], "keep"),
        ([*BASE, "--with", "fastv:speed=2"], "speed"),
        ([*BASE, "--set", "workload.text_tokens"], "PATH=VALUE"),
        ([*BASE, "--set", "workload.colour=3"], "colour"),
        ([*BASE, "--tp", "0"], "tp"),
        ([*BASE, "--scenario", "missing.yaml"], "missing.yaml"),
        (["import", "missing.json"], "missing.json"),
        (["nonsense"], "estimate"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], wanted: str) -> None:
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert wanted in err


def test_truncated_picture_and_malformed_yaml(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "broken.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    scenario = tmp_path / "twice.yaml"
    scenario.write_text("model: a\nmodel: b\n")
    open_bracket = tmp_path / "open.yaml"
    open_bracket.write_text("model: [\n")
    for arguments in ([*BASE, "--image", str(picture)], [*BASE, "--scenario", str(scenario)], [*BASE, "--scenario", str(open_bracket)]):
        status, _, err = run(capsys, *arguments)
        assert status == 2 and len(err.strip().splitlines()) == 1, err


def test_scenario_file_and_settings_say_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(
        "model: qwen2.5-vl-7b\nhardware: h100-sxm\npreprocess: false\n"
        "workload: {images: [{width: 640, height: 480}], text_tokens: 99, output_tokens: 10}\n"
    )
    status, out, _ = run(capsys, "estimate", "--scenario", str(file), "--set", "workload.text_tokens=128", "--json")
    direct = run(capsys, *BASE, "--image", "640x480", "--text", "128", "--output", "10", "--json")[1]
    assert status == 0
    assert json.loads(out)["ttft_s"] == json.loads(direct)["ttft_s"]


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("models", "hardware", "techniques"):
        status, out, _ = run(capsys, verb, "--json")
        assert status == 0
        assert all("name" in row for row in json.loads(out))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["--image", "--video", "--text", "--output", "--batch", "--with", "--set", "--format", "--engine", "--tp"]),
       st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=24))  # fmt: skip
def test_any_text_is_an_answer_or_one_line(capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    status, _, err = run(capsys, *BASE, f"{option}={value}", "--json")
    assert status in (0, 2)
    assert "Traceback" not in err
    if status == 2:
        assert len(err.strip().splitlines()) == 1, err
