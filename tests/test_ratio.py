"""Bands of changes in energy and money, held against what a power model with other coefficients says."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Image, Scenario, Workload, price
from simulator.assemble import Case, case_of
from simulator.measure import measure
from simulator.metrics import Metrics
from simulator.ratio import ratio

BASE = Scenario(model="qwen2.5-vl-7b", hardware="h100-sxm", workload=Workload(images=(Image(width=1920, height=1080),), output_tokens=64))
MIXES = (["divprune", "weight_quant"], ["fastv"], ["speculative"], ["embedding_cache"], ["prefix_cache"])


def measured(techniques: list[str]) -> tuple[Case, Metrics]:
    """A case of that mix and its metrics."""
    case = case_of(Scenario(**{**BASE.model_dump(), "techniques": techniques}))
    return case, measure(case)


@pytest.mark.parametrize("mix", MIXES, ids="+".join)
def test_money_at_one_price_is_as_sure_as_time(mix):
    (_, before), (case, after) = measured([]), measured(mix)
    time, money = ratio(before, after, case, "latency_s"), ratio(before, after, case, "cost_usd")
    assert [money.expected, money.lower, money.upper] == pytest.approx([time.expected, time.lower, time.upper], rel=1e-9)


@pytest.mark.parametrize("mix", MIXES, ids="+".join)
def test_energy_is_what_its_shares_are(mix):
    _, metrics = measured(mix)
    assert sum(metrics.joules.values()) == pytest.approx(metrics.energy_j, rel=1e-12)
    assert all(value >= 0 for value in metrics.joules.values())


@pytest.mark.parametrize("mix", MIXES, ids="+".join)
@pytest.mark.parametrize("name", ["COMPUTE", "BANDWIDTH"])
def test_the_band_of_energy_covers_another_power_model(mix, name, monkeypatch):
    """A coefficient that is off by its error moves both sides; what is left of it in the ratio lies within the band."""
    (_, before), (case, after) = measured([]), measured(mix)
    found = ratio(before, after, case, "energy_j")
    assert found.lower <= found.expected <= found.upper
    monkeypatch.setattr(price, name, getattr(price, name) * (1.0 - price.ERROR))
    other = measured([])[1].energy_j / measured(mix)[1].energy_j
    assert found.lower * 0.999 <= other <= found.upper * 1.001


def test_the_band_of_energy_narrows_as_the_sides_grow_alike():
    (_, before), (near, one), (far, two) = measured([]), measured(["fastv:keep=0.95"]), measured(["divprune:keep=0.1", "weight_quant"])
    widths = [np.log(found.upper / found.lower) for found in (ratio(before, one, near, "energy_j"), ratio(before, two, far, "energy_j"))]
    same = ratio(before, before, near, "energy_j")
    assert widths[0] < widths[1] / 2 and same.lower == same.upper == same.expected == 1.0
