"""The scenario that every page looks at: its widgets, and what they say as a baseline and a variant.

Every widget is bound to a query parameter, so the address of the page is the whole state. Widgets at their default leave
no trace in the address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import streamlit as st

from simulator.explorer.assign import assign, assigned, repeat
from simulator.explorer.forms import as_state, technique_form
from simulator.explorer.links import go_to
from simulator.explorer.looks import CUSTOM, LOOKS
from simulator.explorer.upload import media_drop
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
        workload = _workload()
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


def _workload() -> dict[str, Any]:
    look = LOOKS[st.selectbox("Looks at", list(LOOKS), key="look", format_func=lambda name: LOOKS[name].title, bind="query-params")]
    images, videos = list(look.images), list(look.videos)
    with st.expander("Own sizes", expanded=look is LOOKS[CUSTOM], icon=":material/straighten:"):
        own = _own_sizes()  # always there, so that sizes of a dropped file reach the address
    if look is LOOKS[CUSTOM]:
        images, videos = own
    first, second, third = st.columns(3)
    text = first.number_input("Text", 0, 1_000_000, 64, key="text", help="Prompt tokens besides the visual ones", bind="query-params")
    output = second.number_input("Output", 1, 1_000_000, 256, key="out", help="Generated tokens", bind="query-params")
    batch = third.number_input("Batch", 1, 4096, 1, key="batch", help="Equal requests at once", bind="query-params")
    with st.expander("Use my own picture or video", icon=":material/upload:"):
        media_drop()
    return {
        "images": [image.model_dump() if not isinstance(image, dict) else image for image in images],
        "videos": [video.model_dump() if not isinstance(video, dict) else video for video in videos],
        "text_tokens": text, "output_tokens": output, "batch": batch,
    }  # fmt: skip


def _own_sizes() -> tuple[list[Any], list[Any]]:
    images: list[Any] = []
    videos: list[Any] = []
    first, second, third = st.columns(3)
    count = first.number_input("Pictures", 0, 4096, 1, key="n", bind="query-params")
    width = second.number_input("Width [px]", 1, 32768, 1024, key="w", bind="query-params")
    height = third.number_input("Height [px]", 1, 32768, 768, key="h", bind="query-params")
    codec = st.selectbox("Picture file", ("jpeg", "png", "webp", "raw", "other"), key="codec", bind="query-params")
    if count:
        images.append({"width": width, "height": height, "count": count, "format": codec})
    first, second, third = st.columns(3)
    clips = first.number_input("Videos", 0, 64, 0, key="vn", bind="query-params")
    width = second.number_input("Width [px]", 1, 32768, 640, key="vw", bind="query-params")
    height = third.number_input("Height [px]", 1, 32768, 360, key="vh", bind="query-params")
    first, second = st.columns(2)
    duration = first.number_input("Length [s]", 0.1, 1e6, 60.0, key="sec", bind="query-params")
    fps = second.number_input("Rate [1/s]", 0.01, 1000.0, 30.0, key="fps", bind="query-params")
    videos += [{"width": width, "height": height, "duration": duration, "fps": fps}] * int(clips)
    return images, videos


def title_of(kind: str) -> str:
    """A technique or preset as listed: its name and what it is."""
    named = presets()
    if kind in named:
        return f"{kind} · {' + '.join(part for part, _ in named[kind].parts)}"
    return f"{kind} · {registry()[kind].about.title}"


def _techniques() -> list[TechniqueUse]:
    chosen = st.multiselect(
        "What if we add …", names(), default=DEFAULT_TECHNIQUES, key="with", format_func=str, placeholder="search techniques and papers",
        help="General techniques first, then methods named after their papers. Order does not matter.", bind="query-params",
    )  # fmt: skip
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
    same = next((name for name, look in LOOKS.items() if name != CUSTOM and (look.images, look.videos) == (work.images, work.videos)), CUSTOM)
    state["look"] = same
    if same == CUSTOM:
        state |= {"n": sum(image.count for image in work.images), "vn": len(work.videos)}
        if work.images:
            state |= {"w": work.images[0].width, "h": work.images[0].height, "codec": work.images[0].format}
        if work.videos and work.videos[0].frames is None:
            first = work.videos[0]
            state |= {"vw": first.width, "vh": first.height, "sec": first.duration, "fps": first.fps}
    state["with"] = list(dict.fromkeys(use.kind for use in scenario.techniques))
    for use in scenario.techniques:
        state |= as_state(use.kind, use.parameters)
    assign(state)
    go_to(then)


def name_of(scenario: Scenario) -> tuple[str, str]:
    """Titles of the model and the hardware."""
    model = load_model(scenario.model) if isinstance(scenario.model, str) else scenario.model
    device = load_hardware(scenario.hardware) if isinstance(scenario.hardware, str) else scenario.hardware
    return model.title, device.title
