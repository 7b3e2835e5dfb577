"""What if: numbers are those of the API, the address is the state, and whatever is switched on leaves a page standing."""

from __future__ import annotations

import itertools

import pytest

from simulator import Image, Scenario, Workload, estimate
from simulator.explorer.sidebar import DEFAULT_TECHNIQUES
from simulator.presets import presets
from simulator.quantity import text
from simulator.technique import registry
from tests.app.driver import app, metric, said

SCENARIO = Scenario(
    model="qwen2.5-vl-7b", hardware="h100-sxm", workload=Workload(images=(Image(width=3840, height=2160),), text_tokens=64, output_tokens=256)
)


def test_numbers_are_those_of_the_api():
    test = app()
    mixed = estimate(SCENARIO.model_copy(update={"techniques": Scenario(**{**SCENARIO.model_dump(), "techniques": DEFAULT_TECHNIQUES}).techniques}))
    assert metric(test, "TTFT") == text(mixed.ttft_s, "s")
    assert metric(test, "TPOT") == text(mixed.tpot_s, "s")
    assert metric(test, "Peak memory") == text(float(mixed.memory.peak_bytes), "B")
    assert any(f"baseline {text(estimate(SCENARIO).ttft_s, 's')}" in item.value for item in test.caption)


def test_fastv_lowers_ttft():
    test = app(**{"with": ""})
    before = estimate(SCENARIO).ttft_s
    assert metric(test, "TTFT") == text(before, "s")
    test.multiselect(key="with").set_value(["fastv"]).run()
    after = estimate(Scenario(**{**SCENARIO.model_dump(), "techniques": ["fastv"]})).ttft_s
    assert after < before and metric(test, "TTFT") == text(after, "s")
    test.slider(key="fastv.keep").set_value(0.25).run()
    tighter = estimate(Scenario(**{**SCENARIO.model_dump(), "techniques": ["fastv:keep=0.25"]})).ttft_s
    assert tighter < after and metric(test, "TTFT") == text(tighter, "s")


def test_address_says_what_the_widgets_say():
    first = app()
    first.selectbox(key="hw").set_value("l40s")
    first.number_input(key="text").set_value(777)
    first.multiselect(key="with").set_value(["fastv", "kv_quant"])
    first.selectbox(key="look").set_value("document").run()
    first.slider(key="fastv.keep").set_value(0.3)
    first.number_input(key="tp").set_value(2)
    first.selectbox(key="vhw").set_value("h200-sxm").run()
    address = {"hw": "l40s", "text": "777", "with": ["fastv", "kv_quant"], "look": "Document page, A4 at 200 dpi", "fastv.keep": "0.3", "tp": "2", "vhw": "h200-sxm"}
    second = app(**address)
    assert not second.exception
    assert [item.value for item in second.metric] == [item.value for item in first.metric]
    assert second.slider(key="fastv.keep").value == 0.3 and second.selectbox(key="look").value == "document"


def test_nonsense_in_the_address_is_ignored():
    test = app(model="no-such-model", text="many", **{"with": ["nonsense"], "fastv.keep": "7"})
    assert not test.exception and metric(test, "TTFT")


@pytest.mark.parametrize("kind", registry())
def test_each_technique_switched_on(kind):
    test = app(**{"with": [kind]})
    assert not test.exception
    assert test.multiselect(key="with").value == [kind]
    assert metric(test, "TTFT")
    if test.error:
        assert any(button.label == f"Remove {kind}" for button in test.button)


@pytest.mark.full
@pytest.mark.parametrize("kind", presets())
def test_each_preset_switched_on(kind):
    test = app(**{"with": [kind]})
    assert not test.exception and metric(test, "TTFT")


def test_mix_that_cannot_be_has_a_way_out():
    test = app(**{"with": ["fastv", "pyramiddrop"]})
    assert "both in_llm_prune" in said(test) and not test.exception
    assert metric(test, "TTFT") == text(estimate(SCENARIO).ttft_s, "s")
    next(button for button in test.button if button.label == "Remove pyramiddrop").click().run()
    assert not test.error and test.multiselect(key="with").value == ["fastv"]


def test_model_that_does_not_fit_offers_more_devices():
    test = app(model="qwen2.5-vl-72b", **{"with": ""})
    assert "does not fit" in said(test) and not test.exception
    button = next(button for button in test.button if button.label.startswith("Use TP"))
    button.click().run()
    assert test.number_input(key="vtp").value == 4 and "It fits" in said(test)  # 2 x 80 GB hold the weights and nothing else


def test_batch_and_devices_that_would_do_are_offered_together():
    test = app(model="qwen2.5-vl-72b", batch="512", **{"with": ""})
    button = next(button for button in test.button if button.label.startswith("Use TP") and "batch" in button.label)
    button.click().run()
    assert "It fits" in said(test) and not test.exception


def test_a_shorter_answer_is_advised_only_where_nothing_else_gains():
    assert not any(button.label == "Add output_length" for button in app().button)


def test_the_answer_stands_in_the_headline():
    before, after = estimate(SCENARIO), estimate(Scenario(**{**SCENARIO.model_dump(), "techniques": ["fastv"]}))
    headline = app(**{"with": ["fastv"]}).subheader[0].value
    assert "fastv" in headline and f"{before.latency_s / after.latency_s:.2f}x faster" in headline
    assert "slower" in app(hw="h100-sxm", vhw="l40s", **{"with": ""}).subheader[0].value


def test_changes_of_energy_and_money_have_a_range_on_the_same_hardware_alone():
    def ranges(**query) -> int:
        return sum("change" in item.value for item in app(**query).caption if "baseline" in item.value)

    assert ranges(**{"with": ["divprune"]}) == 4 and ranges(vhw="l40s", **{"with": ["divprune"]}) == 2


def test_context_exceeded_is_a_sentence():
    test = app(text="200000")
    assert not test.exception
    assert "tokens exceed" in said(test)


def test_video_for_a_model_that_takes_none_is_a_sentence():
    test = app(look="Hour of 360p video", model="llava-1.5-7b")
    assert not test.exception and "no video" in said(test)


def test_advice_can_be_taken():
    test = app(**{"with": ["weight_quant"]})
    button = next((button for button in test.button if button.label.startswith("Add ")), None)
    assert button is not None
    kind = button.label.removeprefix("Add ")
    button.click().run()
    assert test.multiselect(key="with").value == ["weight_quant", kind] and not test.exception


@pytest.mark.parametrize("look", ["Document page, A4 at 200 dpi", "GUI screenshot, 1080p", "Clip, 16 frames 448x448", "Minute of 720p video", "Text only", "Own sizes"])
def test_each_workload(look):
    test = app(look=look)
    assert not test.exception and metric(test, "TTFT") and not test.error


def test_techniques_without_a_catalogue_of_engines_are_named():
    test = app(**{"with": list(itertools.islice(registry(), 1))})
    assert any("vllm" in item.value for item in test.markdown)
