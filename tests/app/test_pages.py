"""Every page: at its defaults, and where something cannot be."""

from __future__ import annotations

import pytest

from simulator.explorer.registry import PAGES
from tests.app.driver import app, metric, page, said


@pytest.mark.parametrize("entry", PAGES, ids=lambda entry: entry.module)
def test_defaults(entry):
    test = page(entry.module)
    assert not test.exception
    assert not test.error, said(test)


@pytest.mark.parametrize("entry", PAGES, ids=lambda entry: entry.module)
def test_impossible_scenario_is_a_sentence(entry):
    """A text-only model cannot look at a picture."""
    test = page(entry.module, model="llama-3-8b")
    assert not test.exception
    if entry.module not in ("literature", "calibration"):
        assert "llama-3-8b" in said(test)


def test_paths_are_unique():
    assert len({entry.path for entry in PAGES}) == len(PAGES) == 7


def test_app_opens_on_what_if():
    test = app()
    assert not test.exception
    assert [item.label for item in test.metric] == ["TTFT", "TPOT", "Peak memory", "Energy", "Cost per 1,000", "Fidelity"]


def test_sweep_two_axes_draws_a_map():
    test = page("sweep", **{"s.y": "batch [requests]", "s.metric": "latency [s]"})
    assert not test.exception and not test.error
    assert test.selectbox(key="s.y").value == "workload.batch"


def test_sweep_over_hardware():
    test = page("sweep", **{"s.y": "hardware"})
    assert not test.exception and not test.error


def test_sweep_of_nothing_says_so():
    test = page("sweep", **{"s.workload.images.scale.from": "3.0"})
    assert "'to' must lie above 'from'" in said(test) and not test.exception


def test_compare_without_a_choice_says_what_to_do():
    test = page("compare").multiselect(key="cmp.hw").set_value([]).run()
    assert "Choose at least one" in said(test) and not test.exception


def test_design_space_with_limits_nobody_meets():
    test = page("design_space", **{"d.mix": ["weight_quant"], "d.hw": ["l40s"]})
    assert not test.exception
    test.select_slider(key="d.ttft").set_value("0.05").run()
    assert "No point meets these limits" in said(test) and not test.exception


def test_design_space_without_evidence_on_an_axis():
    """Fidelity upwards: mixes without evidence have no number and are left out, not drawn at 0."""
    test = page("design_space", **{"d.mix": ["weight_quant", "kv_quant"], "d.hw": ["l40s"], "d.y": "accuracy retained [%]"})
    assert not test.exception and not test.error


def test_default_mixes_all_have_evidence():
    test = page("design_space")
    assert metric(test, "Fidelity") != "unknown" and not any("nobody has published" in item.value for item in test.markdown)


def test_a_mix_without_evidence_says_whose_is_missing():
    test = page("design_space", **{"d.mix": ["kv_quant"], "d.hw": ["l40s"], "d.point": "kv_quant, l40s, batch 1"})
    assert metric(test, "Fidelity") == "unknown" and any("accuracy of kv_quant" in item.value for item in test.caption)


def test_every_reason_is_there_in_full():
    """A table that wraps: no cell is cut off."""
    from simulator.explorer.interactions import MIX
    from simulator.search import interaction
    from tests.app.test_what_if import SCENARIO

    test = page("interactions")
    shown, apart = set(test.table[0].value["why"]), next(item.value for item in test.caption if item.value.startswith("Independent"))
    for pair in interaction(SCENARIO, MIX).pairs:
        assert f"{pair.first} + {pair.second}" in apart if pair.why.startswith("independent") else pair.why in shown


def test_interactions_needs_two():
    test = page("interactions").multiselect(key="i.mix").set_value(["fastv"]).run()
    assert "two techniques" in said(test)


def test_interactions_of_excluding_techniques():
    test = page("interactions").multiselect(key="i.mix").set_value(["kv_quant", "kivi"]).run()
    assert not test.exception


def test_literature_filters_to_nothing():
    test = page("literature").text_input(key="l.q").set_value("no such paper anywhere").run()
    assert "No paper passes" in said(test) and not test.exception


def test_literature_search_offers_the_preset():
    test = page("literature").text_input(key="l.q").set_value("FastV").run()
    assert any(button.label == "What if: fastv" for button in test.button)
    next(button for button in test.button if button.label == "What if: fastv").click().run()
    assert test.multiselect(key="with").value == ["fastv"]
