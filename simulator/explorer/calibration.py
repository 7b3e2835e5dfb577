"""Calibration: how far the fits are from what was measured, per device and op, and a run of one's own against the predictions."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from simulator.explorer.parts import chart, mode
from simulator.explorer.sidebar import Choice
from simulator.figures import fit_errors, parity
from simulator.figures.runs import fit_table, predicted, read_run, run_errors, shipped_runs
from simulator.spec.deployment import engines
from simulator.spec.folders import data_folder
from simulator.spec.load_hardware import hardware_names
from simulator.spec.source import SpecError

UPLOADED = "my own upload"
LIMIT_MB = 20


def render(choice: Choice) -> None:
    """The page; it does not depend on the scenario."""
    del choice
    st.subheader("Calibration", anchor=False)
    fits, runs = st.tabs(["Shipped fits", "Measured against predicted"])
    with fits:
        _fits()
    with runs:
        _runs()


@st.cache_data(show_spinner="Reading fits …", ttl=600)
def _table() -> pd.DataFrame:
    return fit_table()


def _fits() -> None:
    try:
        table = _table()
    except SpecError as error:
        st.error(str(error), icon=":material/block:")
        return
    if table.empty:
        st.info("No fits are installed: estimates rest on datasheets and defaults. `python -m calibrate fit` makes some.", icon=":material/straighten:")
        return
    first, second, third = st.columns(3)
    devices = first.multiselect("Devices", sorted(table["device"].unique()), key="c.dev", placeholder="all", bind="query-params")
    ops = second.multiselect("Operations", sorted(table["op"].unique()), key="c.op", placeholder="all", bind="query-params")
    formats = third.multiselect("Formats", sorted(table["format"].unique()), key="c.fmt", placeholder="all", bind="query-params")
    for column, chosen in (("device", devices), ("op", ops), ("format", formats)):
        if chosen:
            table = table[table[column].isin(chosen)]
    if table.empty:
        st.info("No fit passes these filters; take one away.", icon=":material/filter_alt_off:")
        return
    chart(fit_errors(table, mode()), "fit-errors", "Held-out error of every fit")
    st.caption("Errors are on shapes the fit has not seen. A device without fits borrows those of its architecture, and its bands are wider.")
    shown = table.assign(error=table["error"] * 100, median=table["median"] * 100)
    percent = st.column_config.NumberColumn(format="%.1f %%")
    st.dataframe(shown, hide_index=True, key="fits-table", column_config={"error": percent, "median": percent})
    st.download_button("CSV", lambda: table.to_csv(index=False), "fits.csv", "text/csv", key="fits-csv", on_click="ignore", icon=":material/download:")


def _runs() -> None:
    known = shipped_runs(data_folder("hardware_profiles") / "measured")
    first, second, third = st.columns(3)
    origin = first.selectbox("Measurements", [*known, UPLOADED], key="c.run", bind="query-params")
    device = second.selectbox("Measured on", hardware_names(), index=hardware_names().index("cpu-generic"), key="c.on", bind="query-params")
    engine = third.selectbox("Under", list(engines()), index=list(engines()).index("hf-sdpa"), key="c.engine", bind="query-params")
    content: Any = None
    if origin == UPLOADED:
        dropped = st.file_uploader("gemm.csv, attention.csv or elementwise.csv of `python -m calibrate measure`", type="csv", key="c.file", max_upload_size=LIMIT_MB)
        if dropped is None:
            st.info("Drop a table of a run to see it against the predictions. `python -m calibrate measure --device cpu --suite kernels --budget 60 --out run` makes one in a minute.",
                    icon=":material/upload_file:")  # fmt: skip
            return
        name, content = dropped.name, dropped.getvalue()
    else:
        name, content = origin, known[origin].read_bytes()
    try:
        frame = predicted(read_run(content, name), device, engine)
    except SpecError as error:
        st.error(str(error), icon=":material/block:")
        return
    errors = run_errors(frame)
    typical = float(frame["error"].abs().median())
    inside = float(((frame["measured"] >= frame["lower"]) & (frame["measured"] <= frame["upper"])).mean())
    first, second, third = st.columns(3)
    first.metric("Cases", f"{len(frame):,}", border=True)
    second.metric("Median error", f"{typical:.1%}", border=True)
    third.metric("Inside the 80 % band", f"{inside:.0%}", border=True)
    chart(parity(frame, "op", "shape", mode()), "parity", "Predicted against measured seconds")
    percent = {name: st.column_config.NumberColumn(format="%.1f %%") for name in ("mean_error", "median_error", "bias", "in_band")}
    scaled = errors.assign(**{name: errors[name] * 100 for name in percent})
    st.dataframe(scaled, hide_index=True, key="run-errors", column_config=percent)
    st.download_button("CSV", lambda: frame.to_csv(index=False), "parity.csv", "text/csv", key="parity-csv", on_click="ignore", icon=":material/download:")
