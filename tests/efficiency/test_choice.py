"""Which fit times which kernel: sums through peer memory, kernels that stand in for others, what stays as it was."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.efficiency import kernels_for
from simulator.efficiency.forms import peer_sum
from simulator.efficiency.select import ENGINES, FUSED, PEER_MEMORY
from simulator.spec.load_hardware import load_hardware


@pytest.mark.parametrize("engine", ["vllm", *PEER_MEMORY])
def test_sums_of_an_engine_with_kernels_of_its_own_are_not_those_of_nccl(engine: str) -> None:
    chip = load_hardware("h100-sxm").chip
    small = kernels_for(chip, engine).all_reduce(chip, 16.0 * 5120.0 * 2.0, 8.0)
    nccl = kernels_for(chip, "hf-sdpa").all_reduce(chip, 16.0 * 5120.0 * 2.0, 8.0)
    assert "vllm" in small.fit and "any" in nccl.fit
    assert 2.0 * small.expected < nccl.expected, "a peer-memory sum of 160 kB takes 8 us, a ring 19 us"


@pytest.mark.parametrize("engine", FUSED)
def test_norms_of_a_current_chip_are_timed_by_its_own_row_kernel(engine: str) -> None:
    chip = load_hardware("h100-sxm").chip
    kernels = kernels_for(chip, engine)
    norm, activation = kernels.elementwise(chip, "norm", 1e4), kernels.elementwise(chip, "activation", 1e4)
    assert "quantise_row" in norm.fit and norm.source == "transferred"
    assert "quantise-" in activation.fit and activation.source == "transferred"
    own = kernels.elementwise(chip, "quantise_row", 1e4)
    assert norm.expected == own.expected and norm.low > own.low, "as fast, but less sure"


def test_a_chip_whose_norm_was_measured_keeps_it_and_so_does_its_architecture() -> None:
    a100, a30 = load_hardware("a100-sxm-80gb").chip, load_hardware("a30").chip
    assert "vidur" in kernels_for(a100, "vllm").elementwise(a100, "norm", 1e4).fit
    assert "quantise" not in kernels_for(a30, "vllm").elementwise(a30, "norm", 1e4).fit


def test_an_engine_that_runs_norms_pass_by_pass_has_no_stand_in() -> None:
    chip = load_hardware("h100-sxm").chip
    assert "quantise" not in kernels_for(chip, "hf-sdpa").elementwise(chip, "norm", 1e4).fit


def test_a_chip_like_a_measured_one_gets_the_stand_in_carried_over() -> None:
    chip = load_hardware("h200-sxm").chip
    assert "quantise_row" in kernels_for(chip, "sglang").elementwise(chip, "norm", 1e4).fit


def test_backends_of_one_run_have_fits_of_their_own_and_an_engine_that_runs_them() -> None:
    from calibrate.own_tables import FRAMEWORKS

    assert len(set(FRAMEWORKS.values())) == len(FRAMEWORKS), "two backends of one run would write one file"
    for name in FRAMEWORKS.values():
        assert any(name in frameworks for frameworks in ENGINES.values()), name


def test_a_small_sum_reads_every_peer_whole_and_a_large_one_in_shares() -> None:
    """Eight devices: 128 KiB take one step of 7 x 128 KiB, 1 MiB two steps of 7/8 MiB; beyond the limit the library takes over."""
    v = (4e-6, 0.5, 8.0, 0.0, 1.0, 20e-6, 0.8, 5e-6, 1.5 * 2.0**23)
    rate = 450e9

    def seconds(message: float, devices: float = 8.0) -> float:
        return float(peer_sum(v, 2.0 * message * (devices - 1.0) / devices, rate, devices).total)

    assert peer_sum(v, 2.0 * 2.0**17 * 7 / 8, rate, 8.0).memory == pytest.approx(7 * 2.0**17 / (0.5 * rate))
    assert peer_sum(v, 2.0 * 2.0**20 * 7 / 8, rate, 8.0).memory == pytest.approx(7 / 4 * 2.0**20 / (0.5 * rate))
    assert peer_sum(v, 2.0 * 2.0**25 * 7 / 8, rate, 8.0).memory == pytest.approx(7 / 4 * 2.0**25 / (0.8 * rate))
    assert seconds(2.0**10) == pytest.approx(4e-6, rel=1e-3) and seconds(2.0**19) >= 9e-6 and seconds(2.0**24) >= 24e-6
    assert seconds(2.0**22, 2.0) == pytest.approx(2.0**22 / (0.5 * rate), rel=0.02), "two devices need one step at any size"
    swept = peer_sum(v, np.array([1e4, 1e6, 1e8]), rate, 8.0).total
    assert swept == pytest.approx([float(peer_sum(v, wire, rate, 8.0).total) for wire in (1e4, 1e6, 1e8)], rel=1e-12)


def test_sums_of_the_engine_are_fitted_with_the_steps_it_takes() -> None:
    chip = load_hardware("h100-sxm").chip
    assert kernels_for(chip, "vllm").fits["all_reduce", "bf16"][0].form == "peer_sum"
    assert kernels_for(chip, "hf-sdpa").fits["all_reduce", "bf16"][0].form == "collective"
    assert kernels_for(chip, "vllm").fits["all_gather", "bf16"][0].form == "collective"


def test_a_card_that_does_not_check_its_memory_streams_faster_than_its_twin_that_does() -> None:
    """A6000 and A40 are one chip: 768 and 696 GB/s on the datasheet, of which checksums take an eighth on A40 alone."""

    def rate(name: str) -> float:
        chip = load_hardware(name).chip
        n, k = 16384.0, 16384.0
        return n * k * 2.0 / float(kernels_for(chip, "vllm").gemm(chip, "bf16", 1.0, n, k, flops=2.0 * n * k, bytes=2.0 * n * k).expected) / float(chip.bandwidth)

    assert rate("a6000") == pytest.approx(rate("a40") / 0.875, rel=0.02)
    assert rate("a10") == pytest.approx(rate("a40"), rel=0.05)


def test_a_chip_that_shares_its_cpus_memory_is_less_sure_of_a_relatives_fit() -> None:
    def width(name: str) -> float:
        chip = load_hardware(name).chip
        return float(kernels_for(chip, "vllm").gemm(chip, "bf16", 1.0, 4096.0, 4096.0, flops=2.0 * 4096**2, bytes=2.0 * 4096**2).high)

    assert width("jetson-agx-orin") > width("a30") + 0.2
    assert width("jetson-thor") > width("gb200") + 0.2
