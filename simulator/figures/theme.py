"""Colours and the one Plotly template of every figure.

The palette is that of Okabe and Ito (Color Universal Design, 2008), which stays apart under the common kinds of colour
blindness; identity is never carried by colour alone (labels, symbols and hatches repeat it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import plotly.graph_objects as go
import plotly.io as pio

Mode = Literal["light", "dark"]

ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#999999"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, GREY, YELLOW)
BASELINE = GREY

STAGE_COLOURS = {
    "preprocess": GREY,
    "encode": ORANGE,
    "project": PURPLE,
    "prefill": SKY,
    "decode": GREEN,
    "overhead": "#C8C8C8",
}
SYMBOLS = {"preprocess": "x", "encode": "circle", "project": "diamond", "prefill": "square", "decode": "triangle-up"}
SEQUENTIAL = "Cividis"
DIVERGING = [[0.0, BLUE], [0.5, "#F2F2F2"], [1.0, VERMILLION]]

_INK: dict[Mode, tuple[str, str, str, str]] = {
    "light": ("#1F2933", "rgba(31,41,51,0.12)", "#FFFFFF", "#FFFFFF"),
    "dark": ("#E8ECF1", "rgba(232,236,241,0.16)", "#1B2027", "#11151A"),
}
FONT = "Source Sans Pro, Source Sans, Helvetica, Arial, sans-serif"


def cycle(mode: Mode) -> tuple[str, ...]:
    """Colours of series in order; on a dark page the two blues change places, as a dark one is hard to see there."""
    swapped = {BLUE: SKY, SKY: BLUE} if mode == "dark" else {}
    return tuple(swapped.get(colour, colour) for colour in CYCLE)


def template(mode: Mode = "light") -> go.layout.Template:
    """The page's own background (a saved picture has it too), thin grid, horizontal legend above the plot."""
    ink, grid, card, page = _INK[mode]
    axis = {"gridcolor": grid, "linecolor": grid, "zerolinecolor": grid, "ticks": "outside", "tickcolor": grid,
            "automargin": True, "title": {"standoff": 8, "font": {"size": 12}}, "exponentformat": "SI extended"}  # fmt: skip
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 12, "color": ink},
            "title": {"font": {"size": 15}, "x": 0.0, "xanchor": "left", "y": 1.0, "yanchor": "top", "yref": "container", "pad": {"t": 6}},
            "paper_bgcolor": page,
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(cycle(mode)),
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0.0, "xanchor": "left", "font": {"size": 11}},
            "hoverlabel": {"bgcolor": card, "font": {"color": ink, "family": FONT}, "align": "left"},
            "margin": {"l": 10, "r": 10, "t": 60, "b": 10},
        }
    )


for _mode in ("light", "dark"):
    pio.templates[f"lvlm-{_mode}"] = template(_mode)


def ink(mode: Mode) -> str:
    """Colour of text and lines that must be seen on this background."""
    return _INK[mode][0]


def paper(mode: Mode) -> str:
    """Colour of the page behind a figure."""
    return _INK[mode][3]


def figure(data: Sequence[Mapping[str, Any]], mode: Mode, height: int, **layout: Any) -> go.Figure:
    """Traces and layout as plain data, checked by Plotly once, in the house style."""
    return go.Figure(data=list(data), layout={"template": f"lvlm-{mode}", "height": height, **layout})


def title(words: str) -> dict[str, Any]:
    """Title of an axis; every axis has one, with its unit."""
    return {"text": words}


def log_axis(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis whose every tick is written out: 1, 2, 5 within three decades, powers of ten beyond."""
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    low, high = (math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))) if positive else (0, 1)
    steps = (1, 2, 5) if high - low <= 3 else (1,)
    ticks = [step * 10.0**power for power in range(low, high + 1) for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.12g}" for tick in ticks]}


def seconds_unit(values: Sequence[float]) -> tuple[float, str]:
    """(factor, unit) in which the largest of some seconds reads well."""
    largest = max((abs(value) for value in values), default=0.0)
    return (1.0, "s") if largest >= 1.0 else (1e3, "ms") if largest >= 1e-3 else (1e6, "µs")


def translucent(colour: str, alpha: float) -> str:
    """`#RRGGBB` as rgba."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
