"""The host's share: what a picture is stored as decides what decoding costs."""

from __future__ import annotations

import pytest

from simulator import Image, Scenario, Video, Workload, estimate


def _preprocess(codec: str, width: int = 4000, height: int = 3000) -> float:
    workload = Workload(images=(Image.model_validate({"width": width, "height": height, "format": codec}),), text_tokens=10, output_tokens=1)
    return float(estimate(Scenario(model="llava-1.5-7b", hardware="h100-sxm", workload=workload)).stages["preprocess"].seconds)


def test_decoding_costs_what_was_measured_per_format() -> None:
    """12 megapixels on one core (hardware_profiles/measured, host.csv): PNG 158 ms, JPEG 30 ms; raw pixels need no decoder."""
    assert _preprocess("png") - _preprocess("jpeg") == pytest.approx(0.158 - 0.030, rel=0.1)
    assert _preprocess("jpeg") - _preprocess("raw") == pytest.approx(0.030, rel=0.1)


def test_a_format_nobody_measured_says_so() -> None:
    workload = Workload(images=(Image(width=640, height=480, format="webp"),), text_tokens=10, output_tokens=1)
    notes = estimate(Scenario(model="llava-1.5-7b", hardware="h100-sxm", workload=workload)).assumptions
    assert any("webp" in note for note in notes)


def test_what_is_assumed_of_videos_is_said() -> None:
    workload = Workload(videos=(Video(width=448, height=448, frames=16),), text_tokens=10, output_tokens=1)
    notes = estimate(Scenario(model="qwen2.5-vl-7b", hardware="h100-sxm", workload=workload)).assumptions
    assert any("frames of a video" in note for note in notes)
