"""Measured against predicted, and accuracy against what was kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from simulator.figures.theme import GREY, Mode, cycle, figure, ink, title

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "hexagon", "cross")


def parity(frame: pd.DataFrame, group: str, hover: str, mode: Mode = "light") -> go.Figure:
    """Columns measured, predicted, lower, upper [s]. The diagonal is agreement, the shade a factor of 1.25 either way."""
    low = 10.0 ** np.floor(np.log10(frame[["measured", "predicted"]].min().min()))
    high = 10.0 ** np.ceil(np.log10(frame[["measured", "predicted"]].max().max()))
    data: list[dict[str, Any]] = [
        {"type": "scatter", "x": [low, high, high, low], "y": [low * 1.25, high * 1.25, high / 1.25, low / 1.25], "fill": "toself", "mode": "lines",
         "line": {"width": 0}, "fillcolor": "rgba(128,128,128,0.18)", "hoverinfo": "skip", "name": "within 25 %"},
        {"type": "scatter", "x": [low, high], "y": [low, high], "mode": "lines", "line": {"color": ink(mode), "width": 1}, "hoverinfo": "skip", "showlegend": False},
    ]  # fmt: skip
    for position, (name, rows) in enumerate(frame.groupby(group, sort=True)):
        data.append({"type": "scattergl" if len(rows) > 2000 else "scatter", "mode": "markers", "x": rows["measured"].tolist(), "y": rows["predicted"].tolist(), "name": str(name),
                     "marker": {"color": cycle(mode)[position % 8], "symbol": _SYMBOLS[position % 8], "size": 6, "opacity": 0.8}, "text": rows[hover].astype(str).tolist(),
                     "hovertemplate": "%{text}<br>measured %{x:.4g} s<br>predicted %{y:.4g} s<extra></extra>"})  # fmt: skip
    return figure(data, mode, 520, xaxis={"type": "log", "title": title("measured [s]"), "exponentformat": "power"},
                  yaxis={"type": "log", "title": title("predicted [s]"), "exponentformat": "power"})  # fmt: skip


def fit_errors(frame: pd.DataFrame, mode: Mode = "light") -> go.Figure:
    """Held-out error of every fit: columns device, op, format, error, median [fraction], rows."""
    ops = sorted(frame["op"].unique())
    data: list[dict[str, Any]] = []
    for position, (device, rows) in enumerate(frame.groupby("device", sort=True)):
        data.append({"type": "scatter", "mode": "markers", "x": (rows["error"] * 100).tolist(), "y": rows["op"].tolist(), "name": str(device),
                     "marker": {"color": cycle(mode)[position % 8], "symbol": _SYMBOLS[position % 8] + ("-open" if position > 7 else ""), "size": 9, "opacity": 0.8, "line": {"width": 0.5 if position < 8 else 2, "color": ink(mode)}},
                     "customdata": [[row.format, row.framework, f"{row.median:.1%}", f"{row.rows:,}"] for row in rows.itertuples()],
                     "hovertemplate": f"{device}, %{{y}}, %{{customdata[0]}}, %{{customdata[1]}}<br><b>%{{x:.1f}} %</b> mean, %{{customdata[2]}} median, %{{customdata[3]}} rows<extra></extra>"})  # fmt: skip
    return figure(data, mode, 140 + 30 * len(ops), xaxis={"title": title("mean absolute error on held-out shapes [%]"), "rangemode": "tozero"},
                  yaxis={"title": title(""), "categoryorder": "array", "categoryarray": ops[::-1]}, margin={"t": 60})  # fmt: skip


def kept_accuracy(frame: pd.DataFrame, axis: str, mode: Mode = "light") -> go.Figure:
    """Published accuracy over the baseline's against the share kept: columns family, kept, retained, technique, model, benchmark, source."""
    families = frame["family"].value_counts().index[:8]
    data: list[dict[str, Any]] = []
    for position, family in enumerate(families):
        rows = frame[frame["family"] == family]
        data.append({"type": "scatter", "mode": "markers", "x": (rows["kept"] * 100).tolist(), "y": (rows["retained"] * 100).tolist(), "name": str(family),
                     "marker": {"color": cycle(mode)[position], "symbol": _SYMBOLS[position], "size": 8, "opacity": 0.75},
                     "customdata": rows[["technique", "model", "benchmark", "source"]].astype(str).to_numpy().tolist(),
                     "hovertemplate": "<b>%{customdata[0]}</b> on %{customdata[1]}, %{customdata[2]}<br>%{x:.3g} % kept, %{y:.4g} % of the accuracy<br>%{customdata[3]}<extra></extra>"})  # fmt: skip
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 100, "y1": 100, "line": {"color": GREY, "width": 1, "dash": "dash"}}
    return figure(data, mode, 470, shapes=[line], xaxis={"title": title(f"{axis.replace('_', ' ')} kept [%]"), "rangemode": "tozero"},
                  yaxis={"title": title("accuracy over the baseline's [%]")})  # fmt: skip
