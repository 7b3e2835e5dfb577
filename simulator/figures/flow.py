"""The token river: how many visual tokens are alive at each step from patches to the last decoder layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from simulator.figures.theme import BASELINE, Mode, cycle, figure, ink, title, translucent

_ENDS = {"patches": (0.0, 0.0), "encoder": (0.02, 0.44), "projector": (0.47, 0.47), "entering": (0.57, 0.57), "decoder": (0.575, 1.0)}
_BANKS = {"vision encoder": 0.23, "projector": 0.52, "language model": 0.79}


def token_river(frames: Mapping[str, pd.DataFrame], mode: Mode = "light") -> go.Figure:
    """`frames`: label -> frame of `river`. Rivers of different models share the same banks (encoder left, decoder right)."""
    data: list[dict[str, Any]] = []
    for position, (label, frame) in enumerate(frames.items()):
        base = position == 0 and len(frames) > 1
        colour = BASELINE if base else cycle(mode)[max(position - 1, 0) % 8]
        names = [f"{row.place} layer {row.layer}" if row.place in ("encoder", "decoder") else str(row.place) for row in frame.itertuples()]
        last = float(frame["tokens"].iloc[-1])
        data.append(
            {
                "type": "scatter", "mode": "lines", "x": [*_places(frame), 1.02], "y": [*frame["tokens"], last], "name": label,
                "line": {"shape": "hv", "color": colour, "width": 2, "dash": "dot" if base else "solid"}, "fill": "tozeroy",
                "fillcolor": translucent(colour, 0.2), "text": [*names, names[-1]],
                "hovertemplate": label + ", %{text}: <b>%{y:,.0f}</b> tokens<extra></extra>",
            }
        )  # fmt: skip
    top = max((float(frame["tokens"].max()) for frame in frames.values()), default=1.0)
    notes = [{"x": x, "y": 1.0, "yref": "paper", "yanchor": "bottom", "text": words, "showarrow": False, "font": {"size": 11}} for words, x in _BANKS.items()]
    edges = [{"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x, "line": {"color": ink(mode), "width": 0.6, "dash": "dot"}} for x in (0.47, 0.57)]
    return figure(
        data, mode, 290, annotations=notes, shapes=edges, legend={"y": 1.09}, margin={"t": 52},
        xaxis={"showticklabels": False, "ticks": "", "showgrid": False, "range": [-0.005, 1.02], "title": title("from patches to the last layer")},
        yaxis={"title": title("visual tokens alive [tokens]"), "range": [0, max(top, 1.0) * 1.06]},
    )  # fmt: skip


def _places(frame: pd.DataFrame) -> list[float]:
    counts = frame.groupby("place")["step"].transform("count")
    rank = frame.groupby("place").cumcount()
    out: list[float] = []
    for place, index, count in zip(frame["place"], rank, counts, strict=True):
        start, stop = _ENDS[place]
        out.append(start + (stop - start) * index / max(count, 1))
    return out
