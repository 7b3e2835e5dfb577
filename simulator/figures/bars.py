"""Where the time goes: one bar per estimate, its stages stacked, the 80 % band at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from simulator.figures.theme import STAGE_COLOURS, Mode, figure, ink, seconds_unit, title
from simulator.quantity import text
from simulator.request import Estimate

FIRST = ("preprocess", "encode", "project", "prefill")


def stage_bars(results: Mapping[str, Estimate], mode: Mode = "light") -> go.Figure:
    """Two panels: time to first token, and the whole answer. `results`: label -> estimate, top to bottom."""
    labels = list(results)[::-1]
    chosen = [results[label] for label in labels]
    data: list[dict[str, Any]] = []
    units: list[str] = []
    for panel, (name, stages) in enumerate((("ttft_s", (*FIRST, "overhead")), ("latency_s", (*FIRST, "overhead", "decode")))):
        factor, unit = seconds_unit([getattr(item, f"{name}_upper") for item in chosen])
        units.append(unit)
        axes = {"xaxis": f"x{panel + 1}" if panel else "x", "yaxis": "y"}
        data += [_stage(stage, labels, chosen, factor) | axes | {"showlegend": panel == 1} for stage in stages]
        data.append(_band(name, labels, chosen, factor, mode) | axes)
    heads = [
        {"text": words, "x": x, "y": 1.0, "xref": "paper", "yref": "paper", "showarrow": False, "xanchor": "left", "yanchor": "bottom",
         "yshift": 4, "font": {"size": 12}}
        for words, x in (("Time to first token", 0.0), ("Whole answer", 0.53))
    ]  # fmt: skip
    return figure(
        data, mode, 165 + 58 * len(labels), barmode="stack", bargap=0.35, annotations=heads,
        xaxis={"domain": [0.0, 0.47], "title": title(f"time to first token [{units[0]}]"), "rangemode": "tozero"},
        xaxis2={"domain": [0.53, 1.0], "title": title(f"latency [{units[1]}]"), "rangemode": "tozero", "anchor": "y"},
        yaxis={"ticks": ""}, legend={"y": 0.0, "yref": "container", "yanchor": "bottom"}, margin={"t": 28, "b": 74},
    )  # fmt: skip


def _stage(stage: str, labels: list[str], chosen: list[Estimate], factor: float) -> dict[str, Any]:
    seconds = [item.overhead_s if stage == "overhead" else float(item.stages[stage].seconds) for item in chosen]
    bounds = ["engine" if stage == "overhead" else item.stages[stage].bound for item in chosen]
    return {
        "type": "bar", "orientation": "h", "y": labels, "x": [value * factor for value in seconds],
        "name": "engine" if stage == "overhead" else stage, "marker": {"color": STAGE_COLOURS[stage]}, "legendgroup": stage,
        "customdata": [[text(value, "s"), bound] for value, bound in zip(seconds, bounds, strict=True)],
        "hovertemplate": "%{y}, <b>%{fullData.name}</b>: %{customdata[0]}<br>bound by %{customdata[1]}<extra></extra>",
    }  # fmt: skip


def _band(name: str, labels: list[str], chosen: list[Estimate], factor: float, mode: Mode) -> dict[str, Any]:
    totals = [getattr(item, name) for item in chosen]
    lower = [getattr(item, f"{name}_lower") for item in chosen]
    upper = [getattr(item, f"{name}_upper") for item in chosen]
    return {
        "type": "scatter", "mode": "markers", "showlegend": False, "y": labels, "x": [value * factor for value in totals],
        "marker": {"size": 7, "symbol": "line-ns", "line": {"width": 2, "color": ink(mode)}},
        "error_x": {
            "array": [(high - total) * factor for high, total in zip(upper, totals, strict=True)],
            "arrayminus": [(total - low) * factor for low, total in zip(lower, totals, strict=True)],
            "symmetric": False, "type": "data", "color": ink(mode), "thickness": 1.5, "width": 5,
        },
        "customdata": [[text(a, "s"), text(b, "s"), text(c, "s")] for a, b, c in zip(totals, lower, upper, strict=True)],
        "hovertemplate": "%{y}: <b>%{customdata[0]}</b><br>80 % band %{customdata[1]} to %{customdata[2]}<extra></extra>",
    }  # fmt: skip
