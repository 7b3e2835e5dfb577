"""Fitting: what was put in comes out, garbage is refused by name, fitting twice gives the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calibrate.estimate import estimate
from calibrate.fit import fit, read_measured, write
from calibrate.held_out import bands_of, scaled_bands
from calibrate.own_tables import read_run
from calibrate.problems import form_of, starts, terms
from calibrate.readers import read_all
from calibrate.samples import COLUMNS, Samples, checked
from simulator.efficiency.fits import read_fit
from simulator.efficiency.forms import PARAMETERS
from simulator.spec.load_hardware import load_hardware
from simulator.spec.source import SpecError


def synthetic(family: str = "gemm", noise: float = 0.0, **changed: float) -> tuple[Samples, dict[str, float]]:
    """Rows that a form made itself, with known parameters."""
    rng = np.random.default_rng(3)
    form = form_of(family, "bf16")
    truth = dict(zip(PARAMETERS[form], starts(form), strict=True)) | changed
    if family == "gemm":
        size = [64, 128, 512, 1024, 4096, 8192]
        frame = pd.DataFrame([(m, n, k) for m in (1, 16, 64, 256, 1024, 8192) for n in size for k in size], columns=["m", "n", "k"])
        frame = frame.assign(bits=16, footprint=12.0 * frame["n"] * frame["k"], group=frame["n"].astype(str) + "x" + frame["k"].astype(str))
    else:
        frame = pd.DataFrame({"bytes": np.geomspace(1e3, 1e9, 60), "group": np.arange(60) // 3})
    columns = {name: frame[name].to_numpy(np.float64) for name in COLUMNS[family]}
    chip = load_hardware("h100-sxm").chip
    found, _ = terms(family, form, tuple(truth.values()), columns, chip, "bf16")
    frame["latency"] = found.total * np.exp(noise * rng.standard_normal(len(frame)))
    rows = checked(frame, family, "s", "synthetic")
    return Samples("h100-sxm", "gemm" if family == "gemm" else "norm", family, "bf16", "vllm", "0", "", rows, "synthetic"), truth


@pytest.mark.parametrize("changed", [{"t0": 9e-6, "ec": 0.6, "em": 0.7}, {"t0": 2e-6, "ec": 0.9, "em": 0.9, "p": 4.0}])
def test_a_fit_of_synthetic_rows_recovers_the_parameters(changed: dict[str, float]) -> None:
    samples, truth = synthetic(**changed)
    found = dict(zip(PARAMETERS["gemm"], estimate(samples, "gemm", load_hardware("h100-sxm").chip).values, strict=True))
    for name in ("t0", "ec", "em", "cta"):
        assert found[name] == pytest.approx(truth[name], rel=0.03), name


def test_a_few_wild_rows_do_not_move_the_fit() -> None:
    samples, truth = synthetic(t0=9e-6, ec=0.6)
    wild = samples.rows.copy()
    wild.loc[wild.index[::20], "seconds"] *= 8.0
    bent = Samples(samples.device, "gemm", "gemm", "bf16", "vllm", "0", "", wild, "synthetic")
    found = dict(zip(PARAMETERS["gemm"], estimate(bent, "gemm", load_hardware("h100-sxm").chip).values, strict=True))
    assert found["ec"] == pytest.approx(truth["ec"], rel=0.05)
    assert found["t0"] == pytest.approx(truth["t0"], rel=0.1)


def test_a_parameter_at_its_bound_is_flagged_by_name() -> None:
    samples, _ = synthetic()
    fast = samples.rows.assign(seconds=samples.rows["seconds"] / 6.0)
    found = estimate(Samples("h100-sxm", "gemm", "gemm", "bf16", "vllm", "0", "", fast, ""), "gemm", load_hardware("h100-sxm").chip)
    assert any(flag.startswith("ec is at its bound") for flag in found.flags)


def test_too_few_rows_are_refused() -> None:
    samples, _ = synthetic()
    few = Samples("h100-sxm", "gemm", "gemm", "bf16", "vllm", "0", "", samples.rows.head(4), "")
    with pytest.raises(ValueError, match="4 rows are too few"):
        estimate(few, "gemm", load_hardware("h100-sxm").chip)


def test_fitting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    samples, _ = synthetic(noise=0.05)
    first = write(fit(samples)[0], tmp_path / "a").read_bytes()
    second = write(fit(samples)[0], tmp_path / "b").read_bytes()
    assert first == second
    read = read_fit(tmp_path / "a" / "h100-sxm" / "gemm-bf16-vllm-0.yaml")
    assert read.form == "gemm" and 0.0 < read.error < 0.1


def test_bands_of_known_noise_cover_four_fifths() -> None:
    samples, _ = synthetic(noise=0.08)
    held = fit(samples, tables=False)[1]
    assert 0.75 <= held.coverage() <= 0.9
    assert held.width() == pytest.approx(np.exp(2.0 * 1.3 * 0.08) - 1.0, rel=0.35)


def test_bands_of_rows_that_err_together_cover_the_next_group() -> None:
    """Five groups with an error of their own: quantiles of four cover too little of the fifth, widened ones more; of even noise they stay."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(5), 200)
    where = np.full(1000, 2)
    together = 0.2 * rng.standard_normal(5)[groups] + 0.02 * rng.standard_normal(1000)
    plain, scaled = bands_of(together, where), scaled_bands(together, where, groups)
    assert scaled.low[2] > 1.1 * plain.low[2] and scaled.high[2] > 1.1 * plain.high[2]
    assert scaled.low[2] / plain.low[2] == pytest.approx(scaled.high[2] / plain.high[2], rel=0.02)
    even = 0.1 * rng.standard_normal(1000)
    assert scaled_bands(even, where, groups) == bands_of(even, where)


FRAME = {"bytes": [1e3, 1e4, 1e5], "latency": [1.0, 2.0, 3.0], "group": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("latency", 1, float("nan"), "row 1: latency"),
        ("latency", 2, 0.0, "row 2: latency is 0"),
        ("latency", 0, -1.0, "row 0: latency is -1"),
        ("bytes", 1, 0.0, "row 1: bytes is 0"),
        ("latency", 0, 1e7, "is the unit really 'ms'"),
    ],
)
def test_bad_rows_are_named(column: str, row: int, value: float, message: str) -> None:
    frame = pd.DataFrame(FRAME)
    frame.loc[row, column] = value
    with pytest.raises(ValueError, match=message):
        checked(frame, "stream", "ms", "table.csv")


def test_unknown_units_and_missing_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="unit 'minutes' is not known"):
        checked(pd.DataFrame(FRAME), "stream", "minutes", "table.csv")
    with pytest.raises(ValueError, match="column 'bytes' is missing"):
        checked(pd.DataFrame(FRAME).drop(columns="bytes"), "stream", "ms", "table.csv")


def test_duplicates_are_merged_and_contradictions_refused() -> None:
    frame = pd.concat([pd.DataFrame(FRAME)] * 2, ignore_index=True)
    assert len(checked(frame, "stream", "ms", "table.csv")) == 3
    frame.loc[0, "latency"] = 50.0
    with pytest.raises(ValueError, match="tenfold apart"):
        checked(frame, "stream", "ms", "table.csv")


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "aiconfigurator" / "calib" / "l40s"
    place.mkdir(parents=True)
    (place / "gemm__vllm_0.24.0.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(ValueError, match=r"gemm__vllm_0.24.0.parquet: cannot be read"):
        read_all(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        read_all(tmp_path / "nowhere")


def run_folder(place: Path, rows: int = 40) -> Path:
    """A run as `calibrate measure` leaves it."""
    place.mkdir()
    (place / "meta.yaml").write_text(json.dumps({"identity": {"device": "x", "torch": "2.9.0+cu128"}, "inconclusive": False}))
    head = "op,format,m,n,k,mode,footprint_bytes,seconds,status,case\n"
    lines = [f"gemm,bf16,{m},{n},1024,cold,1e9,{1e-5 + m * n * 1e-12},ok,{m}-{n}\n" for m in range(1, rows // 4 + 1) for n in (512, 768, 1024, 2048)]
    (place / "gemm.csv").write_text(head + "".join(lines) + "gemm,bf16,99,99,1024,cold,1e9,,out_of_memory,o\n")
    return place


def test_our_own_tables_are_read(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    found = read_measured(folder, "l40s")
    assert [(item.op, item.framework, item.version, item.source) for item in found] == [("gemm", "torch", "2.9.0", "measured")]
    assert len(found[0].rows) == 40 and found[0].dropped == {"out_of_memory": 1}
    with pytest.raises(ValueError, match="hardware: is missing"):
        read_run(folder, "")
    with (folder / "gemm.csv").open("a") as file:
        file.write("gemm,bf16,7,5")
    with pytest.raises(ValueError, match="cut short"):
        read_run(folder, "l40s")


def test_a_damaged_fit_file_is_named(tmp_path: Path) -> None:
    samples, _ = synthetic(family="stream", noise=0.02)
    path = write(fit(samples)[0], tmp_path)
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("form:")))
    with pytest.raises(SpecError, match=path.name):
        read_fit(path)
