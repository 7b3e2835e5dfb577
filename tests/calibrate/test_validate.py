"""Validation: a fit that keeps its word passes, one that overstates itself fails with exit status 1."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from calibrate.__main__ import main


def run_folder(place: Path) -> Path:
    """A run of matrix products with 5 % noise."""
    rng = np.random.default_rng(0)
    place.mkdir()
    (place / "meta.yaml").write_text(json.dumps({"identity": {"device": "x", "torch": "2.9.0"}, "inconclusive": False}))
    lines = ["op,format,m,n,k,mode,footprint_bytes,seconds,status,case"]
    for m in (1, 8, 64, 512, 4096):
        for n in (512, 768, 1024, 2048, 4096):
            for k in (512, 1024, 4096):
                seconds = (4e-6 + max(2.0 * m * n * k / 250e12, 2.0 * (n * k + m * n + m * k) / 7e11)) * np.exp(0.05 * rng.standard_normal())
                lines.append(f"gemm,bf16,{m},{n},{k},cold,1e12,{seconds},ok,{m}-{n}-{k}")
    (place / "gemm.csv").write_text("\n".join(lines) + "\n")
    return place


def test_fit_then_validate_then_overstate(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    common = ["--measured", str(folder), "--hardware", "l40s"]
    assert main(["fit", *common, "--out", str(tmp_path / "fitted")]) == 0
    report = tmp_path / "report.md"
    check = ["validate", *common, "--fitted", str(tmp_path / "fitted"), "--report", str(report), "--plot", str(tmp_path / "p.html")]
    assert main(check) == 0
    assert "| l40s/gemm-bf16-torch-2.9.0 |" in report.read_text() and (tmp_path / "p.html").stat().st_size > 1000
    path = tmp_path / "fitted" / "l40s" / "gemm-bf16-torch-2.9.0.yaml"
    lines = [("  mape: 0.0001" if line.startswith("  mape:") else line) for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    assert main(check) == 1
    assert "**exceeded**" in report.read_text()


def test_bad_folders_are_one_line(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    assert main(["fit", "--measured", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
