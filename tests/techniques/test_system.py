"""System techniques: encoders spread over devices, offload, and what crosses a disaggregated boundary."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.request import Estimate, estimate
from simulator.spec.deployment import Parallelism
from simulator.spec.scenario import Scenario, parse_technique
from simulator.spec.source import SpecError
from simulator.spec.workload import Image, Workload
from simulator.techniques.disaggregate import Disaggregate
from simulator.techniques.kv_quant import KvQuant
from simulator.techniques.offload import Offload

from .plain import bytes_of, composed, machine, program, run, seconds


def request(*techniques: str, tp: int = 4, images: int = 8, engine: str = "ideal", model: str = "qwen2.5-vl-7b") -> Estimate:
    work = Workload(images=[Image(width=896, height=896)] * images, text_tokens=64, output_tokens=16)
    uses = tuple(parse_technique(item) for item in techniques)
    parallel = Parallelism(tp=tp)
    return estimate(Scenario(model=model, hardware="a100-sxm-80gb", workload=work, engine=engine, parallel=parallel,
                             techniques=uses, preprocess=False))  # fmt: skip


def test_data_parallel_encoder_does_the_work_of_one_device() -> None:
    one, many = request(tp=1), request("encoder_data_parallel")
    assert many.stages["encode"].matmul_flops == pytest.approx(one.stages["encode"].matmul_flops, rel=1e-9)
    assert many.stages["encode"].seconds == pytest.approx(one.stages["encode"].seconds / 4.0, rel=0.02)
    assert many.parameters == one.parameters


def test_data_parallel_encoder_has_no_sums_but_holds_the_whole_tower() -> None:
    tensor, data = request(), request("encoder_data_parallel")
    assert data.stages["encode"].seconds < tensor.stages["encode"].seconds
    assert data.memory.weight_bytes > tensor.memory.weight_bytes
    assert data.stages["prefill"].seconds == tensor.stages["prefill"].seconds


def test_one_picture_gains_nothing_from_whole_crops_per_device() -> None:
    one, data = request(tp=1, images=1), request("encoder_data_parallel", images=1)
    assert data.stages["encode"].seconds == pytest.approx(one.stages["encode"].seconds, rel=1e-6)
    rows = request("sequence_parallel_encoder", images=1)
    assert rows.stages["encode"].seconds < 0.6 * one.stages["encode"].seconds


@pytest.mark.parametrize("model", ["llava-1.5-7b", "qwen2.5-vl-7b", "internvl3-8b", "llava-onevision-7b"])
def test_off_tensor_parallelism_the_tower_is_that_of_one_device(model: str) -> None:
    try:
        one = request(tp=1, images=4, model=model)
    except SpecError as error:
        pytest.skip(f"{model} does not load yet: {error}")
    many = request("encoder_data_parallel", images=4, tp=2, model=model)
    assert many.stages["encode"].matmul_flops == pytest.approx(one.stages["encode"].matmul_flops, rel=1e-9)


def test_sequence_parallel_pays_for_its_exchange() -> None:
    chip = machine().chip
    one, rows = request(tp=1), request("sequence_parallel_encoder")
    assert rows.stages["encode"].matmul_flops == pytest.approx(one.stages["encode"].matmul_flops, rel=1e-9)
    # Qwen2.5-VL: 32 blocks of width 1280; q, k, v go out and the output comes back, 3/4 of a quarter of the rows each.
    patches = 8 * 64 * 64
    wire = 32 * 4.0 * 1280.0 * 2.0 * (patches / 4.0) * 0.75
    exchange = rows.stages["encode"].seconds - one.stages["encode"].seconds / 4.0
    assert exchange == pytest.approx(wire / chip.scale_up.bandwidth, rel=0.02)
    ring = request("sequence_parallel_encoder:scheme=ring")
    assert ring.stages["encode"].seconds > rows.stages["encode"].seconds


def test_degrees_and_conflicts_are_refused() -> None:
    with pytest.raises(SpecError, match="degree"):
        request("encoder_data_parallel:degree=8")
    with pytest.raises(SpecError, match="exclude"):
        request("encoder_data_parallel", "sequence_parallel_encoder")
    plain = request(tp=1)
    for name in ("encoder_data_parallel", "sequence_parallel_encoder"):
        assert request(name, tp=1).stages["encode"].seconds == plain.stages["encode"].seconds


@pytest.mark.parametrize("technique", [Offload, Disaggregate])
def test_off_is_a_value(technique) -> None:
    before, after = run(program()), run(program(), technique.neutral())
    assert bytes_of(before) == bytes_of(after)
    assert seconds(before, "prefill") == seconds(after, "prefill") and seconds(before, "decode") == seconds(after, "decode")


def test_offloaded_weights_cross_the_host_link_in_every_step() -> None:
    base = program(output=129.0)
    plain, away = run(base), run(base, Offload(overlap=0.0))
    weights = sum(op.parameters for op in base.decoder.layers[0].prefill) * 28 * 2.0
    link = machine().chip.host.bandwidth
    assert seconds(away, "decode") - seconds(plain, "decode") == pytest.approx(128.0 * weights / link)
    assert seconds(away, "prefill") - seconds(plain, "prefill") == pytest.approx(weights / link, rel=0.01)
    assert bytes_of(plain).peak_bytes - bytes_of(away).peak_bytes == pytest.approx(weights * 27.0 / 28.0)
    hidden = seconds(run(base, Offload(overlap=1.0)), "decode")
    assert seconds(plain, "decode") < hidden < seconds(away, "decode")
    assert hidden >= 128.0 * weights / link  # the link itself is a floor


def test_offloaded_cache_makes_room_and_costs_steps() -> None:
    base = program(visual=92160.0)
    plain, away = run(base), run(base, Offload(weights=0.0, kv=1.0))
    assert bytes_of(away).max_batch > bytes_of(plain).max_batch
    assert bytes_of(away).kv_bytes_resident == 0.0
    assert seconds(away, "decode") > 3.0 * seconds(plain, "decode")
    packed = run(base, Offload(weights=0.0, kv=1.0), KvQuant(bits=4.0))
    assert seconds(packed, "decode") < 0.5 * seconds(away, "decode")


def test_boundary_bytes_and_their_time() -> None:
    base = program()
    plain = run(base)
    for link, rate in (("scale_up", machine().chip.scale_up.bandwidth), ("pcie", machine().chip.pcie.bandwidth)):
        technique = Disaggregate(split="both", link=link)
        crossing = composed(base, technique).boundary_bytes
        late = seconds(run(base, technique), "prefill") - seconds(plain, "prefill")
        assert late == pytest.approx(sum(crossing.values()) / rate)
    half = seconds(run(base, Disaggregate(overlap=0.5)), "prefill") - seconds(plain, "prefill")
    full = seconds(run(base, Disaggregate()), "prefill") - seconds(plain, "prefill")
    assert half == pytest.approx(0.5 * full)


def test_windowed_layers_send_their_window() -> None:
    crossing = composed(program(window=512.0), Disaggregate()).boundary_bytes
    assert crossing["prefill_to_decode"] == pytest.approx(512.0 * 57344.0)


def test_tensor_parallel_pools_send_in_parallel() -> None:
    one, four = composed(program(), Disaggregate()), composed(program(devices=4.0), Disaggregate())
    assert one.boundary_bytes["prefill_to_decode"] == pytest.approx(four.boundary_bytes["prefill_to_decode"])
    moved = [item.op.bytes for item in (*one.extras, *four.extras) if item.label.startswith("disaggregate")]
    assert np.isclose(moved[0], 4.0 * moved[1])


def test_whose_energy_and_rent_disaggregation_counts_is_said() -> None:
    said = [text for text in request("disaggregate").assumptions if "pool at work" in text]
    assert len(said) == 1 and not any("pool at work" in text for text in request("disaggregate:split=none").assumptions)
