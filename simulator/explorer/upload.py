"""A dropped picture or video enters as its size; the file itself is not kept."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from simulator.explorer.assign import assign
from simulator.explorer.looks import CUSTOM
from simulator.spec.media import picture_size, video_size
from simulator.spec.source import SpecError

PICTURES = ("png", "jpg", "jpeg", "webp", "bmp")
VIDEOS = ("mp4", "mov", "webm", "mkv", "avi")
LIMIT_MB = 50


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
        assign(sizes_of(dropped.name, dropped.getvalue()), defaults)
    except SpecError as error:
        reason = str(error).split(":", 1)[-1].strip()
        st.session_state["drop_problem"] = f"{dropped.name}: {reason}. Try another file, or choose own sizes above."


def sizes_of(name: str, content: bytes) -> dict[str, Any]:
    """Widget values for a file of that name and content. Raises SpecError for what is no picture or video."""
    suffix = Path(name).suffix.lower()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"dropped{suffix}"
        path.write_bytes(content)
        try:
            if suffix.lstrip(".") in VIDEOS:
                width, height, duration, fps = video_size(str(path))
                return {"look": CUSTOM, "n": 0, "vw": width, "vh": height, "sec": float(duration), "fps": float(fps), "vn": 1, "frames": 0}
            width, height, codec = picture_size(str(path))
        except SpecError as error:
            raise SpecError(str(error).replace(str(path), name)) from None
    return {"look": CUSTOM, "n": 1, "w": width, "h": height, "codec": codec if codec in ("jpeg", "png", "webp") else "other", "vn": 0}
