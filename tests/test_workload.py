"""Pictures, videos and workloads as a user writes them: sizes, files, bad input; and what several of them become."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from pydantic import ValidationError

from simulator.build.pixels import sampled, visual_input
from simulator.spec.deployment import Parallelism
from simulator.spec.preprocessing import (
    CandidateTiles,
    DynamicTiles,
    Fixed,
    GridPinpoints,
    Native,
    PanAndScan,
    PatchLimit,
    VideoSampling,
)
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError
from simulator.spec.workload import Clip, Image, Picture, Video, Workload, parse_image, parse_video

QWEN = Native(patch=14, min_pixels=3136, max_pixels=12845056)
TILES = DynamicTiles(tile=448, patch=14, tokens=256)
ONEVISION = GridPinpoints(
    tile=384,
    patch=14,
    side=27,
    pinpoints=tuple((384 * tall, 384 * wide) for tall in range(1, 7) for wide in range(1, 7)),
    max_tiles=9,
    single_picture_only=True,
)


def test_sizes_in_words() -> None:
    assert parse_image("1920x1080") == Image(width=1920, height=1080)
    assert parse_image("4x1920X1080") == Image(width=1920, height=1080, count=4)
    assert parse_video("16x448x448") == Video(width=448, height=448, frames=16)
    assert Workload.model_validate({"images": ["2x640x480"], "videos": ["8x320x240"]}).images[0].count == 2


LONG = ("9" * 5000 + "x10", "a" * 5000)
BAD = (
    "0x100",
    "100x0",
    "-5x100",
    "100",
    "1x2x3x4",
    "1.5x100",
    "200000x10",
    "nanxnan",
    "0x64x64",
    "no-such.jpg",
    "1e3x10",
    "/",
)


@pytest.mark.parametrize("text", [*BAD, *LONG, "", "\0"])
def test_bad_pictures_are_one_line(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_image(text)
    assert str(caught.value).startswith("image ") and "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["448x448", "0x448x448", "16x0x448", "16x448x448x3", "no-such.mp4", "16x-1x448"])
def test_bad_videos_are_one_line(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_video(text)
    assert str(caught.value).startswith("video ") and "\n" not in str(caught.value)


@given(st.one_of(st.text(max_size=30), st.from_regex(r"-?[0-9]{1,7}(x-?[0-9]{1,7}){0,3}", fullmatch=True)))
def test_any_text_is_a_picture_or_a_spec_error(text: str) -> None:
    for parse in (parse_image, parse_video):
        try:
            parse(text)
        except SpecError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Image, {"width": 0, "height": 10}),
        (Image, {"width": 10, "height": float("nan")}),
        (Image, {"width": 10, "height": 10, "count": 0}),
        (Image, {"width": 10, "height": 10, "depth": 3}),
        (Video, {"width": 10, "height": 10}),
        (Video, {"width": 10, "height": 10, "frames": 4, "fps": 2.0, "duration": 3.0}),
        (Video, {"width": 10, "height": 10, "duration": float("inf"), "fps": 2.0}),
        (Workload, {"text_tokens": 0}),
        (Workload, {"text_tokens": -1}),
        (Workload, {"output_tokens": 0}),
        (Workload, {"batch": 0}),
        (Workload, {"processor": "medium"}),
    ],
)
def test_bad_values_are_refused(kind: type[Image] | type[Video] | type[Workload], values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(values)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Workload(batch=-1), "Workload: batch: -1 is not accepted: input should be greater than or equal to 1"),
        (lambda: Image(width=0, height=3), "Image: width: 0 is not accepted: input should be greater than or equal to 1"),
        (lambda: Image(widht=3, height=3), "Image: widht: unknown field; did you mean width or height? (and 1 more)"),
        (lambda: Workload(images=("0x10",)), "Workload: images.0: '0x10' is not accepted: image '0x10': a side of '0' pixels; accepted: 1..100000"),
        (lambda: Parallelism(tp=0), "Parallelism: tp: 0 is not accepted: input should be greater than or equal to 1"),
        (lambda: Scenario(model="a", hardware="b"), "Scenario: workload: is missing"),
        (lambda: Scenario(model="a", hardware="b", workload={"batch": 0}), "Scenario: workload.batch: 0 is not accepted: input should be greater than or equal to 1"),
        (lambda: Scenario(model="a", hardware="b", workload=Workload(), batch=3), "Scenario: batch: unknown field; did you mean workload.batch?"),
    ],
)
def test_what_is_wrong_in_python_is_one_line_too(make: Callable[[], object], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        make()
    assert str(caught.value) == said
    good = Scenario(model="a", hardware="b", workload=Workload(text_tokens=3))
    assert pickle.loads(pickle.dumps(good)) == good == Scenario.model_validate(good.model_dump())


def test_files_give_their_displayed_size(tmp_path: Path) -> None:
    picture = Pillow.effect_noise((300, 200), 40).convert("RGB")
    turned = Pillow.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=turned)
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "plain.webp")
    assert parse_image(str(tmp_path / "turned.jpg")) == Image(
        width=200, height=300, file=str(tmp_path / "turned.jpg"), format="jpeg"
    )
    assert Image.model_validate({"file": str(tmp_path / "plain.png")}).format == "png"
    workload = Workload.model_validate({"images": [str(tmp_path / "plain.webp")]})
    assert workload.pictures() == (Picture(300.0, 200.0, 1.0, "webp"),)


def test_a_scenario_travels_without_its_files(tmp_path: Path) -> None:
    Pillow.new("RGB", (30, 20)).save(tmp_path / "a.png")
    workload = Workload.model_validate({"images": [str(tmp_path / "a.png"), "2x64x48"], "videos": ["4x64x48"]})
    (tmp_path / "a.png").unlink()
    assert Workload.model_validate_json(workload.model_dump_json()) == workload


def _png_header(side: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("name", ["half.jpg", "half.png", "half.webp", "text.jpg", "empty.png", "bomb.png", "folder"])
def test_broken_files_are_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("half"):
        Pillow.effect_noise((300, 200), 40).convert("RGB").save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif name == "folder":
        path.mkdir()
    else:
        path.write_bytes({"text.jpg": b"not a picture", "empty.png": b"", "bomb.png": _png_header(60000)}[name])
    with pytest.raises(SpecError) as caught:
        parse_image(str(path))
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_video_files(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    with pytest.raises(SpecError, match="video"):
        parse_video(str(broken))
    av = pytest.importorskip("av", reason="PyAV is not installed: reading video files is left out")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(50):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video = parse_video(str(path))
    assert (video.width, video.height, video.fps) == (64, 48, 25.0)
    assert video.duration == pytest.approx(2.0)
    assert sampled(VideoSampling(fps=2.0, max_frames=32), video.clip()) == 4.0


def test_equal_crops_share_a_grid() -> None:
    once = visual_input(QWEN, [Picture(640.0, 480.0, 3.0)])
    apart = visual_input(QWEN, [Picture(640.0, 480.0)] * 3)
    assert len(apart.grids) == 1 and apart == once
    assert visual_input(TILES, [Picture(448.0, 448.0), Picture(4000.0, 300.0)]).grids[0].crops == 14.0


def test_several_pictures_are_not_tiled_where_the_checkpoint_says_so() -> None:
    assert visual_input(ONEVISION, [Picture(672.0, 672.0)]).tokens == 3699.0
    assert visual_input(ONEVISION, [Picture(672.0, 672.0, 2.0)]).tokens == 2 * 730.0
    vl2 = CandidateTiles(tile=384, patch=14, side=14, max_tiles=9, max_pictures_tiled=2)
    assert visual_input(vl2, [Picture(768.0, 768.0, 2.0)]).tokens == 2 * 1023.0
    assert visual_input(vl2, [Picture(768.0, 768.0, 3.0)]).tokens == 3 * 421.0
    counts = np.array([1.0, 2.0, 3.0])
    assert np.array_equal(visual_input(ONEVISION, [Picture(672.0, 672.0, counts)]).tokens, [3699.0, 1460.0, 2190.0])


def test_token_totals_are_whole_numbers() -> None:
    rng = np.random.default_rng(3)
    width, height = rng.integers(30, 5000, (2, 3000)).astype(float)
    tokens = np.asarray(visual_input(ONEVISION, [Picture(width, height, 7.0)]).tokens)
    assert np.array_equal(tokens, np.rint(tokens))


def test_host_pixels_and_attention_blocks() -> None:
    seen = visual_input(PanAndScan(enabled=True), [Picture(4000.0, 300.0)])
    assert (seen.images, seen.tokens, seen.source_pixels) == (5.0, 1280.0, 1.2e6)
    frames = visual_input(
        QWEN.model_copy(update={"video": VideoSampling(temporal_patch=2, min_pixels=100352, max_pixels=602112)}),
        [],
        [Clip(448.0, 448.0, 5.0)],
    )
    assert frames.grids[0].crops == 3.0 and frames.resized_pixels == 5 * 448.0**2 and frames.files == 1.0


def test_sampling_bounds() -> None:
    video = VideoSampling(fps=2.0, min_frames=4, max_frames=768, temporal_patch=2, cut_partial=True)
    duration = np.array([0.1, 1.0, 10.0, 10.6, 5000.0])
    assert np.array_equal(sampled(video, Clip(8.0, 8.0, None, duration, 30.0)), [2.0, 4.0, 20.0, 20.0, 768.0])
    kimi = PatchLimit(video=VideoSampling(temporal_patch=4))
    assert [grid.height for grid in visual_input(kimi, [], [Clip(280.0, 280.0, 9.0)]).grids] == [80.0, 20.0]


def test_nothing_to_see() -> None:
    assert visual_input(Fixed(size=336, patch=14, tokens=576), []).tokens == 0.0


def test_slender_pictures_are_refused_like_the_processor_does() -> None:
    with pytest.raises(SpecError, match="200 times"):
        visual_input(QWEN, [Picture(5000.0, 10.0)])
