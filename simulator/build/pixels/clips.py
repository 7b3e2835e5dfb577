"""Videos: frames sampled by the checkpoint's rule, then crops and visual tokens."""

from __future__ import annotations

from dataclasses import replace

from simulator.build.pixels.native import at_least, bounded, limited, longest_edge, patch_budget, refuse_slender
from simulator.build.pixels.tiles import slices
from simulator.build.pixels.view import View, nearest, share, some, square
from simulator.program import Grid
from simulator.quantity import Numeric, ceil, floor, maximum, minimum, where
from simulator.spec.preprocessing import (
    CandidateTiles,
    DynamicHd,
    Edges,
    Fixed,
    GridPinpoints,
    HdCanvas,
    LongestEdge,
    Native,
    NativeTiles,
    OverlappingTiles,
    PatchBudget,
    PatchLimit,
    Preprocessing,
    Slices,
    VideoSampling,
)
from simulator.spec.source import SpecError
from simulator.spec.workload import Clip


def sampled(video: VideoSampling, clip: Clip) -> Numeric:
    """Frames that the model gets: the clip's own if given, else duration x fps frames thinned out by the rule."""
    if clip.frames is not None:
        return clip.frames
    there = maximum(floor(clip.duration * clip.fps), 1.0)
    wanted: Numeric = float(video.max_frames)
    if video.fps:
        rate: Numeric = video.fps
        for longer, fewer in video.slower:
            rate = where(clip.duration > longer, fewer, rate)
        exact = clip.duration * rate
        wanted = nearest(exact) if video.rounding == "round" else floor(exact)
    group = float(video.temporal_patch)
    frames = maximum(minimum(minimum(maximum(wanted, float(video.min_frames)), float(video.max_frames)), there), 1.0)
    if video.fill_partial:
        return ceil(frames / group) * group
    return maximum(floor(frames / group) * group, group) if video.cut_partial else frames


def view_of_clip(scheme: Preprocessing, clip: Clip) -> tuple[View, Numeric]:
    """The crops of a clip, and its frames."""
    video = scheme.video
    if video is None:
        raise SpecError(
            "videos: this model's published preprocessing takes no video; give its frames as pictures (--image FRAMESxWxH)"
        )
    frames = sampled(video, clip)
    groups = ceil(frames / video.temporal_patch)
    if isinstance(scheme, Native):
        view = _native(scheme, video, clip, frames, groups)
    elif isinstance(scheme, PatchBudget):
        view = _patch_budget(scheme, video, clip, frames)
    elif isinstance(scheme, PatchLimit):
        view = _patch_limit(scheme, video, clip, frames)
    elif isinstance(scheme, Slices):
        view = _slices(scheme, video, clip, frames)
    else:
        view = _crops(scheme, video, clip, groups)
    return _separated(view, video, groups), frames


def _native(scheme: Native, video: VideoSampling, clip: Clip, frames: Numeric, groups: Numeric) -> View:
    """One patch grid per temporal patch. Frames share a pixel budget where the checkpoint has one (Qwen2/2.5-VL: at least
    1.05 x min_pixels each; Qwen3-VL, GLM-4.1V: a volume)."""
    merge = video.merge or scheme.merge
    factor = float(scheme.patch * merge)
    low, high = float(video.min_pixels or scheme.min_pixels), float(video.max_pixels or scheme.max_pixels)
    width, height = clip.width, clip.height
    if video.volume:
        if some(frames < video.temporal_patch):
            raise SpecError(
                f"videos: fewer than {video.temporal_patch} frames, which the model's processor refuses; give a picture instead"
            )
        width, height = at_least(width, height, factor)
        refuse_slender(width, height, scheme.max_ratio)
        w, h = bounded(width, height, factor, low, high, frames, float(video.temporal_patch))
    else:
        refuse_slender(width, height, scheme.max_ratio)
        most: Numeric = high
        if video.total_pixels:
            even = floor(video.total_pixels * float(video.temporal_patch) / frames)
            most = maximum(minimum(high, even), floor(low * 1.05))
        w, h = bounded(width, height, factor, low, most)
    rows, columns = h / scheme.patch, w / scheme.patch
    tokens = float(video.tokens) if video.tokens else rows * columns / merge**2
    return View((Grid(groups, rows, columns, tokens, w * h * video.temporal_patch),), 0.0, frames * w * h)


def _patch_limit(scheme: PatchLimit, video: VideoSampling, clip: Clip, frames: Numeric) -> View:
    """Kimi-K2.5: groups of frames attend jointly in the encoder and are averaged over time; the last may be smaller."""
    most = float(video.max_pixels // scheme.patch**2 or scheme.max_patches)
    columns, rows = limited(clip.width, clip.height, scheme, most)
    tokens, pixels = rows * columns / scheme.merge**2, rows * columns * scheme.patch**2
    group = float(video.temporal_patch)
    full = floor(frames / group)
    rest = frames - full * group
    part = minimum(rest, 1.0)
    grids = (
        Grid(full, rows * group, columns, tokens, pixels * group),
        Grid(part, rows * rest, columns, tokens, pixels * rest),
    )
    return View(grids, 0.0, frames * pixels, full + part)


def _patch_budget(scheme: PatchBudget, video: VideoSampling, clip: Clip, frames: Numeric) -> View:
    """Gemma 4: every frame a picture with a smaller budget, `tokens` after pooling."""
    most = video.tokens * scheme.merge**2 or scheme.max_patches
    one = patch_budget(scheme.model_copy(update={"max_patches": most}), clip.width, clip.height).grids[0]
    return View((replace(one, crops=frames),), 0.0, frames * one.pixels, frames)


def _slices(scheme: Slices, video: VideoSampling, clip: Clip, frames: Numeric) -> View:
    """MiniCPM-V: every frame a picture with at most `max_slices` slices."""
    one = slices(scheme.model_copy(update={"max_slices": video.max_slices}), clip.width, clip.height)
    grids = tuple(Grid(grid.crops * frames, grid.height, grid.width, grid.tokens, grid.pixels) for grid in one.grids)
    return View(grids, 0.0, frames * one.resized, frames)


def _crops(scheme: Preprocessing, video: VideoSampling, clip: Clip, groups: Numeric) -> View:
    """Every frame one crop (several with a temporal group: encoded as one sequence)."""
    depth = float(video.temporal_patch)
    if isinstance(scheme, LongestEdge):
        grid = longest_edge(scheme, clip.width, clip.height).grids[0]
    else:
        grid = square(1.0, float(video.size or _side(scheme)), scheme.patch, _frame_tokens(scheme))
    tokens = float(video.tokens) if video.tokens else grid.tokens
    crops = Grid(groups, grid.height * depth, grid.width, tokens, grid.pixels * depth)
    return View((crops,), 0.0, groups * depth * grid.pixels, groups)


def _side(scheme: Preprocessing) -> int:
    """Side of one square crop [pixel]."""
    if isinstance(scheme, Native | LongestEdge | PatchLimit | PatchBudget | Edges | Slices):
        return 0
    if isinstance(scheme, CandidateTiles):
        return scheme.global_size or scheme.tile
    return scheme.size if isinstance(scheme, Fixed) or scheme.kind == "pan_and_scan" else scheme.tile


def _frame_tokens(scheme: Preprocessing) -> float:
    """Visual tokens of one square crop."""
    if isinstance(scheme, Native | LongestEdge | PatchLimit | PatchBudget):
        return 0.0
    if isinstance(scheme, NativeTiles):
        return float((scheme.tile // scheme.patch // scheme.merge) ** 2)
    if isinstance(scheme, OverlappingTiles):
        return float(-(-(scheme.tile // scheme.patch) // scheme.pool)) ** 2
    if isinstance(scheme, GridPinpoints | DynamicHd | HdCanvas):
        return float(scheme.side**2)
    if isinstance(scheme, CandidateTiles):
        return float((scheme.global_side or scheme.side) ** 2)
    return float(scheme.tokens)


def _separated(view: View, video: VideoSampling, groups: Numeric) -> View:
    """The view with the learned separators of the clip, and with a fixed number of tokens per clip where that is the rule."""
    grids, rest = view.grids, view.separators
    if video.clip_tokens:
        grid = grids[0]
        each, left = share(float(video.clip_tokens) + 0.0 * grid.crops, grid.crops)
        grids, rest = (Grid(grid.crops, grid.height, grid.width, each, grid.pixels),), rest + left
    if video.newline == "clip":
        rest = rest + 1.0
    elif video.newline == "frame":
        rest = rest + groups
    elif video.newline == "row":
        rest = rest + groups * float(round((video.tokens or 1) ** 0.5))
    return View(grids, rest, view.resized, view.blocks)
