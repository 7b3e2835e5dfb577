"""The kernel interface: floors, order of the band, scalar against array, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.efficiency import kernel_seconds, kernels_for
from simulator.spec.load_hardware import load_hardware

SHAPES = {
    "gemm": {"m": [1, 17, 4096], "n": 4096, "k": [512, 4096, 11008]},
    "encoder_attention": {"batch": [1, 8], "heads": 16, "head_dim": 72, "query": [64, 4096]},
    "prefill_attention": {"batch": 1, "heads": 32, "kv_heads": 8, "head_dim": 128, "query": [64, 4096]},
    "decode_attention": {"batch": [1, 64], "heads": 32, "kv_heads": 8, "head_dim": 128, "context": [100, 9000]},
    "elementwise": {"bytes": [1e3, 1e9]},
    "all_reduce": {"bytes": [1e3, 1e9], "devices": [2, 8]},
}


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm", "hf-flash", "hf-sdpa", "hf-eager", "ideal", "survey"])
@pytest.mark.parametrize("op", SHAPES)
def test_floor_lower_expected_upper_are_in_order(op: str, engine: str) -> None:
    got = kernel_seconds(op, "h100-sxm", engine, "bf16", **SHAPES[op])
    assert np.all(got.floor >= 0) and np.all(got.expected > 0)
    assert np.all(got.floor <= got.lower) and np.all(got.lower <= got.expected) and np.all(got.expected <= got.upper)


def test_ideal_is_the_roofline() -> None:
    chip = load_hardware("h100-sxm").chip
    got = kernel_seconds("gemm", "h100-sxm", "ideal", "bf16", m=[1, 8192], n=4096, k=4096)
    moved = 2.0 * (4096 * 4096 + np.array([1, 8192]) * 8192)
    want = np.maximum(2.0 * np.array([1, 8192]) * 4096 * 4096 / chip.peak["bf16"], moved / chip.bandwidth)
    assert got.expected == pytest.approx(want, rel=1e-12)
    assert got.lower == pytest.approx(want, rel=1e-12) and got.upper == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("op", SHAPES)
def test_array_agrees_with_scalar(op: str) -> None:
    shape = SHAPES[op]
    whole = kernel_seconds(op, "h100-sxm", "vllm", "bf16", **shape)
    size = len(whole.expected)
    for i in range(size):
        one = {key: (value[i] if isinstance(value, list) else value) for key, value in shape.items()}
        got = kernel_seconds(op, "h100-sxm", "vllm", "bf16", **one)
        assert float(got.expected) == pytest.approx(whole.expected[i], rel=1e-9)
        assert float(got.lower) == pytest.approx(whole.lower[i], rel=1e-9)
        assert float(got.upper) == pytest.approx(whole.upper[i], rel=1e-9)


def test_plain_floats_agree_with_arrays_in_the_kernel_methods() -> None:
    device = load_hardware("h100-sxm")
    kernels = kernels_for(device, "vllm")
    for m in (1.0, 3.0, 100.0, 5000.0):
        args = (4096.0, 11008.0, 1.0, 16.0)
        flops, moved = 2 * m * 4096 * 11008, 2.0 * (4096 * 11008 + m * (4096 + 11008))
        plain = kernels.gemm(device.chip, "bf16", m, *args, flops, moved)
        array = kernels.gemm(device.chip, "bf16", np.array([m]), *args, np.array([flops]), np.array([moved]))
        assert isinstance(plain.expected, float)
        assert plain.expected == pytest.approx(array.expected[0], rel=1e-12)
        assert plain.low == array.low[0] and plain.high == array.high[0]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"op": "conv"}, "op"),
        ({"engine": "tgi"}, "engine"),
        ({"format": "bf17"}, "format"),
        ({"m": -1}, "m"),
        ({"m": float("nan")}, "m"),
        ({"m": None}, "m"),
        ({"m": [1, 2], "n": [1, 2, 3]}, "broadcast"),
        ({"heads": 3}, "heads"),
        ({"footprint": 0}, "footprint"),
        ({"hardware": "h1000"}, "hardware"),
    ],
)
def test_bad_input_is_refused_in_one_line(change: dict[str, object], word: str) -> None:
    given = {"op": "gemm", "hardware": "h100-sxm", "engine": "vllm", "format": "bf16", "m": 4, "n": 64, "k": 64} | change
    with pytest.raises(ValueError, match=word) as caught:
        kernel_seconds(**given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["foo", "gemm", "all_reduce"])
def test_an_elementwise_kernel_is_one(kind: str) -> None:
    with pytest.raises(ValueError, match=f"kind: '{kind}' is not accepted; accepted: activation"):
        kernel_seconds("elementwise", "h100-sxm", kind=kind, bytes=1e6)
