"""The two pilots of the survey (arXiv 2604.05546, appendix D) against predictions; the engine is not fitted to them.

D.2, table 10: accepted drafts per cycle and speed-ups of speculative decoding with random relaxation, Qwen2.5-VL on 2 x H200.
D.1, table 8: milliseconds per token of Qwen2.5-VL-7B on an L40S at 100, 20 and 10 % of the KV cache (1.73 GB in full).
"""

from __future__ import annotations

from functools import lru_cache

import pytest

from simulator.acceptance import acceptance_of, expected_accepted, relaxed
from simulator.request import Estimate, estimate
from simulator.spec.load_model import load_model
from simulator.spec.scenario import Scenario, parse_technique
from simulator.spec.source import SpecError
from simulator.spec.workload import Video, Workload

GAMMA = 10.0
RELAXED = (0.0, 0.5, 0.75)
TABLE_10 = {  # (target, draft): accepted drafts, speed-up, at each relaxation
    ("32b", "7b"): ((3.40, 5.55, 7.42), (1.40, 2.04, 2.61)),
    ("32b", "3b"): ((2.99, 5.30, 7.33), (0.97, 1.64, 2.11)),
    ("7b", "7b"): ((5.31, 7.20, 8.45), (1.26, 1.61, 1.80)),
}
MEASURED_D1 = {1.0: 58.94e-3, 0.2: 42.08e-3, 0.1: 38.65e-3}  # seconds per token
HF = ("hf-flash", "hf-sdpa", "hf-eager")
# SpecVLM's public code (github zju-jiyicheng/SpecVLM, models/modeling_qwen2_5_vl.py) passes a mask tensor in every step.
MASKED = "hf-masked"
CONTEXTS = {("32b", "7b"): (170, 205), ("32b", "3b"): (170, 195), ("7b", "7b"): (280, 310)}  # frames of 132 tokens: 22 to 27, and 37 to 41 thousand


@lru_cache(maxsize=256)
def video(model: str, hardware: str, engine: str, frames: int, width: int, height: int, *techniques: str) -> Estimate:
    work = Workload(videos=[Video(frames=frames, width=width, height=height)], text_tokens=64, output_tokens=128)
    uses = tuple(parse_technique(item) for item in techniques)
    return estimate(Scenario(model=model, hardware=hardware, workload=work, engine=engine, techniques=uses, preprocess=False))


def available(*sizes: str) -> None:
    for size in sizes:
        try:
            load_model(f"qwen2.5-vl-{size}")
        except SpecError:
            pytest.skip(f"qwen2.5-vl-{size} is not among the models yet")


@pytest.mark.parametrize("pair", TABLE_10, ids="/".join)
@pytest.mark.parametrize("place", [1, 2])
def test_accepted_lengths_of_the_relaxed_runs_from_the_strict_one(pair, place: int) -> None:
    """alpha from the strict run alone; the six relaxed runs are predictions. Without the bonus token, as SpecVLM counts."""
    accepted, _ = TABLE_10[pair]
    alpha = acceptance_of(accepted[0], GAMMA)
    assert expected_accepted(relaxed(alpha, RELAXED[place]), GAMMA) == pytest.approx(accepted[place], rel=0.03)


@pytest.mark.parametrize("pair", TABLE_10, ids="/".join)
def test_cost_of_a_cycle_is_constant_over_relaxation(pair) -> None:
    """(tau + 1) / speed-up is what a cycle costs in target steps: the same for every relaxation of one pair, within 7 %."""
    accepted, gains = TABLE_10[pair]
    costs = [(tau + 1.0) / gain for tau, gain in zip(accepted, gains, strict=True)]
    assert max(costs) / min(costs) < 1.08


def draft_steps(target: str, draft: str, engine: str, frames: int = 512) -> float:
    """Cost of a drafted token in target steps, from the estimate."""
    base = video(f"qwen2.5-vl-{target}", "h200-sxm", engine, frames, 616, 336)
    use = f"speculative:drafter=qwen2.5-vl-{draft},gamma=10,draft_keep=0.1,accepted=0"
    return (video(f"qwen2.5-vl-{target}", "h200-sxm", engine, frames, 616, 336, use).tpot_s / base.tpot_s - 1.0) / GAMMA


@pytest.mark.parametrize("engine", HF)
def test_the_3b_drafter_is_slower_than_the_7b_because_it_has_more_layers(engine: str) -> None:
    """Observed 0.28-0.31 against 0.21-0.22 target steps (about 1.35); 36 layers against 28 is 1.29; bytes say 0.4."""
    available("3b", "7b")
    ratio = draft_steps("7b", "3b", engine) / draft_steps("7b", "7b", engine)
    assert 1.1 < ratio < 1.5
    assert draft_steps("7b", "3b", "ideal") / draft_steps("7b", "7b", "ideal") < 0.7


def speedups(pair: tuple[str, str], engine: str, frames: int) -> list[float]:
    """Predicted speed-ups at the three relaxations; alpha from the strict run's accepted length alone."""
    alpha = acceptance_of(TABLE_10[pair][0][0], GAMMA)
    base = video(f"qwen2.5-vl-{pair[0]}", "h200-sxm", engine, frames, 616, 336)
    uses = [f"speculative:drafter=qwen2.5-vl-{pair[1]},gamma=10,draft_keep=0.1,alpha={alpha},relax={rho}" for rho in RELAXED]
    return [base.tpot_s / video(f"qwen2.5-vl-{pair[0]}", "h200-sxm", engine, frames, 616, 336, use).tpot_s for use in uses]


@pytest.mark.parametrize("pair", TABLE_10, ids="/".join)
@pytest.mark.parametrize("end", [0, 1])
def test_speedups_within_10_percent_for_a_stated_context(pair, end: int) -> None:
    """The pilot does not state its context. Nine speed-ups hold for 22 to 26 thousand visual tokens (32B) and 37 to 41 (7B)."""
    available(*pair)
    found = speedups(pair, MASKED, CONTEXTS[pair][end])
    assert found == pytest.approx(list(TABLE_10[pair][1]), rel=0.10)


def test_without_a_mask_no_context_fits_the_7b_pair() -> None:
    """What lets drafting pay at all is that a masked step walks the keys of a head one after another: not so with split keys."""
    available("7b")
    assert max(speedups(("7b", "7b"), "hf-flash-gqa", 900)) < 0.7 * TABLE_10["7b", "7b"][1][2]


def decoding(engine: str, budget: float) -> Estimate:
    """Static heads are pruned, dynamic heads retrieve chunks in every step (arXiv 2604.05887, abstract)."""
    uses = f"kv_evict:budget={budget},head_shape=varied", "kv_retrieve:keep=0.5,per=step,tier=memory"
    use = () if budget == 1.0 else uses
    return video("qwen2.5-vl-7b", "l40s", engine, 82, 1260, 672, *use)


def test_the_video_has_the_cache_of_the_pilot() -> None:
    available("7b")
    assert decoding("ideal", 1.0).memory.kv_bytes_resident == pytest.approx(1.73e9, rel=0.01)
    for budget, stated in ((0.2, 0.40e9), (0.1, 0.22e9)):  # the pilot keeps a constant 0.05 GB besides (index and recent window)
        assert stated - decoding("ideal", budget).memory.kv_bytes_resident == pytest.approx(0.05e9, abs=0.015e9)


def test_a_pure_roofline_is_visibly_wrong() -> None:
    """Weights of 15 GB at 864 GB/s and 1.7 GB of cache: 18 ms and a gain of 1.1, where 59 ms and 1.5 were measured."""
    available("7b")
    full, tenth = decoding("ideal", 1.0).tpot_s, decoding("ideal", 0.1).tpot_s
    assert full < 0.5 * MEASURED_D1[1.0]
    assert full / tenth < 1.15 < MEASURED_D1[1.0] / MEASURED_D1[0.1]


def test_an_eager_framework_explains_the_direction() -> None:
    """Repeated KV heads make the cache many times heavier than its bytes, so that cutting it pays; read once, it does not."""
    available("7b")
    full, tenth = decoding("hf-flash", 1.0).tpot_s, decoding("hf-flash", 0.1).tpot_s
    assert full / tenth > 1.4
    assert decoding("hf-flash-gqa", 1.0).tpot_s < 0.6 * MEASURED_D1[1.0]


@pytest.mark.parametrize(
    "budget", [1.0, pytest.param(0.2, marks=pytest.mark.xfail(reason="22 % low at 20 % of the cache", strict=True)), 0.1]
)
def test_milliseconds_per_token_within_15_percent(budget: float) -> None:
    """Under FlashAttention in transformers, as the pilot states, which copies KV heads out for Qwen2.5-VL up to version 4.52."""
    available("7b")
    assert decoding("hf-flash", budget).tpot_s == pytest.approx(MEASURED_D1[budget], rel=0.15)
