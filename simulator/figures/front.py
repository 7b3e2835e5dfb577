"""A design space as a cloud with its front."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from simulator.figures.grid import METRICS
from simulator.figures.theme import GREY, ORANGE, Mode, cycle, figure, ink, log_axis, title
from simulator.quantity import text


def pareto_scatter(
    frame: pd.DataFrame, front: pd.DataFrame, across: str, up: str, names: pd.Series, groups: pd.Series | None = None, mode: Mode = "light", log: bool = True
) -> go.Figure:
    """Every point pale, the front joined by a line, knees as stars. Point `customdata[0]` is the row of `frame` it stands for.

    names: what a point is called; groups: what tells points apart by colour and symbol (at most eight)."""
    x, y = METRICS[across], METRICS[up]
    data: list[dict[str, Any]] = []
    rest = frame.drop(index=front.index)
    chosen = groups if groups is not None else pd.Series("", index=frame.index)
    data.append(_cloud(rest, names, across, up, "beaten, or beyond the limits", {"color": GREY, "size": 6, "opacity": 0.35, "symbol": "circle"}))
    ordered = front.sort_values([across, up])
    data.append({"type": "scatter", "mode": "lines", "x": (ordered[across] * x.factor).tolist(), "y": (ordered[up] * y.factor).tolist(), "hoverinfo": "skip",
                 "showlegend": False, "line": {"color": ink(mode), "width": 1, "dash": "dot"}})  # fmt: skip
    symbols = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "hexagon", "cross")
    kinds = list(dict.fromkeys(chosen.loc[ordered.index].astype(str)))
    for position, kind in enumerate(kinds):
        rows = ordered[chosen.loc[ordered.index].astype(str) == kind]
        colour = cycle(mode)[position % 8]
        data.append(_cloud(rows, names, across, up, kind or "front", {"color": colour, "size": 11, "symbol": symbols[position % 8], "line": {"width": 1, "color": ink(mode)}}))
    knees = ordered[ordered["knee"].astype(bool)] if "knee" in ordered else ordered.iloc[:0]
    if len(knees):
        data.append({"type": "scatter", "mode": "markers", "x": (knees[across] * x.factor).tolist(), "y": (knees[up] * y.factor).tolist(), "name": "knee",
                     "hoverinfo": "skip", "marker": {"symbol": "star-open", "size": 22, "color": ORANGE, "line": {"width": 2}}})  # fmt: skip
    return figure(
        data, mode, 520, hovermode="closest", clickmode="event+select",
        xaxis={"title": title(x.title), **_axis(frame[across] * x.factor, log)}, yaxis={"title": title(y.title), **_axis(frame[up] * y.factor, log)},
    )  # fmt: skip


def _axis(column: pd.Series, log: bool) -> dict[str, Any]:
    return log_axis(column.tolist()) if log and _wide(column) else {"type": "linear"}


def _wide(column: pd.Series) -> bool:
    values = column[np.isfinite(column) & (column > 0)]
    return len(values) > 0 and float(values.max()) > 12 * float(values.min())


def _cloud(rows: pd.DataFrame, names: pd.Series, across: str, up: str, name: str, marker: dict[str, Any]) -> dict[str, Any]:
    x, y = METRICS[across], METRICS[up]
    return {
        "type": "scatter", "mode": "markers", "x": (rows[across] * x.factor).tolist(), "y": (rows[up] * y.factor).tolist(), "name": name, "marker": marker,
        "selected": {"marker": {"opacity": 1.0}}, "unselected": {"marker": {"opacity": marker.get("opacity", 1.0)}},
        "customdata": [[int(index), str(names[index]), text(float(rows.at[index, across]), x.unit), text(float(rows.at[index, up]), y.unit)] for index in rows.index],
        "hovertemplate": f"<b>%{{customdata[1]}}</b><br>{x.title}: %{{x:.4g}}<br>{y.title}: %{{y:.4g}}<extra></extra>",
    }  # fmt: skip
