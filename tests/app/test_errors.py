"""What cannot be is a sentence and a way out, never a traceback; long work stops when it is told to."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image as Picture
from streamlit.testing.v1 import AppTest

from simulator.explorer import work
from simulator.explorer.registry import PAGES
from simulator.explorer.upload import LIMIT_MB, sizes_of
from simulator.spec.source import SpecError
from tests.app.driver import app, metric, page, said


def _png(width: int, height: int) -> bytes:
    """A PNG whose head claims that size, with next to nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Picture.new("RGB", (640, 480)).save(buffer, "JPEG")
    return buffer.getvalue()


UPLOADS = {
    "truncated.jpg": _jpeg()[:150], "bomb.png": _png(2_000_000, 2_000_000), "wide.png": _png(300_000, 1), "text.png": b"this is no picture",
    "page.jpg": b"<html></html>", "empty.webp": b"", "noise.mp4": bytes(range(256)) * 40, "named.bmp": _png(10, 10)[:20],
}  # fmt: skip


@pytest.mark.parametrize("name", UPLOADS)
def test_bad_upload_is_a_sentence_that_names_the_file(name):
    with pytest.raises(SpecError) as caught:
        sizes_of(name, UPLOADS[name])
    said = str(caught.value)
    assert name in said and "\n" not in said and "/tmp" not in said and len(said) < 400


@pytest.mark.parametrize("name", ["bomb.png", "text.png", "noise.mp4"])
def test_bad_upload_leaves_the_page_standing(name):
    test = app()
    before = [item.value for item in test.metric]
    kind = "video/mp4" if name.endswith("mp4") else "image/png"
    test.file_uploader(key="drop").set_value((name, UPLOADS[name], kind)).run()
    assert not test.exception and name in said(test) and "Try another file" in said(test)
    assert [item.value for item in test.metric] == before


def test_uploads_are_limited():
    assert app().file_uploader(key="drop").proto.max_upload_size_mb == LIMIT_MB


NONSENSE = {
    "model": "../../etc/passwd", "hw": "<script>", "look": "none of these", "text": "1e99", "out": "-5", "batch": "NaN", "with": ["fastv", "", "no-such"],
    "fastv.keep": "-inf", "fastv.layer": "999999999", "tp": "0", "fmt": "fp3", "vtp": "1e9", "w": "0", "codec": "gif", "sec": "nan", "pre": "maybe",
    "techniques": "all", "s.x": "x", "s.y": "y", "s.metric": "m", "cmp.hw": ["nothing"], "cmp.metric": "?", "d.mix": ["?"], "d.batch": ["7"], "d.ttft": "-1",
    "d.x": "?", "i.mix": ["?", "!"], "i.of": "?", "c.dev": ["?"], "c.run": "/etc/passwd", "c.on": "?", "l.stage": "?", "l.cat": "?", "l.axis": "?", "l.method": ["?"],
}  # fmt: skip


@pytest.mark.parametrize("entry", PAGES, ids=lambda entry: entry.module)
def test_an_address_of_nonsense_opens_the_page(entry):
    test = page(entry.module, **NONSENSE)
    assert not test.exception, test.exception


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1"])
def test_sizes_of_nonsense(seconds):
    test = app(look="Own sizes", vn="1", n="0", sec=seconds, fps=seconds, vw="999999", frames="-3")
    assert not test.exception and metric(test, "TTFT")


def test_a_model_without_video_offers_one_with_it_or_pictures():
    test = app(look="Hour of 360p video", model="llava-1.5-7b", **{"with": ""})
    assert "takes no video" in said(test)
    next(button for button in test.button if button.label.startswith("Ask ")).click().run()
    assert not test.error and not test.exception and metric(test, "TTFT") and test.selectbox(key="look").value == "hour"
    test = app(look="Clip, 16 frames 448x448", model="llava-1.5-7b", **{"with": ""})
    next(button for button in test.button if button.label.startswith("Show 4 frames")).click().run()
    assert not test.exception and test.number_input(key="n").value == 4
    assert metric(test, "TTFT") and not test.error


def _long() -> None:
    """A sweep of many groups; the run that is stopped leaves its trace in the session."""
    import streamlit as st

    from simulator import Image, Scenario, Workload
    from simulator.explorer import work
    from simulator.search import sweep

    def slow(*args, advance, **rest):
        def told(done: int, size: int) -> None:
            st.session_state["advanced"] = st.session_state.get("advanced", 0) + 1
            if st.session_state.pop("interrupt", False):  # as pressing Stop does: the next message of the script ends it
                st.session_state["sweep-go"] = ""
                st.rerun()
            advance(done, size)

        return sweep(*args, advance=told, **rest)

    work.sweep = slow
    work._remembered().clear()
    base = Scenario(model="qwen2.5-vl-7b", hardware="l40s", workload=Workload(images=(Image(width=640, height=480),)))
    axes = {"hardware": ["l40s", "h100-sxm", "b200-sxm", "a100-sxm-80gb"], "engine": ["vllm", "sglang", "hf-sdpa"], "workload.batch": [1, 2, 4]}
    frame = work.swept(base, axes, ["latency_s"], "sweep")
    st.text("none" if frame is None else str(len(frame)))


def test_long_work_waits_runs_and_can_be_stopped(monkeypatch):
    monkeypatch.setattr(work, "AT_ONCE", 1)
    monkeypatch.setattr(work, "sweep", work.sweep)  # the script puts its own there
    test = AppTest.from_function(_long, default_timeout=120).run()
    assert test.text[0].value == "none" and "36 points" in said(test), "large work waits to be asked for"
    start = next(button for button in test.button if button.label.startswith("Evaluate 36"))
    test.session_state["interrupt"] = True
    start.click().run()
    assert not test.exception
    assert test.text[0].value == "none" and test.session_state["advanced"] == 1, "stopped at the first sign of life"
    next(button for button in test.button if button.label.startswith("Evaluate 36")).click().run()
    assert test.text[0].value == "36" and not test.exception
    assert not [button for button in test.button if button.label == "Stop"], "bar and button go when the work is done"
