"""Inverse questions with odd answers: met everywhere or nowhere, stretches, gaps, several roots, what does not fit; each plugged back in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator import Image, Scenario, Space, Workload, pareto, sweep
from simulator.search import break_even, cheapest, elasticities, interaction, largest, solve, stream, sweeps
from simulator.search.line import beside, crossings, gaps, plateaus
from simulator.search.pick import with_numbers
from simulator.spec.scenario import TechniqueUse
from simulator.spec.source import SpecError

BASE = Scenario(
    model="qwen2.5-vl-7b", hardware="l40s", workload=Workload(images=(Image(width=1280, height=720),), text_tokens=64, output_tokens=128)
)


def wild(value: Any) -> Any:
    """What a type checker would not let through."""
    return value


def at(metric: str, path: str, value: float, *techniques: str) -> float:
    """A metric of the base with techniques and one number changed."""
    uses = tuple(TechniqueUse(kind=name) for name in techniques)
    made = with_numbers(BASE.model_copy(update={"techniques": uses}), {path: value})
    return float(sweep(Space(made, {"workload.batch": [made.workload.batch]}), [metric])[metric][0])


def test_met_everywhere_or_nowhere() -> None:
    assert "every value is on the good side" in solve(BASE, "scale.bandwidth", "tpot_s", 100.0).text
    assert "no value is on the good side" in solve(BASE, "scale.bandwidth", "tpot_s", 1e-9).text
    assert "no value is on the good side" in solve(BASE, "scale.bandwidth", "output_tokens_per_s", 1e9).text
    assert solve(BASE, "scale.price", "cost_usd", 0.0, low=0.5).status == "none"


def test_whole_knobs_are_the_last_that_meets_the_target() -> None:
    for target in (0.03, 0.05, 0.08):
        found = solve(BASE, "workload.batch", "tpot_s", target)
        assert found.status == "one" and found.value == int(found.value)
        assert at("tpot_s", "workload.batch", found.value) == pytest.approx(found.roots[0].reached, rel=1e-12)
        assert at("tpot_s", "workload.batch", found.value) <= target < at("tpot_s", "workload.batch", found.value + 1)


def test_a_stretch_at_the_target_is_said_with_its_ends() -> None:
    target = at("visual_tokens", "workload.images.width", 1288)
    found = solve(BASE, "workload.images.width", "visual_tokens", target)
    assert found.status == "flat" and "at the target from 1274 to 1302" in found.text
    counts = [at("visual_tokens", "workload.images.width", width) for width in (1273, 1274, 1302, 1303)]
    assert counts[0] < counts[1] == target == counts[2] < counts[3]


def test_where_there_is_no_value_is_said_and_the_root_beside_it_found() -> None:
    found = solve(BASE, "techniques.visionzip.dominant", "fidelity", 0.9)
    assert found.status == "one" and "no value from 0 to" in found.text
    assert at("fidelity", "techniques.visionzip.dominant", found.value, "visionzip") == pytest.approx(0.9, rel=1e-6)
    edge = float(found.text.split("no value from 0 to ")[1])
    assert np.isnan(at("fidelity", "techniques.visionzip.dominant", edge - 0.1, "visionzip"))
    assert not np.isnan(at("fidelity", "techniques.visionzip.dominant", edge + 0.1, "visionzip"))


def test_curves_with_gaps_stretches_and_several_roots() -> None:
    samples = np.linspace(0.0, 10.0, 41)

    def curve(x: np.ndarray) -> np.ndarray:
        return np.where((x > 3.1) & (x < 3.9), np.nan, np.where(x < 5, 3.95 - x, np.where(x < 7.3, 0.0, x - 7.3)))

    assert crossings(curve, samples, whole=False)[0][0] == 5.0, "between samples 3.75 and 4 it goes unseen"
    missing = gaps(curve, samples, whole=False)
    assert missing == [(pytest.approx(3.1, rel=1e-12), pytest.approx(3.9, rel=1e-12))]
    seen = beside(missing, samples, whole=False)
    pairs = crossings(curve, seen, whole=False)
    assert [pair[0] for pair in pairs] == [pytest.approx(3.95, rel=1e-12), 5.0]
    assert plateaus(curve, seen, False, pairs) == [(pytest.approx(5.0, rel=1e-12), pytest.approx(7.3, rel=1e-8))]
    whole = np.arange(0.0, 40.0, 5.0)

    def steps(x: np.ndarray) -> np.ndarray:
        return np.where(x < 12, np.nan, np.floor(x / 9.0) - 2.0)

    missing = gaps(steps, whole, whole=True)
    assert missing == [(0.0, 11.0)] and 12.0 in beside(missing, whole, whole=True)
    pairs = crossings(steps, beside(missing, whole, whole=True), whole=True)
    assert plateaus(steps, whole, True, pairs) == [(18.0, 26.0)]


def test_a_root_that_does_not_fit_says_so() -> None:
    big = BASE.model_copy(update={"model": "qwen2.5-vl-72b"})
    assert "(does not fit)" in solve(big, "workload.batch", "tpot_s", 0.5).text
    assert "does not fit" not in solve(BASE, "workload.batch", "tpot_s", 0.05).text
    assert largest(big, "workload.batch").value is None


def test_break_even_over_a_knob_of_the_technique() -> None:
    found = break_even(BASE, "techniques.fastv.keep", "fastv", metric="ttft_s")
    assert found.status == "one" and "worse beyond" in found.text
    assert at("ttft_s", "techniques.fastv.keep", found.value, "fastv") == pytest.approx(at("ttft_s", "workload.batch", 1), rel=1e-6)
    other = break_even(BASE, "techniques.fastv.keep", "fastv", "visionzip", metric="ttft_s")
    for root in other.roots:
        assert at("ttft_s", "techniques.fastv.keep", root.value, "fastv") == pytest.approx(at("ttft_s", "workload.batch", 1, "visionzip"), rel=1e-6)
    with pytest.raises(SpecError, match="neither side has"):
        break_even(BASE, "techniques.kv_quant.bits", "fastv")


def test_break_even_stretches_are_said_with_their_ends() -> None:
    found = break_even(BASE, "workload.text_tokens", "chunked_prefill", metric="ttft_s")
    assert found.status == "flat" and "(better beyond)" in found.text
    stop = int(found.text.split(" to ")[1].split(" ")[0])
    ratio = [at("ttft_s", "workload.text_tokens", value, "chunked_prefill") / at("ttft_s", "workload.text_tokens", value) for value in (1, stop, stop + 1)]
    assert ratio[0] == pytest.approx(1.0, abs=1e-9) and ratio[1] == pytest.approx(1.0, abs=1e-9) and abs(ratio[2] - 1.0) > 1e-9


def test_break_even_without_values_is_an_error() -> None:
    with pytest.raises(SpecError, match="has no value along"):
        break_even(BASE, "workload.batch", "frozen_visual", metric="fidelity")
    same = break_even(BASE, "workload.batch", "kv_quant:bits=4", "kv_quant:bits=4")
    assert same.status == "flat" and "is 1 for every" in same.text


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: solve(BASE, "scale.bandwith", "tpot_s", 0.02), "did you mean scale.bandwidth"),
        (lambda: break_even(BASE, "workload.batchs", "fastv"), "did you mean workload.batch"),
        (lambda: solve(BASE, "techniques.fastv.kep", "tpot_s", 0.02), r"did you mean keep\?"),
        (lambda: solve(BASE, "scale.bandwidth", "tpot", 0.02), "'tpot' is not a metric; did you mean tpot_s"),
        (lambda: solve(BASE, "scale.bandwidth", "tpot_s", 0.02, low=4, high=1), "the low end must lie below"),
        (lambda: solve(BASE, "scale.bandwidth", "tpot_s", 0.02, low=1, high=1), "the low end must lie below"),
        (lambda: solve(BASE, "scale.bandwidth", "tpot_s", 0.02, high=float("inf")), "inf is not accepted"),
        (lambda: solve(BASE, "workload.batch", "tpot_s", 0.02, low=1.5), "1.5 is not accepted; a whole number"),
        (lambda: solve(BASE, "workload.batch", "fits", 0.5), "yes or no"),
        (lambda: solve(BASE, "scale.bandwidth", "decode_bound", 1.0), "is a name"),
        (lambda: solve(BASE, "scale.bandwidth", "tpot_s", wild("20ms")), "target: '20ms' is not accepted"),
        (lambda: solve(BASE, "scale.bandwidth", "tpot_s", wild(None)), "target: None is not accepted"),
        (lambda: solve(BASE, "scale.bandwidth", "tpot_s", 0.02, low=wild("a")), "'a' is not accepted; a number"),
        (lambda: solve(BASE, "techniques.fastv.score", "tpot_s", 0.02), "is no number"),
        (lambda: largest(BASE, "workload.batch", []), "conditions: none given"),
        (lambda: largest(BASE, "workload.batch", wild([3])), "constraint: 3 is not accepted; a text"),
        (lambda: sweep(Space(BASE, {"hardware": ["l40s"]}, ["hardware <= 3"])), "'hardware <= 3' is not accepted: a text and a number"),
        (lambda: sweep(Space(BASE, {"hardware": ["l40s"]}, ["hardware + 1 == 3"])), "'hardware [+] 1' is not accepted: a text and a number"),
        (lambda: Space(BASE, {"hardware": ["l40s"]}, wild([3])), "constraint: 3 is not accepted; a text"),
        (lambda: Space(wild({"model": "a"}), {}), "base: dict is not accepted; a Scenario"),
        (lambda: Space(BASE, wild([])), "axes: list is not accepted; a mapping"),
        (lambda: Space(BASE, {}, when=wild(["a"])), "when: list is not accepted; a mapping"),
        (lambda: Space(BASE, {}, wild({"a": 1})), "constraints: dict is not accepted; a list"),
        (lambda: Space(BASE, {"workload.batch": wild({"from": 1})}), "a list of values"),
        (lambda: Space(BASE, {"workload.image": ["640x480", (640, 480)]}), "is given twice"),
        (lambda: Space(BASE, {"techniques.fastv": [True, True]}), "True is given twice"),
        (lambda: sweep(Space(BASE, {"workload.batch": [1]}), points=0), "points: 0 is not accepted"),
        (lambda: pareto(pd.DataFrame([[1, 2]], columns=["a", "a"]), ["a"]), "not one column but several"),
        (lambda: break_even(BASE, "workload.batch", "fastvv"), "'fastvv' is not known; nearest: fastv"),
    ],
)  # fmt: skip
def test_wrong_questions_say_what_would_do(ask: Callable[[], Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ask()


def test_one_name_may_stand_alone() -> None:
    space = Space(BASE, {"workload.batch": [1, 2]}, "1 / (workload.batch - 1) > 0")
    assert list(sweep(space, "ttft_s").columns) == ["workload.batch", "ttft_s", "deployable", "refused"]
    assert list(elasticities(BASE, "ttft_s").columns) == ["value", "ttft_s"]
    assert cheapest(BASE, "fits", "l40s", tp=[1])["hardware"].tolist() == ["l40s"]
    assert interaction(BASE, "fastv + kv_quant").techniques == interaction(BASE, ["fastv", "kv_quant"]).techniques


def test_more_rows_than_memory_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {"workload.text_tokens": range(1, 100_001), "workload.batch": range(1, 10_001), "scale.bandwidth": [0.5, 1.0, 2.0]}
    space = Space(BASE, axes)
    monkeypatch.setattr(sweeps, "memory", lambda: 9e10)
    with pytest.raises(SpecError, match=r"3,000,000,000 points with 1 metrics take 96 GB, more than this machine's 90 GB; `store` them"):
        sweep(space, "ttft_s")
    assert len(next(stream(space, "ttft_s", points=1000))) == 999  # whole runs of the last two axes


def test_conditions_may_be_one_text_and_name_the_knob() -> None:
    found = largest(BASE, "workload.batch", "tpot_s <= 0.05 and workload.batch <= 9")
    assert found.value == 9.0
    more = largest(BASE, "workload.batch", "tpot_s <= 0.05").value
    assert more is not None and at("tpot_s", "workload.batch", more) <= 0.05 < at("tpot_s", "workload.batch", more + 1)
