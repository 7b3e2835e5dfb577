"""Schemes that keep a picture's own aspect ratio: Qwen-VL and GLM, Pixtral, Kimi, Gemma 4, Idefics2."""

from __future__ import annotations

from simulator.build.pixels.view import View, nearest, some
from simulator.program import Grid
from simulator.quantity import Numeric, ceil, floor, maximum, minimum, sqrt, where
from simulator.spec.preprocessing import Edges, LongestEdge, Native, PatchBudget, PatchLimit
from simulator.spec.source import SpecError


def bounded(
    width: Numeric,
    height: Numeric,
    factor: float,
    low: Numeric,
    high: Numeric,
    frames: Numeric = 1.0,
    group: float = 1.0,
    least: float = 0.0,
) -> tuple[Numeric, Numeric]:
    """(width, height) rounded to multiples of `factor` with low <= frames x area <= high [pixel].

    Qwen's and GLM's rule: round to the nearest multiple, and only if the area is out of bounds scale and round down or up.
    frames, group: for bounds on a volume, the frames and the frames per temporal patch. least: of a rounded side [pixel].
    """
    rounded_w = maximum(nearest(width / factor) * factor, least)
    rounded_h = maximum(nearest(height / factor) * factor, least)
    volume = nearest(frames / group) * group * rounded_w * rounded_h
    shrink = sqrt(frames * height * width / high)
    grow = sqrt(low / (frames * height * width))
    down_w = maximum(factor, floor(width / shrink / factor) * factor)
    down_h = maximum(factor, floor(height / shrink / factor) * factor)
    up_w, up_h = ceil(width * grow / factor) * factor, ceil(height * grow / factor) * factor
    above, below = volume > high, volume < low
    return where(above, down_w, where(below, up_w, rounded_w)), where(above, down_h, where(below, up_h, rounded_h))


def at_least(width: Numeric, height: Numeric, factor: float) -> tuple[Numeric, Numeric]:
    """The size enlarged so that both sides reach `factor` (GLM, Qwen3-VL video)."""
    small = (width < factor) | (height < factor)
    scale = maximum(factor / height, factor / width)
    return where(small, floor(width * scale), width), where(small, floor(height * scale), height)


def refuse_slender(width: Numeric, height: Numeric, limit: float) -> None:
    """An error where one side is more than `limit` times the other, as the processors do."""
    if some(maximum(width, height) > limit * minimum(width, height)):
        raise SpecError(f"image: one side is more than {limit:g} times the other, which the model's processor refuses")


def native(scheme: Native, width: Numeric, height: Numeric) -> View:
    """Qwen2/2.5/3-VL and GLM-4.1V pictures."""
    factor = float(scheme.patch * scheme.merge)
    if scheme.volume:
        width, height = at_least(width, height, factor)
    if scheme.enlarge:
        width, height = where(height < factor, nearest(width * factor / height), width), maximum(height, factor)
        width, height = maximum(width, factor), where(width < factor, nearest(height * factor / width), height)
    refuse_slender(width, height, scheme.max_ratio)
    frames = float(scheme.temporal_patch) if scheme.volume else 1.0
    w, h = bounded(width, height, factor, scheme.min_pixels, scheme.max_pixels, frames, frames)
    rows, columns = h / scheme.patch, w / scheme.patch
    grid = Grid(1.0, rows, columns, rows * columns / scheme.merge**2, w * h * scheme.temporal_patch)
    return View((grid,), rows / scheme.merge + 2.0 if scheme.framed else 0.0, w * h)


def longest_edge(scheme: LongestEdge, width: Numeric, height: Numeric) -> View:
    """Pixtral: Hugging Face's processor rounds the shrunk side down (mistral-common rounds to nearest)."""
    edge, unit = float(scheme.longest_edge), float(scheme.patch * scheme.merge)
    ratio = maximum(maximum(width, height) / edge, 1.0)
    w, h = floor(width / ratio), floor(height / ratio)
    if some(minimum(w, h) < 1.0):
        raise SpecError(
            f"image: one side vanishes when the other is shrunk to {edge:g} pixels, which the model's processor refuses"
        )
    columns, rows = ceil(w / unit) * scheme.merge, ceil(h / unit) * scheme.merge
    pixels = rows * columns * scheme.patch**2
    return View((Grid(1.0, rows, columns, rows * columns / scheme.merge**2, pixels),), 0.0, pixels)


def limited(width: Numeric, height: Numeric, scheme: PatchLimit, most: float) -> tuple[Numeric, Numeric]:
    """(columns, rows) of patches: shrunk to `most` patches, then padded to patch x merge (Kimi's rule)."""
    patch, side = float(scheme.patch), float(scheme.max_side * scheme.patch)
    count = maximum(floor(height / patch), 1.0) * maximum(floor(width / patch), 1.0)
    scale = minimum(minimum(1.0, sqrt(most / count)), minimum(side / height, side / width))
    w = minimum(maximum(floor(width * scale), 1.0), side)
    h = minimum(maximum(floor(height * scale), 1.0), side)
    unit = patch * scheme.merge
    return ceil(w / unit) * scheme.merge, ceil(h / unit) * scheme.merge


def patch_limit(scheme: PatchLimit, width: Numeric, height: Numeric) -> View:
    """Kimi-VL and Kimi-K2.5 pictures."""
    columns, rows = limited(width, height, scheme, float(scheme.max_patches))
    pixels = rows * columns * scheme.patch**2
    return View((Grid(1.0, rows, columns, rows * columns / scheme.merge**2, pixels),), 0.0, pixels)


def patch_budget(scheme: PatchBudget, width: Numeric, height: Numeric) -> View:
    """Gemma 4: a side that would vanish becomes one unit, and the other as many as the ratio says."""
    unit, most = float(scheme.patch * scheme.merge), scheme.max_patches * float(scheme.patch**2)
    factor = sqrt(most / (width * height))
    w, h = floor(factor * width / unit) * unit, floor(factor * height / unit) * unit
    if some((w == 0.0) & (h == 0.0)):
        raise SpecError("image: both sides vanish when it is scaled, which the model's processor refuses")
    longest = float(scheme.max_patches // scheme.merge**2) * unit
    flat, thin = h == 0.0, w == 0.0
    w = where(flat, minimum(floor(width / height) * unit, longest), where(thin, unit, w))
    h = where(flat, unit, where(thin, minimum(floor(height / width) * unit, longest), h))
    rows, columns = h / scheme.patch, w / scheme.patch
    return View((Grid(1.0, rows, columns, rows * columns / scheme.merge**2, w * h),), 0.0, w * h)


def edges(scheme: Edges, width: Numeric, height: Numeric) -> View:
    """Idefics2; with `split` the quarters and the whole, each resized by the same rule."""
    if not scheme.split:
        grid = _edged(scheme, width, height, 1.0)
        return View((grid,), 0.0, grid.pixels)
    left, top = floor(width / 2.0), floor(height / 2.0)
    sides = [(w, h) for w in (left, width - left) for h in (top, height - top)]
    grids = tuple(_edged(scheme, w, h, 1.0) for w, h in (*sides, (width, height)))
    return View(grids, 0.0, sum(grid.pixels for grid in grids), 5.0)


def _edged(scheme: Edges, width: Numeric, height: Numeric, crops: Numeric) -> Grid:
    most, least, aspect = float(scheme.longest_edge), float(scheme.shortest_edge), width / height
    wide, tall = (width >= height) & (width > most), (height > width) & (height > most)
    w = where(wide, most, where(tall, floor(most * aspect), width))
    h = where(wide, floor(most / aspect), where(tall, most, height))
    w, h = maximum(w, least), maximum(h, least)
    patch = float(scheme.patch)
    return Grid(crops, floor(h / patch), floor(w / patch), float(scheme.tokens), w * h)
