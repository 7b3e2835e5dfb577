"""Products of packed weights: later than the plain product, slower with many rows, and with a band of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulator.efficiency.kernels import kernels_for
from simulator.efficiency.weight_only import LATER, unpacked
from simulator.spec.hardware import Chip
from simulator.spec.load_hardware import load_hardware
from simulator.timing import Time


def product(chip: Chip, engine: str, m: float, bits: float | np.ndarray, format: str = "bf16", n: float = 8192.0, k: float = 8192.0) -> Time:
    flops, moved = 2.0 * m * n * k, n * k * bits / 8.0 + m * (n + k) * 2.0
    return kernels_for(chip, engine).gemm(chip, format, m, n, k, weight_bits=bits, flops=flops, bytes=moved)


def test_marlin_on_h100_against_its_benchmark() -> None:
    """One row of 8192 x 8192 on H100: 58 us in 16 bits, 27 in 4 (github inclusionAI/humming pull 2), both with some 10 us of the timer."""
    chip = load_hardware("h100-sxm").chip
    wide, narrow = product(chip, "vllm", 1.0, 16.0), product(chip, "vllm", 1.0, 4.0)
    assert 27.0 / 58.0 > narrow.expected / wide.expected > 0.25
    assert narrow.expected * np.exp(-narrow.low) < 27e-6 < narrow.expected * np.exp(narrow.high) + 10e-6


def test_marlin_of_many_rows_on_a100() -> None:
    """4,000 rows of 18432 x 73728: 0.61 of the speed of 16 bits (github vllm pull 2497)."""
    chip = load_hardware("a100-sxm-80gb").chip
    wide, narrow = (product(chip, "vllm", 4000.0, bits, n=18432.0, k=73728.0) for bits in (16.0, 4.125))
    ratio = narrow.expected / wide.expected
    assert ratio > 1.2
    assert np.exp(-narrow.low) * ratio < 1.0 / 0.61 < np.exp(narrow.high) * ratio


@pytest.mark.parametrize(("device", "more"), [("h100-sxm", 1.1), ("jetson-thor", 1.8)])
def test_older_instructions_reach_less_of_newer_multipliers(device: str, more: float) -> None:
    ampere, newer = load_hardware("a100-sxm-80gb").chip, load_hardware(device).chip

    def slower(chip: Chip) -> float:
        wide, narrow = (product(chip, "vllm", 8192.0, bits) for bits in (16.0, 4.0))
        return float(narrow.expected / wide.expected)

    assert slower(newer) > more * slower(ampere)


def test_its_band_is_wider_and_it_is_no_measurement() -> None:
    chip = load_hardware("h100-sxm").chip
    for m in (1.0, 4096.0):
        wide, narrow = product(chip, "vllm", m, 16.0), product(chip, "vllm", m, 4.0)
        assert narrow.low > wide.low and narrow.high > wide.high + 0.2
        assert narrow.source == "transferred" and narrow.fit != wide.fit


def test_weights_expanded_first_are_multiplied_at_the_plain_rate() -> None:
    chip = load_hardware("a100-sxm-80gb").chip
    wide, narrow = (product(chip, "hf-sdpa", 8192.0, bits) for bits in (16.0, 4.0))
    assert float(narrow.expected) == pytest.approx(float(wide.expected), rel=0.02)


def test_what_is_multiplied_as_stored_is_not_unpacked() -> None:
    h100, a100 = load_hardware("h100-sxm").chip, load_hardware("a100-sxm-80gb").chip
    assert unpacked(h100, "fp8", 8.0) == 0.0 and unpacked(h100, "int8", 8.0) == 0.0 and unpacked(h100, "bf16", 16.0) == 0.0
    assert unpacked(a100, "fp8", 8.0) == 1.0  # A100 multiplies them in 16 bits
    assert unpacked(load_hardware("b200-sxm").chip, "nvfp4", 4.5) == 0.0


def test_arrays_of_widths_agree_with_numbers() -> None:
    chip = load_hardware("h100-sxm").chip
    bits = np.array([16.0, 8.0, 4.0])
    swept = product(chip, "vllm", 1.0, bits)
    single = [product(chip, "vllm", 1.0, float(item)) for item in bits]
    assert np.allclose(swept.expected, [item.expected for item in single])
    assert np.allclose(swept.high, [item.high for item in single])


def test_experts_have_them_too() -> None:
    chip = load_hardware("h100-sxm").chip
    kernels = kernels_for(chip, "vllm")
    wide, narrow = (
        kernels.grouped_gemm(chip, "bf16", 8.0, 1536.0, 4096.0, 8.0, bits, 2.0 * 8 * 1536 * 4096, 8 * 1536 * 4096 * bits / 8) for bits in (16.0, 4.0)
    )
    assert narrow.high > wide.high and narrow.overhead == pytest.approx(wide.overhead + LATER)


def test_measured_marlin_experts() -> None:
    """Routed layers of 4-bit weights by Marlin on H100, which no constant comes from: 162 rows, 12 % off in the median, 86 % inside."""
    path = Path(__file__).parents[3] / "shared/measured/aiconfigurator/calib/h100_sxm/moe__vllm_0.24.0.parquet"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    frame = pd.read_parquet(path)
    rows = frame[(frame["moe_dtype"] == "int4_wo") & (frame["moe_ep_size"] == 1) & (frame["distribution"] == "balanced")]
    assert len(rows) > 100
    measured, tokens, top, hidden, all_of = (rows[name].to_numpy(float) for name in ("latency", "num_tokens", "topk", "hidden_size", "num_experts"))
    inter = (rows["inter_size"] / rows["moe_tp_size"]).to_numpy(float)
    routed, experts = tokens * top, np.minimum(all_of, tokens * top)
    chip = load_hardware("h100-sxm").chip
    kernels = kernels_for(chip, "vllm")
    expected = lower = upper = 0.0
    for n, k in ((2.0 * inter, hidden), (hidden, inter)):
        moved = experts * n * k * 4.125 / 8.0 + 2.0 * routed * (n + k)
        part = kernels.grouped_gemm(chip, "bf16", routed, n, k, experts, np.full(len(rows), 4.125), 2.0 * routed * n * k, moved)
        expected, lower = expected + part.expected, lower + part.expected * np.exp(-part.low)
        upper = upper + part.expected * np.exp(part.high)
    passes = (6.0 * routed * inter + 2.0 * hidden * (routed + tokens)) / (kernels.fits["grouped_gemm", "bf16"][0].values[-1] * chip.bandwidth)
    error = (expected + passes) / (measured * 1e-3) - 1.0
    inside = (lower + passes <= measured * 1e-3) & (measured * 1e-3 <= upper + passes)
    assert np.median(np.abs(error)) < 0.2 and inside.mean() > 0.7, (float(np.median(np.abs(error))), float(inside.mean()))
