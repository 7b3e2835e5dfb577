"""What is dropped enters as its size, and rubbish as a sentence."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from PIL import Image

from simulator.explorer import calibration, upload
from simulator.explorer.upload import sizes_of
from simulator.figures.runs import predicted, read_run, run_errors
from simulator.spec.source import SpecError
from tests.app.driver import app, page, said


def picture(width: int, height: int, kind: str = "JPEG", orientation: int = 1) -> bytes:
    """A file of that size."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(buffer, kind, exif=exif)
    return buffer.getvalue()


def test_picture_enters_as_its_size():
    state = sizes_of("desk.jpg", picture(640, 480))
    assert (state["w"], state["h"], state["codec"], state["n"], state["look"]) == (640, 480, "jpeg", 1, "custom")


def test_turned_picture_is_turned():
    state = sizes_of("phone.jpg", picture(640, 480, orientation=6))
    assert (state["w"], state["h"]) == (480, 640)


@pytest.mark.parametrize("name, content", [("a.jpg", b""), ("a.png", b"not a picture"), ("a.jpg", picture(640, 480)[:2000]), ("a.mp4", b"\x00" * 64)])
def test_rubbish_is_named(name, content):
    with pytest.raises(SpecError) as caught:
        sizes_of(name, content)
    assert name in str(caught.value) and "\n" not in str(caught.value) and "/tmp" not in str(caught.value)


HEAD = "op,format,m,n,k,mode,footprint_bytes,seconds,status,case\n"


def test_run_against_predictions():
    rows = "gemm,bf16,1024,4096,4096,cold,1e12,{},ok,a\ngemm,bf16,2048,4096,4096,cold,1e12,9.0,error,b\ngemm,bf16,1024,4096,4096,cold,1e12,{},ok,a\n"
    from simulator import kernel_seconds

    truth = float(kernel_seconds("gemm", "h100-sxm", "vllm", "bf16", m=1024, n=4096, k=4096, footprint=1e12).expected)
    frame = predicted(read_run((HEAD + rows.format(1.0, truth * 1.1)).encode()), "h100-sxm")
    assert read_run((HEAD + rows.format(1.0, 2.0)).encode()).attrs["cases"] == 2
    assert len(frame) == 1  # the last row of a case counts, and only what is ok
    assert frame["error"].iloc[0] == pytest.approx(1 / 1.1 - 1)
    assert run_errors(frame)["cases"].tolist() == [1]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2\n", (HEAD + "gemm,bf16,1,1,1,cold,1,,error,x\n").encode()])
def test_bad_runs_are_a_sentence(content):
    with pytest.raises(SpecError) as caught:
        read_run(content, "mine.csv")
    assert str(caught.value).startswith("mine.csv: ") and "\n" not in str(caught.value)


def _bmp(width: int, height: int) -> bytes:
    """The head of a BMP that claims that size."""
    return b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little") + width.to_bytes(4, "little") + height.to_bytes(4, "little") + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)


WRONG = {
    "page.png": (b"<html><script>alert(1)</script></html>", "first bytes"),
    "drawing.png": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "first bytes"),
    "drawing.svg": (b"<svg/>", "neither a picture"),
    "noname": (picture(8, 8), "neither a picture"),
    "scan.tiff": (b"II*\0", "neither a picture"),
    "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "first bytes"),
    "archive.png": (b"PK\x03\x04" + bytes(64), "first bytes"),
    "bomb.bmp": (_bmp(20_000, 20_000), "million"),
    "big.bmp": (_bmp(10_001, 10_000), "million"),
    "list.mp4": (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hosts\n", "first bytes"),
    "script.mkv": (b"ffconcat version 1.0\nfile other.mp4\n", "first bytes"),
    "photo.mp4": (picture(8, 8), "first bytes"),
    "empty.mp4": (b"\0\0\0\x18ftypmp42" + bytes(64), "unreadable|PyAV"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_picture_or_video_is_refused_before_it_is_decoded(name):
    content, reason = WRONG[name]
    with pytest.raises(SpecError, match=reason) as caught:
        sizes_of(name, content)
    assert str(caught.value).startswith(f"{name}: ") or name in str(caught.value)


def test_too_large_is_refused_before_it_is_looked_at(monkeypatch):
    monkeypatch.setattr(upload, "LIMIT_MB", 0.001)
    monkeypatch.setattr(upload, "_check_picture", lambda *_: pytest.fail("looked at"))
    with pytest.raises(SpecError, match=r"at most 0\.001 MB"):
        sizes_of("large.png", b"\x89PNG\r\n\x1a\n" + bytes(1000))


def test_too_large_is_a_sentence_on_the_page(monkeypatch):
    monkeypatch.setattr(upload, "LIMIT_MB", 1)
    test = app()
    test.file_uploader(key="drop").set_value(("large.png", bytes(1_000_001), "image/png")).run()
    assert "large.png" in said(test) and "MB" in said(test) and "Try another file" in said(test) and not test.exception


def test_too_large_a_run_is_a_sentence_on_the_page(monkeypatch):
    monkeypatch.setattr(calibration, "LIMIT_MB", 1)
    test = page("calibration", **{"c.tab": calibration.RUNS, "c.run": calibration.UPLOADED})
    test.file_uploader(key="c.file").set_value(("gemm.csv", bytes(1_000_001), "text/csv")).run()
    assert "gemm.csv" in said(test) and "MB" in said(test) and not test.exception


def test_sides_beyond_the_widgets_are_a_sentence():
    with pytest.raises(SpecError, match="at most 32768 a side"):
        sizes_of("strip.png", picture(40_000, 2, "PNG"))


BOMBS = {
    "wide row": (HEAD + "gemm,bf16,1,1,1,cold,1,1,ok,a" + ",1" * 100_000 + "\n").encode(),
    "wide head": b"a," * 100_000 + b"\n1,2\n",
    "zip": b"PK\x03\x04" + bytes(100),
    "gzip": gzip.compress((HEAD + "gemm,bf16,1,1,1,cold,1,1,ok,a\n" * 9).encode()),
    "open quote": (HEAD + '"' + "x" * 5_000).encode(),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_run_that_would_fill_the_memory_is_refused(name):
    with pytest.raises(SpecError, match="not a CSV table"):
        read_run(BOMBS[name], "mine.csv")


def test_a_run_with_nonsense_in_some_rows_shows_the_others():
    rows = "gemm,bf16,abc,1,1,cold,1,1.0,ok,a\ngemm,bf16,1e300,1,1,cold,1,1.0,ok,b\ngemm,bf16,8,8,8,cold,x,inf,ok,c\ngemm,bf16,64,64,64,cold,x,1.0,ok,d\n"
    frame = predicted(read_run((HEAD + rows).encode()), "h100-sxm")
    assert len(frame) == 1 and np.isfinite(frame["error"]).all()


def clip(path, frames: int = 20, rate: int = 10) -> bytes:
    """A film of 64 x 48 pixels."""
    av = pytest.importorskip("av", reason="PyAV is not installed: reading video files is left out")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.mov"])
def test_video_enters_as_its_size_and_length(name, tmp_path):
    state = sizes_of(name, clip(tmp_path / name))
    assert (state["vw"], state["vh"], state["vn"], state["n"]) == (64, 48, 1, 0)
    assert state["sec"] == pytest.approx(2.0, rel=0.06) and state["fps"] == pytest.approx(10.0, rel=0.01)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_cut_off_video_is_a_sentence_or_its_size(share, tmp_path):
    """An MP4 without its index cannot be read; one line says so."""
    content = clip(tmp_path / "clip.mp4")
    with pytest.raises(SpecError, match=r"clip\.mp4") as caught:
        sizes_of("clip.mp4", content[: int(len(content) * share)])
    assert "\n" not in str(caught.value) and "/tmp" not in str(caught.value)


def test_a_dropped_video_is_what_the_page_looks_at(tmp_path):
    content = clip(tmp_path / "clip.mp4")
    test = app()
    before = [item.value for item in test.metric]
    test.file_uploader(key="drop").set_value(("clip.mp4", content, "video/mp4")).run()
    assert not test.exception and test.selectbox(key="look").value == "custom" and test.number_input(key="vw").value == 64
    assert [item.value for item in test.metric] != before
