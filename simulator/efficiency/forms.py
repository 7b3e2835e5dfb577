"""What a kernel costs, as a function of its shape, the chip's datasheet and a handful of fitted efficiencies.

Every form returns `Terms`: the seconds of multiplying, of moving bytes and of everything fixed, and their total. The
roofline terms meet in a smooth maximum because a kernel overlaps loads and multiplications imperfectly near the ridge.
Forms use the datasheet figures of the chip they are given (which may be arrays), so that a counterfactual chip keeps the
efficiencies of its name and changes its rates only. More peak or bandwidth never makes a form slower.

Sources of the terms: roofline (Williams et al. 2009); latency-bandwidth collectives (Hockney 1994); wave quantisation
and split-K (NVIDIA, matrix multiplication background guide); split-KV decoding (Dao et al., FlashDecoding 2023). How
they are combined and their numbers are fitted here, see `hardware_profiles/report.md`.
"""

from __future__ import annotations

from math import ceil as whole
from math import inf
from typing import NamedTuple

from numpy import ndarray

from simulator.quantity import Numeric, ceil, clip, log2, maximum, minimum, smooth_maximum, where
from simulator.spec.hardware import Chip

Values = tuple[float, ...]

# Parameters by form, in the order the functions unpack them. ec, em, el2, eq: fractions of the datasheet's peak, memory,
# cache and memory rate; t0, cta, block, combine, row, group, tail, sequence, swap, carry, walk, a, hop, extra, second: seconds; p, q: exponents of the smooth
# maximum; walk of grouped products: seconds for 1,024 of k; l2_share: share of the last-level cache that holds data; tile: query rows of one attention CTA; keys: those it reads at a time in decoding; limit: bytes; switch:
# bytes; the others are pure numbers, explained where they are used.
_MEMORY = ("l2_share", "el2")
_DECODE = ("cta", "block", "combine", "packed", "splits", "slots", "tail", "sequence", "keys")
PARAMETERS: dict[str, tuple[str, ...]] = {
    "gemm": ("t0", "ec", "em", "p", *_MEMORY, "cta", "split", "fill", "wave"),
    "gemm_quantised": ("t0", "ec", "em", "p", *_MEMORY, "cta", "split", "fill", "wave", "eq", "row"),
    "grouped_gemm": ("t0", "ec", "em", "p", *_MEMORY, "group", "walk", "passes"),
    "grouped_tiles": ("t0", "ec", "em", "p", *_MEMORY, "group", "ragged", "passes"),
    "prefill": ("t0", "ec", "em", "p", *_MEMORY, "cta", "wave", "longest", "sequence", "tile"),
    "prefill_apart": ("t0", "ec", "em", "p", *_MEMORY, "cta", "wave", "longest", "sequence", "tile", "pad"),
    "encoder": ("t0", "ec", "em", "p", *_MEMORY, "cta", "pad", "wave", "tile"),
    "decode": ("t0", "em", "p", *_MEMORY, *_DECODE, "straddle"),
    "decode_swapped": ("t0", "em", "p", *_MEMORY, *_DECODE, "swap", "carry", "walk", "wave", "interleave"),
    "unsplit": ("t0", "em", "p", "key"),
    "strided": ("t0", "em", "p", "rate"),
    "stream": ("t0", "em", "p", *_MEMORY),
    "collective": ("a", "b", "q", "hop", "spread", "extra", "switch"),
    "peer_sum": ("a", "b", "q", "hop", "spread", "extra", "rate", "second", "limit"),
    "roofline": ("t0", "ec", "em", "p"),
    "whole_step": ("t0", "ec", "em", "p"),
    # On a CPU (`simulator.efficiency.cpu`). rows, columns, depth: m, n, k at which half of the rate is reached; v0, ev: start
    # [s] and rate of products of one row; reach: k at which weights stream at half the rate; edge: keys; soft: elements of a head that an exponential is worth.
    "gemm_cpu": ("t0", "ec", "em", "p", *_MEMORY, "rows", "columns", "depth", "v0", "ev", "reach"),
    "attention_cpu": ("t0", "ec", "em", "p", "edge", "soft"),
    "eager_cpu": ("t0", "ec", "em", *_MEMORY),
}
ONE_SHOT = 0.999 * 2.0**19  # bytes: below half a MiB four devices sum in one step
TILE = 128.0  # rows and columns of a middling GEMM tile
COLD = inf  # the footprint of a forward pass: everything else was touched in between
# Rows, columns and work of a wave of GEMM tiles: smaller tiles multiply at 0.95, 0.8 and 0.65 of the largest's rate.
TILES = (
    (128.0, 256.0, 128.0 * 256.0),
    (128.0, 128.0, 128.0 * 128.0 / 0.95),
    (64.0, 128.0, 64.0 * 128.0 / 0.8),
    (64.0, 64.0, 64.0 * 64.0 / 0.65),
)


class Terms(NamedTuple):
    """Seconds: the total, and the compute, memory and overhead terms it is made of."""

    total: Numeric
    compute: Numeric
    memory: Numeric
    overhead: Numeric


def move(chip: Chip, bytes: Numeric, em: Numeric, share: float, el2: float, footprint: Numeric) -> Numeric:
    """Seconds to move `bytes` when `footprint` [byte] is cycled through.

    A fraction 1 / (1 + (footprint / (share cache))^8) comes from the last-level cache: all of it when the cycle fits,
    none when it is much larger. The cache is never slower than the memory.
    """
    cold = bytes / (em * chip.bandwidth)
    if footprint is COLD:
        return cold
    ratio = minimum(footprint / (share * chip.l2_bytes), 1e6)
    ratio = ratio * ratio
    ratio = ratio * ratio
    return cold - (cold - minimum(bytes / (el2 * chip.l2_bandwidth), cold)) / (1.0 + ratio * ratio)


def quantisation(m: Numeric, n: Numeric, sms: Numeric) -> Numeric:
    """Work of whole waves of whole tiles over the work asked for, by the best of a few tile shapes; at most 64."""
    if isinstance(m, ndarray) or isinstance(n, ndarray) or isinstance(sms, ndarray):
        best: Numeric = 1e30
        for rows, columns, work in TILES:
            best = minimum(best, ceil(ceil(m / rows) * ceil(n / columns) / sms) * work)
        return minimum(best * sms / (m * n), 64.0)
    least = 1e30
    for rows, columns, work in TILES:
        cost = whole(whole(m / rows) * whole(n / columns) / sms) * work
        if cost < least:
            least = cost
    return min(least * sms / (m * n), 64.0)


def gemm(
    chip: Chip,
    v: Values,
    peak: Numeric,
    flops: Numeric,
    bytes: Numeric,
    m: Numeric,
    n: Numeric,
    k: Numeric,
    copies: Numeric,
    footprint: Numeric,
) -> Terms:
    """t0 + smooth-max(multiply, move, the longest CTA).

    multiply: F / (ec P), times (1 + 64 fill / k) for filling the pipeline and the epilogue of every tile, times
    quantisation^wave. move: bytes over memory or cache. longest CTA: k / 1024 iterations of `cta` seconds, over as many
    splits of k as idle SMs allow, a split being at least 1024 split long.
    """
    t0, ec, em, p, share, el2, cta, split, fill, wave = v
    compute = flops / (ec * peak) * (1.0 + 64.0 * fill / k) * quantisation(m, n * copies, chip.sms) ** wave
    memory = move(chip, bytes, em, share, el2, footprint)
    tiles = ceil(m / TILE) * ceil(n / TILE) * copies
    longest = cta * k / 1024.0 / maximum(minimum(chip.sms / tiles, k / (1024.0 * split)), 1.0)
    return Terms(t0 + smooth_maximum(smooth_maximum(compute, memory, p), longest, 3.0), compute, memory, t0)


def gemm_quantised(
    chip: Chip,
    v: Values,
    peak: Numeric,
    flops: Numeric,
    bytes: Numeric,
    m: Numeric,
    n: Numeric,
    k: Numeric,
    copies: Numeric,
    footprint: Numeric,
) -> Terms:
    """A GEMM after the kernel that quantises its activations: 3 m k bytes (bf16 in, fp8 out) and a CTA per row."""
    base = gemm(chip, v[:10], peak, flops, bytes, m, n, k, copies, footprint)
    extra = 3.0 * m * copies * k / (v[10] * chip.bandwidth) + v[11] * ceil(m * copies / chip.sms)
    return Terms(base.total + extra, base.compute, base.memory + extra, base.overhead)


def stream(chip: Chip, v: Values, bytes: Numeric) -> Terms:
    """smooth-max(t0, move): small passes cost a launch, the operands of middling ones were just written to the cache."""
    t0, em, p, share, el2 = v
    memory = move(chip, bytes, em, share, el2, bytes)
    return Terms(smooth_maximum(memory, t0, p), 0.0 * memory, memory, t0)


def strided(chip: Chip, v: Values, elements: Numeric, bytes: Numeric) -> Terms:
    """smooth-max(t0, move, elements one by one): `rate` elements per SM and clock cycle, whatever their width."""
    t0, em, p, rate = v
    memory = maximum(bytes / (em * chip.bandwidth), elements / (rate * chip.sms * chip.clock_hz))
    return Terms(smooth_maximum(memory, t0, p), 0.0 * memory, memory, t0)


def collective(v: Values, wire: Numeric, bandwidth: Numeric, devices: Numeric) -> Terms:
    """(a^q + (bytes on the wire / (b BW))^q)^(1/q) between two devices.

    With every device more, a grows by `hop`; with every doubling, the rate is multiplied by `spread` (up to eight: links
    of one board, then those that cross sockets). Beyond `switch` bytes another protocol runs, which starts `extra` seconds
    later. q below one: chunks are pipelined through the ring.
    """
    a, b, q, hop, spread, extra, switch = v
    beyond = minimum(wire / switch, 1e6) ** 4.0
    fixed = a + hop * maximum(devices - 2.0, 0.0) + extra * beyond / (1.0 + beyond)
    memory = wire / (b * bandwidth * spread ** log2(clip(devices, 2.0, 8.0) / 2.0))
    return Terms(smooth_maximum(fixed, memory, q), 0.0 * memory, memory, fixed)


def peer_sum(v: Values, wire: Numeric, bandwidth: Numeric, devices: Numeric) -> Terms:
    """A sum through peer memory, as vLLM's custom all-reduce: (fixed^q + moved^q)^(1/q).

    A small message is read whole from every peer (one shot: always between two devices, below 512 KiB among four, 256 KiB among
    eight); a larger one is summed in shares and these are gathered, `second` seconds later. Beyond `limit` bytes a library takes over,
    which starts `extra` later and reaches `rate` of the links. hop, spread: as in `collective`.
    """
    a, b, q, hop, spread, extra, rate, second, limit = v
    message = wire * devices / (2.0 * maximum(devices - 1.0, 1.0))
    once = message < where(devices <= 2.0, limit + 1.0, where(devices <= 4.0, ONE_SHOT, ONE_SHOT / 2.0))
    own = message <= limit
    fixed = a + hop * maximum(devices - 2.0, 0.0) + where(own, where(once, 0.0, second), extra)
    moved = where(own, where(once, wire * devices / 2.0, wire) / b, wire / rate)
    memory = moved / (bandwidth * spread ** log2(clip(devices, 2.0, 8.0) / 2.0))
    return Terms(smooth_maximum(fixed, memory, q), 0.0 * memory, memory, fixed)


def roofline(chip: Chip, v: Values, peak: Numeric, flops: Numeric, bytes: Numeric) -> Terms:
    """t0 + smooth-max of two rates, for kernels with few measurements."""
    t0, ec, em, p = v
    compute = flops / (ec * peak)
    memory = bytes / (em * chip.bandwidth)
    return Terms(t0 + smooth_maximum(compute, memory, p), compute, memory, t0)


NETWORK = {"collective": collective, "peer_sum": peer_sum}
