"""Products of routed rows by hand: tiles that are multiplied whole, tiles that walk k, and who lends which kind."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from simulator.efficiency import kernels_for
from simulator.efficiency.forms import COLD, PARAMETERS
from simulator.efficiency.grouped_forms import GROUPED
from simulator.spec.load_hardware import load_hardware

H100 = load_hardware("h100-sxm").chip
PEAK = 1.9789e15
COMMON = {"t0": 1e-5, "ec": 0.2, "em": 0.9, "p": 4.0, "l2_share": 0.6, "el2": 0.6, "group": 1e-6, "walk": 2e-6, "ragged": 0.3, "passes": 0.5}


def seconds(form: str, rows: float, n: float, k: float, experts: float, **changed: float) -> float:
    values = tuple((COMMON | changed)[name] for name in PARAMETERS[form])
    moved = experts * n * k + 2.0 * rows * (n + k)
    return float(GROUPED[form](H100, values, PEAK, 2.0 * rows * n * k, moved, rows, n, k, experts, COLD).total)


def test_tiles_that_are_multiplied_whole_cost_the_same_for_any_row_in_them() -> None:
    """H100, 8-bit Mixtral layer through FlashInfer's CUTLASS experts: 2.24 ms at 2 and at 16 rows for each of eight experts."""
    few, more = seconds("grouped_tiles", 16.0, 28672.0, 4096.0, 8.0), seconds("grouped_tiles", 128.0, 28672.0, 4096.0, 8.0)
    assert more == pytest.approx(few, rel=1e-3)
    one = 2.0 * 128.0 * 32.0 * 4096.0 * H100.sms / (0.2 * PEAK) + 1e-6
    assert few == pytest.approx(1e-5 + 8 * 896 * 1.3 / H100.sms * one, rel=0.02)
    assert seconds("grouped_tiles", 8 * 129.0, 28672.0, 4096.0, 8.0) == pytest.approx(1e-5 + (few - 1e-5) * 2.3 / 1.3, rel=0.01)


def test_a_few_tiles_take_as_long_as_a_whole_wave_and_longer_the_deeper_they_are() -> None:
    """One expert leaves most of the chip idle: its tiles walk k as those of a full wave do."""
    one, two = seconds("grouped_gemm", 1.0, 256.0, 8192.0, 1.0), seconds("grouped_gemm", 2.0, 256.0, 8192.0, 2.0)
    assert one == pytest.approx(two, rel=0.01)
    assert one == pytest.approx(1e-5 + 1e-6 + 8 * 2e-6, rel=0.05)
    assert seconds("grouped_gemm", 1.0, 256.0, 1024.0, 1.0) == pytest.approx(1e-5 + 1e-6 + 2e-6, rel=0.05)


@pytest.mark.parametrize("form", sorted(GROUPED))
def test_more_rows_columns_and_depth_are_never_faster(form: str) -> None:
    for n, k, experts in ((1536.0, 2048.0, 128.0), (28672.0, 4096.0, 8.0), (64.0, 2048.0, 16.0)):
        rows = [seconds(form, float(r), n, k, experts) for r in np.unique(np.round(np.geomspace(experts, 1e5, 60)))]
        assert all(b >= 0.98 * a for a, b in pairwise(rows))
        assert seconds(form, 512.0, 2.0 * n, k, experts) >= seconds(form, 512.0, n, k, experts)
        assert seconds(form, 512.0, n, 2.0 * k, experts) >= seconds(form, 512.0, n, k, experts)


@pytest.mark.parametrize("form", sorted(GROUPED))
def test_arrays_agree_with_numbers(form: str) -> None:
    values = tuple(COMMON[name] for name in PARAMETERS[form])
    rows, n, experts = np.array([1.0, 100.0, 3000.0]), np.array([64.0, 1536.0, 1536.0]), np.array([1.0, 64.0, 128.0])
    moved = experts * n * 2048.0
    got = GROUPED[form](H100, values, PEAK, 2.0 * rows * n * 2048.0, moved, rows, n, 2048.0, experts, COLD).total
    for i in range(3):
        r, w, e = float(rows[i]), float(n[i]), float(experts[i])
        one = GROUPED[form](H100, values, PEAK, 2.0 * r * w * 2048.0, e * w * 2048.0, r, w, 2048.0, e, COLD).total
        assert got[i] == pytest.approx(float(one), rel=1e-12)


def test_lenders_of_one_form_only_and_the_nearest_ones() -> None:
    assert kernels_for(H100, "vllm").fits["grouped_gemm", "fp8"][0].form == "grouped_tiles"
    for name, form in (("h200-sxm", "grouped_tiles"), ("b300-sxm", "grouped_gemm"), ("rtx-4090", "grouped_gemm")):
        fit = kernels_for(load_hardware(name).chip, "vllm").fits["grouped_gemm", "fp8"][0]
        assert (fit.form, len(fit.values)) == (form, len(PARAMETERS[form])), name
        assert fit.source == "transferred"
