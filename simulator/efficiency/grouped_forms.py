"""What products of routed rows with the experts they touch cost: every expert has tiles of its own.

Two forms, for two kinds of kernels. One picks its tiles by the rows there are (Triton with tables of configurations, TensorRT-LLM's); the other
multiplies tiles of 128 rows whatever an expert has. Parameters are named in `forms.PARAMETERS`.
"""

from __future__ import annotations

from simulator.efficiency.forms import TILE, Terms, Values, move
from simulator.quantity import Numeric, ceil, maximum, minimum, smooth_maximum
from simulator.spec.hardware import Chip

NARROW = 32.0  # columns of a tile of the kernel that nobody tuned


def grouped_gemm(
    chip: Chip,
    v: Values,
    peak: Numeric,
    flops: Numeric,
    bytes: Numeric,
    rows: Numeric,
    n: Numeric,
    k: Numeric,
    experts: Numeric,
    footprint: Numeric,
) -> Terms:
    """t0 + smooth-max(F / (ec P), move, waves of the experts' tiles); every expert has its own tiles.

    A tile takes `group` and `walk` for every 1,024 of k; a few tiles take as long as a whole wave. The last parameter, `passes`, is
    the share of the memory rate of the element-wise passes between the products of a measured layer; a product alone has none.
    """
    t0, ec, em, p, share, el2, group, walk, _ = v
    per = maximum(rows / maximum(experts, 1.0), 1.0)
    padded = maximum(ceil(per / 64.0) * 64.0 / per, 1.0)
    compute = flops / (ec * peak) * minimum(padded, 4.0)
    memory = move(chip, bytes, em, share, el2, footprint)
    waves = maximum(experts * ceil(per / TILE) * ceil(n / TILE) / chip.sms, 1.0) * (group + walk * k / 1024.0)
    return Terms(t0 + smooth_maximum(smooth_maximum(compute, memory, p), waves, 3.0), compute, memory, t0)


def grouped_tiles(
    chip: Chip,
    v: Values,
    peak: Numeric,
    flops: Numeric,
    bytes: Numeric,
    rows: Numeric,
    n: Numeric,
    k: Numeric,
    experts: Numeric,
    footprint: Numeric,
) -> Terms:
    """t0 + smooth-max(waves of whole tiles, move): a grouped kernel that multiplies tiles of 128 rows whatever an expert has.

    A tile is 128 x 32 x k at ec P and `group` seconds. The last tile of an expert is seldom full and takes `ragged` of a tile more.
    flops: not used, for the padding is multiplied too. passes: as in `grouped_gemm`.
    """
    t0, ec, em, p, share, el2, group, ragged, _ = v
    per = maximum(rows / maximum(experts, 1.0), 1.0)
    tiles = experts * (ceil(per / TILE) + ragged) * ceil(n / NARROW) / chip.sms
    compute = maximum(tiles, 1.0) * (2.0 * TILE * NARROW * k * chip.sms / (ec * peak) + group)
    memory = move(chip, bytes, em, share, el2, footprint)
    return Terms(t0 + smooth_maximum(compute, memory, p), compute, memory, t0)


GROUPED = {"grouped_gemm": grouped_gemm, "grouped_tiles": grouped_tiles}
