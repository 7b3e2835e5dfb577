"""Design space: every mix of a few techniques on some hardware, its Pareto front under constraints, and the way into What if."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
import streamlit as st

from simulator.explorer.assign import assign
from simulator.explorer.parts import chart_events, lead, mode, way_out
from simulator.explorer.sidebar import Choice, show
from simulator.explorer.work import frame_download, swept
from simulator.figures import METRICS, needed, pareto_scatter
from simulator.presets import names
from simulator.quantity import text
from simulator.search import Space, pareto
from simulator.spec.load_hardware import hardware_names
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError

MIX = ["divprune", "fastv", "weight_quant", "speculative", "kv_evict"]
"""Every mix of these has published accuracy on the default model."""
OFF = "no limit"
TTFTS = ("0.05", "0.1", "0.2", "0.3", "0.5", "0.75", "1", "1.5", "2", "3", "5", "10", OFF)
TPOTS = ("1", "2", "3", "5", "7.5", "10", "15", "20", "30", "50", "100", "200", OFF)
SHARES = (OFF, "50", "70", "80", "85", "90", "92", "94", "95", "96", "97", "98", "99", "100")
COSTS = ("0.05", "0.1", "0.2", "0.3", "0.5", "0.75", "1", "1.5", "2", "3", "5", "10", "20", "50", OFF)
KNEE = "the suggested one"
READY = {"anything": None, "runs or needs a patch": "patch", "runs today": "runs"}


def render(choice: Choice) -> None:
    """The page."""
    st.subheader("Design space", anchor=False)
    if choice.baseline is None:
        way_out(choice.problem, "space")
        return
    lead(choice.baseline, "What to add to the baseline, and where to run it:")
    first, second = st.columns([3, 1])
    mix = first.multiselect("Every mix of", names(), default=MIX, key="d.mix", max_selections=8, wrap=True, bind="query-params")
    batches = second.multiselect("At batch", [1, 2, 4, 8, 16, 32, 64, 128], default=[1, 8, 32], key="d.batch", wrap=True, bind="query-params")
    first, second = st.columns([3, 1])
    hardware = first.multiselect("On", hardware_names(), default=["l40s", "h100-sxm", "b200-sxm"], key="d.hw", wrap=True, bind="query-params")
    ready = second.selectbox("On the engine", list(READY), key="d.ready", bind="query-params")
    if not hardware or not batches:
        st.info("Choose at least one device and one batch size.", icon=":material/scatter_plot:")
        return
    first, second = st.columns(2)
    metrics = list(METRICS)
    across = first.selectbox("Across", metrics, index=metrics.index("cost_usd"), format_func=lambda name: METRICS[name].title, key="d.x", bind="query-params")
    up = second.selectbox("Up", metrics, index=metrics.index("latency_s"), format_func=lambda name: METRICS[name].title, key="d.y", bind="query-params")
    base = choice.baseline
    axes: dict[str, Any] = {"hardware": hardware, "techniques": _mixes(mix), "workload.batch": sorted(batches)}
    columns = list(dict.fromkeys(column for metric in METRICS for column in needed(metric)))  # another axis is then another look at the same frame
    try:
        frame = swept(base, axes, columns, "space")
        if frame is None:
            return
        _front(frame, base, axes, across, up, READY[ready])
    except SpecError as error:
        way_out(str(error), "space")


def _mixes(kinds: list[str]) -> list[list[str]]:
    return [list(mix) for size in range(len(kinds) + 1) for mix in itertools.combinations(kinds, size)]


def _front(frame: pd.DataFrame, base: Scenario, axes: dict[str, Any], across: str, up: str, ready: str | None) -> None:
    possible = frame[frame["refused"].astype(str) == ""].dropna(subset=[across, up])
    if possible.empty and (frame["refused"].astype(str) != "").all():
        way_out(str(frame["refused"].iloc[0]), "space")
        return
    if possible.empty:
        st.info("No point has numbers for both axes: nobody published evidence for these mixes. Choose other axes or techniques.")
        return
    rules = _constraints()
    front = pareto(possible, list(dict.fromkeys([across, up])), rules, ready=ready)
    names = possible["techniques"].astype(str).replace("none", "no techniques") + ", " + possible["hardware"].astype(str) + ", batch " + possible["workload.batch"].astype(int).astype(str)
    unknown = int(possible["fidelity"].isna().sum())
    st.markdown(
        f"**{len(front)}** of {len(possible):,} points are not beaten on both axes" + (f" under {len(rules)} limit{'s' if len(rules) > 1 else ''}" if rules else "")
        + (f"; of {unknown:,} points nobody has published the accuracy" if unknown else "") + (". Click one to see it and to load it." if len(front) else ".")
    )  # fmt: skip
    if front.empty:
        st.warning("No point meets these limits: loosen one of them, add hardware, or allow mixes that need a patch.", icon=":material/filter_alt_off:")
    figure = pareto_scatter(possible, front, across, up, names, possible["hardware"], mode())
    chart_events(figure, "space-figure", "Pareto scatter", lambda: _clicked(names))
    row, called = _point(front, names)
    if row is not None:
        st.markdown(f"**{called}: {names[row]}**")
        _details(row, frame, front, base, axes)
    frame_download(front if len(front) else possible, "front", lambda: figure)


def _clicked(names: pd.Series) -> None:
    """Callback of the figure: what was clicked becomes the point that is shown."""
    points = [point for point in st.session_state["space-figure"].selection.points if point.get("customdata")]
    if points:
        assign({"d.point": str(names[int(points[0]["customdata"][0])])})


def _point(front: pd.DataFrame, names: pd.Series) -> tuple[int | None, str]:
    """The row that is shown and what it is: the knee, or the point that was clicked or chosen; None where there is neither."""
    asked = st.session_state.get("d.point", st.query_params.get("d.point", KNEE))
    known = list(dict.fromkeys([*names[front.index], *names[names == asked]]))
    if not known:
        return None, ""
    chosen = st.selectbox("Point shown", [KNEE, *known], key="d.point", bind="query-params", help="Click a point in the figure, or choose one that is not beaten")
    if chosen != KNEE:
        return int(names.index[names == chosen][0]), "Chosen"
    knees = front.index[front["knee"].astype(bool)]
    return (int(knees[0]), "The knee") if len(knees) else (int(front.index[0]), "Not beaten") if len(front) else (None, "")


def _constraints() -> list[str]:
    """The limits that are set, as expressions over the frame; a slider at its end `no limit` sets none."""
    first, second, third, fourth = st.columns(4, gap="medium")
    limits = (
        (first.select_slider("TTFT at most [s]", TTFTS, OFF, key="d.ttft", bind="query-params"), "ttft_s <=", 1.0),
        (second.select_slider("TPOT at most [ms]", TPOTS, OFF, key="d.tpot", bind="query-params"), "tpot_s <=", 1e-3),
        (third.select_slider("Accuracy at least [%]", SHARES, OFF, key="d.fid", bind="query-params",
                             help="Share of the baseline's accuracy. With any limit, mixes without published accuracy drop out."), "fidelity >=", 1e-2),
        (fourth.select_slider("Cost of 1,000 at most [$]", COSTS, OFF, key="d.cost", bind="query-params"), "cost_usd <=", 1e-3),
    )  # fmt: skip
    return [f"{rule} {float(value) * factor:.6g}" for value, rule, factor in limits if value != OFF]


def _details(row: int, frame: pd.DataFrame, front: pd.DataFrame, base: Scenario, axes: dict[str, Any]) -> None:
    chosen = frame.loc[row]
    cells = st.columns(6)
    for cell, (label, value) in zip(cells, (
        ("TTFT", text(chosen["ttft_s"], "s")), ("TPOT", text(chosen["tpot_s"], "s")), ("Latency", text(chosen["latency_s"], "s")),
        ("Peak memory", text(chosen["peak_bytes"], "B")), ("Cost per 1,000", f"${chosen['cost_usd'] * 1e3:,.2f}"),
        ("Fidelity", "unknown" if pd.isna(chosen["fidelity"]) else f"{chosen['fidelity']:.1%}"),
    ), strict=True):  # fmt: skip
        cell.metric(label, value)
    if row in front.index and "binding_stage" in front:
        winner = front.loc[row]
        gave = ", ".join(f"{METRICS[name.removeprefix('gave_up_')].title.partition(' [')[0]} {winner[name]:+.0%}" for name in front.columns if name.startswith("gave_up_") and winner[name] > 0)
        st.caption(f"Bound by {winner['binding_stage']} ({winner['binding_resource']}). " + (f"Against the best of the front: {gave}." if gave else "Nothing on the front is better."))
    if pd.isna(chosen["fidelity"]):
        st.caption(_unknown(chosen, frame))
    scenario = Space(base, axes).pick(frame, int(frame.index.get_loc(row)))
    st.button("Load into What if", key="space-load", type="primary", icon=":material/compare_arrows:", on_click=show, args=(scenario, "what-if"))


def _unknown(chosen: pd.Series, frame: pd.DataFrame) -> str:
    """Why a mix has no fidelity, and how to see those that have."""
    same = frame[(frame["hardware"] == chosen["hardware"]) & (frame["workload.batch"] == chosen["workload.batch"])].set_index("techniques")["fidelity"]
    alone = [kind for kind in str(chosen["techniques"]).split(" + ") if kind in same.index and pd.isna(same[kind])]
    whom = f"{' and '.join(alone)} on such models" if alone else "this mix on such models"
    return f"Fidelity is unknown: nobody has published the accuracy of {whom}. A limit on the accuracy leaves only mixes with evidence; Literature shows what there is."
