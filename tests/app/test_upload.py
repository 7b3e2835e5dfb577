"""What is dropped enters as its size, and rubbish as a sentence."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from simulator.explorer.upload import sizes_of
from simulator.figures.runs import predicted, read_run, run_errors
from simulator.spec.source import SpecError


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
    assert len(frame) == 1  # the last row of a case counts, and only what is ok
    assert frame["error"].iloc[0] == pytest.approx(1 / 1.1 - 1)
    assert run_errors(frame)["cases"].tolist() == [1]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2\n", (HEAD + "gemm,bf16,1,1,1,cold,1,,error,x\n").encode()])
def test_bad_runs_are_a_sentence(content):
    with pytest.raises(SpecError) as caught:
        read_run(content, "mine.csv")
    assert str(caught.value).startswith("mine.csv: ") and "\n" not in str(caught.value)
