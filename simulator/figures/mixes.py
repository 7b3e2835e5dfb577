"""What techniques do to each other: synergy matrix, shares of the speed-up, and the bottleneck on its way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from simulator.figures.theme import (
    BLUE,
    DIVERGING,
    GREY,
    STAGE_COLOURS,
    VERMILLION,
    Mode,
    cycle,
    figure,
    ink,
    seconds_unit,
    title,
)

STAGES = ("preprocess", "encode", "project", "prefill", "decode")


def synergy_matrix(matrix: pd.DataFrame, quantity: str, reasons: Mapping[tuple[str, str], str] | None = None, mode: Mode = "light") -> go.Figure:
    """Off the diagonal: speed-up together over the product of both alone (1: independent). On it: speed-up alone."""
    names = [str(name) for name in matrix.index]
    values = matrix.to_numpy(dtype=float).copy()
    words = np.array([[_cell(values[i, j], i == j) for j in range(len(names))] for i in range(len(names))], dtype=object)
    shown = np.log2(np.where(np.isfinite(values) & (values > 0), values, np.nan))
    np.fill_diagonal(shown, np.nan)
    reach = max(float(np.nanmax(np.abs(shown), initial=0.0)), 0.1)
    why = [[(reasons or {}).get((a, b), (reasons or {}).get((b, a), "alone" if a == b else "")) for b in names] for a in names]
    data: list[dict[str, Any]] = [
        {"type": "heatmap", "x": names, "y": names, "z": shown, "zmin": -reach, "zmax": reach, "colorscale": [[0, VERMILLION], [0.5, DIVERGING[1][1]], [1, BLUE]],
         "customdata": [[_wrapped(item) for item in row] for row in why], "xgap": 2, "ygap": 2, "showscale": False,
         "hovertemplate": "<b>%{x} with %{y}</b><br>%{customdata}<extra></extra>"},
    ]  # fmt: skip
    notes = [
        {"x": b, "y": a, "text": words[i, j], "showarrow": False,
         "font": {"size": 12, "color": ink(mode) if i == j or not np.isfinite(shown[i, j]) else "#FFFFFF" if abs(shown[i, j]) > 0.55 * reach else "#1F2933"}}
        for i, a in enumerate(names) for j, b in enumerate(names)
    ]  # fmt: skip
    return figure(
        data, mode, 150 + 52 * len(names), annotations=notes, margin={"t": 20},
        xaxis={"title": title(f"synergy in {quantity} [times; 1: independent, diagonal: speed-up alone]"), "showgrid": False, "ticks": "",
               "tickvals": names, "ticktext": [_broken(name) for name in names], "tickangle": 0},
        yaxis={"title": title("technique"), "autorange": "reversed", "showgrid": False, "ticks": ""},
    )  # fmt: skip


def _cell(value: float, alone: bool) -> str:
    if not np.isfinite(value):
        return "excl."
    return f"<b>{value:.2f}x</b>" if alone else f"{value:.2f}"


def _broken(name: str) -> str:
    """A name on as many lines as it has words."""
    return name.replace("_", "_<br>").replace("-", "-<br>")


def _wrapped(sentence: str, width: int = 70) -> str:
    lines: list[str] = [""]
    for word in sentence.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "<br>".join(lines)


def shapley_bars(factors: Mapping[str, float], total: float, quantity: str, mode: Mode = "light") -> go.Figure:
    """Each technique's factor of the speed-up; they multiply to the total."""
    ranked = sorted(factors, key=lambda name: factors[name])
    data: list[dict[str, Any]] = [
        {"type": "bar", "orientation": "h", "y": ranked, "x": [factors[name] - 1.0 for name in ranked], "base": 1.0,
         "marker": {"color": [cycle(mode)[0] if factors[name] >= 1 else VERMILLION for name in ranked]}, "text": [f"{factors[name]:.2f}x" for name in ranked],
         "textposition": "outside", "cliponaxis": False, "hovertemplate": "%{y}: <b>%{text}</b><extra></extra>"},
    ]  # fmt: skip
    edge = [min(*factors.values(), 1.0), max(*factors.values(), 1.0)]
    room = max((edge[1] - edge[0]) * 0.2, 0.02)
    line = {"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": GREY, "width": 1}}
    return figure(data, mode, 110 + 38 * len(ranked), shapes=[line], margin={"t": 16}, yaxis={"ticks": "", "title": title("")},
                  xaxis={"title": title(f"factor of the {total:.2f}x in {quantity} [times]"), "range": [edge[0] - room, edge[1] + room]})  # fmt: skip


def migration_bars(frame: pd.DataFrame, mode: Mode = "light") -> go.Figure:
    """Stage times as techniques are added one by one, left to right, with what binds above each bar."""
    totals = frame[[f"{stage}_s" for stage in STAGES]].sum(axis=1)
    factor, unit = seconds_unit(totals.tolist())
    names = ["nothing" if row == "none" else f"+ {row}" for row in frame["added"].astype(str)]
    data: list[dict[str, Any]] = [
        {"type": "bar", "x": names, "y": (frame[f"{stage}_s"] * factor).tolist(), "name": stage, "marker": {"color": STAGE_COLOURS[stage]},
         "hovertemplate": "%{x}, <b>" + stage + "</b>: %{y:.4g} " + unit + "<extra></extra>"}
        for stage in STAGES
    ]  # fmt: skip
    notes = [
        {"x": name, "y": float(total) * factor, "yanchor": "bottom", "showarrow": False, "font": {"size": 11}, "text": f"<b>{float(total) * factor:.3g} {unit}</b><br>{row.binding_stage}:<br>{row.binding_resource}"}
        for name, total, row in zip(names, totals, frame.itertuples(), strict=True)
    ]  # fmt: skip
    return figure(data, mode, 420, barmode="stack", bargap=0.35, annotations=notes, xaxis={"title": title("techniques added one by one"), "ticks": ""},
                  yaxis={"title": title(f"time of all stages [{unit}]"), "range": [0, float(totals.max()) * factor * 1.28]}, margin={"t": 44}, legend={"traceorder": "normal"})  # fmt: skip
