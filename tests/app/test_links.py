"""A link is the page: whatever code puts into the widgets is in the address, and the address alone gives the same page."""

from __future__ import annotations

import json
import random

import pytest
from streamlit.testing.v1 import AppTest

from simulator import Image, Scenario, Video, Workload, estimate
from tests.app.driver import app, metric, page

PHOTO = Workload(images=(Image(width=3840, height=2160),), text_tokens=64, output_tokens=256)
LOADED = {
    "parameters of techniques not shown": {"techniques": ["fastv:keep=0.25,layer=3", "kv_quant:bits=4,k_bits=2", "weight_quant:format=fp8"]},
    "lists": {"techniques": ["pyramiddrop:keep=0.7|0.5|0.25"]},
    "flags": {"techniques": ["kv_quant:fused=false"]},
    "machine": {"hardware": "l40s", "engine": "sglang", "format": "fp8", "parallel": {"tp": 2}},
    "own picture": {"workload": Workload(images=(Image(width=500, height=300, count=3, format="png"),), text_tokens=9, output_tokens=17, batch=5)},
    "own clip": {"workload": Workload(videos=(Video(width=320, height=240, frames=48),))},
    "own video": {"workload": Workload(videos=(Video(width=320, height=240, duration=12.5, fps=24.0),))},
}  # fmt: skip


def numbers(scenario: Scenario) -> str:
    """Every stage to the last digit."""
    return str(estimate(scenario).stages)


def _loads(data: str) -> None:
    import json

    import streamlit as st

    from simulator import Scenario, estimate
    from simulator.explorer.sidebar import show, sidebar
    from simulator.explorer.what_if import render

    choice = sidebar()
    st.button("Load", on_click=show, args=(Scenario.model_validate(json.loads(data)),))
    assert choice.variant is not None
    st.text(str(estimate(choice.variant).stages))
    render(choice)


def _page(scenario: Scenario, address: dict[str, list[str] | str]) -> AppTest:
    test = AppTest.from_function(_loads, args=(json.dumps(scenario.model_dump(mode="json")),), default_timeout=120)
    for key, value in address.items():
        test.query_params[key] = value
    return test.run()


def _load(test: AppTest) -> AppTest:
    next(button for button in test.button if button.label == "Load").click().run()
    assert not test.exception, test.exception
    return test


@pytest.mark.parametrize("name", LOADED)
@pytest.mark.parametrize("before", [{}, {"with": ["fastv", "visionzip"], "fastv.keep": "0.9", "w": "77"}], ids=["plain", "other address"])
def test_what_is_loaded_is_in_the_address(name, before):
    scenario = Scenario.model_validate({"model": "qwen2.5-vl-7b", "hardware": "h100-sxm", "workload": PHOTO, **LOADED[name]})
    test = _load(_page(scenario, before))
    assert test.text[0].value == numbers(scenario), "the widgets do not say what was loaded"
    link = dict(test.query_params)
    again = _page(scenario, link)
    assert again.text[0].value == numbers(scenario), link
    assert [item.value for item in again.metric] == [item.value for item in test.metric]
    assert dict(again.query_params) == link


def test_a_value_loaded_beats_the_address_the_page_was_opened_with():
    """The technique was in the first address, was taken out, and comes back with another value."""
    scenario = Scenario.model_validate({"model": "qwen2.5-vl-7b", "hardware": "h100-sxm", "workload": PHOTO, "techniques": ["fastv:keep=0.25"]})
    test = _page(scenario, {"with": "fastv", "fastv.keep": "0.9"})
    assert test.slider(key="fastv.keep").value == 0.9
    test.multiselect(key="with").set_value([]).run()
    assert "fastv.keep" not in test.query_params
    _load(test)
    assert test.slider(key="fastv.keep").value == 0.25 and test.text[0].value == numbers(scenario)
    assert test.query_params["fastv.keep"] in ("0.25", ["0.25"])


def test_advice_that_is_taken_is_in_the_address():
    test = app(fmt="fp8", **{"with": ""})
    next(button for button in test.button if button.label.startswith("Add ")).click().run()
    again = app(**test.query_params)
    assert [item.value for item in again.metric] == [item.value for item in test.metric]


UNHEARD = {
    "a value out of range": ({"batch": "99999", "hw": "l40s"}, ["batch=99999"], {"hw": "l40s", "batch": 1}),
    "no number": ({"text": "many", "out": "77"}, ["text=many"], {"out": 77}),
    "one of a list": ({"with": ["fastv", "no-such"]}, ["with=no-such"], {"with": ["fastv"]}),
    "an unknown parameter": ({"hardwear": "l40s", "fmt": "fp8"}, ["hardwear"], {"fmt": "fp8"}),
    "a technique that is not in the mix": ({"with": "fastv", "kv_quant.bits": "4"}, ["kv_quant.bits"], {"with": ["fastv"]}),
    "a parameter no technique has": ({"with": "fastv", "fastv.kept": "0.5"}, ["fastv.kept"], {"with": ["fastv"]}),
    "sizes that do not count": ({"look": "GUI screenshot, 1080p", "w": "77"}, ["w"], {"look": "gui"}),
    "several": ({"batch": "0", "tp": "x", "text": "9"}, ["batch=0", "tp=x"], {"text": 9}),
    "a fraction of a token": ({"text": "1.5"}, ["text=1.5"], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", UNHEARD)
def test_a_link_says_what_of_it_was_not_understood_and_keeps_the_rest(name):
    link, named, kept = UNHEARD[name]
    test = app(**link)
    told = next(item.value for item in test.warning if "link" in item.value)
    assert not test.exception and metric(test, "TTFT")
    assert all(f"`{word}`" in told for word in named) and told.count("\n- ") == len(named)
    assert all(test.session_state[key] == value for key, value in kept.items())
    next(button for button in test.button if button.label == "Understood").click().run()
    assert not any("link" in item.value for item in test.warning)


HEARD = ({}, {"with": ""}, {"techniques": "none"}, {"look": "GUI screenshot, 1080p", "text": "64", "pre": "TRUE"}, {"with": ["fastv", "kv_quant"], "kv_quant.bits": "4", "fastv.keep": "0.50"},
         {"s.x": "batch [requests]", "d.point": "elsewhere", "c.dev": "l40s"}, {"look": "Own sizes", "n": "0", "vn": "1", "vw": "320", "sec": "12.50"})  # fmt: skip


@pytest.mark.parametrize("link", HEARD, ids=str)
def test_a_link_that_was_understood_says_nothing(link):
    test = app(**link)
    assert not test.exception and not any("link" in item.value for item in test.warning)


def test_what_a_page_shows_is_in_its_address():
    """The open tab, the paper, the point: an address gives them back."""
    test = page("literature", **{"l.tab": "Coverage"})
    assert not test.exception and test.dataframe
    test = page("literature", **{"l.paper": "fastv"})
    assert test.selectbox(key="l.paper").value == "fastv" and any(button.label == "What if: fastv" for button in test.button)
    test = page("design_space", **{"d.mix": ["weight_quant"], "d.hw": ["l40s"], "d.point": "no techniques, l40s, batch 1", "d.ttft": "5"})
    assert test.selectbox(key="d.point").value == "no techniques, l40s, batch 1" and test.select_slider(key="d.ttft").value == "5"
    assert any("Chosen: no techniques" in item.value for item in test.markdown)


MODELS = ("qwen2.5-vl-7b", "internvl3-8b", "llava-1.5-7b", "gemma-3-12b", "qwen3-vl-30b-a3b")
MIXES = ([], ["fastv"], ["divprune", "kv_quant"], ["weight_quant", "speculative"], ["visionzip", "embedding_cache", "kv_quant"])


@pytest.mark.parametrize("seed", range(6))
def test_the_command_shown_gives_the_numbers_shown(seed, capsys):
    """Random states of the widgets: the command, run, prints what the page prints."""
    import shlex

    from simulator.cli import main
    from simulator.quantity import text

    draw = random.Random(seed)
    mix = draw.choice(MIXES)
    state = {
        "model": draw.choice(MODELS), "hw": draw.choice(("h100-sxm", "l40s", "b200-sxm", "rtx-4090")), "engine": draw.choice(("vllm", "sglang", "hf-sdpa", "ideal")),
        "fmt": draw.choice(("bf16", "fp16")), "look": "Own sizes", "n": str(draw.randint(1, 4)), "w": str(draw.randint(100, 3000)), "h": str(draw.randint(100, 3000)),
        "codec": draw.choice(("jpeg", "png", "webp")), "text": str(draw.randint(1, 900)), "out": str(draw.randint(2, 900)), "batch": str(draw.randint(1, 9)),
        "tp": draw.choice(("1", "2")), "pre": draw.choice(("true", "false")), "task": draw.choice(("text_rich", "general_vqa")), "with": mix or "",
    }  # fmt: skip
    if "kv_quant" in mix:
        state["kv_quant.bits"] = str(draw.choice((2, 4, 8)))
    if "fastv" in mix:
        state["fastv.keep"] = f"{draw.uniform(0.1, 0.9):.2f}"
    test = app(**state)
    assert not test.exception and not test.error, [item.value for item in test.error]
    command = next(item.value for item in test.code if item.value.startswith("lvlm-sim"))
    assert main([*shlex.split(command)[1:], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert metric(test, "TTFT") == text(found["ttft_s"], "s")
    assert metric(test, "TPOT") == text(found["tpot_s"], "s")
    assert metric(test, "Peak memory") == text(found["memory"]["peak_bytes"], "B")
    assert metric(test, "Energy") == text(found["energy_j"], "J")
    assert metric(test, "Cost per 1,000") == f"${found['cost_usd'] * 1e3:,.2f}"
