"""The loop measure, fit, predict, validate: what is predicted is what torch runs, floors come apart from kernels, verdicts."""

from __future__ import annotations

import csv
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from calibrate.__main__ import main
from calibrate.device import hardware_of, known, name_of, write_profile
from calibrate.loop import GOALS, summarised
from calibrate.own_tables import _elementwise
from calibrate.stages import ARCHITECTURES, bare, engines_of, model_of, predict, program_of
from simulator.evaluate import evaluate
from simulator.spec.deployment import load_engine
from simulator.spec.load_hardware import load_hardware
from simulator.spec.source import SpecError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

NAMES = list(json.loads(ARCHITECTURES.read_text(encoding="utf-8")))
META = {
    "identity": {"device": "Some CPU", "kind": "cpu", "torch": "2.13.0+cpu", "threads": 2},
    "details": {"cache_bytes": 33554432, "memory_bytes": 17179869184},
    "date": "2025-11-02T10:00:00Z",
    "inconclusive": False,
    "runs": [{"noise": {"kept_share": 0.9}}],
}
KEYS = (
    "model", "stage", "attention", "format", "execution", "cache", "image_width", "image_height", "images", "visual_tokens", "text_tokens",
    "batch", "query", "context", "vision_layers", "language_layers",
)  # fmt: skip


def row(model: str, stage: str, format: str = "f32", **changed: Any) -> dict[str, Any]:
    """A row of stages.csv without its result."""
    config = json.loads(ARCHITECTURES.read_text(encoding="utf-8"))[model]
    text, vision = config["config"]["text_config"], config["config"]["vision_config"]
    width, height = config["images"][0]
    base: dict[str, Any] = dict.fromkeys(KEYS, 0) | {
        "model": model, "stage": stage, "attention": "sdpa", "format": format, "execution": "eager", "cache": "dynamic", "batch": 1,
        "vision_layers": vision.get("depth", vision.get("num_hidden_layers")), "language_layers": text["num_hidden_layers"],
    }  # fmt: skip
    if stage in ("encode", "project"):
        tokens = {"smolvlm-256m-cut": 36, "qwen2-vl-2b-cut": 64, "floor-llama-2": 4, "floor-llama-10": 4}.get(model, 16)
        base |= {"image_width": width, "image_height": height, "images": 1, "visual_tokens": tokens}
    return base | changed


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_of_the_suite_becomes_a_model(name: str) -> None:
    model = model_of(name)
    config = json.loads(ARCHITECTURES.read_text(encoding="utf-8"))[name]["config"]
    assert model.language.stack.layers == config["text_config"]["num_hidden_layers"]
    assert model.language.vocabulary == config["text_config"]["vocab_size"]


@pytest.mark.parametrize("name", ["smolvlm-256m-cut", "floor-qwen2-2"])
@pytest.mark.parametrize("stage", ["encode", "project", "prefill", "decode"])
def test_the_predicted_stage_multiplies_what_torch_multiplies(name: str, stage: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from calibrate.measure.architectures import architectures
    from calibrate.measure.device import Device
    from calibrate.measure.stages import stage_case

    architecture = next(one for one in architectures("cpu") if one.name == name)
    width, height = architecture.images[0]
    shape = {"width": width, "height": height, "images": 1} if stage in ("encode", "project") else {"query": 24, "text_tokens": 8}
    if stage == "decode":
        shape = {"query": 1, "context": 40}
    case = stage_case(architecture, stage, "eager", "f32", cache="dynamic", **shape)
    prepared = case.prepare(Device("cpu"))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        prepared.calls[0]()
    if prepared.close is not None:
        prepared.close()
    chip = load_hardware("cpu-generic").chip
    from calibrate.stages import machine

    engine = load_engine("torch-cpu")
    total = evaluate(program_of({**case.key}, "fp32"), machine(chip, engine, None), None).totals[stage]  # type: ignore[index]
    counted = float(counter.get_total_flops())
    if stage == "prefill":  # eager attention multiplies the whole square, the simulator the pairs really attended
        language = model_of(name).language
        spec = language.stack.runs[0][1].attention
        assert spec is not None
        counted -= language.stack.layers * 4.0 * spec.heads * spec.head_dim * (24 * 24 - 24 * 25 / 2)
    assert float(total.flops) == pytest.approx(counted, rel=2e-3)


def gemm_seconds(m: float, n: float, k: float) -> float:
    """A made-up CPU: 5 us, 80 GFLOP/s in large products, 16 GB/s when streaming weights."""
    return 5e-6 + max(2.0 * m * n * k / 8e10 * (1.0 + 8.0 / m), 4.0 * n * k / 1.6e10)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def result(seconds: float, index: int, footprint: float = 1e9) -> dict[str, Any]:
    return {
        "footprint_bytes": footprint, "seconds": f"{seconds:.6g}", "median_s": seconds * 1.02, "p20_s": seconds, "p80_s": seconds * 1.05,
        "min_s": seconds * 0.98, "samples": 12, "kept_share": 1.0, "timer": "host", "status": "ok", "note": "", "case": f"{index:04d}",
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Tables of a made-up CPU: products, decoding attention, and stages that the simulator itself composed, floors added."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "meta.yaml").write_text(json.dumps(META))
    rng = np.random.default_rng(0)
    shapes = [(m, n, k) for m in (1, 4, 32, 128, 512) for n in (256, 576, 1536, 4096) for k in (576, 1536)]
    gemm = [
        {"op": "gemm", "format": "f32", "m": m, "n": n, "k": k, "mode": "cold", **result(gemm_seconds(m, n, k) * math.exp(0.03 * rng.standard_normal()), i)}
        for i, (m, n, k) in enumerate(shapes)
    ]  # fmt: skip
    write_csv(folder / "gemm.csv", gemm)
    return folder


def stages(run: Path, rows: list[dict[str, Any]], layer: float = 2e-4, fixed: float = 4e-4, factor: float = 1.0) -> None:
    """Append stages: what the kernels take by their fits, and the host's `layer` per layer and `fixed` per pass."""
    device = load_hardware(hardware_of(run, run / "fitted"))
    engine = bare(load_engine("torch-cpu"))
    made = []
    for index, item in enumerate(rows):
        depth = item["vision_layers"] if item["stage"] == "encode" else item["language_layers"]
        host = 0.0 if item["stage"] == "project" else layer * depth + fixed
        seconds = predict(item, device.chip, engine, run / "fitted").seconds + host
        made.append({**item, **result(seconds * (1.0 if item["model"].startswith("floor") else factor), 9000 + index)})
    write_csv(run / "stages.csv", made)


def all_rows() -> list[dict[str, Any]]:
    floors = [row(f"floor-llama-{depth}", stage, query=16, context=16) for depth in (2, 10) for stage in ("encode", "prefill", "decode")]
    real = [row("smolvlm-256m-cut", "encode", images=count, visual_tokens=36 * count) for count in (1, 2, 3, 4)]
    real += [row("smolvlm-256m-cut", "prefill", query=query) for query in (32, 64, 128, 320)]
    return floors + real + [row("smolvlm-256m-cut", "decode", query=1, context=context) for context in (32, 128, 320, 640)]


def fitted(run: Path) -> int:
    return main(["fit", "--measured", str(run), "--out", str(run / "fitted")])


def validated(run: Path) -> int:
    return main(["validate", "--measured", str(run), "--fitted", str(run / "fitted"), "--plot", str(run / "parity.html")])


def test_the_loop_holds_then_is_exceeded_then_inconclusive(run: Path) -> None:
    assert fitted(run) == 0
    stages(run, all_rows())
    assert fitted(run) == 0
    assert validated(run) == 0
    report = (run / "report.md").read_text()
    assert "**Verdict: holds.**" in report and "| decode | f32 | 4 |" in report and (run / "parity-stages.html").is_file()
    stages(run, all_rows(), factor=1.8)
    assert validated(run) == 1
    assert "| exceeded |" in (run / "report.md").read_text()
    (run / "meta.yaml").write_text(json.dumps(META | {"inconclusive": True}))
    assert validated(run) == 3
    assert "INCONCLUSIVE: the run calls itself inconclusive" in (run / "report.md").read_text()
    assert fitted(run) == 2, "a noisy run is not fitted unless asked to"
    assert main(["fit", "--measured", str(run), "--out", str(run / "fitted"), "--noisy"]) == 0
    assert "inconclusive" in next((run / "fitted").glob("*/gemm-fp32-*.yaml")).read_text()


def test_too_few_rows_of_a_stage_are_inconclusive(run: Path) -> None:
    assert fitted(run) == 0
    stages(run, [item for item in all_rows() if item["stage"] != "decode"])
    assert validated(run) == 3
    assert "fewer than 4 rows of decode" in (run / "report.md").read_text()


def test_floors_come_apart_from_kernels(run: Path) -> None:
    assert fitted(run) == 0
    stages(run, all_rows(), layer=3e-4, fixed=5e-4)
    device = load_hardware(hardware_of(run, run / "fitted"))
    rows = pd.read_csv(run / "stages.csv").rename(columns={"seconds": "latency"})
    engine = engines_of(rows, "cpu", device.chip, run / "fitted", "test")["sdpa", "f32"]
    for stage in ("encode", "prefill", "decode"):
        assert engine.layer[stage].seconds == pytest.approx(3e-4, rel=0.01), stage
    assert engine.step.seconds == pytest.approx(5e-4, rel=0.01)
    assert engine.layer["decode"].source.kind == "measured"


def test_one_command_estimates_on_the_measured_machine(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from simulator.cli import main as command

    assert fitted(run) == 0
    stages(run, all_rows())
    assert fitted(run) == 0
    capsys.readouterr()
    common = ["--model", "smolvlm-256m", "--format", "fp32", "--image", "512x512", "--text", "16", "--output", "4", "--json", "--no-preprocess"]
    assert command(["estimate", "--hardware", str(run / "profile.yaml"), "--engine", str(run / "engine.yaml"), *common]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["calibration"]["source"] == "measured"
    assert 0.0 < data["tpot_s"] < data["ttft_s"]


def test_a_profile_says_what_was_measured_and_what_was_not(run: Path) -> None:
    path = write_profile(run, run / "fitted")
    device = load_hardware(path)
    assert device.name == name_of(META) == "some-cpu-2-threads"
    table = pd.read_csv(run / "gemm.csv")
    assert device.peak["fp32"].value == pytest.approx((2.0 * table.m * table.n * table.k / table.min_s).max(), rel=1e-3)
    assert device.memory_bandwidth.value == pytest.approx((4.0 * table.n * table.k / table.min_s).max(), rel=1e-3)
    assert "tdp_w" in device.assumed() and "memory_bandwidth" not in device.assumed() and "memory_bytes" not in device.assumed()
    assert device.chip.fits == str((run / "fitted").resolve())


def test_accelerators_are_known_by_what_the_driver_calls_them() -> None:
    def called(name: str) -> str | None:
        return known({"identity": {"device": name, "kind": "cuda", "torch": "2.9.0", "threads": 1}})

    assert called("NVIDIA H100 80GB HBM3") == "h100-sxm" and called("NVIDIA H100 PCIe") == "h100-pcie"
    assert called("NVIDIA A100-SXM4-80GB") == "a100-sxm-80gb" and called("NVIDIA L40S") == "l40s" and called("NVIDIA L4") == "l4"
    assert called("NVIDIA GeForce RTX 4090") == "rtx-4090" and called("NVIDIA H20") == "h20" and called("NVIDIA H200") == "h200-sxm"
    listed = {
        "NVIDIA H100 NVL": "h100-nvl", "NVIDIA H200 NVL": "h200-nvl", "NVIDIA GH200 480GB": "gh200", "NVIDIA L20": "l20",
        "NVIDIA A800-SXM4-80GB": "a800-sxm-80gb", "NVIDIA RTX 6000 Ada Generation": "rtx-6000-ada", "AMD Instinct MI355X": "mi355x",
        "NVIDIA GeForce RTX 3090 Ti": "rtx-3090-ti", "NVIDIA GeForce RTX 3090": "rtx-3090", "NVIDIA H800": "h800-sxm",
        "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": "rtx-pro-6000",
    }  # fmt: skip
    assert {name: called(name) for name in listed} == listed
    unlisted = (
        "Some Accelerator 9", "NVIDIA A100-PCIE-40GB", "NVIDIA RTX A4000", "NVIDIA A10G", "NVIDIA L40", "NVIDIA GH200 144G HBM3e", "NVIDIA H800 PCIe",
        "NVIDIA H20-3e", "NVIDIA L20X", "NVIDIA GeForce RTX 4080 SUPER", "NVIDIA GeForce RTX 4090 D", "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
    )  # fmt: skip
    assert [called(name) for name in unlisted] == [None] * len(unlisted)


@pytest.mark.parametrize(("cpu", "pass_of_norm"), [(True, "plain"), (False, "fused")])
def test_a_norm_is_one_pass_where_the_engine_counts_passes(tmp_path: Path, cpu: bool, pass_of_norm: str) -> None:
    format = "f32" if cpu else "bf16"
    seconds = {"plain": 3e-5, "fused": 1e-5}
    lines = ["case,status,seconds,footprint_bytes,op,implementation,format,width,bytes,mode"]
    lines += [
        f"{way}{width}{step},ok,{seconds[way]},1e9,rms_norm,{way},{format},{width},{width * step},cold"
        for way in seconds for width in (512, 1000, 1536) for step in (1, 4, 16, 64, 256)
    ]  # fmt: skip
    (tmp_path / "elementwise.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = list(_elementwise(tmp_path, "h100-sxm", "2.13.0", cpu))
    assert [item.op for item in found] == ["norm"]
    assert found[0].rows["seconds"].unique().tolist() == [seconds[pass_of_norm]]


def test_a_gpu_overlaps_its_host_and_a_cpu_does_not() -> None:
    chip = load_hardware("h100-sxm").chip
    engine = load_engine("hf-sdpa")
    short = row("smolvlm-256m-cut", "decode", "bf16", query=1, context=32)
    slow = engine.model_copy(update={"layer": {"decode": engine.launch.model_copy(update={"seconds": 1e-3})}})
    base = bare(engine)
    host = bare(engine).model_copy(update={"layer": {"decode": engine.launch.model_copy(update={"seconds": 1e-3})}})
    alone = predict(short, chip, base, None).seconds
    assert predict(short, chip, host, None).seconds == pytest.approx(6e-3)  # 6 layers of 1 ms hide the kernels
    assert predict(short, chip, host.model_copy(update={"overlap": False}), None).seconds == pytest.approx(6e-3 + alone)
    assert predict(short, chip, slow, None).seconds > 6e-3


def test_a_stage_without_layers_is_refused() -> None:
    data = load_engine("torch-cpu").model_dump(mode="json")
    data["layer"]["project"] = data["step"]
    from simulator.spec.deployment import Engine
    from simulator.spec.validated import validated as checked

    with pytest.raises(SpecError, match="'project' has no layers; accepted: encode, prefill, decode"):
        checked(Engine, data, "mine")


def test_unknown_model_is_named() -> None:
    with pytest.raises(ValueError, match="model: 'gpt' is not in architectures"):
        program_of({"model": "gpt", "stage": "decode"}, "fp32")


def test_a_stage_is_judged_by_its_noise_where_that_is_more() -> None:
    frame = pd.DataFrame(
        {"stage": "decode", "format": "f32", "attention": "sdpa", "model": "a", "seconds": 1.0, "predicted": 1.3, "lower": 1.0, "upper": 2.0,
         "error": 0.3, "noise": [0.01, 0.01, 0.2, 0.2, 0.2]}
    )  # fmt: skip
    assert summarised(frame, "cpu")["goal"].iloc[0] == pytest.approx(0.4)
    assert summarised(frame.assign(noise=0.01), "cpu")["verdict"].iloc[0] == "exceeded"
    assert summarised(frame.head(3), "cpu")["goal"].iloc[0] == 0.0, "too few to judge"
    assert GOALS["cpu"] == {"encode": 0.15, "prefill": 0.15, "decode": 0.25}


def test_the_real_loop_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part on this machine, whatever else it does: samples are not dropped, and no accuracy is asked for."""
    from calibrate.measure import cpu_clock
    from calibrate.measure.architectures import architectures
    from calibrate.measure.device import Device
    from calibrate.measure.gemm import gemm_case
    from calibrate.measure.progress import Progress
    from calibrate.measure.runner import Plan, run_plans
    from calibrate.measure.stages import stage_case

    monkeypatch.setattr(cpu_clock, "BURST", 1e9)
    monkeypatch.setattr(cpu_clock, "involuntary_switches", lambda: 0)
    folder = tmp_path / "real"
    threads = torch.get_num_threads()
    try:
        assert main(["measure", "--device", "cpu", "--suite", "quick", "--budget", "4", "--threads", "1", "--out", str(folder), "--quiet"]) == 0
        models = {one.name: one for one in architectures("cpu")}
        cases = [stage_case(models[f"floor-llama-{n}"], "decode", "sdpa", "f32", cache="dynamic", query=1, context=16) for n in (2, 10)]
        cases += [
            stage_case(models["smolvlm-256m-cut"], "decode", "sdpa", "f32", cache="dynamic", query=1, context=context)
            for context in (16, 32, 64, 128)
        ]
        products = tuple(gemm_case("f32", m, n, 256) for m in (1, 4, 16, 64) for n in (128, 256, 512, 1024))
        plans = [Plan("gemm", products, 1.0, 3, 0.01), Plan("stages", tuple(cases), 1.0, 3, 0.3)]
        device = Device("cpu")
        with Progress(10.0, True) as progress:
            run_plans(plans, device, cpu_clock.CpuClock(device), folder, time.monotonic() + 20.0, progress)
    finally:
        torch.set_num_threads(threads)
    assert main(["fit", "--measured", str(folder), "--out", str(folder / "fitted"), "--noisy"]) == 0
    engine = yaml.safe_load((folder / "engine.yaml").read_text())
    assert 0.0 < engine["layer"]["decode"]["seconds"] < 0.1
    assert validated(folder) in (1, 3)  # encode and prefill are missing, so it cannot hold
    report = (folder / "report.md").read_text()
    assert "fewer than 4 rows of encode" in report and "| decode | f32 |" in report
