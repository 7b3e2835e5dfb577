"""What is looked at and how much is asked and said: the widgets of the workload."""

from __future__ import annotations

from typing import Any

import streamlit as st

from simulator.explorer.looks import CUSTOM, LOOKS
from simulator.explorer.upload import media_drop
from simulator.explorer.workload_limits import CLIP_RATE, CLIP_SECONDS, SIDE
from simulator.spec.workload import Image, Video

CODECS = ("jpeg", "png", "webp", "raw", "other")
OWN: dict[str, Any] = {"n": 1, "w": 1024, "h": 768, "codec": "jpeg", "vn": 0, "vw": 640, "vh": 360, "sec": 60.0, "fps": 30.0, "frames": 0}
"""Own sizes at their defaults, by widget key."""


def workload_form() -> dict[str, Any]:
    """Fields of a Workload as the widgets say them."""
    chosen = st.selectbox("Looks at", list(LOOKS), key="look", format_func=lambda name: LOOKS[name].title, bind="query-params")
    images, videos = list(LOOKS[chosen].images), list(LOOKS[chosen].videos)
    if chosen == CUSTOM:
        images, videos = _own_sizes()
    with st.expander("Drop a picture or a video", icon=":material/upload:"):
        media_drop(OWN)
    first, second, third = st.columns(3)
    text = first.number_input("Text", 0, 1_000_000, 64, key="text", help="Prompt tokens besides the visual ones", bind="query-params")
    output = second.number_input("Output", 1, 1_000_000, 256, key="out", help="Generated tokens", bind="query-params")
    batch = third.number_input("Batch", 1, 4096, 1, key="batch", help="Equal requests at once", bind="query-params")
    return {
        "images": [image.model_dump() for image in images], "videos": [video.model_dump() for video in videos],
        "text_tokens": text, "output_tokens": output, "batch": batch,
    }  # fmt: skip


def _own_sizes() -> tuple[list[Image], list[Video]]:
    first, second, third = st.columns(3)
    count = _whole(first, "Pictures", 0, 4096, "n")
    width, height = _whole(second, "Width [px]", 1, SIDE, "w"), _whole(third, "Height [px]", 1, SIDE, "h")
    codec = st.selectbox("Picture file", CODECS, key="codec", bind="query-params")
    images = [Image(width=width, height=height, count=count, format=codec)] if count else []
    first, second, third = st.columns(3)
    clips = _whole(first, "Videos", 0, 64, "vn")
    if not clips:
        return images, []
    width, height = _whole(second, "Width [px]", 1, SIDE, "vw"), _whole(third, "Height [px]", 1, SIDE, "vh")
    first, second, third = st.columns(3)
    frames = _whole(first, "Frames", 0, 100_000, "frames", "Handed over as they are; 0: the model samples them from length and rate")
    duration = second.number_input("Length [s]", *CLIP_SECONDS, OWN["sec"], key="sec", bind="query-params")
    rate = third.number_input("Rate [1/s]", *CLIP_RATE, OWN["fps"], key="fps", bind="query-params")
    size = {"width": width, "height": height}
    return images, [Video(**size, frames=frames) if frames else Video(**size, duration=duration, fps=rate)] * clips


def _whole(place: Any, label: str, low: int, high: int, key: str, help: str = "") -> int:
    return place.number_input(label, low, high, OWN[key], key=key, help=help or None, bind="query-params")


def as_workload_state(images: tuple[Image, ...], videos: tuple[Video, ...]) -> dict[str, Any]:
    """Widget values (by key) that show these pictures and videos; of several sizes the first stands for all."""
    named = next((name for name, look in LOOKS.items() if name != CUSTOM and (look.images, look.videos) == (images, videos)), CUSTOM)
    if named != CUSTOM:
        return {"look": named}
    state: dict[str, Any] = {"look": CUSTOM, "n": sum(image.count for image in images), "vn": len(videos)}
    if images:
        state |= {"w": images[0].width, "h": images[0].height, "codec": images[0].format}
    if videos:
        first = videos[0]
        state |= {"vw": first.width, "vh": first.height, "frames": first.frames or 0}
        if first.frames is None:
            state |= {"sec": first.duration, "fps": first.fps}
    return state
