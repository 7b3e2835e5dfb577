"""Random mixes of techniques with random parameters: no crash, no number that cannot be, and no work gained by dropping tokens."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from simulator import Image, Scenario, Video, Workload, estimate
from simulator.assemble import assemble, case_of
from simulator.evaluate import Run, evaluate
from simulator.presets import presets
from simulator.spec.scenario import TechniqueUse
from simulator.spec.source import SpecError
from simulator.technique import Parameter, parameters, registry

MODELS = (
    "qwen2.5-vl-7b", "llava-1.5-7b", "internvl3-8b", "llava-onevision-7b", "gemma-3-12b", "llama-3.2-11b-vision", "qwen3-vl-30b-a3b",
    "blip-2-opt-2.7b", "smolvlm-256m",
)  # fmt: skip
DEVICES = ("h100-sxm", "l40s", "a100-sxm-80gb", "rtx-4090", "jetson-agx-orin")
ENGINES = ("ideal", "vllm", "sglang", "trtllm", "hf-flash", "hf-sdpa", "hf-eager")
SHARES = ("keep", "budget", "density")
TECHNIQUES = registry()
PRESETS = tuple(presets())


def value_of(draw: st.DrawFn, knob: Parameter) -> Any:
    """A value the declaration accepts; unbounded numbers stay where a request can be."""
    if knob.kind == "choice":
        return draw(st.sampled_from(knob.choices))
    if knob.kind == "flag":
        return draw(st.booleans())
    if knob.kind == "text":
        return knob.default
    low = max(knob.low, -4.0)
    high = max(low, min(knob.high, 1.0 if knob.unit == "fraction" else 4096.0))
    if knob.kind in ("integer", "integers"):
        whole = st.integers(math.ceil(low), min(math.floor(high), 40))
        if knob.kind == "integer":
            return draw(whole)
        return sorted(set(draw(st.lists(whole, min_size=0, max_size=3))))
    number = st.one_of(st.floats(low, high), st.sampled_from([low, high]))
    if knob.kind == "number":
        return draw(number)
    size = len(knob.default) if draw(st.booleans()) else draw(st.integers(0, 3))
    return sorted((draw(number) for _ in range(size)), reverse=True)


@st.composite
def uses(draw: st.DrawFn) -> TechniqueUse:
    """A preset, or a general technique with some of its knobs turned."""
    if draw(st.integers(0, 2)) == 0:
        return TechniqueUse(kind=draw(st.sampled_from(PRESETS)))
    kind = draw(st.sampled_from(sorted(TECHNIQUES)))
    turned = {knob.name: value_of(draw, knob) for knob in parameters(TECHNIQUES[kind]) if draw(st.integers(0, 2)) == 0}
    return TechniqueUse(kind=kind, parameters=turned)


@st.composite
def mixes(draw: st.DrawFn) -> Scenario:
    picture = Image(width=draw(st.integers(28, 2500)), height=draw(st.integers(28, 2500)))
    clip = (Video(frames=draw(st.integers(1, 64)), width=448, height=336),) if draw(st.integers(0, 3)) == 0 else ()
    return Scenario(
        model=draw(st.sampled_from(MODELS)),
        hardware=draw(st.sampled_from(DEVICES)),
        engine=draw(st.sampled_from(ENGINES)),
        workload=Workload(
            images=(picture,) * draw(st.integers(0 if clip else 1, 4)),
            videos=clip,
            text_tokens=draw(st.integers(0, 1500)),
            output_tokens=draw(st.integers(1, 800)),
            batch=draw(st.integers(1, 32)),
        ),
        techniques=tuple(draw(st.lists(uses(), min_size=1, max_size=4))),
    )


def numbers(value: Any) -> list[float]:
    """Every number in a nested structure."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return []
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list | tuple):
        return [number for item in value for number in numbers(item)]
    return [float(value)]


def model_flops(run: Run) -> dict[str, float]:
    """FLOPs per stage without those of choosing."""
    out: dict[str, float] = {}
    for stage, total in run.totals.items():
        chosen = 0.0
        for extra in run.program.extras:
            if extra.stage == stage and extra.counted:
                repeats = extra.repeats * (run.steps["decode"] if extra.per_step else 1.0)
                chosen += float(extra.op.work(extra.shape).flops * repeats * run.program.decoder.devices * run.program.decoder.busy)
        out[stage] = float(total.flops) - chosen
    return out


def changed(scenario: Scenario, at: int, name: str, value: Any) -> Scenario:
    use = scenario.techniques[at]
    other = TechniqueUse(kind=use.kind, parameters={**use.parameters, name: value})
    return scenario.model_copy(update={"techniques": (*scenario.techniques[:at], other, *scenario.techniques[at + 1 :])})


def with_less(scenario: Scenario) -> list[tuple[Scenario, Scenario]]:
    """The scenario and the same with half of one share, for each share of each technique. A share of 1 is off, and with it
    what choosing costs (a scorer's own encoder): it starts just below."""
    out: list[tuple[Scenario, Scenario]] = []
    for at, use in enumerate(scenario.techniques):
        for name in SHARES:
            knobs = {knob.name: knob for knob in parameters(TECHNIQUES[use.kind])} if use.kind in TECHNIQUES else {}
            if name not in knobs or use.parameters.get("tokens"):
                continue
            value = use.parameters.get(name, knobs[name].default)
            more = [min(item, 0.99) for item in value] if isinstance(value, list | tuple) else min(value, 0.99)
            less = [item / 2 for item in more] if isinstance(more, list) else more / 2
            out.append((changed(scenario, at, name, more), changed(scenario, at, name, less)))
    return out


def evaluated(scenario: Scenario) -> Run | None:
    try:
        case = case_of(scenario)
        return evaluate(assemble(case).program, case.machine, None)
    except SpecError:
        return None


def is_sound(scenario: Scenario) -> None:
    """Refused in one line, or every number is finite and not negative, every band in order and above its floor."""
    try:
        result = estimate(scenario)
    except SpecError as error:
        assert "\n" not in str(error)
        event("refused")
        return
    event("estimated")
    for number in numbers({key: item for key, item in result.to_dict().items() if key not in ("fidelity", "scenario")}):
        assert not math.isnan(number) and number >= 0.0
    for name, stage in result.stages.items():
        assert stage.seconds_floor <= stage.seconds_lower * (1 + 1e-9), name
        assert stage.seconds_lower <= stage.seconds * (1 + 1e-9) <= stage.seconds_upper * (1 + 2e-9), name
        assert math.isfinite(stage.seconds_upper), name
    for name in ("ttft_s", "tpot_s", "latency_s"):
        lower, middle, upper = (getattr(result, f"{name}{end}") for end in ("_lower", "", "_upper"))
        assert lower <= middle * (1 + 1e-9) and middle <= upper * (1 + 1e-9), name
    found = result.fidelity
    if found is not None and found.retained is not None:
        assert 0.0 <= found.low <= found.retained <= found.high


def parts(use: TechniqueUse) -> set[str]:
    """General techniques that a use is made of."""
    return {use.kind} if use.kind in TECHNIQUES else {part for part, _ in presets()[use.kind].parts}


def dense(scenario: Scenario) -> Scenario:
    """The same without chunk-local attention."""
    kept = tuple(use for use in scenario.techniques if "chunk_attention" not in parts(use))
    return scenario.model_copy(update={"techniques": kept})


def gains_nothing_by_dropping(scenario: Scenario) -> None:
    """Half of a share never costs model FLOPs in any stage (what choosing costs is counted apart).

    Three corners are real. Rows behind a cached prefix see what of their chunk lies before them, which rises and falls with the length
    of the prefix (chunks of 100: 94.5 tokens on average for the last twelve rows of one, 4.5 for the first eight of the next; up to 27 % of
    the prefill of a small model): they are held against attention to everything instead. And native sparse attention reads
    by one row what a verified draft reads by many, so that a step of thousands of rows is off where its budget begins to bind, by 4e-4.
    Crops merged over time leave one of their mean size: without the small tiles of a tiled picture that is a larger one (836 tokens in
    two crops for 943 in three, and so 418 for 316), and such pictures are no frames.
    """
    kinds = set[str]().union(*(parts(use) for use in scenario.techniques))
    sawtooth = {"chunk_attention", "prefix_cache"} <= kinds
    slack = 1e-3 if {"native_sparse_attention", "speculative"} <= kinds else 1e-9
    for more, less in with_less(scenario):
        before, after = evaluated(dense(more) if sawtooth else more), evaluated(less)
        if before is None or after is None:
            continue
        if "temporal_merge" in kinds and len(after.program.visual_input.grids) > 1:
            continue
        one, two = model_flops(before), model_flops(after)
        for stage, flops in one.items():
            if sawtooth and stage != "prefill":
                continue
            assert two[stage] <= flops * (1 + slack) + 1.0, (stage, less.techniques)


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
@given(mixes())
def test_random_mixes_are_sound(scenario: Scenario) -> None:
    is_sound(scenario)
    gains_nothing_by_dropping(scenario)


@pytest.mark.full
@settings(max_examples=10_000, deadline=None, suppress_health_check=SLOW)
@given(mixes())
def test_ten_thousand_random_mixes_are_sound(scenario: Scenario) -> None:
    is_sound(scenario)
    gains_nothing_by_dropping(scenario)
