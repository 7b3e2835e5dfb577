"""Figures as files: a page of their own, or a PNG where kaleido and a Chromium are installed.

One Chromium, started by the first PNG, draws for all readers, one figure after another, until the app ends.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, final

import plotly.graph_objects as go
import streamlit as st

from simulator.spec.source import SpecError

Draw = Callable[[], go.Figure]
WIDTH, SCALE = 1100, 2
"""Of a PNG: width [CSS pixel] and device pixels per CSS pixel."""
PATIENCE = 30.0
"""Longest wait for a picture [s], and for Chromium to start."""
PRESENT = "Drawn by Chromium on the server, a few seconds the first time; the camera above the figure saves a PNG without it"
ABSENT = "Needs kaleido and Chromium on the server; the camera above the figure saves a PNG without them"


@lru_cache(maxsize=1)
def can_draw() -> bool:
    """Kaleido is installed and finds a browser to draw with."""
    if find_spec("kaleido") is None:
        return False
    from choreographer.browsers.chromium import Chromium

    return Chromium.find_browser(skip_local=False) is not None


@final
class Painter:
    """Chromium under kaleido on a thread of its own. Where it fails it is closed, and the next picture starts another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._browser: Any = None

    def draw(self, figure: go.Figure, options: dict[str, Any]) -> bytes:
        """The picture. Raises SpecError, one line, where there is no browser or it does not answer in time."""
        with self._lock:
            try:
                if self._browser is None:
                    self._start()
                return self._wait(self._browser.calc_fig(figure, opts=options))
            except Exception as error:  # whatever the browser died of, the page must stand and the next click must work
                self._stop()
                reason = f"no picture within {PATIENCE:g} s" if isinstance(error, Late | TimeoutError) else " ".join(str(error).split())[:160] or type(error).__name__
                raise SpecError(f"PNG: Chromium failed ({reason}); try again, or save the HTML") from error

    def close(self) -> None:
        """End the browser; the next picture starts another."""
        with self._lock:
            self._stop()

    def _start(self) -> None:
        from kaleido import Kaleido

        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="painter", daemon=True).start()
        self._loop = loop
        browser = Kaleido(n=1, timeout=PATIENCE, mathjax=False)
        self._wait(browser.open())
        self._browser = browser

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        assert self._loop is not None
        task = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return task.result(PATIENCE)
        finally:
            task.cancel()

    def _stop(self) -> None:
        browser, loop, self._browser = self._browser, self._loop, None
        if browser is not None and loop is not None:
            with suppress(Exception):  # it is being given up
                asyncio.run_coroutine_threadsafe(browser.close(), loop).result(5.0)
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        self._loop = None


@st.cache_resource(show_spinner=False)
def painter() -> Painter:
    """The one browser of this server."""
    made = Painter()
    atexit.register(made.close)
    return made


def png(draw: Draw) -> bytes:
    """The figure as a PNG of its own height."""
    figure = draw()
    return painter().draw(figure, {"format": "png", "width": WIDTH, "height": figure.layout.height or 500, "scale": SCALE})


def html(draw: Draw) -> str:
    """The figure as a page that needs nothing else."""
    return draw().to_html(include_plotlyjs=True)


def figure_downloads(figures: dict[str, Draw], key: str) -> None:
    """A button per figure and kind of file; made when it is pressed. To be called inside a horizontal container."""
    for name, draw in figures.items():
        label = name.replace("-", " ").capitalize()
        st.download_button(f"{label} HTML", lambda draw=draw: html(draw), f"{name}.html", "text/html", key=f"{key}-{name}-html", on_click="ignore", icon=":material/download:")
        st.download_button(f"{label} PNG", lambda draw=draw: png(draw), f"{name}.png", "image/png", key=f"{key}-{name}-png", on_click="ignore", icon=":material/image:",
                           disabled=not can_draw(), help=PRESENT if can_draw() else ABSENT)  # fmt: skip
