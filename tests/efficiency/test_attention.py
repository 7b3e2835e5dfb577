"""Attention by hand: what FlashAttention-2 packs and splits, windows, exponentials on another chip, padded heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator.efficiency import kernels_for
from simulator.efficiency.attention_forms import (
    PREFILL,
    built_for,
    decode,
    decode_swapped,
    interleaved,
    repeated,
    separate,
)
from simulator.efficiency.catalogue import figures_of
from simulator.efficiency.fits import fits_of
from simulator.efficiency.forms import PARAMETERS
from simulator.efficiency.transfer import GRAPHICS, generation, left_out, transferred
from simulator.quantity import EVERYTHING
from simulator.spec.load_hardware import load_hardware

A100, H100 = load_hardware("a100-sxm-80gb").chip, load_hardware("h100-sxm").chip
SWAPPED = {"t0": 9e-6, "em": 0.85, "p": 4.0, "l2_share": 0.6, "el2": 0.4, "cta": 1e-7, "block": 3e-6, "combine": 5e-6, "packed": 0.1,
           "splits": 20.0, "slots": 1.0, "tail": 1e-9, "sequence": 1e-12, "keys": 128.0, "swap": 6e-6, "carry": 0.0, "walk": 2.8e-6, "wave": 0.5, "interleave": 0.05}  # fmt: skip
VALUES = tuple(SWAPPED[name] for name in PARAMETERS["decode_swapped"])


def swapped(batch: float, heads: float, kv_heads: float, context: float, window: float = EVERYTHING) -> float:
    moved = batch * 128.0 * 4.0 * kv_heads * context
    return float(decode_swapped(A100, VALUES, moved, batch, heads, kv_heads, context, np.inf, window).total)


def test_keys_that_no_heads_share_are_walked_by_one_block_of_threads() -> None:
    """A100, one sequence, 131,072 keys of one head: 3.0 ms measured, where splitting them takes 0.2."""
    walked, split = swapped(1, 1, 1, 131072), swapped(1, 4, 1, 131072)
    assert walked == pytest.approx(9e-6 + 1024 * 2.8e-6, rel=0.01)
    assert split < 0.2 * walked
    assert swapped(1, 8, 8, 131072) == pytest.approx(walked, rel=0.01), "more heads run beside it"


def test_a_window_costs_as_if_every_head_had_keys_of_its_own() -> None:
    assert swapped(1, 32, 8, 4096, window=4096) > swapped(1, 32, 8, 4096)
    assert swapped(1, 32, 8, 4096, window=4096) == pytest.approx(swapped(1, 32, 32, 4096), rel=0.05)
    assert swapped(1, 8, 8, 4096, window=4096) == swapped(1, 8, 8, 4096), "nothing was shared anyway"


def test_copies_around_the_swap_are_made_unless_the_view_is_contiguous() -> None:
    one, two = swapped(1, 32, 8, 2), swapped(2, 32, 8, 2)
    assert two - one == pytest.approx(6e-6, rel=0.05)
    assert swapped(2, 32, 1, 2) - swapped(1, 32, 1, 2) == pytest.approx(0.0, abs=1e-7)


def test_heads_in_flight_together_share_a_read() -> None:
    assert repeated(A100, 4.0, 1.0) == 1.0
    assert repeated(A100, 4.0, 54.0) == 2.0
    assert repeated(A100, 4.0, 1000.0) == 4.0
    assert separate("decode_swapped", 32.0, 8.0, 128.0) == 32.0
    assert separate("decode_swapped", 32.0, 8.0, EVERYTHING) == separate("decode", 32.0, 8.0, 128.0) == 8.0


def test_keys_of_one_head_that_fit_the_cache_are_read_from_memory_once() -> None:
    """L40S, windows of 128, 512 sequences: 33 MB of keys of a head stay in 96 MB until the next head asks for them."""
    chip = load_hardware("l40s").chip
    values = (*VALUES[:7], *VALUES[7:17], 0.0, 0.0)

    def time(heads: float, batch: float) -> float:
        moved = batch * 128.0 * 4.0 * 8.0 * 128.0
        return float(decode_swapped(chip, values, moved, batch, heads, 8.0, 128.0, np.inf, 128.0).memory)

    assert time(8.0, 512.0) < time(64.0, 512.0) < 5.0 * time(8.0, 512.0)
    assert time(64.0, 4096.0) == pytest.approx(8.0 * time(8.0, 4096.0), rel=0.02), "a head's keys of all sequences are too many"


def test_keys_between_those_of_other_heads_are_read_more_slowly() -> None:
    assert interleaved(0.8, 1.0, 0.05) == 0.8
    assert interleaved(0.8, 8.0, 0.05) == pytest.approx(0.8 / 8.0**0.05)
    assert interleaved(0.8, 64.0, 0.05) == interleaved(0.8, 16.0, 0.05), "beyond what was measured it stays"
    two, four = (decode_swapped(A100, VALUES, 1e9, 64.0, 8.0, kv, 1e9 / (64 * 512 * kv), np.inf).memory for kv in (2.0, 4.0))
    assert four == pytest.approx(two * 2.0**0.05), "the same bytes"


def test_flash_attention_2_packs_heads_that_share_keys_for_single_queries_only() -> None:
    values = (9e-6, 0.6, 0.6, 2.0, 0.3, 0.5, 1e-6, 0.5, 0.6, 1e-9, 128.0, 0.0)

    def time(form: str, kv_heads: float, query: float) -> float:
        flops = 4.0 * 64.0 * 32.0 * 128.0 * query * (query + 1.0) / 2.0
        kind = values if form == "prefill_apart" else values[:11]
        return float(PREFILL[form](A100, kind, 312e12, flops, 1e6, 64.0, 32.0, kv_heads, query).total)

    assert time("prefill_apart", 4.0, 16.0) == time("prefill_apart", 32.0, 16.0) == time("prefill", 32.0, 16.0)
    assert time("prefill", 4.0, 16.0) < 0.5 * time("prefill_apart", 4.0, 16.0)
    assert time("prefill_apart", 4.0, 1.0) == time("prefill", 4.0, 1.0)


def test_a_full_window_reads_the_block_it_begins_in() -> None:
    values = (*VALUES[:14], 1.0)
    args = (H100, values, 2048.0 * 128 * 512, 2048.0, 8.0, 1.0, 128.0, np.inf)
    assert decode(*args, 128.0).total > decode(*args).total
    inside = (*args[:6], 100.0, np.inf)
    assert decode(*inside, 128.0).total == decode(*inside).total


def test_arrays_of_windows_and_heads_agree_with_numbers() -> None:
    batch, kv, window = np.array([1.0, 2.0, 64.0]), np.array([8.0, 32.0, 8.0]), np.array([EVERYTHING, EVERYTHING, 512.0])
    moved = batch * 128.0 * 4.0 * kv * 512.0
    got = decode_swapped(A100, VALUES, moved, batch, 32.0, kv, 512.0, np.inf, window)
    for i in range(3):
        one = decode_swapped(A100, VALUES, float(moved[i]), float(batch[i]), 32.0, float(kv[i]), 512.0, np.inf, float(window[i]))
        assert got.total[i] == pytest.approx(one.total, rel=1e-12)


def test_an_engine_that_does_not_call_the_paged_kernel_splits_keys_on_any_chip() -> None:
    shape = (1.0, 32.0, 32.0, 128.0, 1.0, 65536.0, 4.0 * 32 * 128 * 65536, 4.0 * 32 * 128 * 65536)
    paged, plain = (kernels_for(A100, engine).decode_attention(A100, "bf16", *shape) for engine in ("vllm", "hf-flash"))
    assert plain.expected < 0.9 * paged.expected


@pytest.mark.parametrize(("architecture", "size", "wide"), [("hopper", 72, 96), ("ada", 80, 96), ("blackwell", 72, 80), ("ampere", 136, 192), ("hopper", 64, 64)])
def test_heads_are_padded_to_what_the_kernel_is_built_for(architecture: str, size: float, wide: float) -> None:
    assert built_for(architecture, size) == wide


def test_a_head_of_88_costs_on_hopper_what_one_of_80_does() -> None:
    kernels = kernels_for(H100, "vllm")
    times = [kernels.encoder_attention(H100, "bf16", 16.0, 16.0, 16.0, d, 4096.0, 4096.0, 4.0 * 16 * 16 * d * 4096**2, 16.0 * d * 4 * 16 * 4096).expected for d in (80.0, 88.0)]
    assert times[1] == pytest.approx(times[0], rel=0.02), "both run as 96"


def test_exponentials_hold_up_a_chip_whose_multipliers_grew() -> None:
    """B200 multiplies 2.3 times as fast as H100 and makes exponentials 1.1 times as fast: small heads gain least."""
    blackwell = load_hardware("b200-sxm")
    share = {}
    for fit in fits_of("h100-sxm", "encoder_attention", "bf16"):
        lent = transferred([fit], "b200-sxm", blackwell.architecture, figures_of(blackwell.chip))
        at = PARAMETERS["encoder"].index("ec")
        share[fit.variant] = lent.values[at] / fit.values[at]
    assert all(0.5 < value < 0.95 for value in share.values()), share
    same = transferred([fit], "h200-sxm", "hopper", figures_of(load_hardware("h200-sxm").chip))
    assert same.values[at] == pytest.approx(fit.values[at], rel=0.02)


def test_kernels_of_its_own_generation_are_lent_to_a_chip() -> None:
    lenders = [fit for name in ("h100-sxm", "b200-sxm", "l40s") for fit in fits_of(name, "decode_attention", "bf16") if fit.variant == "head_dim=128"]
    assert {fit.device for fit in generation(lenders, "ampere")} == {"l40s"}
    assert {fit.device for fit in generation(lenders, "hopper")} == {"h100-sxm", "b200-sxm"}
    for name, form in (("a40", "decode_swapped"), ("rtx-4090", "decode_swapped"), ("rtx-5090", "decode_swapped"), ("h200-sxm", "decode"), ("b300-sxm", "decode")):
        chip = load_hardware(name).chip
        assert {fit.form for fit in kernels_for(chip, "vllm").fits["decode_attention", "bf16"]} == {form}, name


def test_waits_shrink_with_the_clock_and_tiles_with_the_shared_memory() -> None:
    fit = next(fit for fit in fits_of("a100-sxm-80gb", "prefill_attention", "bf16"))
    figures = figures_of(load_hardware("l40s").chip)
    assert figures["tensor"] < GRAPHICS
    lent = dict(zip(PARAMETERS[fit.form], transferred([fit], "l40s", "ada", figures).values, strict=True))
    own = dict(zip(PARAMETERS[fit.form], fit.values, strict=True))
    assert lent["t0"] == pytest.approx(own["t0"] * (1.41 / 2.52) ** 0.5, rel=1e-3)
    assert lent["tile"] == 64.0


def test_bands_across_architectures_are_what_leaving_devices_out_showed() -> None:
    for op in ("gemm", "encoder_attention"):
        fit = kernels_for(load_hardware("b200-sxm"), "vllm", alone=True).fits[op, "bf16"][0]
        shown = left_out()[op, "bf16"]
        assert fit.source == "transferred" and fit.error == shown.error
        assert all(a >= b for a, b in zip(fit.bands.low, shown.bands.low, strict=True))
        assert max(fit.bands.low) == pytest.approx(max(shown.bands.low), rel=0.5), "and not much wider"


def test_windowed_decoding_holds_on_heads_nobody_fitted() -> None:
    from calibrate.aiconfigurator import read_aiconfigurator
    from calibrate.held_out import hold_out

    shared = Path(__file__).parents[3] / "shared" / "measured"
    if not shared.is_dir():
        pytest.skip("no measured tables beside this checkout")
    for samples in read_aiconfigurator(shared):
        if samples.op == "decode_attention" and samples.variant == "head_dim=128" and samples.format == "bf16" and samples.device in ("l40s", "h100-sxm"):
            rows = hold_out(samples, load_hardware(samples.device).chip, (21,), tables=False).rows
            past = rows[rows["window"] < EVERYTHING]
            error = np.abs(np.exp(-past["parametric"]) - 1.0)
            assert len(past) > 50 and error.median() < 0.15, f"{samples.device}: {error.median():.1%}"


def test_a_cache_in_eight_bits_is_read_by_a_kernel_of_its_own() -> None:
    kernels = kernels_for(H100, "trtllm")
    shape = (64.0, 64.0, 8.0, 128.0, 1.0, 4352.0, 4.0 * 64 * 64 * 128 * 4352, 64 * 8 * 128 * 4352 * 2.0)
    halved, own = (kernels.decode_attention(H100, "bf16", *shape, narrow=narrow) for narrow in (0.0, 1.0))
    assert "fp8" in own.fit and "bf16" in halved.fit
    assert 1.02 < own.expected / halved.expected < 1.3, "8-bit kernels reach less of the memory's rate"
    both = kernels.decode_attention(H100, "bf16", *shape, narrow=np.array([0.0, 1.0]))
    assert both.expected == pytest.approx([halved.expected, own.expected], rel=1e-12)
    assert kernels_for(H100, "hf-sdpa").decode_attention(H100, "bf16", *shape, narrow=1.0).fit != own.fit
