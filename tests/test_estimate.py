"""Properties that any estimate must have, whatever the numbers are."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator import Estimate, Image, Scenario, Workload, estimate, load_hardware
from simulator.assemble import case_of, scale_chip
from simulator.measure import measure
from simulator.program import STAGES
from simulator.ratio import ratio
from simulator.spec.scenario import TechniqueUse
from simulator.spec.source import SpecError

MODELS = ("qwen2.5-vl-7b", "llava-1.5-7b", "internvl3-8b", "gemma-3-12b", "llama-3.2-11b-vision", "qwen3-vl-30b-a3b")
DEVICES = ("h100-sxm", "l40s", "a100-sxm-80gb", "rtx-4090", "mi300x", "jetson-agx-orin")
ENGINES = ("ideal", "vllm", "sglang", "trtllm", "hf-flash", "hf-sdpa", "hf-eager")

relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    return Scenario(
        model=draw(st.sampled_from(MODELS)),
        hardware=draw(st.sampled_from(DEVICES)),
        engine=draw(st.sampled_from(ENGINES)),
        workload=Workload(
            images=(Image(width=draw(st.integers(60, 3000)), height=draw(st.integers(60, 3000))),),
            text_tokens=draw(st.integers(1, 2000)),
            output_tokens=draw(st.integers(1, 1000)),
            batch=draw(st.integers(1, 16)),
        ),
        preprocess=False,
    )


@relaxed
@given(scenarios())
def test_bands_hold_the_expectation_and_nothing_is_below_the_floor(scenario: Scenario) -> None:
    result = estimate(scenario)
    for name, stage in result.stages.items():
        assert stage.seconds_floor <= stage.seconds_lower * (1 + 1e-9), name
        assert stage.seconds_lower <= stage.seconds * (1 + 1e-9), name
        assert stage.seconds <= stage.seconds_upper * (1 + 1e-9), name
    for name in ("ttft_s", "tpot_s", "latency_s"):
        assert getattr(result, f"{name}_lower") <= getattr(result, name) <= getattr(result, f"{name}_upper")
    _above_the_floors(result)


def _above_the_floors(result: Estimate) -> None:
    """The sums end where the floors of their stages do."""
    floors = {name: stage.seconds_floor for name, stage in result.stages.items()}
    last = floors.pop("decode")
    lowest = {"ttft_s": sum(floors.values()), "tpot_s": last / max(result.scenario.workload.output_tokens - 1, 1), "latency_s": sum(floors.values()) + last}
    for name, floor in lowest.items():
        assert floor <= getattr(result, f"{name}_lower") * (1 + 1e-9), name


@pytest.mark.parametrize(("hardware", "engine"), [("cpu-generic", "vllm"), ("t4", "sglang"), ("m1-max", "hf-flash"), ("h20", "hf-flash")])
def test_wide_bands_end_at_the_floor(hardware: str, engine: str) -> None:
    for batch in (1, 64):
        workload = Workload(text_tokens=1500, output_tokens=10, batch=batch)
        _above_the_floors(estimate(Scenario(model="llama-2-13b", hardware=hardware, engine=engine, workload=workload, preprocess=False)))


@relaxed
@given(scenarios())
def test_stages_sum_to_the_total(scenario: Scenario) -> None:
    result = estimate(scenario)
    first = sum(result.stages[name].seconds for name in STAGES if name != "decode") + result.overhead_s
    assert result.ttft_s == pytest.approx(first, rel=1e-12)
    assert result.latency_s == pytest.approx(first + result.stages["decode"].seconds, rel=1e-12)
    steps = scenario.workload.output_tokens - 1
    assert result.tpot_s == pytest.approx(result.stages["decode"].seconds / max(steps, 1), rel=1e-12)


@relaxed
@given(scenarios(), st.floats(1.05, 4.0))
def test_more_bandwidth_or_flops_is_never_slower(scenario: Scenario, factor: float) -> None:
    case = case_of(scenario)
    slow = measure(case)
    for chip in (scale_chip(case.chip, factor, 1.0, 1.0, 1.0), scale_chip(case.chip, 1.0, factor, 1.0, 1.0)):
        fast = measure(replace(case, chip=chip))
        for name in STAGES:
            assert fast.stages[name].seconds <= slow.stages[name].seconds * (1 + 1e-9), name


@relaxed
@given(scenarios(), st.floats(0.1, 0.9))
def test_fewer_tokens_never_cost_more_flops_or_memory(scenario: Scenario, share: float) -> None:
    case = case_of(scenario)
    fewer = replace(case, text=float(np.floor(case.text * share)))
    most, least = measure(case), measure(fewer)
    assert least.stages["prefill"].matmul_flops <= most.stages["prefill"].matmul_flops
    assert least.stages["decode"].matmul_flops <= most.stages["decode"].matmul_flops
    assert least.memory.kv_bytes_written <= most.memory.kv_bytes_written


@relaxed
@given(st.sampled_from(MODELS), st.sampled_from(ENGINES), st.integers(0, 2**31))
def test_arrays_agree_with_scalars(model: str, engine: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    workload = Workload(images=(Image(width=800, height=600),), text_tokens=64, output_tokens=128)
    case = case_of(Scenario(model=model, hardware="l40s", engine=engine, workload=workload, preprocess=False))
    size = 12
    text, output = np.floor(generator.uniform(0, 4000, size)), np.floor(generator.uniform(1, 600, size))
    batch = np.floor(generator.uniform(1, 64, size))
    width, height = np.floor(generator.uniform(56, 2500, size)), np.floor(generator.uniform(56, 2500, size))
    picture = case.pictures[0]
    many = measure(replace(case, text=text, output=output, batch=batch, pictures=(replace(picture, width=width, height=height),)))
    for index in range(size):
        one = measure(
            replace(
                case,
                text=float(text[index]),
                output=float(output[index]),
                batch=float(batch[index]),
                pictures=(replace(picture, width=float(width[index]), height=float(height[index])),),
            )
        )
        for pick in (
            lambda m: m.ttft_s, lambda m: m.tpot_s, lambda m: m.energy_j, lambda m: m.memory.peak_bytes,
            lambda m: m.bands["latency_s"][1], lambda m: m.stages["decode"].matmul_flops,
        ):  # fmt: skip
            value = np.broadcast_to(pick(many), (size,))[index]
            assert value == pytest.approx(float(pick(one)), rel=1e-12)


@relaxed
@given(scenarios())
def test_scenario_survives_json(scenario: Scenario) -> None:
    again = Scenario.model_validate_json(scenario.model_dump_json())
    assert again == scenario
    assert again.digest() == scenario.digest()
    assert Scenario.model_validate(json.loads(scenario.canonical())) == scenario


def test_survey_footnote_2() -> None:
    """Qwen2.5-VL-72B, 40K tokens: 13.1 GB of KV (arXiv 2604.05546, footnote 2: 'over 40K tokens and 13 GB')."""
    workload = Workload(text_tokens=40_000, output_tokens=1)
    result = estimate(Scenario(model="qwen2.5-vl-72b", hardware="mi325x", workload=workload, preprocess=False))
    assert result.memory.kv_bytes_written == pytest.approx(13.1e9, rel=2e-3)


def test_ideal_engine_is_the_roofline_of_each_operator() -> None:
    """A decode step under `ideal` reads every weight once at datasheet bandwidth, so it cannot beat that by more than L2 holds."""
    workload = Workload(images=(Image(width=336, height=336),), text_tokens=40, output_tokens=2)
    result = estimate(Scenario(model="llava-1.5-7b", hardware="a100-sxm-80gb", engine="ideal", workload=workload, preprocess=False))
    weights = 2 * 6.74e9 - 2 * 32064 * 4096 * 1.0  # decoder and head; the embedding is only looked up
    bandwidth = load_hardware("a100-sxm-80gb").memory_bandwidth.value
    assert result.tpot_s == pytest.approx(weights / bandwidth, rel=0.06)
    assert result.tpot_s == result.tpot_s_lower == result.tpot_s_upper


def test_tensor_parallelism_shares_the_work_and_adds_the_network() -> None:
    workload = Workload(images=(Image(width=1024, height=1024),), text_tokens=64, output_tokens=64)
    alone, four = (
        estimate(Scenario(model="qwen2.5-vl-72b", hardware="h100-sxm", workload=workload, parallel={"tp": tp}, preprocess=False))
        for tp in (1, 4)
    )
    assert four.stages["prefill"].matmul_flops == pytest.approx(alone.stages["prefill"].matmul_flops, rel=1e-3)
    assert alone.tpot_s / 4 < four.tpot_s < alone.tpot_s / 2
    assert not alone.memory.fits and four.memory.fits


def test_a_format_the_chip_lacks_is_said() -> None:
    workload = Workload(text_tokens=512, output_tokens=16)
    result = estimate(Scenario(model="llama-3.1-8b", hardware="a100-sxm-80gb", workload=workload, format="fp8", preprocess=False))
    assert any("no fp8" in note for note in result.assumptions)


def test_output_of_one_token_has_no_decode() -> None:
    workload = Workload(images=(Image(width=336, height=336),), text_tokens=0, output_tokens=1)
    result = estimate(Scenario(model="llava-1.5-7b", hardware="h100-sxm", workload=workload, preprocess=False))
    assert result.tpot_s == 0 and result.stages["decode"].seconds == 0
    assert result.stages["prefill"].matmul_flops > 0


@relaxed
@given(scenarios(), st.floats(0.2, 0.9))
def test_a_ratio_is_surer_than_its_parts(scenario: Scenario, keep: float) -> None:
    """Baseline and variant share the draw of each fit: the band of their ratio is narrower than independence would make it."""
    case = case_of(scenario)
    variant = case_of(scenario.model_copy(update={"techniques": (TechniqueUse(kind="kv_evict", parameters={"budget": keep}),)}))
    before, after = measure(case), measure(variant)
    found = ratio(before, after, case, "latency_s")
    assert found.lower <= found.expected <= found.upper
    alone = [max(float(side) for side in part.bands["latency_s"]) for part in (before, after)]
    assert np.log(found.upper / found.expected) <= np.hypot(*alone) + 1e-9


def test_pictures_that_are_attended_to_from_beside_do_not_fill_the_context() -> None:
    """Llama 3.2 keeps 6,404 keys per picture in its cross-attention layers; its 131,072 positions are for text."""
    def of(model: str, count: int, size: int) -> Estimate:
        workload = Workload(images=(Image(width=size, height=size, count=count),), text_tokens=1000, output_tokens=10)
        return estimate(Scenario(model=model, hardware="mi300x", workload=workload, preprocess=False))

    assert of("llama-3.2-11b-vision", 30, 1000).visual_tokens == 30 * 6404
    with pytest.raises(SpecError, match="exceed the 131072"):
        of("gemma-3-12b", 600, 1000)


def test_a_prompt_is_split_into_full_passes_and_a_rest() -> None:
    """vLLM's budget of 8,192 rows: one row more is a second pass, which reads all weights of the layers again for that row."""
    def prefill(text: int, **more: object) -> float:
        workload = Workload(text_tokens=text, output_tokens=1)
        found = estimate(Scenario.model_validate({"model": "llama-3.1-8b", "hardware": "h100-sxm", "workload": workload, "preprocess": False} | more))
        return float(found.stages["prefill"].seconds)

    layers = 2 * 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert prefill(8193) - prefill(8192) > layers / 3.35e12
    assert prefill(8193) - prefill(8192) < 2.0 * layers / 3.35e12 + 2e-3  # and the pass's own 2 ms
    times = [prefill(text) for text in (8000, 8191, 8192, 8193, 9000, 12000, 16384, 16385)]
    assert times == sorted(times)
    whole = [estimate(Scenario(model="llama-3.1-8b", hardware="h100-sxm", engine="ideal", techniques=(f"chunked_prefill:chunk={chunk}",),
                               workload=Workload(text_tokens=10000, output_tokens=1))).stages["prefill"] for chunk in (3000, 20000)]  # fmt: skip
    assert whole[0].matmul_flops == pytest.approx(whole[1].matmul_flops, rel=1e-9)
    assert whole[0].steps == 4
