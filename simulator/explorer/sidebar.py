"""The scenario that every page looks at: its widgets, and what they say as a baseline and a variant.

Every widget is bound to a query parameter, so the address of the page is the whole state. Widgets at their default leave
no trace in the address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import streamlit as st

from simulator.explorer.assign import assign, assigned, nothing, repeat, signed
from simulator.explorer.forms import as_state, technique_form
from simulator.explorer.links import go_to
from simulator.explorer.workload_form import OWN, as_workload_state, workload_form
from simulator.presets import names, presets
from simulator.spec.deployment import engines
from simulator.spec.load_hardware import hardware_names, load_hardware
from simulator.spec.load_model import load_model, model_names
from simulator.spec.scenario import Scenario, TechniqueUse
from simulator.spec.source import SpecError
from simulator.spec.validated import validated
from simulator.technique import registry

DEFAULT_MODEL, DEFAULT_HARDWARE = "qwen2.5-vl-7b", "h100-sxm"
DEFAULT_TECHNIQUES = ["divprune", "weight_quant"]
FORMATS = ("bf16", "fp16", "fp8", "int8", "fp4")
TASKS = ("general_vqa", "text_rich", "reasoning", "grounding", "captioning", "video")
SAME = "as baseline"


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """What the sidebar says. `problem` is a sentence where the widgets do not make a scenario; the scenarios are then None."""

    baseline: Scenario | None
    variant: Scenario | None
    problem: str = ""


def sidebar() -> Choice:
    """Draw the widgets and read them."""
    assigned()
    with st.sidebar:
        model = st.selectbox("Model", model_names(), index=model_names().index(DEFAULT_MODEL), key="model", format_func=str, bind="query-params")
        hardware = st.selectbox("Hardware", hardware_names(), index=hardware_names().index(DEFAULT_HARDWARE), key="hw", bind="query-params")
        workload = workload_form()
        uses = _techniques()
        machine = _machine()
        other = _variant_machine()
    repeat()
    workload["processor"] = machine.pop("processor")
    data = {"model": model, "hardware": hardware, "workload": workload, **machine}
    try:
        baseline = validated(Scenario, data, "scenario")
        changed = data | {"parallel": {**machine["parallel"], **other.pop("parallel")}} | other | {"techniques": uses}
        return Choice(baseline, validated(Scenario, changed, "scenario"))
    except SpecError as error:
        return Choice(None, None, str(error))


def title_of(kind: str) -> str:
    """A technique or preset as listed: its name and what it is."""
    named = presets()
    if kind in named:
        return f"{kind} · {' + '.join(registry()[part].about.title for part, _ in named[kind].parts)}"
    return f"{kind} · {registry()[kind].about.title}"


def _techniques() -> list[TechniqueUse]:
    nothing("with", "techniques")
    chosen = st.multiselect(
        "What if we add …", names(), default=DEFAULT_TECHNIQUES, key="with", format_func=str, placeholder="search techniques and papers",
        help="General techniques first, then methods named after their papers. Order does not matter.", wrap=True, bind="query-params",
    )  # fmt: skip
    signed("with", "techniques")
    uses: list[TechniqueUse] = []
    for position, kind in enumerate(chosen):
        with st.expander(kind, expanded=position < 2, icon=":material/add_circle:"):
            st.caption(title_of(kind).partition(" · ")[2])
            uses.append(technique_form(kind))
    return uses


def _machine() -> dict[str, Any]:
    with st.expander("Engine and parallelism", icon=":material/memory:"):
        engine = st.selectbox("Engine", list(engines()), index=list(engines()).index("vllm"), key="engine", bind="query-params")
        format = st.selectbox("Compute format", FORMATS, key="fmt", bind="query-params")
        first, second, third = st.columns(3)
        tp = first.number_input("TP", 1, 64, 1, key="tp", help="Tensor-parallel degree", bind="query-params")
        pp = second.number_input("PP", 1, 64, 1, key="pp", help="Pipeline-parallel degree", bind="query-params")
        dp = third.number_input("DP", 1, 64, 1, key="dp", help="Data-parallel degree", bind="query-params")
        encoder = st.selectbox("Encoder uses the TP group as", ("tensor", "data"), key="enc", bind="query-params")
        processor = st.selectbox("Image processor of the host", ("fast", "slow"), key="proc", bind="query-params")
        preprocess = st.toggle("Count the host's preprocessing", True, key="pre", bind="query-params")
        task = st.selectbox("Task, for fidelity", TASKS, key="task", bind="query-params")
    return {"engine": engine, "format": format, "parallel": {"tp": tp, "pp": pp, "dp": dp, "encoder": encoder}, "preprocess": preprocess, "task": task, "processor": processor}


def _variant_machine() -> dict[str, Any]:
    with st.expander("The variant runs on …", icon=":material/swap_horiz:"):
        hardware = st.selectbox("Hardware", [SAME, *hardware_names()], key="vhw", bind="query-params")
        model = st.selectbox("Model", [SAME, *model_names()], key="vmodel", bind="query-params")
        engine = st.selectbox("Engine", [SAME, *engines()], key="vengine", bind="query-params")
        format = st.selectbox("Compute format", [SAME, *FORMATS], key="vfmt", bind="query-params")
        tp = st.number_input("TP (0: as baseline)", 0, 64, 0, key="vtp", bind="query-params")
    given = {"hardware": hardware, "model": model, "engine": engine, "format": format}
    out: dict[str, Any] = {name: value for name, value in given.items() if value != SAME}
    out["parallel"] = {"tp": tp} if tp else {}
    return out


def show(scenario: Scenario, then: str = "") -> None:
    """Make the widgets say this scenario as the variant, and go to the page `then`. To be called from a callback."""
    now = st.session_state
    state: dict[str, Any] = {}
    for field, key in {"hardware": "hw", "model": "model", "engine": "engine", "format": "fmt"}.items():
        value = getattr(scenario, field)
        state[f"v{key}"] = SAME if value == now.get(key) else value
    state["vtp"] = 0 if scenario.parallel.tp == now.get("tp", 1) else scenario.parallel.tp
    work = scenario.workload
    state |= {"text": work.text_tokens, "out": work.output_tokens, "batch": work.batch}
    state |= as_workload_state(work.images, work.videos)
    state["with"] = list(dict.fromkeys(use.kind for use in scenario.techniques))
    defaults: dict[str, Any] = dict(OWN)
    for use in scenario.techniques:
        state |= as_state(use.kind, use.parameters)
        defaults |= as_state(use.kind, {})
    assign(state, defaults)
    go_to(then)


def name_of(scenario: Scenario) -> tuple[str, str]:
    """Titles of the model and the hardware."""
    model = load_model(scenario.model) if isinstance(scenario.model, str) else scenario.model
    device = load_hardware(scenario.hardware) if isinstance(scenario.hardware, str) else scenario.hardware
    return model.title, device.title
