"""What is asked of the model: pictures, videos, text, and how many tokens come back.

`Image`, `Video` and `Workload` are what a user writes down; `Picture` and `Clip` are the same in the core, where a width,
a count or a number of frames may be an array (a sweep over resolutions).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from pydantic import Field, model_validator

from simulator.quantity import Numeric
from simulator.spec.media import is_file, picture_size, video_size
from simulator.spec.source import SpecError
from simulator.spec.validated import Asked, shown

MAX_SIDE = 100_000
MAX_FRAMES = 1_000_000
MAX_TOKENS = 100_000_000


@final
@dataclass(frozen=True, slots=True)
class Picture:
    """`count` pictures of width x height [pixel]; format names the codec that the host decodes."""

    width: Numeric
    height: Numeric
    count: Numeric = 1.0
    format: str = "jpeg"


@final
@dataclass(frozen=True, slots=True)
class Clip:
    """A video of width x height [pixel].

    frames: frames that the model gets, already sampled; None: they are sampled from duration [s] x fps [1/s] frames by the
    checkpoint's rule.
    """

    width: Numeric
    height: Numeric
    frames: Numeric | None = None
    duration: Numeric = 0.0
    fps: Numeric = 0.0


def _unsized(data: Any) -> bool:
    """A file is named, but no size."""
    return isinstance(data, dict) and bool(data.get("file")) and "width" not in data and "height" not in data  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


class Image(Asked):
    """A picture of width x height [pixel], `count` times. With a `file` and no size, the size is read from it."""

    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)
    count: int = Field(default=1, ge=1, le=MAX_FRAMES)
    file: str | None = None
    format: Literal["jpeg", "png", "webp", "raw", "other"] = "jpeg"

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, data: Any) -> Any:
        if isinstance(data, str):
            return parse_image(data).model_dump()
        if not _unsized(data):
            return data
        width, height, codec = picture_size(str(data["file"]))
        return {"format": codec, **data, "width": width, "height": height}

    def picture(self) -> Picture:
        """The same in the core."""
        return Picture(float(self.width), float(self.height), float(self.count), self.format)


class Video(Asked):
    """A video of width x height [pixel]: either `frames` that the model gets as they are, or `duration` [s] and `fps`
    [1/s], from which the checkpoint's own rule samples. With a `file` and no size, all are read from it."""

    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)
    frames: int | None = Field(default=None, ge=1, le=MAX_FRAMES)
    duration: float | None = Field(default=None, gt=0.0, le=1e6, allow_inf_nan=False)
    fps: float | None = Field(default=None, gt=0.0, le=1000.0, allow_inf_nan=False)
    file: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, data: Any) -> Any:
        if isinstance(data, str):
            return parse_video(data).model_dump()
        if not _unsized(data):
            return data
        width, height, duration, fps = video_size(str(data["file"]))
        timing = {} if data.get("frames") else {"duration": duration, "fps": fps}
        return {**timing, **data, "width": width, "height": height}

    @model_validator(mode="after")
    def _timed(self) -> Video:
        if self.frames is None and (self.duration is None or self.fps is None):
            raise ValueError("give frames, or duration [s] together with fps [1/s]")
        if self.frames is not None and (self.duration is not None or self.fps is not None):
            raise ValueError("give either frames or duration with fps, not both")
        return self

    def clip(self) -> Clip:
        """The same in the core."""
        frames = None if self.frames is None else float(self.frames)
        return Clip(float(self.width), float(self.height), frames, self.duration or 0.0, self.fps or 0.0)


class Workload(Asked):
    """One request, `batch` times at once.

    text_tokens: prompt tokens besides the visual ones (markers such as <img> included). output_tokens: generated.
    processor: whether the host uses the checkpoint's fast (torchvision) or slow (Pillow and NumPy) image processor.
    """

    images: tuple[Image, ...] = ()
    videos: tuple[Video, ...] = ()
    text_tokens: int = Field(default=64, ge=0, le=MAX_TOKENS)
    output_tokens: int = Field(default=256, ge=1, le=MAX_TOKENS)
    batch: int = Field(default=1, ge=1, le=MAX_FRAMES)
    processor: Literal["fast", "slow"] = "fast"

    @model_validator(mode="after")
    def _not_empty(self) -> Workload:
        if not (self.images or self.videos or self.text_tokens):
            raise ValueError("a request needs an image, a video or at least one text token")
        return self

    def pictures(self) -> tuple[Picture, ...]:
        """The pictures for the core."""
        return tuple(image.picture() for image in self.images)

    def clips(self) -> tuple[Clip, ...]:
        """The videos for the core."""
        return tuple(video.clip() for video in self.videos)


_NUMBERS = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[xX×][+-]?\d+(?:\.\d+)?)+")


def parse_image(text: str) -> Image:
    """`1920x1080`, `4x1920x1080` (count first) or a picture file as an `Image`."""
    sides = _sides(text, "image", (2, 3), "WIDTHxHEIGHT, COUNTxWIDTHxHEIGHT or a picture file")
    if sides is None:
        width, height, codec = picture_size(text)
        return Image.model_validate({"width": width, "height": height, "file": text, "format": codec})
    count = sides[0] if len(sides) == 3 else 1
    return Image(width=sides[-2], height=sides[-1], count=count)


def parse_video(text: str) -> Video:
    """`16x448x448` (frames first) or a video file as a `Video`."""
    sides = _sides(text, "video", (3,), "FRAMESxWIDTHxHEIGHT or a video file")
    if sides is None:
        width, height, duration, fps = video_size(text)
        return Video(width=width, height=height, duration=duration, fps=fps, file=text)
    return Video(frames=sides[0], width=sides[1], height=sides[2])


def _sides(text: str, what: str, lengths: Sequence[int], accepted: str) -> list[int] | None:
    """The whole numbers of `AxBxC`; None where `text` is a file."""
    if is_file(text):
        return None
    if not _NUMBERS.fullmatch(text.strip()):
        raise SpecError(f"{what} {shown(text)}: no such file; accepted: {accepted}")
    parts = re.split("[xX×]", text.strip())
    if len(parts) not in lengths or any("." in part for part in parts):
        raise SpecError(f"{what} {shown(text)}: accepted: {accepted}, whole numbers")
    sides = [int(part) if len(part) < 12 else MAX_TOKENS * 10 for part in parts]
    if len(sides) == 3 and not 1 <= sides[0] <= MAX_FRAMES:
        raise SpecError(f"{what} {shown(text)}: the first number must lie in 1..{MAX_FRAMES}")
    for part, side in zip(parts[-2:], sides[-2:], strict=True):
        if not 1 <= side <= MAX_SIDE:
            raise SpecError(f"{what} {shown(text)}: a side of {shown(part)} pixels; accepted: 1..{MAX_SIDE}")
    return sides
