"""Clips: how many frames a model takes, and how many tokens it makes of one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from simulator.spec.source import Spec


class VideoSampling(Spec):
    """How a clip becomes frames and a frame becomes tokens.

    A clip given as a number of frames is taken as sampled; one given as duration and frame rate is sampled here.
    fps: frames taken per second [1/s] (0: `max_frames` spread evenly over the clip). slower: (seconds, frames per second)
    of clips longer than that, the shorter limit first. min_frames, max_frames: bounds.
    rounding: of duration x fps. temporal_patch: frames that form one group: one patch grid (native), or one sequence
    that the encoder attends jointly (others); an incomplete last group is filled by repeating the last frame, or cut off
    while sampling (`cut_partial`), or filled while sampling already, so that its copies count as frames
    (`fill_partial`). size: side of a resized frame [pixel] (0: as pictures have it). tokens: visual tokens per group
    after pooling (0: as a picture's crop has). clip_tokens: visual tokens of the whole clip, however many frames (0: no
    such rule). merge: patches per side that become one visual token (0: as pictures have it). newline:
    learned separators: one per clip, per group, or per row of a group. max_slices: slices per frame (scheme `slices`).
    min_pixels, max_pixels: bounds of one frame for native resolution [pixel]. total_pixels: bound of all frames together
    [pixel] (0: none). With `volume` all frames are resized to keep frames x height x width within min_pixels..max_pixels
    instead.
    """

    fps: float = Field(default=0.0, ge=0.0, le=240.0)
    slower: tuple[tuple[float, float], ...] = ()
    min_frames: PositiveInt = 1
    max_frames: PositiveInt = 32
    temporal_patch: PositiveInt = 1
    size: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)
    clip_tokens: int = Field(default=0, ge=0)
    max_slices: PositiveInt = 1
    merge: int = Field(default=0, ge=0)
    rounding: Literal["floor", "round"] = "floor"
    cut_partial: bool = False
    fill_partial: bool = False
    newline: Literal["none", "clip", "frame", "row"] = "none"
    min_pixels: int = Field(default=0, ge=0)
    max_pixels: int = Field(default=0, ge=0)
    total_pixels: int = Field(default=0, ge=0)
    volume: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> VideoSampling:
        if self.min_frames > self.max_frames:
            raise ValueError(f"min_frames {self.min_frames} is above max_frames {self.max_frames}")
        return self
