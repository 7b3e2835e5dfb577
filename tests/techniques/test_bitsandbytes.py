"""NF4 as bitsandbytes runs it: expansion in prefill, a kernel of its own for one row, and starts that only an uncaptured engine pays."""

from __future__ import annotations

import pytest

from simulator import Image, Scenario, Workload, estimate


def case(engine: str, *techniques: str, batch: int = 1, output: int = 32) -> Scenario:
    work = Workload(images=[Image(width=336, height=336)], text_tokens=64, output_tokens=output, batch=batch)
    return Scenario(model="llava-1.5-7b", hardware="a100-sxm-80gb", engine=engine, workload=work, techniques=list(techniques))


PLAIN, NF4, AWQ = (), ("weight_quant:format=nf4",), ("weight_quant:format=w4a16",)


def test_prefill_pays_for_the_expansion_and_more_than_other_weight_only_formats() -> None:
    """6.5 thousand million weights of half a byte become two: 16 GB at 41 % of 2 TB/s are 20 ms."""
    plain, nf4, awq = (estimate(case("hf-sdpa", *mix)).stages["prefill"].seconds for mix in (PLAIN, NF4, AWQ))
    assert 0.012 < nf4 - plain < 0.03
    assert nf4 > awq + 0.004


def test_one_row_is_multiplied_packed_and_several_are_expanded_in_every_step() -> None:
    one, eight = (estimate(case("vllm", *NF4, batch=batch)).tpot_s for batch in (1, 8))
    assert eight - one > 0.015
    assert estimate(case("vllm", *AWQ, batch=8)).tpot_s - estimate(case("vllm", *AWQ)).tpot_s < 0.005


def test_starts_cost_where_nothing_is_captured() -> None:
    """Seven products in each of 32 layers, two starts more each than AWQ's, at 19 us: 8.5 ms a token; nothing under a captured graph."""
    slower = estimate(case("hf-sdpa", *NF4)).tpot_s - estimate(case("hf-sdpa", *AWQ)).tpot_s
    assert slower == pytest.approx(7 * 32 * (4 - 2) * 1.9e-5, rel=0.1)
    captured = estimate(case("vllm", *NF4)).tpot_s / estimate(case("vllm", *AWQ)).tpot_s
    assert captured == pytest.approx(1.0, abs=0.03)


def test_bits_are_those_of_blocks_of_64() -> None:
    def weights(*mix: str) -> float:
        return float(estimate(case("hf-sdpa", *mix)).memory.weight_bytes)

    linear = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    assert weights() - weights(*NF4) == pytest.approx(linear * (16.0 - 4.0 - 8.125 / 64.0) / 8.0, rel=1e-3)
