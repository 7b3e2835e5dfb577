"""Compare: hardware, models or engines side by side, or two of them as a grid."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from simulator.explorer.parts import chart, lead, mode, way_out
from simulator.explorer.sidebar import Choice
from simulator.explorer.work import frame_download, swept
from simulator.figures import METRICS, comparison, heat, needed
from simulator.quantity import text
from simulator.spec.deployment import engines
from simulator.spec.load_hardware import hardware_names
from simulator.spec.load_model import model_names
from simulator.spec.source import SpecError

FLEET = ["jetson-thor", "rtx-4090", "l40s", "a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200-sxm"]


def render(choice: Choice) -> None:
    """The page."""
    st.subheader("Compare", anchor=False)
    if choice.variant is None or choice.baseline is None:
        way_out(choice.problem, "compare")
        return
    lead(choice.variant, "The scenario on the left elsewhere:")
    hardware = st.multiselect("Hardware", hardware_names(), default=FLEET, key="cmp.hw", wrap=True, bind="query-params")
    first, second = st.columns(2)
    models = first.multiselect("Models", model_names(), default=[], key="cmp.model", placeholder="the one on the left", wrap=True, bind="query-params")
    stacks = second.multiselect("Engines", list(engines()), default=[], key="cmp.engine", placeholder="the one on the left", wrap=True, bind="query-params")
    first, second = st.columns(2, vertical_alignment="bottom")
    metric = first.selectbox("Shown", list(METRICS), format_func=lambda name: METRICS[name].title, key="cmp.metric", index=2, bind="query-params")
    mixed = second.toggle("With the techniques on the left", True, key="cmp.mix", bind="query-params")
    base = choice.variant if mixed else choice.baseline
    axes = {name: values for name, values in (("hardware", hardware), ("model", models), ("engine", stacks)) if values}
    if not axes:
        st.info("Choose at least one thing to compare.", icon=":material/grid_view:")
        return
    try:
        metrics = list(dict.fromkeys([*(name for item in METRICS for name in needed(item))]))
        frame = swept(base, axes, metrics, "compare")
    except SpecError as error:
        way_out(str(error), "compare")
        return
    if frame is None:
        return
    _draw(frame, list(axes), metric)


def _draw(frame: pd.DataFrame, axes: list[str], metric: str) -> None:
    usable = frame[frame["refused"] == ""] if "refused" in frame else frame
    for row in frame[frame["refused"] != ""].itertuples() if "refused" in frame else ():
        st.warning(f"{getattr(row, axes[0])}: {row.refused}", icon=":material/block:")
    if usable.empty:
        st.info("Nothing here can run this; choose other hardware, or fewer techniques.")
        return
    usable = usable.sort_values(metric, ascending=metric not in ("fidelity", "output_tokens_per_s", "max_batch"))
    if sum(usable[name].nunique() > 1 for name in axes) >= 2:
        wide = sorted((name for name in axes if usable[name].nunique() > 1), key=lambda name: -usable[name].nunique())[:2]
        drawn = usable.drop_duplicates(wide)
        figure = heat(drawn, wide[1], wide[0], metric, mode=mode())
        if len(axes) > 2:
            st.caption(f"The map shows the best {', '.join(name for name in axes if name not in wide)} of each cell.")
    else:
        labels = usable[axes].astype(str).agg(", ".join, axis=1)
        figure = comparison(usable, labels, metric, mode())
    chart(figure, "compare-figure", "Chosen metric per hardware, model or engine")
    if not usable["fits"].astype(bool).all():
        st.caption("What is hatched or marked ✕ does not fit in memory; its numbers are those it would have if it did.")
    st.dataframe(_readable(usable, axes), hide_index=True, key="compare-table")
    frame_download(usable, "compare", lambda: figure)


def _readable(frame: pd.DataFrame, axes: list[str]) -> pd.DataFrame:
    table = frame[axes].astype(str).copy()
    table["TTFT"] = [text(value, "s") for value in frame["ttft_s"]]
    table["TPOT"] = [text(value, "s") for value in frame["tpot_s"]]
    table["latency"] = [text(value, "s") for value in frame["latency_s"]]
    table["peak memory"] = [text(value, "B") for value in frame["peak_bytes"]]
    table["fits"] = ["yes" if value else "no" for value in frame["fits"]]
    table["largest batch"] = [f"{value:,.0f}" for value in frame["max_batch"]]
    table["energy"] = [text(value, "J") for value in frame["energy_j"]]
    table["$ per 1,000"] = [f"{value * 1e3:.2f}" for value in frame["cost_usd"]]
    table["fidelity"] = ["no evidence" if pd.isna(value) else f"{value:.1%}" for value in frame["fidelity"]]
    if "deployable" in frame:
        table["on this engine"] = frame["deployable"].astype(str)
    return table
