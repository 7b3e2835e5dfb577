"""Processors that keep a picture's own aspect ratio: Pixtral, Qwen-VL, GLM-V, Kimi."""

from __future__ import annotations

from collections.abc import Callable

from simulator.interop.processor.given import Given
from simulator.spec.preprocessing import LongestEdge, Native, PatchLimit, Preprocessing, VideoSampling


def pixtral(given: Given) -> Preprocessing:
    """Pixtral."""
    merge = int(given.config.get("spatial_merge_size") or 1)
    return LongestEdge(
        longest_edge=given.tile(1024, "longest_edge"), patch=given.encoder("patch_size", 16), merge=merge
    )


def pixels(given: Given, low: int, high: int) -> tuple[int, int]:
    """The area bounds of a picture [pixel], under either of their names."""
    if given.processor.get("max_pixels") or given.processor.get("min_pixels"):
        return given.number("min_pixels", low), given.number("max_pixels", high)
    return given.size(low, "shortest_edge"), given.size(high, "longest_edge")


def qwen2_vl(given: Given) -> Preprocessing:
    """Qwen2-VL and Qwen2.5-VL."""
    low, high = pixels(given, 3136, 12845056)
    patch, merge = given.encoder("patch_size", 14), given.encoder("spatial_merge_size", 2)
    token = (patch * merge) ** 2
    video = VideoSampling(
        fps=2.0,
        min_frames=4,
        max_frames=768,
        temporal_patch=2,
        cut_partial=True,
        min_pixels=128 * token,
        max_pixels=768 * token,
        total_pixels=int(128000 * token * 0.9),
    )
    return Native(patch=patch, merge=merge, min_pixels=low, max_pixels=high, video=video)


def qwen3_vl(given: Given) -> Preprocessing:
    """Qwen3-VL."""
    low, high = pixels(given, 65536, 16777216)
    patch, merge = given.encoder("patch_size", 16), given.encoder("spatial_merge_size", 2)
    video = VideoSampling(
        fps=2.0, min_frames=4, max_frames=768, temporal_patch=2, min_pixels=4096, max_pixels=25165824, volume=True
    )
    return Native(patch=patch, merge=merge, min_pixels=low, max_pixels=high, video=video)


def glm4v(given: Given) -> Preprocessing:
    """GLM-4.1V."""
    low, high = pixels(given, 12544, 9633792)
    patch, merge = given.encoder("patch_size", 14), given.encoder("spatial_merge_size", 2)
    video = VideoSampling(
        fps=2.0,
        max_frames=600,
        temporal_patch=2,
        fill_partial=True,
        min_pixels=12544,
        max_pixels=47040000,
        volume=True,
    )
    return Native(patch=patch, merge=merge, min_pixels=low, max_pixels=high, volume=True, video=video)


def glm46v(given: Given) -> Preprocessing:
    """GLM-4.6V."""
    scheme = glm4v(given)
    assert scheme.video is not None
    rates = {"fps": 6.0, "slower": ((30.0, 2.0), (300.0, 1.0)), "max_frames": 640}
    return scheme.model_copy(update={"video": scheme.video.model_copy(update=rates)})


def kimi(most: int, video: VideoSampling | None) -> Callable[[Given], Preprocessing]:
    """Kimi, with at most so many patches of a picture."""

    def build(given: Given) -> Preprocessing:
        merge = given.encoder("merge_kernel_size", 2)
        name = "in_token_limit" if "in_token_limit" in given.processor else "max_patches"
        return PatchLimit(
            patch=given.encoder("patch_size", 14),
            merge=merge,
            max_patches=given.number(name, most),
            video=video,
        )

    return build
