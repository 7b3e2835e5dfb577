"""Calibration: how far the fits are from what was measured, per device and op, and a run of one's own against the predictions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from simulator.explorer.parts import chart, mode
from simulator.explorer.sidebar import Choice
from simulator.explorer.upload import check_length
from simulator.figures import fit_errors, parity
from simulator.figures.runs import fit_table, predicted, read_run, run_errors, shipped_runs
from simulator.spec.deployment import engines
from simulator.spec.folders import data_folder
from simulator.spec.load_hardware import hardware_names
from simulator.spec.source import SpecError

UPLOADED = "my own upload"
LIMIT_MB = 20
FITS, RUNS = "Shipped fits", "Measured against predicted"
SOURCES = "measured: looked up; fitted: to kernels measured on this device; transferred: from fits of another device; default: datasheet and usual efficiencies"
_COLUMNS = {
    "mean_error": ("mean error", "of the absolute errors"), "median_error": ("median error", "of the absolute errors"),
    "bias": ("bias", "median of predicted over measured, less one: below zero is predicted too fast"), "in_band": ("inside the 80 % band", ""),
}  # fmt: skip


def render(choice: Choice) -> None:
    """The page; it does not depend on the scenario."""
    del choice
    st.subheader("Calibration", anchor=False)
    fits, runs = st.tabs([FITS, RUNS], key="c.tab", bind="query-params")
    if fits.open:
        with fits:
            _fits()
    if runs.open:
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
    st.markdown(
        "How far kernel times predicted by the shipped fits are from measured ones, on shapes that no fit has seen. "
        "A device without fits borrows those of its architecture, and its bands are wider."
    )
    first, second, third = st.columns(3)
    devices = first.multiselect("Devices", sorted(table["device"].unique()), key="c.dev", placeholder="all", wrap=True, bind="query-params")
    ops = second.multiselect("Operations", sorted(table["op"].unique()), key="c.op", placeholder="all", wrap=True, bind="query-params")
    formats = third.multiselect("Formats", sorted(table["format"].unique()), key="c.fmt", placeholder="all", wrap=True, bind="query-params")
    for column, chosen in (("device", devices), ("op", ops), ("format", formats)):
        if chosen:
            table = table[table[column].isin(chosen)]
    if table.empty:
        st.info("No fit passes these filters; take one away.", icon=":material/filter_alt_off:")
        return
    chart(fit_errors(table, mode()), "fit-errors", "Held-out error of every fit")
    shown = table.assign(error=table["error"] * 100, median=table["median"] * 100, framework=table["framework"] + " " + table["version"]).drop(columns=["version", "source"])
    named = {"op": "operation", "variant": st.column_config.TextColumn("kernel variant", width="medium"), "rows": "rows measured",
             "error": st.column_config.NumberColumn("mean error", format="%.1f %%"), "median": st.column_config.NumberColumn("median error", format="%.1f %%")}  # fmt: skip
    st.dataframe(shown, hide_index=True, key="fits-table", column_config=named)
    st.download_button("CSV", lambda: table.to_csv(index=False), "fits.csv", "text/csv", key="fits-csv", on_click="ignore", icon=":material/download:")


def _runs() -> None:
    st.markdown("Kernels timed by `python -m calibrate measure` against what the simulator, as shipped, predicts for them. The run is compared, not fitted.")
    known = shipped_runs(data_folder("hardware_profiles") / "measured")
    first, second, third = st.columns(3)
    origin = first.selectbox("Measurements", [*known, UPLOADED], key="c.run", bind="query-params")
    device = second.selectbox("Predicted for", hardware_names(), index=hardware_names().index("cpu-generic"), key="c.on", bind="query-params", help="The device on which it was measured")
    engine = third.selectbox("Under", list(engines()), index=list(engines()).index("torch-cpu"), key="c.engine", bind="query-params", help="The engine whose kernels were measured")
    try:
        found = _content(origin, known)
        if found is None:
            return
        run = read_run(*found)
        frame = predicted(run, device, engine)
    except SpecError as error:
        st.error(str(error), icon=":material/block:")
        return
    _parity(frame, run)


def _content(origin: str, known: dict[str, Path]) -> tuple[bytes, str] | None:
    """The table and its name; None while nothing was dropped. Raises SpecError where it is too large."""
    if origin != UPLOADED:
        return known[origin].read_bytes(), origin
    dropped = st.file_uploader("gemm.csv, attention.csv or elementwise.csv of `python -m calibrate measure`", type="csv", key="c.file", max_upload_size=LIMIT_MB,
                               help="Read here and kept nowhere: a link does not carry it.")  # fmt: skip
    if dropped is None:
        st.info("Drop a table of a run to see it against the predictions. This makes one of your machine in about a minute:", icon=":material/upload_file:")
        st.code("python -m calibrate measure --device cpu --suite kernels --budget 60 --out run", language="bash")
        return None
    check_length(dropped.name, dropped.size, LIMIT_MB)
    return dropped.getvalue(), dropped.name


def _parity(frame: pd.DataFrame, run: pd.DataFrame) -> None:
    typical = float(frame["error"].abs().median())
    inside = float(((frame["measured"] >= frame["lower"]) & (frame["measured"] <= frame["upper"])).mean())
    first, second, third, fourth = st.columns(4)
    first.metric("Cases compared", f"{len(frame):,} of {run.attrs['cases']:,}", border=True,
                 help="The others were inconclusive, too slow or failed when they were measured, or have no prediction here.")  # fmt: skip
    second.metric("Median error", f"{typical:.0%}", border=True)
    third.metric("Inside the 80 % band", f"{inside:.0%}", border=True)
    fourth.metric("Predictions are", " and ".join(sorted(frame["source"].unique())), border=True, help=SOURCES)
    chart(parity(frame, "op", "shape", mode()), "parity", "Predicted against measured seconds")
    errors = run_errors(frame)
    named = {"op": "operation", **{name: st.column_config.NumberColumn(title, format="%.1f %%", help=help) for name, (title, help) in _COLUMNS.items()}}
    st.dataframe(errors.assign(**{name: errors[name] * 100 for name in _COLUMNS}), hide_index=True, key="run-errors", column_config=named)
    if inside < 0.5:
        st.info("The shipped figures do not describe this machine well. Fit its own to the run, and use them:", icon=":material/straighten:")
        st.code("python -m calibrate fit --measured run --out fitted\npython -m calibrate validate --measured run --fitted fitted", language="bash")
    st.download_button("CSV", lambda: frame.to_csv(index=False), "parity.csv", "text/csv", key="parity-csv", on_click="ignore", icon=":material/download:")
