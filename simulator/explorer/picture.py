"""Figures as files: a page of their own, or a PNG where kaleido and a Chromium are installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec

import plotly.graph_objects as go
import streamlit as st

Draw = Callable[[], go.Figure]
WIDTH, SCALE = 1100, 2
"""Of a PNG: width [CSS pixel] and device pixels per CSS pixel."""


@lru_cache(maxsize=1)
def can_draw() -> bool:
    """Kaleido is installed and finds a browser to draw with."""
    if find_spec("kaleido") is None:
        return False
    from choreographer.browsers.chromium import Chromium

    return Chromium.find_browser(skip_local=False) is not None


def png(draw: Draw) -> bytes:
    """The figure as a PNG of its own height."""
    figure = draw()
    return figure.to_image(format="png", width=WIDTH, height=figure.layout.height or 500, scale=SCALE)


def html(draw: Draw) -> str:
    """The figure as a page that needs nothing else."""
    return draw().to_html(include_plotlyjs=True)


def figure_downloads(figures: dict[str, Draw], key: str) -> None:
    """A button per figure and kind of file; made when it is pressed. To be called inside a horizontal container."""
    for name, draw in figures.items():
        label = name.replace("-", " ").capitalize()
        st.download_button(f"{label} HTML", lambda draw=draw: html(draw), f"{name}.html", "text/html", key=f"{key}-{name}-html", on_click="ignore", icon=":material/download:")
        st.download_button(f"{label} PNG", lambda draw=draw: png(draw), f"{name}.png", "image/png", key=f"{key}-{name}-png", on_click="ignore", icon=":material/image:",
                           disabled=not can_draw(), help=None if can_draw() else "Needs kaleido and Chromium on the server; the camera above the figure saves one without them")  # fmt: skip
