"""Every operator against the chip: intensity across, achieved rate up, both logarithmic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from simulator.figures.theme import STAGE_COLOURS, SYMBOLS, Mode, figure, ink, title, translucent
from simulator.quantity import text
from simulator.spec.hardware import Chip

EDGE = 0.03
"""Operators with fewer matrix FLOPs per byte stand at this intensity [FLOP/B]; their height below the roof is then their share of bandwidth."""
LOWEST = 1e-8
"""Points below this share of the peak stand on the bottom line."""

_HOVER = (
    "<b>%{customdata[0]}</b> (%{customdata[1]}, %{customdata[2]})<br>%{customdata[3]} in %{customdata[4]} calls, %{customdata[5]} of all"
    "<br>%{customdata[6]}, %{customdata[7]}<br>bound: %{customdata[8]}<br>efficiency: %{customdata[9]}<extra></extra>"
)


def roofline(frames: Mapping[str, pd.DataFrame], chip: Chip, format: str = "bf16", mode: Mode = "light") -> go.Figure:
    """Points of `operators(scenario)` per label; of two or more the first is hollow. Area grows with seconds; the smallest share of
    time that is drawn is one in ten thousand."""
    drawn = {label: frame[frame["share"] > 1e-4] for label, frame in frames.items()}
    lines, notes, right = _roof(chip, format, drawn, mode)
    top = max(float(np.max(line["y"])) for line in lines)
    longest = max((float(frame["seconds"].max()) for frame in drawn.values() if len(frame)), default=1.0)
    data = list(lines)
    lowest, last = np.inf, len(drawn) - 1
    kept = set(list(drawn.values())[-1]["stage"]) if drawn else set()
    for position, (label, frame) in enumerate(drawn.items()):
        for stage, rows in frame.groupby("stage", sort=False):
            hollow = position == 0 and len(drawn) > 1
            data.append(_points(label, str(stage), rows, longest, hollow, position == last or stage not in kept, top * LOWEST, mode))
            lowest = min(lowest, float(np.min(data[-1]["y"])))
    return figure(
        data, mode, 430, annotations=notes,
        xaxis={"type": "log", "title": title("intensity [FLOP/B]; few or no matrix FLOPs: left edge"), "exponentformat": "power",
               "dtick": 1, "range": [np.log10(EDGE) - 0.25, np.log10(right)]},
        yaxis={"type": "log", "title": title("achieved [FLOP/s]"), "dtick": 1, "range": [np.log10(max(min(lowest, top), 1.0)) - 0.4, np.log10(top) + 0.6]},
        legend={"itemsizing": "constant"}, margin={"t": 44},
    )  # fmt: skip


def _points(label: str, stage: str, rows: pd.DataFrame, longest: float, hollow: bool, legend: bool, low: float, mode: Mode) -> dict[str, Any]:
    colour = STAGE_COLOURS[stage]
    x = np.maximum(rows["intensity"].to_numpy(), EDGE)
    y = np.maximum(np.maximum(rows["flops"], EDGE * rows["bytes"]).to_numpy() / np.maximum(rows["seconds"].to_numpy(), 1e-30), low)
    return {
        "type": "scatter", "mode": "markers", "x": x, "y": y, "name": stage, "legendgroup": stage, "showlegend": legend,
        "marker": {
            "symbol": SYMBOLS[stage] + ("-open" if hollow else ""), "size": 6 + 26 * np.sqrt(rows["seconds"].to_numpy() / longest),
            "color": colour if hollow else translucent(colour, 0.7),
            "line": {"width": 1.5 if hollow else 0.8, "color": colour if hollow else ink(mode)},
        },
        "customdata": [
            [str(row.operator), label, stage, text(float(row.seconds), "s"), f"{row.calls:.0f}", f"{row.share:.1%}",
             text(float(row.flops), "FLOP"), text(float(row.bytes), "B"), str(row.bound), f"{row.source} ({row.fit})"]
            for row in rows.itertuples()
        ],
        "hovertemplate": _HOVER,
    }  # fmt: skip


def _roof(
    chip: Chip, format: str, frames: Mapping[str, pd.DataFrame], mode: Mode
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], float]:
    """Roof lines, their labels, and where the axis ends."""
    used = (str(name) for frame in frames.values() for name in frame.loc[frame["flops"] > 0, "format"].unique())
    runs = dict.fromkeys(chip.executed_format(name) for name in (format, *used) if name != "vector")
    peaks = {name: float(chip.peak[name]) for name in runs}
    bandwidth = float(chip.bandwidth)
    furthest = (float(frame["intensity"].max()) for frame in frames.values() if len(frame))
    right = 10.0 * max([3e3, *(peak / bandwidth * 3 for peak in peaks.values()), *(value / 3 for value in furthest)])
    lines: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for name, peak in peaks.items():
        ridge = peak / bandwidth
        lines.append({"type": "scatter", "mode": "lines", "x": [EDGE, ridge, right], "y": [EDGE * bandwidth, peak, peak],
                      "line": {"color": ink(mode), "width": 1.3}, "showlegend": False, "hoverinfo": "skip"})  # fmt: skip
        notes.append({"x": np.log10(ridge) - 0.15, "y": np.log10(peak), "xanchor": "right", "yanchor": "middle", "text": f"{name} {text(peak, 'FLOP/s')}"})
    notes.append({"x": np.log10(0.5), "y": np.log10(0.5 * bandwidth), "xanchor": "right", "yanchor": "bottom", "text": f"memory {text(bandwidth, 'B/s')}"})
    return lines, [note | {"showarrow": False, "font": {"size": 11}} for note in notes], right
