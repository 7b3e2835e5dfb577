"""Workloads people ask about, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from simulator.spec.workload import Image, Video

CUSTOM = "custom"


@final
@dataclass(frozen=True, slots=True)
class Look:
    """What is looked at: a title and the pictures or videos of one request."""

    title: str
    images: tuple[Image, ...] = ()
    videos: tuple[Video, ...] = ()


LOOKS: dict[str, Look] = {
    "photo-4k": Look("4K photo", (Image(width=3840, height=2160),)),
    "photo": Look("Phone photo, 12 megapixel", (Image(width=4032, height=3024),)),
    "document": Look("Document page, A4 at 200 dpi", (Image(width=1654, height=2339, format="png"),)),
    "gui": Look("GUI screenshot, 1080p", (Image(width=1920, height=1080, format="png"),)),
    "web": Look("Web picture, 640x480", (Image(width=640, height=480),)),
    "album": Look("Album, 8 pictures 1024x768", (Image(width=1024, height=768, count=8),)),
    "clip": Look("Clip, 16 frames 448x448", (), (Video(width=448, height=448, frames=16),)),
    "minute": Look("Minute of 720p video", (), (Video(width=1280, height=720, duration=60.0, fps=30.0),)),
    "hour": Look("Hour of 360p video", (), (Video(width=640, height=360, duration=3600.0, fps=30.0),)),
    "text": Look("Text only"),
    CUSTOM: Look("Own sizes"),
}
