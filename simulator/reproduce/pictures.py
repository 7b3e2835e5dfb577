"""The crops behind a stated number of visual tokens: as many as the model's own preprocessing makes such tokens of."""

from __future__ import annotations

import re

from simulator.build.pixels import view_of_clip, visual_input
from simulator.program import Grid, VisualInput
from simulator.quantity import Numeric
from simulator.reproduce.prior import frame_pixels, picture_pixels
from simulator.spec.model import Lvlm
from simulator.spec.workload import Clip, Picture

SIDE = 672.0
"""Side of the picture that shows what one crop is [pixel]: a single one in every scheme's first grid, 24 x 24 tokens of native ones."""
PLAIN = Grid(1.0, 24.0, 24.0, 576.0, 336.0**2)
"""A crop where a model has no preprocessing of its own."""


def crop(model: Lvlm, video: bool) -> Grid:
    """One crop of a picture, or one frame (or group of frames) of a clip: its patches and the visual tokens they become."""
    scheme = model.preprocessing
    if scheme is None:
        return PLAIN
    if video and scheme.video is not None:
        return view_of_clip(scheme, Clip(SIDE, SIDE, frames=float(scheme.video.temporal_patch)))[0].grids[0]
    return visual_input(scheme, (Picture(SIDE, SIDE),)).grids[0]


def picture_in(text: str) -> Picture | None:
    """What the column `image` states as WIDTHxHEIGHT or "2 of WIDTHxHEIGHT"; else None."""
    found = re.fullmatch(r"\s*(?:(\d{1,3}) of )?(\d{1,5})\s*[x×]\s*(\d{1,5})\s*", text)
    return Picture(float(found[2]), float(found[3]), float(found[1] or 1)) if found else None


def shown(model: Lvlm, picture: Picture) -> VisualInput | None:
    """What the encoder sees of a picture whose size is stated; None where the model has no preprocessing of its own."""
    return None if model.preprocessing is None else visual_input(model.preprocessing, (picture,))


def seen(model: Lvlm, tokens: Numeric, video: bool, frames: float, stated: float = 0.0) -> VisualInput:
    """What the encoder sees where `tokens` visual tokens reach the language model. frames: of a clip, where they are stated (0: not);
    otherwise as many crops as it takes. stated: the file's own pixels; where 0, they are drawn from the prior: a benchmark's picture is not
    the size of a crop."""
    one = crop(model, video)
    group = float(model.preprocessing.video.temporal_patch) if video and model.preprocessing and model.preprocessing.video else 1.0
    crops = frames / group if frames > 0.0 else tokens / one.tokens
    grid = Grid(crops, one.height, one.width, tokens / crops, one.pixels)
    source = stated if stated > 0.0 else crops * group * frame_pixels() if video else picture_pixels()
    resized = crops * one.pixels
    return VisualInput((grid,), 0.0, 1.0, source, resized, 1.0)
