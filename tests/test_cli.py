"""The command line: JSON that others rely on, and one clear line for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.cli import main
from simulator.spec.load_hardware import load_hardware
from simulator.spec.yaml import write_yaml

BASE = ["estimate", "--model", "qwen2.5-vl-7b", "--hardware", "h100-sxm", "--no-preprocess"]
MIXTURE = ["estimate", "--model", "qwen3-vl-30b-a3b", "--hardware", "h100-sxm", "--no-preprocess"]
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
        (["estimate", "--model", "qwen2.5-vl-7b", "--hardware", "zzz"], "`lvlm-sim hardware` lists all"),
        ([*BASE, "--with", "zzz"], "`lvlm-sim techniques --presets` lists all"),
        (["literature", "show", "vision zip"], "nearest: visionzip"),
        (["literature", "show", "zzz"], "`lvlm-sim literature` lists all"),
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
        ([*BASE, "--tp", "8"], "1, 2, 4, 28"),
        ([*BASE, "--pp", "29"], "28 layers"),
        ([*BASE, "--ep", "8", "--dp", "8"], "no experts"),
        ([*BASE, "--ep", "8"], "8 is not accepted: qwen2.5-vl-7b has no experts"),
        ([*BASE, "--tp", "4", "--ep", "4"], "no experts"),
        ([*MIXTURE, "--ep", "8"], "dp a multiple of 8"),
        ([*BASE, "--explain", "encoder"], "encode"),
        ([*BASE, "--explain="], "encode"),
        ([*BASE, "--flops-convention="], "c1"),
        ([*MIXTURE, "--tp", "4", "--ep", "6"], "multiple of tp 4"),
        ([*BASE, "--scenario", "missing.yaml"], "missing.yaml"),
        (["import", "missing.json"], "missing.json"),
        (["nonsense"], "estimate"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], wanted: str) -> None:
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1 and len(err) < 400, err
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


SPACE = "base: {model: smolvlm-256m, hardware: l4, workload: {images: [512x512], text_tokens: 8}}\naxes: {workload.batch: [1, 2]}\n"
SMALL = ["--model", "smolvlm-256m", "--hardware", "l4", "--no-preprocess"]
SCENARIO = (
    "scenario model hardware engine image video text output batch format with tp pp dp ep encoder-parallel processor task set"
).split()  # fmt: skip
KERNEL = "hardware engine format version footprint m n k batch heads kv-heads head-dim query context bytes devices".split()
HOSTILE = {
    "estimate": (SMALL, [*SCENARIO, "explain", "flops-convention"]),
    "compare": (SMALL, SCENARIO),
    "export": (SMALL, [*SCENARIO, "as"]),
    "kernel": (["gemm", "--hardware", "l4", "--m", "64", "--n", "64", "--k", "64"], KERNEL),
    "models": ([], []),
    "hardware": ([], []),
    "techniques": ([], []),
    "import": ([], ["processor"]),
    "literature": (["list"], ["search", "stage", "operator", "year", "as"]),
    "reproduce": ([], ["csv"]),
    "sweep": (["space.yaml"], ["metrics", "workers", "rows"]),
    "search": (["space.yaml"], ["objective", "where", "epsilon", "evaluations", "seed", "ready", "method"]),
}
JUNK = (
    "", " ", "-1", "0", "nan", "inf", "1e400", "1e308", "9" * 400, "x" * 5000, "a\nb", "a\0b", "\ud800", "\u0663", "--", "[/red]", "a=1", "..=1",
    "[1,2]", "{a: b}", "!!python/object:os.system", "null", "%s", ".", "folder", "folder/", "picture.yaml", "list.yaml", "0x10", "1_0", "tp=1",
    "workload.images.0.width=1", "parallel.tp=0", "scale.flops=.nan", "fastv:keep=nan", "4x1920x1080", "1x1x1x1", "nvfp4",
)  # fmt: skip


def constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


@st.composite
def hostile(draw: st.DrawFn) -> tuple[list[str], str, str]:
    """A command line with one value that nobody would type, the value, and what it was given as."""
    verb = draw(st.sampled_from(sorted(HOSTILE)))
    given_first, options = HOSTILE[verb]
    option = draw(st.sampled_from([*options, ""]))
    # No text of one's own where a digit more is minutes of work.
    own = st.nothing() if option in ("workers", "evaluations") else st.text(max_size=24) | st.floats().map(str) | st.integers().map(str)
    value = draw(st.sampled_from(JUNK) | own)
    extra = [f"--{option}={value}"] if option else [value]
    return [verb, *given_first, *extra, "--json"], value, option


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hostile())
def test_whatever_is_typed_is_an_answer_or_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, line: tuple[list[str], str, str]
) -> None:
    arguments, value, option = line
    folder = tmp_path_factory.getbasetemp() / "hostile"
    (folder / "folder").mkdir(parents=True, exist_ok=True)
    (folder / "space.yaml").write_text(SPACE)
    (folder / "picture.yaml").write_bytes(bytes(range(256)))
    (folder / "list.yaml").write_text("- a\n")
    monkeypatch.chdir(folder)
    status, out, err = run(capsys, *arguments)
    assert status in (0, 2)
    if status == 0:
        assert err == ""
        assert value == "--" or json.loads(out, parse_constant=constant) is not None  # what follows -- is no option
        return
    assert out == "" and len(err.splitlines()) == 1 and len(err) < 2500, err
    named = (option, option.replace("-", "_"), "techniques" if option == "with" else option, value.strip()[:4], repr(value)[1:5], "argument")
    assert any(name and name in err for name in named) or not value.strip(), err


@pytest.mark.parametrize(
    ("text", "more", "wanted"),
    [
        ("model: smolvlm-256m\nworkload: 3\n", ["--text", "3"], "workload: 3"),
        ("model: smolvlm-256m\nparallel: [1]\n", ["--tp", "3"], "parallel: [1]"),
        ("model: smolvlm-256m\ntechniques: fastv\n", ["--with", "fastv"], "techniques: 'fastv'"),
    ],
)
def test_a_scenario_file_of_the_wrong_shape(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, more: list[str], wanted: str) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(text)
    status, out, err = run(capsys, "estimate", "--hardware", "l4", "--scenario", str(file), *more)
    assert status == 2 and out == "" and wanted in err and len(err.splitlines()) == 1


def test_a_setting_reaches_into_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    small = run(capsys, *BASE, "--image", "640x480", "--set", "workload.images.0.width=1920", "--with", "fastv", "--set", "techniques.0.parameters.keep=0.25", "--json")
    plain = run(capsys, *BASE, "--image", "1920x480", "--with", "fastv:keep=0.25", "--json")
    assert small[0] == 0 and json.loads(small[1])["ttft_s"] == json.loads(plain[1])["ttft_s"]


def test_literature_says_it_in_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["export", "fastv"], ["check"], ["show", "fastv"], ["coverage"]):
        status, out, _ = run(capsys, "literature", *arguments, "--json")
        assert status == 0 and json.loads(out)


def test_a_file_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    for out in (space, tmp_path / "missing" / "rows.csv", tmp_path / ("x" * 300)):
        status, _, err = run(capsys, "sweep", str(space), "--no-progress", "--out", str(out))
        assert status == 2 and len(err.splitlines()) == 1 and str(tmp_path) in err


def test_an_interruption_is_one_line_and_the_sweep_goes_on(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.search import sweeps

    space, out = tmp_path / "space.yaml", tmp_path / "rows"
    space.write_text(SPACE)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "evaluate_chunk", stopped)
        status, printed, err = run(capsys, "sweep", str(space), "--no-progress", "--out", str(out))
        assert (status, printed) == (130, "") and f"stays in {out}" in err and err.splitlines()[-1] == "lvlm-sim sweep: interrupted"
    status, printed, err = run(capsys, "sweep", str(space), "--no-progress", "--out", str(out))
    assert (status, err) == (0, "") and printed.startswith("2 points, 2 rows in 1 files")


def test_a_name_is_not_markup(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = load_hardware("l4").model_dump(mode="json") | {"name": "[/red]x"}
    Path("[red].yaml").write_text(write_yaml(data))
    for verb in ("estimate", "compare"):
        status, out, err = run(capsys, verb, "--model", "smolvlm-256m", "--hardware", "[red].yaml")
        assert status == 0 and err == "" and "[red]" in out


def test_mixes_side_by_side_are_those_of_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    fixed = ("--model", "smolvlm-256m", "--hardware", "l4", "--image", "640x480", "--output", "8", "--json")
    mixes = ("none", "fastv:layer=2,keep=0.5", "fastv + kv_quant:bits=4")
    status, out, _ = run(capsys, "compare", *fixed, *(part for mix in mixes for part in ("--mix", mix)))
    both = json.loads(out)
    assert status == 0 and [len(item["scenario"]["techniques"]) for item in both] == [0, 1, 2]
    for mix, item in zip(mixes[1:], both[1:], strict=True):
        assert json.loads(run(capsys, "estimate", *fixed, "--with", mix)[1])["ttft_s"] == item["ttft_s"] != both[0]["ttft_s"]
    status, _, err = run(capsys, "compare", *fixed, "--mix", "fastv + nope")
    assert status == 2 and len(err.splitlines()) == 1 and "nope" in err


def test_an_imported_file_answers_as_the_shipped_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Pictures are told apart by a kind that the written file must name (here the first scheme's, a default)."""
    text = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 32, "vocab_size": 32064, "max_position_embeddings": 4096}  # fmt: skip
    tower = {"model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "num_attention_heads": 16,
             "num_hidden_layers": 24, "patch_size": 14}  # fmt: skip
    config, file = tmp_path / "config.json", tmp_path / "mine.yaml"
    config.write_text(json.dumps({"model_type": "llava", "vision_feature_layer": -2, "text_config": text, "vision_config": tower}), encoding="utf-8")
    assert run(capsys, "import", str(config), "--name", "mine", "--out", str(file))[0] == 0
    stages: list[dict[str, object]] = []
    for model in (str(file), "llava-1.5-7b"):
        status, out, err = run(capsys, "estimate", "--model", model, "--hardware", "h100-sxm", "--image", "640x480", "--json")
        assert status == 0, err
        stages.append(json.loads(out)["stages"])
    assert stages[0] == stages[1]
    printed = json.loads(run(capsys, "import", str(config), "--name", "mine", "--json")[1])
    file.write_text(json.dumps(printed), encoding="utf-8")
    assert run(capsys, "estimate", "--model", str(file), "--hardware", "h100-sxm", "--image", "640x480")[0] == 0
