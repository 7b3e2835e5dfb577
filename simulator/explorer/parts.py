"""Pieces that several pages share: charts in the page's theme, metrics, downloads, remarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from simulator.bibliography import citation
from simulator.explorer.assign import assign
from simulator.explorer.looks import CUSTOM, LOOKS
from simulator.explorer.picture import Draw, figure_downloads
from simulator.explorer.sidebar import DEFAULT_MODEL as FILMS
from simulator.explorer.sidebar import name_of, show
from simulator.explorer.workload_form import OWN
from simulator.figures.theme import Mode
from simulator.figures.verdict import Remark
from simulator.interop import share
from simulator.quantity import text
from simulator.ratio import Ratio
from simulator.request import Estimate
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError


def _config(key: str) -> dict[str, Any]:
    """A camera that saves a PNG under the figure's name, and a way back from zooming."""
    return {
        "displaylogo": False, "responsive": True, "modeBarButtons": [["toImage", "resetScale2d"]],
        "toImageButtonOptions": {"format": "png", "filename": key, "scale": 2},
    }  # fmt: skip


def mode() -> Mode:
    """The page's theme."""
    return "dark" if st.context.theme.type == "dark" else "light"


def lead(scenario: Scenario, words: str) -> None:
    """What a page does, and the scenario on the left that it does it to."""
    model, device = name_of(scenario)
    work = scenario.workload
    look = LOOKS[st.session_state.get("look", CUSTOM)].title
    seen = f"{sum(item.count for item in work.images)} pictures and {len(work.videos)} videos of own sizes" if look == LOOKS[CUSTOM].title else look
    mix = " + ".join(use.kind for use in scenario.techniques)
    st.caption(f"{words} {model} on {device}, {scenario.engine}, {scenario.format}: {seen}, {work.text_tokens:,} text tokens in, {work.output_tokens:,} out, "
               f"batch {work.batch:,}{', with ' + mix if mix else ''}.")  # fmt: skip


def chart(figure: go.Figure, key: str, alt: str, title: str = "") -> None:
    """A figure across the column, with a title above it; `alt` says in words what it shows."""
    if title:
        st.markdown(f"**{title}**")
    st.plotly_chart(figure, key=key, theme=None, config=_config(key), alt=alt)


def chart_events(figure: go.Figure, key: str, alt: str, clicked: Callable[[], None]) -> None:
    """As `chart`; `clicked` is called back when the reader clicks a point, which the session then has under `key`."""
    st.plotly_chart(figure, key=key, theme=None, config=_config(key), alt=alt, on_select=clicked, selection_mode="points")


def remark(item: Remark, key: str) -> None:
    """A sentence in its tone, with a button where there is something to do."""
    box = {"good": st.success, "note": st.info, "bad": st.warning}[item.tone]
    box(item.sentence, icon={"good": ":material/check_circle:", "note": ":material/lightbulb:", "bad": ":material/warning:"}[item.tone])
    if item.action is not None:
        st.button(item.label, key=key, on_click=show, args=(item.action,))


def way_out(problem: str, key: str) -> None:
    """A mix that cannot be, in a sentence, and buttons that lead back."""
    st.error(problem, icon=":material/block:")
    chosen = st.session_state.get("with", [])
    with st.container(horizontal=True):
        if chosen:
            st.button(f"Remove {chosen[-1]}", key=f"{key}-last", on_click=_keep, args=(chosen[:-1],))
            st.button("Remove all techniques", key=f"{key}-all", on_click=_keep, args=([],))
        if LOOKS[st.session_state.get("look", CUSTOM)].videos and "video" in problem:
            st.button(f"Ask {FILMS} instead", key=f"{key}-model", on_click=assign, args=({"model": FILMS},))
            film = LOOKS[st.session_state["look"]].videos[0]
            stills = {"look": CUSTOM, "n": 4, "w": film.width, "h": film.height}
            st.button("Show 4 frames as pictures", key=f"{key}-stills", on_click=assign, args=(stills, OWN))
        st.link_button("Start afresh", "?", icon=":material/restart_alt:")


def _keep(kinds: list[str]) -> None:
    assign({"with": kinds})


def quantity(label: str, before: float | None, after: float, unit: str, help: str, band: tuple[float, float] | None = None, speed: Ratio | None = None) -> None:
    """One `st.metric` of the variant with its change against the baseline; below: the baseline, the change's band, the value's band.
    Without a baseline, the value and its band.

    speed: baseline over variant, with the band that two estimates on the same fits have together."""
    if before is None:
        with st.container(gap="xsmall"):
            st.metric(label, shown(after, unit), help=help)
            st.caption(f"value {interval(*band, unit)}" if band else "")
        return
    moved = before > 0 and abs(after / before - 1.0) >= 0.0005
    change = f"{after / before - 1.0:+.1%}" if moved else "unchanged"
    with st.container(gap="xsmall"):
        st.metric(label, shown(after, unit), change, delta_color="inverse" if moved else "off", delta_arrow="auto" if moved else "off", help=help)
        lines = [f"baseline {shown(before, unit)}"]
        lines += [f"change {100 / float(speed.upper) - 100:+.0f} to {1 / float(speed.lower) - 1:+.0%}"] if moved and speed is not None else []
        lines += [f"value {interval(*band, unit)}"] if band else []
        st.caption("  \n".join(lines))


def interval(low: float, high: float, unit: str) -> str:
    """Two numbers in the unit of the larger: `0.51 – 1.25 s`."""
    number, _, scaled = text(high, unit).partition(" ")
    lower = low / high * float(number.replace(",", ""))
    return f"{lower:,.0f} – {number} {scaled}" if lower >= 1000 else f"{lower:.3g} – {number} {scaled}"


def shown(value: float, unit: str) -> str:
    """A number for people; money with its sign in front."""
    return f"${value:,.2f}" if unit == "$" else text(value, unit)


def downloads(scenario: Scenario, result: Estimate, figures: dict[str, Draw], key: str) -> None:
    """The same numbers as files, and the commands that give them."""
    with st.expander("Take it with you: command, code, files", icon=":material/download:"):
        st.caption("The address of this page is its whole state: copy it to send exactly this. The same numbers come from:")
        st.code(share.as_command(scenario), language="bash", wrap_lines=True)
        st.code(share.as_python(scenario), language="python")
        with st.container(horizontal=True):
            st.download_button("Scenario YAML", share.as_yaml(scenario), "scenario.yaml", "text/yaml", key=f"{key}-yaml", on_click="ignore")
            st.download_button("Stages CSV", lambda: result.table().to_csv(), "stages.csv", "text/csv", key=f"{key}-csv", on_click="ignore")
            st.download_button("Python", share.as_python(scenario), "scenario.py", "text/x-python", key=f"{key}-py", on_click="ignore")
            papers = citation(scenario)
            st.download_button("BibTeX", papers, "papers.bib", "text/plain", key=f"{key}-bib", on_click="ignore", disabled=not papers)
            figure_downloads(figures, key)
        launch(scenario, key)


def launch(scenario: Scenario, key: str) -> None:
    """How the chosen engine is started on this, with what it cannot do."""
    from simulator.interop.launch import flags
    from simulator.interop.launch import launch as launched

    if scenario.engine not in flags():
        st.caption(f"{scenario.engine} is not started by a command; choose vllm, sglang or trtllm for launch flags.")
        return
    try:
        made = launched(scenario, scenario.engine)
    except SpecError as error:
        st.caption(f"No launch command: {error}")
        return
    st.caption(f"Start it on {scenario.engine}:")
    st.code(made.command, language="bash", wrap_lines=True)
    for line in made.lacking:
        st.markdown(f":red[:material/block:] {line}")
    st.download_button("Launch script", made.script(), "launch.sh", "text/x-shellscript", key=f"{key}-launch", on_click="ignore")
