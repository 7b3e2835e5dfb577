"""Inverse questions plugged back in, fronts against brute force, interactions and bottlenecks against their definitions."""

from __future__ import annotations

import itertools
import math
import warnings
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from simulator import Image, Scenario, Space, Workload, estimate, pareto, sweep
from simulator.search import (
    break_even,
    cheapest,
    elasticities,
    interaction,
    largest,
    migration,
    nondominated,
    regimes,
    shapley,
    solve,
)
from simulator.search.dominance import divided, hypervolume, swept, thinned, volume
from simulator.search.front import knees
from simulator.search.line import crossings
from simulator.search.pick import with_numbers
from simulator.spec.scenario import TechniqueUse
from simulator.spec.source import SpecError

BASE = Scenario(
    model="qwen2.5-vl-7b",
    hardware="l40s",
    workload=Workload(images=(Image(width=1280, height=720),), text_tokens=64, output_tokens=128),
)


@pytest.mark.parametrize(
    ("path", "metric", "factor"),
    [
        ("scale.bandwidth", "tpot_s", 0.7), ("scale.flops", "ttft_s", 0.8), ("techniques.fastv.keep", "prefill_s", 0.95),
        ("scale.price", "cost_usd", 1.5), ("workload.text_tokens", "kv_bytes_written", 2.0), ("workload.output_tokens", "latency_s", 3.0),
    ],
)  # fmt: skip
def test_roots_plug_back_in(path: str, metric: str, factor: float) -> None:
    scenario = BASE.model_copy(update={"techniques": (TechniqueUse(kind="fastv"),)}) if "fastv" in path else BASE
    frame = sweep(Space(scenario, {"workload.batch": [1]}), [metric])
    target = float(frame[metric][0]) * factor
    found = solve(scenario, path, metric, target)
    assert found.status == "one", found.text
    reached = sweep(Space(with_numbers(scenario, {path: found.value}), {"workload.batch": [1]}), [metric])[metric][0]
    assert reached == pytest.approx(found.roots[0].reached, rel=1e-9)
    if path.startswith("workload"):  # whole numbers: the last value that meets the target
        beyond = sweep(Space(with_numbers(scenario, {path: found.value + 1}), {"workload.batch": [1]}), [metric])[metric][0]
        assert reached <= target < beyond
    elif found.roots[0].exact:
        assert reached == pytest.approx(target, rel=1e-6)
    else:  # the metric jumps over the target between two neighbouring values
        ends = [found.value * (1 - 1e-9), found.value * (1 + 1e-9)]
        sides = [sweep(Space(with_numbers(scenario, {path: end}), {"workload.batch": [1]}), [metric])[metric][0] for end in ends]
        assert min(sides) <= target <= max(sides) and reached <= target


def test_no_root_says_what_can_be_reached() -> None:
    found = solve(BASE, "scale.bandwidth", "tpot_s", 1e-6)
    assert found.status == "none" and found.reachable[0] > 1e-6 and "stays within" in found.text
    with pytest.raises(SpecError, match="stays within"):
        _ = found.value


def test_flat_knobs_are_called_flat() -> None:
    assert solve(BASE, "scale.bandwidth", "weight_bytes", 1.0).status == "flat"


def test_several_roots_are_all_found() -> None:
    samples = np.linspace(0.1, 10, 256)
    pairs = crossings(np.sin, samples, whole=False)
    assert [pair[0] for pair in pairs] == [pytest.approx(math.pi * k, rel=1e-12) for k in (1, 2, 3)]
    jumps = crossings(lambda x: np.where(x < 4.2, -1.0, 1.0), samples, whole=False)
    assert len(jumps) == 1 and jumps[0][0] == pytest.approx(4.2, rel=1e-12) and jumps[0][0] < 4.2 <= jumps[0][1]
    assert crossings(lambda x: np.where(x < 4.2, -1.0, 1.0), np.arange(1.0, 9.0), whole=True) == [(4.0, 5.0)]


@pytest.mark.parametrize("path", ["workload.batch", "workload.text_tokens"])
def test_largest_is_the_last_that_holds(path: str) -> None:
    found = largest(BASE, path)
    assert found.value is not None
    frame = sweep(Space(BASE, {path: [int(found.value), int(found.value) + 1]}))
    assert (frame["fits"] & frame["within_context"]).tolist() == [True, False]
    if path == "workload.batch":
        assert found.value == pytest.approx(estimate(BASE).memory.max_batch, abs=1)


def test_a_technique_is_better_by_either_of_two_metrics_that_say_the_same() -> None:
    for low, high in ((1.0, 8.0), (1.0, 64.0)):
        slower = break_even(BASE, "workload.batch", "kv_quant:bits=4", metric="latency_s", low=low, high=high)
        faster = break_even(BASE, "workload.batch", "kv_quant:bits=4", metric="output_tokens_per_s", low=low, high=high)
        assert slower.status == faster.status
        assert [word for word in ("better", "worse") if word in slower.text] == [word for word in ("better", "worse") if word in faster.text]
        assert [root.value for root in slower.roots] == pytest.approx([root.value for root in faster.roots])


def test_a_target_that_is_no_number_is_refused() -> None:
    with pytest.raises(SpecError, match="target: nan"):
        solve(BASE, "scale.bandwidth", "tpot_s", float("nan"))


def test_break_even_is_where_both_cost_the_same() -> None:
    found = break_even(BASE, "scale.flops", "fastv", metric="ttft_s")
    for root in found.roots:
        values = [
            sweep(Space(scenario, {"scale.flops": [root.value]}), ["ttft_s"])["ttft_s"][0]
            for scenario in (BASE, BASE.model_copy(update={"techniques": (TechniqueUse(kind="fastv"),)}))
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert found.text


def test_cheapest_meets_the_objective_and_nothing_cheaper_does() -> None:
    names, rules = ["l4", "l40s", "a100-sxm-80gb", "h100-sxm"], ["ttft_s <= 0.4", "tpot_s <= 0.02"]
    good = cheapest(BASE, rules, names, tp=(1, 2))
    frame = sweep(Space(BASE, {"hardware": names, "parallel.tp": [1, 2]}))
    allowed = frame[frame["fits"] & (frame["ttft_s"] <= 0.4) & (frame["tpot_s"] <= 0.02)]
    assert len(good) == len(allowed) > 0
    assert good["price_per_hour_usd"].is_monotonic_increasing


def test_elasticities_of_known_laws() -> None:
    table = elasticities(BASE, ["tpot_s", "cost_usd", "peak_bytes"])
    assert table.loc["scale.price", "cost_usd"] == pytest.approx(1.0, rel=1e-9)
    assert table.loc["scale.price", "tpot_s"] == 0.0
    assert -1.0 < table.loc["scale.bandwidth", "tpot_s"] < -0.5, "decoding at batch 1 is bound by memory"


@pytest.mark.skipif(find_spec("moocore") is None, reason="moocore is not installed (extra search)")
def test_both_ways_to_a_front_agree() -> None:
    random = np.random.default_rng(7)
    for columns in (2, 3, 4, 5):
        for _ in range(20):
            rows = random.integers(0, 5, (60, columns)).astype(float)
            rows[random.random(rows.shape) < 0.1] = np.inf
            rows[random.random(rows.shape) < 0.1] = -np.inf
            rows = np.unique(rows, axis=0)
            assert (divided(rows) == swept(rows)).all()
    flat = random.exponential(size=(3000, 4))
    assert divided(flat / flat.sum(axis=1, keepdims=True)).all()


def brute(costs: np.ndarray) -> np.ndarray:
    known = ~np.isnan(costs).any(axis=1)
    out = np.zeros(len(costs), bool)
    for at in np.flatnonzero(known):
        better = (costs[known] <= costs[at]).all(axis=1) & (costs[known] < costs[at]).any(axis=1)
        out[at] = not better.any()
    return out


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("ties", [False, True])
def test_fronts_equal_brute_force(columns: int, ties: bool) -> None:
    generator = np.random.default_rng(columns)
    for _ in range(8):
        costs = generator.integers(0, 5, (300, columns)).astype(float) if ties else generator.normal(size=(300, columns))
        costs[generator.random(costs.shape) < 0.02] = np.nan
        costs[generator.random(costs.shape) < 0.02] = np.inf
        assert (nondominated(costs) == brute(costs)).all()
    assert not nondominated(np.full((3, columns), np.nan)).any()


def test_pareto_drops_the_infeasible_and_says_why() -> None:
    frame = sweep(Space(BASE, {"hardware": ["l4", "l40s", "h100-sxm"], "workload.batch": [1, 8, 64, 4096], "techniques.fastv.keep": [0.2, 0.5, 1.0]}))
    front = pareto(frame, ["ttft_s", "output_tokens_per_s", "fidelity"], ["tpot_s <= 0.2"])
    assert front["fits"].all() and (front["tpot_s"] <= 0.2).all() and 0 < len(front) < len(frame)
    allowed = frame[frame["fits"] & frame["within_context"] & (frame["tpot_s"] <= 0.2)]
    costs = np.column_stack([allowed["ttft_s"], -allowed["output_tokens_per_s"], -allowed["fidelity"]])
    assert front.index.tolist() == allowed.index[brute(costs)].tolist()
    assert (front[[f"gave_up_{name}" for name in ("ttft_s", "output_tokens_per_s", "fidelity")]].min() == 0).all()
    for _, row in front.iterrows():
        assert row[f"{row['binding_stage']}_s"] == max(row[f"{stage}_s"] for stage in ("preprocess", "encode", "project", "prefill", "decode"))
        assert row["binding_resource"] == row[f"{row['binding_stage']}_bound"]
    assert front["knee"].any()
    assert pareto(frame, ["ttft_s"], ["ttft_s < 0"]).empty


def test_a_front_says_what_it_could_not_check() -> None:
    """Without `fits` a point that does not fit may win."""
    space = Space(BASE, {"workload.batch": [1, 100_000]})
    with pytest.warns(UserWarning, match="no column fits or within_context"):
        blind = pareto(sweep(space, ["ttft_s", "output_tokens_per_s"]), ["ttft_s", "output_tokens_per_s"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = pareto(sweep(space), ["ttft_s", "output_tokens_per_s"])
        asked = pareto(sweep(space, ["ttft_s", "output_tokens_per_s"]), ["ttft_s", "output_tokens_per_s"], feasible=False)
    assert len(blind) == len(asked) == 2 and len(seen) == 1


def test_epsilon_keeps_a_winner_near_each_winner() -> None:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.uniform(1, 10, (4000, 3)), columns=["a", "b", "c"])
    whole = pareto(frame, {"a": "min", "b": "min", "c": "max"}, feasible=False)
    some = pareto(frame, {"a": "min", "b": "min", "c": "max"}, feasible=False, epsilon=0.1)
    assert len(some) < len(whole) and set(some.index) <= set(whole.index)
    for _, row in whole.iterrows():
        near = (some["a"] <= row["a"] * 1.1) & (some["b"] <= row["b"] * 1.1) & (some["c"] >= row["c"] * 0.9)
        assert near.any()


@pytest.mark.parametrize("steps", [(0.1, 0.1, 0.1), (0.5, 0.0, 0.02), (1e-310, 1e-9, 1e-310)])
def test_each_winner_has_one_within_the_step(steps: tuple[float, ...]) -> None:
    generator = np.random.default_rng(2)
    rows = generator.exponential(size=(3000, 3))
    rows = rows / rows.sum(axis=1, keepdims=True) * np.array([1.0, 1e-6, 1e6])
    rows[:, 1] -= 0.4e-6  # both signs
    rows = np.concatenate([rows, [[0.0, 1e-6, np.inf], [2.0, -np.inf, np.inf], [0.0, 0.0, 2e6]]])
    rows = rows[nondominated(rows)]
    assert len(rows) > 2000
    kept = rows[thinned(rows, np.array(steps))]
    reach = np.abs(np.where(np.isfinite(rows), rows, 0.0)) * steps
    near = (kept[None] <= (rows + reach)[:, None] * (1 + 1e-12 * np.sign(rows[:, None]))).all(axis=2)
    assert near.any(axis=1).all() and 0 < len(kept) <= len(rows)
    assert len(kept) < 0.9 * len(rows) or max(steps) < 0.1


def test_epsilon_by_name() -> None:
    frame = pd.DataFrame({"a": [1.0, 1.05, 2.0], "b": [3.0, 2.0, 1.0]})
    aims = {"a": "min", "b": "min"}
    assert pareto(frame, aims, epsilon={"a": 0.2}, feasible=False).index.tolist() == [1, 2], "the second stands for the first, which is as good on a"
    assert pareto(frame, aims, epsilon={"b": 0.2}, feasible=False).index.tolist() == [0, 1, 2]
    assert len(pareto(frame, aims, epsilon={"a": 2.0, "b": 5.0}, feasible=False)) == 1
    for wrong in ({"c": 0.1}, {"a": -1.0}, float("nan")):
        with pytest.raises(SpecError, match="epsilon"):
            pareto(frame, aims, epsilon=wrong, feasible=False)


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_both_ways_to_a_volume_agree_with_counting(columns: int) -> None:
    generator = np.random.default_rng(columns)
    rows, reference = generator.random((40, columns)), np.full(columns, 0.9)
    samples = generator.random((200_000, columns)) * 0.9
    counted = (rows[:, None] <= samples[None, :]).all(axis=2).any(axis=0).mean() * 0.9**columns
    inside = rows[(rows < reference).all(axis=1)]
    assert volume(inside[nondominated(inside)], reference) == pytest.approx(counted, abs=4e-3)
    assert hypervolume(rows, reference) == pytest.approx(volume(inside[nondominated(inside)], reference), rel=1e-12)
    assert hypervolume(np.array([[1.0] * columns, [np.nan] * columns]), reference) == 0.0


def test_knee_of_a_corner() -> None:
    costs = np.array([[0.0, 1.0], [0.1, 0.1], [1.0, 0.0], [0.05, 0.6]])
    assert knees(costs).tolist() == [False, True, False, False]


def test_unknown_objective_is_named() -> None:
    with pytest.raises(SpecError, match="'ttft' is not a column"):
        pareto(pd.DataFrame({"ttft_s": [1.0]}), ["ttft"])


MIX = ["visionzip", "kv_quant:bits=4", "weight_quant:bits=4", "speculative"]


def test_synergy_is_pair_over_product_of_singles() -> None:
    found = interaction(BASE, MIX[:3])

    def latency(*names: str) -> float:
        return estimate(BASE.model_validate(BASE.model_dump() | {"techniques": list(names)})).latency_s

    matrix = found.matrix("latency_s")
    for a in MIX[:3]:
        assert matrix.loc[a, a] == pytest.approx(latency() / latency(a), rel=1e-9)
        for b in MIX[:3]:
            if a != b:
                pair = latency() / latency(a, b)
                assert matrix.loc[a, b] == pytest.approx(pair / (latency() / latency(a)) / (latency() / latency(b)), rel=1e-9)
    for pair in found.pairs:
        off = [name for name, value in pair.synergy.items() if name.endswith("_s") and abs(value - 1) > 0.005 and name[:-2] in pair.why]
        assert pair.why and (off or "independent" in pair.why or "end to end" in pair.why)


def test_pairs_that_exclude_each_other_are_refused() -> None:
    found = interaction(BASE, ["fastv", "chunked_prefill"])
    assert "exclude each other" in found.pairs[0].refused and math.isnan(found.matrix().loc["fastv", "chunked_prefill"])


def test_shapley_shares_multiply_to_the_total() -> None:
    shares = shapley(BASE, MIX)
    assert math.prod(shares.factors.values()) == pytest.approx(shares.total, rel=1e-12)
    assert shapley(BASE, MIX[::-1]).factors == pytest.approx(shares.factors, rel=1e-12)
    two = shapley(BASE, MIX[:2], "ttft_s")
    found = interaction(BASE, MIX[:2])
    a, b, both = found.singles[MIX[0]]["ttft_s"], found.singles[MIX[1]]["ttft_s"], found.pairs[0].together["ttft_s"]
    assert two.factors[MIX[0]] == pytest.approx(math.sqrt(a * both / b), rel=1e-12)


def test_regime_boundaries_are_where_two_take_equally_long() -> None:
    found = regimes(BASE, "scale.bandwidth", of="latency_s", low=0.1, high=200)
    assert len(found) >= 2 and found[0].start == 0.1 and found[-1].stop == 200
    for before, after in itertools.pairwise(found):
        assert before.stop == after.start and (before.stage, before.resource) != (after.stage, after.resource)
        sides = sweep(Space(BASE, {"scale.bandwidth": [before.stop * (1 - 1e-9), before.stop * (1 + 1e-9)]}))
        for regime, (_, row) in zip((before, after), sides.iterrows(), strict=True):
            stages = {stage: row[f"{stage}_s"] for stage in ("preprocess", "encode", "project", "prefill", "decode")}
            assert max(stages, key=lambda name: stages[name]) == regime.stage and row[f"{regime.stage}_bound"] == regime.resource


def test_migration_adds_one_at_a_time() -> None:
    table = migration(BASE, MIX)
    assert len(table) == len(MIX) + 1 and table["speedup"][0] == 1.0
    alone = estimate(BASE.model_validate(BASE.model_dump() | {"techniques": MIX}))
    assert table["latency_s"].iloc[-1] == pytest.approx(alone.latency_s, rel=1e-12)
