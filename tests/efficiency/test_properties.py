"""What must hold of every kernel model: more hardware is never slower, more rows are never much faster, bands widen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.efficiency import Kernels, kernel_seconds, kernels_for
from simulator.efficiency.fits import fits_of, fitted_devices
from simulator.efficiency.forms import PARAMETERS
from simulator.spec.hardware import Chip
from simulator.spec.load_hardware import hardware_names, load_hardware
from simulator.timing import Time

DEVICES = ("h100-sxm", "a100-sxm-80gb", "l40s", "b200-sxm", "h200-sxm", "l4", "rtx-4090", "mi300x", "cpu-generic")
OPS = ("gemm", "encoder_attention", "prefill_attention", "decode_attention", "elementwise")
size = st.integers(0, 17).map(lambda i: float(2**i))


def timed(kernels: Kernels, chip: Chip, op: str, rows: float, width: float) -> Time:
    """One kernel of a family at a size."""
    if op == "gemm":
        moved = 2.0 * (width * 4096.0 + rows * (width + 4096.0))
        return kernels.gemm(chip, "bf16", rows, width, 4096.0, 1.0, 16.0, 2.0 * rows * width * 4096.0, moved)
    if op == "elementwise":
        return kernels.elementwise(chip, "norm", rows * width)
    heads, kv = 32.0, 8.0
    if op == "decode_attention":
        moved = 4.0 * kv * rows * 128.0 + 4.0 * heads * 128.0
        return kernels.decode_attention(chip, "bf16", 1.0, heads, kv, 128.0, 1.0, rows, 4.0 * heads * rows * 128.0, moved)
    flops = 4.0 * heads * rows * rows * 128.0
    moved = rows * 128.0 * (4.0 * heads + 4.0 * kv)
    if op == "encoder_attention":
        return kernels.encoder_attention(chip, "bf16", 1.0, heads, kv, 72.0, rows, rows, flops, moved)
    return kernels.prefill_attention(chip, "bf16", 1.0, heads, kv, 128.0, rows, rows, flops / 2.0, moved)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", DEVICES)
@settings(max_examples=25, deadline=None)
@given(rows=size, width=size, faster=st.floats(1.0, 8.0))
def test_more_bandwidth_or_peak_is_never_slower(op: str, name: str, rows: float, width: float, faster: float) -> None:
    chip = load_hardware(name).chip
    kernels = kernels_for(chip, "vllm")
    base = timed(kernels, chip, op, rows, width).expected
    wide = dataclasses.replace(chip, bandwidth=chip.bandwidth * faster)
    quick = dataclasses.replace(chip, peak={key: value * faster for key, value in chip.peak.items()})
    assert timed(kernels, wide, op, rows, width).expected <= base * (1 + 1e-9)
    assert timed(kernels, quick, op, rows, width).expected <= base * (1 + 1e-9)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", DEVICES)
def test_more_rows_are_never_much_faster(op: str, name: str) -> None:
    chip = load_hardware(name).chip
    kernels = kernels_for(chip, "vllm")
    for width in (64.0, 1000.0, 4096.0, 20000.0):
        rows = np.unique(np.round(np.geomspace(1, 40000, 160)))
        got = np.array([timed(kernels, chip, op, float(m), width).expected for m in rows])
        worst = float(np.max(np.maximum.accumulate(got) / got))
        assert worst <= 1.25, f"{rows[int(np.argmax(np.maximum.accumulate(got) / got))]} rows"


@pytest.mark.parametrize("op", OPS)
def test_a_swept_bandwidth_is_an_array_and_agrees(op: str) -> None:
    chip = load_hardware("h100-sxm").chip
    kernels = kernels_for(chip, "vllm")
    swept = dataclasses.replace(chip, bandwidth=np.array([0.5, 1.0, 2.0]) * chip.bandwidth)
    got = timed(kernels, swept, op, 2048.0, 4096.0).expected
    assert got[1] == pytest.approx(timed(kernels, chip, op, 2048.0, 4096.0).expected, rel=1e-9)
    assert got[0] >= got[1] >= got[2]


def test_nothing_is_predicted_below_physics() -> None:
    m = np.array([1.0, 64.0, 4096.0, 16384.0])
    for name in DEVICES:
        got = kernel_seconds("gemm", name, "vllm", "fp16", m=m, n=8192, k=8192)
        chip = load_hardware(name).chip
        peak = chip.peak[chip.executed_format("fp16")]
        assert np.all(got.lower >= 2.0 * m * 8192.0**2 / peak * (1 - 1e-12))


def test_a_smaller_footprint_is_never_slower() -> None:
    cycle = np.geomspace(1e6, 1e10, 30)
    got = kernel_seconds("decode_attention", "h100-sxm", batch=8, heads=32, kv_heads=8, head_dim=128, context=900, footprint=cycle)
    assert np.all(np.diff(got.expected) >= -1e-12)


def test_sources_say_what_an_estimate_rests_on() -> None:
    assert kernel_seconds("gemm", "h100-sxm", m=64, n=4096, k=4096).source == "fitted"
    far = kernel_seconds("gemm", "h200-sxm", m=64, n=4096, k=4096)
    assert far.source == "transferred" and far.error > kernel_seconds("gemm", "h100-sxm", m=64, n=4096, k=4096).error
    assert kernel_seconds("gemm", "m1-max", format="fp16", m=64, n=4096, k=4096).source == "default"


def test_the_version_asked_for_is_the_version_used() -> None:
    got = kernel_seconds("gemm", "h100-sxm", version="0.24.0", m=64, n=4096, k=4096)
    assert "0.24.0" in got.fit


def test_a_device_alone_does_not_use_its_own_fits() -> None:
    device = load_hardware("h100-sxm")
    alone = kernels_for(device, "vllm", alone=True)
    assert all(fit.source != "fitted" for fits in alone.fits.values() for fit in fits)


@pytest.mark.parametrize("device", fitted_devices())
def test_shipped_fits_hold_together(device: str) -> None:
    assert device in hardware_names()
    for fit in fits_of(device):
        assert len(fit.values) == len(PARAMETERS[fit.form]) and all(value > 0 for value in fit.values)
        assert 0.0 < fit.error < 1.0 and fit.device == device and fit.rows >= 8
        assert all(0.0 < width < 3.0 for width in (*fit.bands.low, *fit.bands.high))


def test_a_ratio_is_tighter_than_its_parts() -> None:
    kernels = kernels_for(load_hardware("h100-sxm"), "vllm")
    low, high = kernels.fits["gemm", "bf16"][0].bands.low, kernels.fits["gemm", "bf16"][0].bands.high
    independent = 2**0.5 * (max(low) + max(high)) / 2.0
    assert 0.0 < kernels.ratio_spread("gemm") < independent


@pytest.mark.parametrize(("hardware", "version"), [("h100-sxm", "9.9"), ("l4", "0.24.0"), ("a100-sxm-80gb", "0.24.0")])
def test_a_version_that_was_never_measured_is_refused(hardware: str, version: str) -> None:
    """Nothing else is taken in its place: L4 has no fit at all, A100 one of another version."""
    with pytest.raises(ValueError, match=f"version: '{version}' is not accepted; gemm in bf16 on {hardware}"):
        kernel_seconds("gemm", hardware, version=version, m=64, n=4096, k=4096)
