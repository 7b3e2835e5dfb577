"""What if: a baseline against a variant, from the numbers down to operators, memory and tokens."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from simulator.explorer.cache import estimated, operators_of, river_of, speed_ups, unset_of
from simulator.explorer.parts import chart, downloads, mode, quantity, remark, way_out
from simulator.explorer.sidebar import Choice, name_of
from simulator.figures import memory_parts, memory_waterfall, roofline, stage_bars, token_river
from simulator.figures.verdict import advice, binding, change, deployment, fit
from simulator.request import Estimate
from simulator.spec.load_hardware import load_hardware
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError

_WHERE = {"model": "with", "hardware": "on", "engine": "under", "format": "in"}
BANDS = "Ranges hold 80% of outcomes. That of a change is narrower than that of the value, as both sides share most of what is uncertain."


def render(choice: Choice) -> None:
    """The page."""
    if choice.baseline is None or choice.variant is None:
        way_out(choice.problem, "shape")
        return
    try:
        baseline = estimated(choice.baseline)
    except SpecError as error:
        way_out(str(error), "baseline")
        return
    problem = ""
    try:
        variant = estimated(choice.variant)
    except SpecError as error:
        problem, variant = str(error), baseline
    _headline(baseline, variant, choice.variant)
    if problem:
        way_out(problem, "variant")
        st.caption("Below is the baseline alone.")
    _metrics(baseline, variant)
    results = {"baseline": baseline} if variant is baseline else {"baseline": baseline, "variant": variant}
    _verdict(variant, bool(problem))
    _figures(results)
    downloads(variant.scenario, variant, {"stages": lambda: stage_bars(results), "roofline": lambda: _roof(results)}, "what-if")
    with st.expander(f"Assumptions and warnings ({len(variant.assumptions) + len(variant.warnings)})", icon=":material/info:"):
        for line in (*variant.warnings, *variant.assumptions):
            st.markdown(f"- {line}")


def _headline(baseline: Estimate, variant: Estimate, asked: Scenario) -> None:
    """The question, its answer in two words, and what is asked about."""
    before, work = baseline.scenario, baseline.scenario.workload
    model, device = name_of(before)
    mix = " + ".join(use.kind for use in asked.techniques)
    other = [f"{word} {getattr(asked, field)}" for field, word in _WHERE.items() if getattr(asked, field) != getattr(before, field)]
    if asked.parallel != before.parallel:
        other.append(f"at TP {asked.parallel.tp}")
    question = " ".join(item for item in (mix, *other) if item)
    if not question:
        st.subheader(f"{model} on {device}", anchor=False)
    elif variant is baseline:
        st.subheader(f"What if: {question}?", anchor=False)
    else:
        speed = speed_ups(before, variant.scenario)["latency_s"]
        st.subheader(f"What if: {question}? {verdict(float(speed.expected))}", anchor=False)
    about = f"**{model}** on **{device}**: " if question else ""
    sizes = f"{baseline.visual_tokens:,.0f} visual + {work.text_tokens:,} text tokens in, {work.output_tokens:,} out, batch {work.batch:,}, {before.engine}, {before.format}."
    answer = "" if variant is baseline else " " + change(baseline, variant, speed_ups(before, variant.scenario)["latency_s"])
    st.markdown(about + sizes + answer)


def verdict(speed: float) -> str:
    """Speed-up in two words and a colour."""
    if abs(speed - 1.0) < 0.005:
        return ":gray[as fast as before]"
    return f":green[{speed:.2f}x faster]" if speed > 1.0 else f":red[{1 / speed:.2f}x slower]"


def _metrics(baseline: Estimate, variant: Estimate) -> None:
    columns = st.columns(6, gap="small")
    alone = variant is baseline
    speed = {} if alone else speed_ups(baseline.scenario, variant.scenario)

    def old(value: float) -> float | None:
        return None if alone else value

    with columns[0]:
        quantity("TTFT", old(baseline.ttft_s), variant.ttft_s, "s", "Time to first token: preprocess + encode + project + prefill + the engine's own time.",
                 (variant.ttft_s_lower, variant.ttft_s_upper), speed.get("ttft_s"))  # fmt: skip
    with columns[1]:
        quantity("TPOT", old(baseline.tpot_s), variant.tpot_s, "s", "Time per output token after the first.", (variant.tpot_s_lower, variant.tpot_s_upper), speed.get("tpot_s"))
    with columns[2]:
        quantity("Peak memory", old(float(baseline.memory.peak_bytes)), float(variant.memory.peak_bytes), "B", "On the fullest device; exact up to what the engine reserves")
    with columns[3]:
        quantity("Energy", old(baseline.energy_j), variant.energy_j, "J", "Per request. The power model is good to about 30%, mostly alike on both sides; on other hardware the change has no range.",
                 speed=speed.get("energy_j"))  # fmt: skip
    with columns[4]:
        quantity("Cost per 1,000", old(baseline.cost_usd * 1e3), variant.cost_usd * 1e3, "$", "US dollars per 1,000 requests at the profile's hourly price; on other hardware the change has no range, as prices are assumed.",
                 speed=speed.get("cost_usd"))  # fmt: skip
    with columns[5]:
        _fidelity(variant)
    st.caption(BANDS if speed else BANDS.partition(".")[0] + ".")


def _fidelity(variant: Estimate) -> None:
    found = variant.fidelity
    with st.container(gap="xsmall"):
        if found is None or found.retained is None:
            silent = next((line for line in variant.warnings if line.startswith("fidelity")), "")
            st.metric("Fidelity", "unknown" if silent else "100%", "no evidence" if silent else "nothing lossy", delta_color="off", delta_arrow="off",
                      help=f"Share of the baseline's accuracy, from published results. {silent.removeprefix('fidelity: ')}")  # fmt: skip
            st.caption("nobody published it for this mix" if silent else "baseline 100%")
            return
        st.metric("Fidelity", f"{float(found.retained):.1%}", f"{found.grade} evidence", delta_color="off", delta_arrow="off",
                  help="Share of the baseline's accuracy. Direct: published for this technique on such a model; pooled: from its whole family. "
                  + "; ".join(found.evidence))  # fmt: skip
        st.caption(f"baseline 100%  \nvalue {float(found.low) * 100:.1f} – {float(found.high):.1%}")


def _verdict(variant: Estimate, refused: bool) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.markdown(binding(variant))
        remark(fit(variant, estimated), "fit")
        following = None if refused else advice(variant, estimated)
        if following is not None:
            remark(following, "next")
    with right:
        if not variant.scenario.techniques and not refused:
            st.info("Add a technique on the left to see what it changes; any mix is allowed.", icon=":material/add_circle:")
        for item in deployment(variant.scenario, unset_of(variant.scenario)):
            colour = {"good": "green", "note": "orange", "bad": "red"}[item.tone]
            icon = {"good": "check_circle", "note": "build", "bad": "block"}[item.tone]
            st.markdown(f":{colour}[:material/{icon}:] {item.sentence}")


def _roof(results: dict[str, Estimate]) -> go.Figure:
    last = list(results.values())[-1].scenario
    device = load_hardware(last.hardware) if isinstance(last.hardware, str) else last.hardware
    return roofline({label: operators_of(item.scenario) for label, item in results.items()}, device.chip, last.format, mode())


def _figures(results: dict[str, Estimate]) -> None:
    chart(stage_bars(results, mode()), "stages", "Stacked bars of stage times with 80 % bands", "Where the time goes")
    left, right = st.columns(2, gap="medium")
    with left:
        chart(_roof(results), "roofline", "Operators against the chip's roofline", "Every operator against the chip")
    with right:
        chart(memory_waterfall({label: memory_parts(item) for label, item in results.items()}, mode()), "memory", "Memory by owner", "Memory against capacity")
    st.caption("In the roofline, area is time; hollow: baseline, filled: variant. Point at an operator for its work, time, bound and the source of its efficiency.")
    chart(token_river({label: river_of(item.scenario) for label, item in results.items()}, mode()), "river", "Visual tokens alive per layer", "Token river")
