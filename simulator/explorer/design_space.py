"""Design space: every mix of a few techniques on some hardware, its Pareto front under constraints, and the way into What if."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
import streamlit as st

from simulator.explorer.parts import chart_events, mode, way_out
from simulator.explorer.sidebar import Choice, show
from simulator.explorer.work import frame_download, swept
from simulator.figures import METRICS, needed, pareto_scatter
from simulator.presets import names
from simulator.quantity import text
from simulator.search import Space, pareto
from simulator.spec.load_hardware import hardware_names
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError

MIX = ["divprune", "fastv", "weight_quant", "speculative", "kv_quant"]
READY = {"anything": None, "runs or needs a patch": "patch", "runs today": "runs"}


def render(choice: Choice) -> None:
    """The page."""
    st.subheader("Design space", anchor=False)
    if choice.baseline is None:
        way_out(choice.problem, "space")
        return
    first, second = st.columns([3, 1])
    mix = first.multiselect("Every mix of", names(), default=MIX, key="d.mix", max_selections=8, bind="query-params")
    batches = second.multiselect("At batch", [1, 2, 4, 8, 16, 32, 64, 128], default=[1, 8, 32], key="d.batch", bind="query-params")
    first, second = st.columns([3, 1])
    hardware = first.multiselect("On", hardware_names(), default=["l40s", "h100-sxm", "b200-sxm"], key="d.hw", bind="query-params")
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
    columns = list(dict.fromkeys([*needed(across), *needed(up), *needed("latency_s"), "ttft_s", "tpot_s", "fidelity", "cost_usd", "peak_bytes"]))
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
    st.markdown(f"**{len(front)}** of {len(possible):,} points are not beaten on both axes" + (f" under {len(rules)} limits" if rules else "") + ". Click one to see it and to load it.")
    if front.empty:
        st.warning("No point meets these limits: loosen one of them, add hardware, or allow mixes that need a patch.", icon=":material/filter_alt_off:")
    figure = pareto_scatter(possible, front, across, up, names, possible["hardware"], mode())
    event = chart_events(figure, "space-figure", "Pareto scatter")
    _details(event, frame, front, base, axes, names)
    frame_download(front if len(front) else possible, "front", lambda: figure)


def _constraints() -> list[str]:
    first, second, third, fourth = st.columns(4)
    ttft = first.slider("TTFT at most [s]", 0.05, 10.0, 10.0, 0.05, key="d.ttft", bind="query-params")
    tpot = second.slider("TPOT at most [ms]", 1.0, 200.0, 200.0, 1.0, key="d.tpot", bind="query-params")
    kept = third.slider("Accuracy at least [%]", 0.0, 100.0, 0.0, 0.5, key="d.fid", bind="query-params", help="Mixes without evidence drop out above 0")
    cost = fourth.slider("Cost of 1,000 at most [$]", 0.05, 50.0, 50.0, 0.05, key="d.cost", bind="query-params")
    rules: list[str] = []
    if ttft < 10.0:
        rules.append(f"ttft_s <= {ttft:g}")
    if tpot < 200.0:
        rules.append(f"tpot_s <= {tpot / 1e3:g}")
    if kept > 0.0:
        rules.append(f"fidelity >= {kept / 100:g}")
    if cost < 50.0:
        rules.append(f"cost_usd <= {cost / 1e3:g}")
    return rules


def _details(event: Any, frame: pd.DataFrame, front: pd.DataFrame, base: Scenario, axes: dict[str, Any], names: pd.Series) -> None:
    points = [point for point in event.selection.points if point.get("customdata")] if event else []
    row = int(points[0]["customdata"][0]) if points else (int(front[front["knee"].astype(bool)].index[0]) if len(front) and front["knee"].any() else None)
    if row is None or row not in names.index:
        return
    chosen = frame.loc[row]
    st.markdown(f"**{'Chosen' if points else 'The knee'}: {names[row]}**")
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
    scenario = Space(base, axes).pick(frame, int(frame.index.get_loc(row)))
    st.button("Load into What if", key="space-load", type="primary", icon=":material/compare_arrows:", on_click=show, args=(scenario, "what-if"))
