"""A dropped picture or video enters as its size; the file itself is not kept.

Nothing is handed to a decoder before its length, its first bytes and the pixels it claims have been looked at.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from simulator.explorer.assign import assign
from simulator.explorer.looks import CUSTOM
from simulator.explorer.workload_limits import CLIP_RATE, CLIP_SECONDS, SIDE
from simulator.spec.media import picture_size, video_size
from simulator.spec.source import SpecError

PICTURES = ("png", "jpg", "jpeg", "webp", "bmp")
VIDEOS = ("mp4", "mov", "m4v", "webm", "mkv", "avi")
LIMIT_MB = 50
PIXELS = 100_000_000
"""Most pixels of a picture that is decoded, to see whether it is whole."""

_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def media_drop(defaults: Mapping[str, Any]) -> None:
    """The file field; its callback turns what was dropped into sizes. defaults: of the size widgets."""
    st.file_uploader(
        "Picture or video", type=[*PICTURES, *VIDEOS], key="drop", max_upload_size=LIMIT_MB, on_change=_take, args=(defaults,), label_visibility="collapsed",
        help=f"Read for its size only, at most {LIMIT_MB} MB; nothing is kept.",
    )  # fmt: skip
    problem = st.session_state.get("drop_problem", "")
    if problem:
        st.error(problem)


def _take(defaults: Mapping[str, Any]) -> None:
    st.session_state["drop_problem"] = ""
    dropped = st.session_state.get("drop")
    if dropped is None:
        return
    try:
        check_length(dropped.name, dropped.size, LIMIT_MB)
        assign(sizes_of(dropped.name, dropped.getvalue()), defaults)
    except SpecError as error:
        reason = str(error).split(":", 1)[-1].strip()
        st.session_state["drop_problem"] = f"{dropped.name}: {reason}. Try another file, or choose own sizes above."


def check_length(name: str, length: int, limit_mb: float) -> None:
    """Raises SpecError where a file is longer than it may be [MB of 10^6 byte]."""
    if length > limit_mb * 1e6:
        raise SpecError(f"{name}: {length / 1e6:,.1f} MB, and at most {limit_mb:g} MB are read")


def sizes_of(name: str, content: bytes) -> dict[str, Any]:
    """Widget values for a file of that name and content. Raises SpecError for what is no picture or video."""
    check_length(name, len(content), LIMIT_MB)
    suffix = Path(name).suffix.lower().lstrip(".")
    if suffix not in (*PICTURES, *VIDEOS):
        raise SpecError(f"{name}: neither a picture ({', '.join(PICTURES)}) nor a video ({', '.join(VIDEOS)})")
    film = suffix in VIDEOS
    if film and not _is_video(content):
        raise SpecError(f"{name}: its first bytes are those of no MP4, MOV, WebM, MKV or AVI file")
    if not film:
        _check_picture(name, content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"dropped.{suffix}"
        path.write_bytes(content)
        try:
            return _film(name, str(path)) if film else _still(name, str(path))
        except SpecError as error:
            raise SpecError(str(error).replace(str(path), name)) from None


def _film(name: str, path: str) -> dict[str, Any]:
    width, height, duration, rate = video_size(path)
    _check_sides(name, width, height)
    if not (CLIP_SECONDS[0] <= duration <= CLIP_SECONDS[1] and CLIP_RATE[0] <= rate <= CLIP_RATE[1]):
        raise SpecError(f"{name}: {duration:g} s at {rate:g} frames per second is beyond {CLIP_SECONDS[0]:g} to {CLIP_SECONDS[1]:g} s at {CLIP_RATE[0]:g} to {CLIP_RATE[1]:g}")
    return {"look": CUSTOM, "n": 0, "vw": width, "vh": height, "sec": float(duration), "fps": float(rate), "vn": 1, "frames": 0}


def _still(name: str, path: str) -> dict[str, Any]:
    width, height, codec = picture_size(path)
    _check_sides(name, width, height)
    return {"look": CUSTOM, "n": 1, "w": width, "h": height, "codec": codec if codec in ("jpeg", "png", "webp") else "other", "vn": 0}


def _check_sides(name: str, width: int, height: int) -> None:
    if max(width, height) > SIDE:
        raise SpecError(f"{name}: {width} x {height} pixels; at most {SIDE} a side")


def _is_video(content: bytes) -> bool:
    """By its first bytes: no playlist or script, which could name other files, reaches the demuxer."""
    return content[4:8] in _BOXES or content[:4] == b"\x1a\x45\xdf\xa3" or (content[:4] == b"RIFF" and content[8:12] == b"AVI ")


def _check_picture(name: str, content: bytes) -> None:
    """First bytes and claimed pixels of a picture; nothing is decoded."""
    webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    if not webp and not content.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM")):
        raise SpecError(f"{name}: its first bytes are those of no PNG, JPEG, WebP or BMP picture")
    import PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(content)) as picture:
                width, height = picture.size
    except PIL.Image.DecompressionBombError:
        raise SpecError(f"{name}: more than {PIXELS / 1e6:,.0f} million pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split()).partition(" <")[0] or type(error).__name__
        raise SpecError(f"{name}: unreadable or truncated ({reason})") from None
    if width * height > PIXELS:
        raise SpecError(f"{name}: {width} x {height} pixels, and at most {PIXELS / 1e6:,.0f} million are decoded")
