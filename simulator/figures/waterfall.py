"""Peak memory of the fullest device as a waterfall against its capacity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from simulator.figures.theme import BASELINE, VERMILLION, Mode, cycle, figure, title, translucent
from simulator.quantity import text

GB = 1e9
_LINE = {"color": VERMILLION, "dash": "dash", "width": 1.5}


def memory_waterfall(parts: Mapping[str, pd.DataFrame], mode: Mode = "light") -> go.Figure:
    """`parts`: label -> frame of `memory_parts`. One waterfall per label over the same owners."""
    colours = cycle(mode) if len(parts) == 1 else (BASELINE, *cycle(mode))
    data: list[dict[str, Any]] = []
    capacities: dict[float, list[str]] = {}
    for position, (label, frame) in enumerate(parts.items()):
        fits = frame.attrs["fits"]
        capacities.setdefault(frame.attrs["capacity"], []).append(label)
        values = [*frame["bytes"], frame.attrs["peak"]]
        colour = colours[position % len(colours)]
        part = {"marker": {"color": translucent(colour, 0.65)}}
        data.append(
            {
                "type": "waterfall", "x": [*frame["part"], "peak"], "y": [value / GB for value in values],
                "measure": ["relative"] * len(frame) + ["total"], "name": label + ("" if fits else ": does not fit"),
                "offsetgroup": str(position), "increasing": part, "decreasing": part,
                "totals": {"marker": {"color": colour if fits else VERMILLION}},
                "connector": {"line": {"color": colour, "width": 1, "dash": "dot"}}, "showlegend": False,
                "text": [_short(value / GB) for value in values], "textposition": "outside", "textfont": {"size": 11}, "cliponaxis": False,
                "customdata": [[text(value, "B")] for value in values], "hovertemplate": label + ", <b>%{x}</b>: %{customdata[0]}<extra></extra>",
            }
        )  # fmt: skip
        data.append({"type": "bar", "x": [None], "y": [None], "name": data[-1]["name"], "marker": {"color": colour}})
    for size, labels in capacities.items():
        whose = "" if len(capacities) == 1 else f" of the {' and '.join(labels)}"
        data.append({"type": "scatter", "mode": "lines", "x": [None], "y": [None], "name": f"capacity{whose}: {_short(size / GB)} GB", "line": _LINE})
    shapes = [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": size / GB, "y1": size / GB, "line": _LINE} for size in capacities]
    owners = list(dict.fromkeys(name for frame in parts.values() for name in (*frame["part"], "peak")))
    top = max([*capacities, *(frame.attrs["peak"] for frame in parts.values())]) / GB
    return figure(
        data, mode, 430, shapes=shapes, waterfallgap=0.25, waterfallgroupgap=0.1, margin={"t": 44},
        yaxis={"title": title("memory of the fullest device [GB]"), "tickformat": ",", "range": [0, top * 1.12]}, xaxis={"title": title("owner"), "ticks": "", "type": "category", "tickvals": owners, "ticktext": [owner.replace(" ", "<br>") for owner in owners]},
    )  # fmt: skip


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
