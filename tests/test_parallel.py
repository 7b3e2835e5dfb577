"""Requests and crops are whole: devices that get none idle, and what runs on the others is what runs on one device."""

from __future__ import annotations

from typing import Any

import pytest

from simulator import Estimate, Image, Scenario, Workload, estimate, load_hardware, load_model
from simulator.build.language import build_decoder
from simulator.ops import Collective, Experts, Shape, Tokens
from simulator.program import STAGES
from simulator.spec.source import SpecError


def _estimate(batch: int = 1, images: int = 1, model: str = "qwen2.5-vl-7b", **more: Any) -> Estimate:
    pictures = tuple(Image(width=1024, height=1024) for _ in range(images))
    workload = Workload(images=pictures, text_tokens=100, output_tokens=20, batch=batch)
    return estimate(Scenario(**{"model": model, "hardware": "h100-sxm", "workload": workload, "preprocess": False} | more))


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


def test_every_row_of_the_prompt_goes_to_the_next_pipeline_stage() -> None:
    """Three sends for four stages, each of tokens x hidden x 2 bytes at 450 GB/s; on the bare roofline nothing else changes."""
    alone, four = _estimate(engine="ideal"), _estimate(engine="ideal", parallel={"pp": 4})
    rows = alone.visual_tokens + 100
    assert four.stages["prefill"].seconds - alone.stages["prefill"].seconds == pytest.approx(3 * rows * 3584 * 2 / 450e9)
    assert four.stages["decode"].seconds - alone.stages["decode"].seconds == pytest.approx(19 * 3 * 3584 * 2 / 450e9)


def test_rows_that_are_dropped_before_a_stage_ends_are_not_sent() -> None:
    def sent(**more: Any) -> float:
        alone, two = _estimate(engine="ideal", **more), _estimate(engine="ideal", parallel={"pp": 2}, **more)
        return two.stages["prefill"].seconds - alone.stages["prefill"].seconds

    visual = _estimate().visual_tokens
    assert sent(techniques=["fastv:layer=2,keep=0.5"]) / sent() == pytest.approx((0.5 * visual + 100) / (visual + 100), rel=1e-3)
    assert sent(techniques=["visual_bypass"]) == pytest.approx(sent(), rel=1e-6)  # rows that pass a layer by go on all the same


def test_the_fullest_pipeline_stage_holds_whole_layers() -> None:
    """28 layers over 3 stages are 10, 9 and 9: the fullest holds 10 / 28 of the cache."""
    alone, three = _estimate().memory, _estimate(parallel={"pp": 3}).memory
    assert three.kv_bytes_written == pytest.approx(alone.kv_bytes_written * 10 / 28)


def test_replicas_that_share_experts_touch_those_that_any_row_of_any_of_them_visits() -> None:
    """One row in each of eight replicas, 8 of 128 experts each: 128 (1 - (15/16)^8) are touched, an eighth of them on a device."""
    for replicas in (8, 32):
        op = next(op for op in build_decoder(load_model("qwen3-vl-30b-a3b"), ep=replicas).layers[0].decode if isinstance(op, Experts))
        work = op.work(Shape("decode", 1.0, Tokens(0.0, 1.0)))
        touched = 128 * (1 - (1 - 8 / 128) ** replicas)
        assert work.weight_bytes == pytest.approx(touched / replicas * 2 * op.n * op.k)
        assert work.flops == pytest.approx(2 * 8 * op.n * op.k)


def test_a_group_larger_than_its_island_talks_through_the_devices_ports() -> None:
    """Two A40 share a bridge of 56 GB/s; four are two islands, between which a ring has two ports of 31.5 GB/s; a chip
    without a bridge has its port. Twice the link is half the time."""
    assert load_hardware("a40").chip.between(2).bandwidth == 56.25e9
    assert load_hardware("a40").chip.between(4).bandwidth == min(56.25e9, 2 * 31.5e9)
    nvl = load_hardware("h100-nvl").chip
    assert nvl.between(4).bandwidth == 2 * nvl.pcie.bandwidth < nvl.between(2).bandwidth
    assert nvl.between(4, ring=False).bandwidth == nvl.pcie.bandwidth
    ada = load_hardware("rtx-4090").chip
    assert ada.between(2) == ada.pcie
    assert any("are more than the 2" in note for note in _estimate(hardware="h100-nvl", parallel={"tp": 4}).assumptions)


@pytest.mark.parametrize("hardware", ["h100-sxm", "rtx-4090"])
def test_a_faster_link_makes_sums_over_devices_faster(hardware: str) -> None:
    def network(link: float) -> float:
        fast = _estimate(hardware=hardware, engine="ideal", parallel={"tp": 2}, scale={"link": link}).stages["prefill"].seconds
        return fast - _estimate(hardware=hardware, engine="ideal", parallel={"tp": 2}, scale={"link": 1000.0}).stages["prefill"].seconds

    assert network(1.0) / network(2.0) == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("tp", [7, 3])
def test_heads_that_cannot_be_dealt_out_are_refused(tp: int) -> None:
    """28 heads share 4 KV heads: seven devices would have to cut a KV head."""
    with pytest.raises(SpecError, match=r"tp: .* accepted: 1, 2, 4, 28$"):
        _estimate(parallel={"tp": tp})


def test_devices_that_wait_draw_power() -> None:
    """With two pipeline stages one device waits while the other works, and both wait while the host works."""
    one, two = _estimate(engine="ideal"), _estimate(engine="ideal", parallel={"pp": 2})
    idle = load_hardware("h100-sxm").chip.idle_w
    moved = two.latency_s - one.latency_s  # the sends, during which one device is on
    assert two.energy_j - one.energy_j == pytest.approx(idle * two.latency_s, abs=moved * 700)


def test_what_is_assumed_of_experts_and_formats_is_said() -> None:
    notes = _estimate(model="kimi-vl-a3b", format="fp8").assumptions
    assert any("evenly at random" in note for note in notes) and any("linear layers of the language model" in note for note in notes)
    assert not any("evenly" in note or "linear layers" in note for note in _estimate().assumptions)


@pytest.mark.parametrize(("tp", "ep"), [(1, 8), (2, 8)])
def test_a_row_goes_once_to_each_device_that_holds_one_of_its_experts(tp: int, ep: int) -> None:
    """8 of 128 experts on 8 devices: 8 (1 - (7/8)^8) = 5.25 of them are met by a row of 2,048 values in 16 bits, both ways."""
    layer = build_decoder(load_model("qwen3-vl-30b-a3b"), tp=tp, ep=ep).layers[0]
    sent = [op.work(Shape("prefill", 1.0, Tokens(0.0, 100.0))).dims[0] for op in layer.prefill if isinstance(op, Collective) and op.kind == "all_to_all"]
    assert sent == pytest.approx([100 * 8 * (1 - (7 / 8) ** 8) * 2048 * 2 / tp] * 2)
