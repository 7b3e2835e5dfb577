"""PNGs: one browser for all of them, another where it died, a sentence where there is none."""

from __future__ import annotations

import os
import struct
import threading

import plotly.graph_objects as go
import pytest

from simulator.explorer import picture
from simulator.explorer.picture import Painter, can_draw
from simulator.spec.source import SpecError

FIGURE = go.Figure(data=[{"type": "bar", "x": [1, 2], "y": [2, 3]}])
OPTIONS = {"format": "png", "width": 300, "height": 200, "scale": 2}


@pytest.fixture
def painter():
    if not can_draw():
        pytest.skip("kaleido or Chromium is not installed: PNGs are left out")
    made = Painter()
    yield made
    made.close()


def size(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG [pixel]."""
    assert content.startswith(b"\x89PNG")
    return struct.unpack(">II", content[16:24])


def test_one_browser_draws_for_all_who_ask_at_once(painter):
    drawn: list[bytes] = []
    threads = [threading.Thread(target=lambda: drawn.append(painter.draw(FIGURE, OPTIONS))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [size(item) for item in drawn] == [(600, 400)] * 3
    used = painter._browser
    painter.draw(FIGURE, OPTIONS)
    assert painter._browser is used


def test_a_browser_that_died_is_replaced(painter):
    painter.draw(FIGURE, OPTIONS)
    painter._wait(painter._browser.close())
    with pytest.raises(SpecError, match="Chromium failed"):
        painter.draw(FIGURE, OPTIONS)
    assert size(painter.draw(FIGURE, OPTIONS)) == (600, 400)


def test_no_browser_is_a_sentence(monkeypatch):
    pytest.importorskip("kaleido", reason="kaleido is not installed")
    monkeypatch.setitem(os.environ, "BROWSER_PATH", "/nonexistent")
    with pytest.raises(SpecError, match="Chromium failed") as caught:
        Painter().draw(FIGURE, OPTIONS)
    assert "\n" not in str(caught.value)


def test_a_browser_that_hangs_is_given_up(monkeypatch):
    import asyncio

    class Hanging:
        async def open(self):
            pass

        async def calc_fig(self, *_, **__):
            await asyncio.sleep(60)

        async def close(self):
            pass

    kaleido = pytest.importorskip("kaleido", reason="kaleido is not installed")
    monkeypatch.setattr(kaleido, "Kaleido", lambda **_: Hanging())
    monkeypatch.setattr(picture, "PATIENCE", 0.2)
    painter = Painter()
    with pytest.raises(SpecError, match=r"no picture within 0.2 s"):
        painter.draw(FIGURE, OPTIONS)
    assert painter._browser is None and painter._loop is None
