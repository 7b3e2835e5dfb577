"""Examples run and end in a plot; the commands print what the library says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from simulator import Scenario, Workload, estimate
from simulator.cli import main
from simulator.interop.launch import flags, launch
from simulator.interop.share import as_python, as_yaml
from simulator.spec.scenario import TechniqueUse
from simulator.technique import registry

pytest.importorskip("plotly")
ROOT = Path(__file__).parents[2]
SMALL = {"which_gpu": "l40s,h100-sxm", "what_mix": "3", "how_much_bandwidth": "5", "where_is_the_bottleneck": "2", "too_many_to_try": "60"}


@pytest.mark.parametrize("name", SMALL)
def test_examples_end_in_a_plot(name: str, tmp_path: Path) -> None:
    out = tmp_path / "plot.html"
    done = subprocess.run([sys.executable, f"examples/{name}.py", str(out), SMALL[name]], cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and "Plotly.newPlot" in out.read_text(encoding="utf-8")


def test_sweep_and_search_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(
        "base: {model: qwen2.5-vl-7b, hardware: l40s, workload: {images: [640x480]}}\n"
        "axes: {hardware: [l40s, h100-sxm], workload.batch: [1, 4]}\nobjectives: [ttft_s, cost_usd]\n"
    )
    assert main(["sweep", str(file), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 4 and rows[0]["ttft_s"] > 0 and rows[0]["hardware"] == "l40s"
    assert main(["sweep", str(file), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 4
    assert main(["search", str(file), "--json", "--where", "tpot_s <= 1"]) == 0
    winners = json.loads(capsys.readouterr().out)
    assert 0 < len(winners) <= 4 and "gave_up_ttft_s" in winners[0]
    for arguments, words in (
        (["--objective", "ttf_s"], "did you mean ttft_s"), (["--where", "tpot <= 1"], "did you mean tpot_s"), (["--evaluations", "0"], "0 is not accepted"),
        (["--storage", str(tmp_path / "journal")], "give --evaluations"), (["--evaluations", "2", "--storage", str(file)], "it holds something else"),
        (["--evaluations", "2", "--seed", "-1"], "seed: -1"), (["--epsilon", "-1"], "epsilon: -1"),
    ):  # fmt: skip
        assert main(["search", str(file), "--no-progress", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert main(["search", str(file), "--no-progress", "--metrics", "tpot_s", "--where", "ttft_s < 0"]) == 0
    assert "0 winners of 4 rows" in (said := capsys.readouterr().out) and "0 satisfy ttft_s < 0" in said
    blind = tmp_path / "blind.yaml"  # nobody published what this keeps
    blind.write_text("base: {model: smolvlm-256m, hardware: l4, workload: {images: [64x64]}, techniques: [frozen_visual]}\naxes: {workload.batch: [1, 2]}\n")
    assert main(["search", str(blind), "--no-progress", "--objective", "ttft_s", "--objective", "fidelity"]) == 0
    assert "0 winners of 2 rows" in (said := capsys.readouterr().out) and "0 have a number for fidelity" in said
    for count in (2, 3):
        assert main(["search", str(file), "--no-progress", "--evaluations", str(count), "--storage", str(tmp_path / "journal")]) == 0
        assert f"of {count} rows" in capsys.readouterr().out
    for out, words in (("x.json", "ends in .csv or .parquet"), ("no/x.csv", "is not a folder"), ("space.yaml", "not accepted")):
        assert main(["sweep", str(file), "--no-progress", "--out", str(tmp_path / out)]) == 2
        assert words in capsys.readouterr().err


BASE = Scenario(model="qwen2.5-vl-7b", hardware="l40s", workload=Workload(text_tokens=64), parallel={"tp": 2})


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
def test_every_technique_is_in_the_command_or_named(engine: str) -> None:
    assert set(flags()) == {"vllm", "sglang", "trtllm"}
    for name in registry():
        try:
            made = launch(BASE.model_copy(update={"techniques": (TechniqueUse(kind=name),)}), engine)
        except ValueError:
            continue  # not on this model
        lacks = [text for text in made.lacking if name in text]
        has = flags()[engine]["techniques"].get(name)
        assert bool(lacks) or has, f"{name} is neither applied nor named"
        assert all(item.since and item.source for item in made.arguments)


def test_launch_commands() -> None:
    scenario = BASE.model_copy(update={"techniques": (TechniqueUse(kind="fastv"), TechniqueUse(kind="kv_quant", parameters={"bits": 8}))})
    made = launch(scenario, "vllm")
    assert made.command.startswith("vllm serve Qwen/Qwen2.5-VL-7B-Instruct --tensor-parallel-size 2")
    assert "--kv-cache-dtype fp8" in made.command and len(made.lacking) == 1 and "fastv" in made.lacking[0]
    assert "NOT APPLIED: fastv" in made.script()
    two = launch(BASE.model_copy(update={"techniques": (TechniqueUse(kind="kv_quant", parameters={"bits": 2}),)}), "vllm")
    assert "bits 2" in two.lacking[0] and "fp8" not in two.command
    other = launch(scenario, "trtllm")
    assert other.options == {"kv_cache_config": {"dtype": "fp8"}} and "--extra_llm_api_options" in other.command


def made_for(engine: str, kind: str) -> str:
    made = launch(BASE.model_copy(update={"techniques": (TechniqueUse(kind=kind),)}), engine)
    return f"{made.minimum} {made.command} LACKS {'; '.join(made.lacking)}"


def test_a_named_method_gets_flags_of_its_own_or_none() -> None:
    assert "NOT" not in made_for("vllm", "evs") and "--video-pruning-rate 0.75" in made_for("vllm", "evs")
    assert "--video-pruning" not in made_for("vllm", "dycoke") and "dycoke (temporal_merge): hypothetical on vllm" in made_for("vllm", "dycoke")
    assert "0.28.0" in made_for("vllm", "vidcom2") and "--video-pruning-method vidcom2" in made_for("vllm", "vidcom2")
    assert "eagle3" in made_for("vllm", "speculative") and "draft_model" in made_for("vllm", "leviathan") and "draft_model" not in made_for("vllm", "medusa")
    assert "speculative-config" not in made_for("vllm", "vispec") and "vispec (speculative): hypothetical" in made_for("vllm", "vispec")


def test_an_eagle_server_of_sglang_gets_all_three_numbers() -> None:
    """It takes them together or chooses all three (server_args.py, 0.5.1 to 0.5.23)."""
    chain, tree = made_for("sglang", "speculative"), made_for("sglang", "eagle-2")
    assert "--speculative-num-steps 10 --speculative-eagle-topk 1 --speculative-num-draft-tokens 11" in chain and "EAGLE3" in chain
    assert "--speculative-num-steps 6 --speculative-eagle-topk 10 --speculative-num-draft-tokens 60" in tree and "EAGLE " in tree


def test_exports_say_the_same_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = BASE.model_copy(update={"techniques": (TechniqueUse(kind="fastv"),), "preprocess": False})
    scenario = Scenario.model_validate(scenario.model_dump())
    file = tmp_path / "scenario.yaml"
    file.write_text(as_yaml(scenario))
    space: dict[str, object] = {}
    exec(as_python(scenario), space)
    assert space["result"].ttft_s == estimate(scenario).ttft_s  # type: ignore[attr-defined]
    assert main(["estimate", "--scenario", str(file), "--json"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert json.loads(lines[-1])["ttft_s"] == estimate(scenario).ttft_s
    for kind, words in (("csv", "ttft_s"), ("bibtex", "@inproceedings{fastv")):
        assert main(["export", "--scenario", str(file), "--as", kind]) == 0
        assert words in capsys.readouterr().out
