"""Requests and crops are whole: devices that get none idle, and what runs on the others is what runs on one device."""

from __future__ import annotations

from typing import Any

import pytest

from simulator import Estimate, Image, Scenario, Workload, estimate
from simulator.program import STAGES


def _estimate(batch: int = 1, images: int = 1, model: str = "qwen2.5-vl-7b", **more: Any) -> Estimate:
    pictures = tuple(Image(width=1024, height=1024) for _ in range(images))
    workload = Workload(images=pictures, text_tokens=100, output_tokens=20, batch=batch)
    return estimate(Scenario(model=model, hardware="h100-sxm", workload=workload, preprocess=False, **more))


def test_one_request_is_no_faster_on_several_replicas() -> None:
    alone, eight = _estimate(), _estimate(parallel={"dp": 8})
    assert eight.ttft_s == pytest.approx(alone.ttft_s)
    assert eight.tpot_s == pytest.approx(alone.tpot_s)
    assert eight.stages["decode"].bytes == pytest.approx(alone.stages["decode"].bytes)
    assert eight.memory.max_batch == 8 * alone.memory.max_batch
    assert eight.cost_usd == pytest.approx(8 * alone.cost_usd)


def test_the_fullest_replica_sets_the_time_and_all_share_the_work() -> None:
    alone, two, three = _estimate(3), _estimate(2), _estimate(3, parallel={"dp": 2})
    for name in STAGES:
        assert three.stages[name].seconds == pytest.approx(two.stages[name].seconds)
        assert three.stages[name].matmul_flops == pytest.approx(alone.stages[name].matmul_flops)


def test_a_data_parallel_encoder_deals_out_whole_pictures() -> None:
    alone = _estimate()
    data = {
        images: _estimate(images=images, parallel={"tp": 4, "encoder": "data"}).stages["encode"] for images in (1, 4, 5)
    }
    assert data[1].seconds == pytest.approx(alone.stages["encode"].seconds)
    assert data[4].seconds == pytest.approx(data[1].seconds)
    assert data[5].matmul_flops == pytest.approx(5 * alone.stages["encode"].matmul_flops)
    assert data[5].seconds > 1.5 * data[4].seconds


def test_experts_over_replicas_cost_the_replicas_and_no_more() -> None:
    """Four devices as four replicas: with experts split over them (ep 4) or held by each, the rent is that of four."""
    split = _estimate(64, model="kimi-vl-a3b", parallel={"dp": 4, "ep": 4})
    held = _estimate(64, model="kimi-vl-a3b", parallel={"dp": 4})
    assert split.memory.weight_bytes < 0.5 * held.memory.weight_bytes
    assert split.stages["prefill"].matmul_flops == pytest.approx(held.stages["prefill"].matmul_flops)
    assert split.cost_usd / split.latency_s == pytest.approx(held.cost_usd / held.latency_s)
