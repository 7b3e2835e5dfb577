"""What a kernel costs, as a function of its shape, the chip's datasheet and a handful of fitted efficiencies.

Every form returns `Terms`: the seconds of multiplying, of moving bytes and of everything fixed, and their total. The
roofline terms meet in a smooth maximum because a kernel overlaps loads and multiplications imperfectly near the ridge.
Forms use the datasheet figures of the chip they are given (which may be arrays), so that a counterfactual chip keeps the
efficiencies of its name and changes its rates only. More peak or bandwidth never makes a form slower.

Sources of the terms: roofline (Williams et al. 2009); latency-bandwidth collectives (Hockney 1994); split-KV decoding
(Dao et al., FlashDecoding 2023); the combination and the numbers are fitted here, see `hardware_profiles/report.md`.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.quantity import Numeric, ceil, maximum, minimum, smooth_maximum
from simulator.spec.hardware import Chip

Values = tuple[float, ...]

# Parameters by form, in the order the functions unpack them. Efficiencies are fractions of a datasheet figure,
# t0 and costs are seconds, p and q are exponents of the smooth maximum.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "gemm": ("t0", "ec", "em", "p", "l2_share", "el2"),
    "gemm_quantised": ("t0", "ec", "em", "p", "l2_share", "el2", "eq", "row"),
    "grouped_gemm": ("t0", "ec", "em", "p", "group"),
    "prefill": ("t0", "ec", "em", "p"),
    "encoder": ("t0", "ec", "em", "p", "cta"),
    "decode": ("t0", "em", "p", "l2_share", "el2", "cta", "ec"),
    "stream": ("t0", "em"),
    "collective": ("a", "b", "q", "hop"),
    "roofline": ("t0", "ec", "em", "p"),
}


class Terms(NamedTuple):
    """Seconds: the total, and the compute, memory and overhead terms it is made of."""

    total: Numeric
    compute: Numeric
    memory: Numeric
    overhead: Numeric


def hot_share(footprint: Numeric, cache: Numeric, share: float) -> Numeric:
    """Fraction of bytes found in the last-level cache when `footprint` [byte] is cycled through.

    1 / (1 + (footprint / (share cache))^4): all of it when the cycle fits, none when it is much larger.
    """
    ratio = minimum(footprint / (share * cache), 1e9)
    return 1.0 / (1.0 + ratio * ratio * ratio * ratio)


def move(chip: Chip, bytes: Numeric, em: float, el2: float, hot: Numeric) -> Numeric:
    """Seconds to move `bytes`, `hot` of them from the cache; the cache is never slower than the memory."""
    cold = bytes / (em * chip.bandwidth)
    return cold - hot * (cold - minimum(bytes / (el2 * chip.l2_bandwidth), cold))


def gemm(chip: Chip, v: Values, peak: Numeric, flops: Numeric, bytes: Numeric, footprint: Numeric) -> Terms:
    """t0 + smooth-max(F / (ec P), B / (em BW)), bytes partly from the last-level cache if the footprint allows."""
    t0, ec, em, p, share, el2 = v
    compute = flops / (ec * peak)
    memory = move(chip, bytes, em, el2, hot_share(footprint, chip.l2_bytes, share))
    return Terms(t0 + smooth_maximum(compute, memory, p), compute, memory, t0)


def gemm_quantised(
    chip: Chip,
    v: Values,
    peak: Numeric,
    flops: Numeric,
    bytes: Numeric,
    footprint: Numeric,
    m: Numeric,
    k: Numeric,
) -> Terms:
    """A GEMM after the kernel that quantises its activations: reads bf16, writes fp8 (3 m k bytes), one CTA per row."""
    base = gemm(chip, v[:6], peak, flops, bytes, footprint)
    extra = 3.0 * m * k / (v[6] * chip.bandwidth) + v[7] * ceil(m / chip.sms)
    return Terms(base.total + extra, base.compute, base.memory + extra, base.overhead)


def grouped_gemm(
    chip: Chip, v: Values, peak: Numeric, flops: Numeric, bytes: Numeric, experts: Numeric, waves: Numeric
) -> Terms:
    """t0 + smooth-max(F / (ec P), B / (em BW)) + a cost per wave of the experts' tiles."""
    t0, ec, em, p, group = v
    compute = flops / (ec * peak)
    memory = bytes / (em * chip.bandwidth)
    fixed = t0 + group * waves
    return Terms(fixed + smooth_maximum(compute, memory, p), compute, memory, fixed)


def prefill(chip: Chip, v: Values, peak: Numeric, flops: Numeric, bytes: Numeric) -> Terms:
    """t0 + smooth-max(F / (ec P), B / (em BW)); with p near 1 the two nearly add, as short sequences show."""
    t0, ec, em, p = v
    compute = flops / (ec * peak)
    memory = bytes / (em * chip.bandwidth)
    return Terms(t0 + smooth_maximum(compute, memory, p), compute, memory, t0)


def encoder(
    chip: Chip, v: Values, peak: Numeric, flops: Numeric, bytes: Numeric, tiles: Numeric, longest: Numeric
) -> Terms:
    """Non-causal attention in waves of CTAs.

    tiles: CTAs (128 queries of one head each); longest: FLOPs of one CTA. A grid of fewer CTAs than SMs still takes as
    long as its longest CTA; every wave costs `cta` on top.
    """
    t0, ec, em, p, cta = v
    compute = maximum(flops, longest * chip.sms) / (ec * peak)
    memory = bytes / (em * chip.bandwidth)
    fixed = t0 + cta * maximum(tiles / chip.sms, 1.0)
    return Terms(fixed + smooth_maximum(compute, memory, p), compute, memory, fixed)


def decode(
    chip: Chip,
    v: Values,
    peak: Numeric,
    flops: Numeric,
    bytes: Numeric,
    pairs: Numeric,
    footprint: Numeric,
) -> Terms:
    """Split-KV decoding: t0 + smooth-max(KV bytes over memory or cache, waves of CTAs times their cost).

    pairs: sequences x KV heads, one CTA each before splitting.
    """
    t0, em, p, share, el2, cta, ec = v
    memory = move(chip, bytes, em, el2, hot_share(footprint, chip.l2_bytes, share))
    waves = cta * maximum(pairs / chip.sms, 1.0)
    compute = flops / (ec * peak)
    return Terms(t0 + smooth_maximum(memory, maximum(waves, compute), p), compute, memory, t0 + waves)


def stream(chip: Chip, v: Values, bytes: Numeric) -> Terms:
    """t0 + bytes / (em BW)."""
    t0, em = v
    memory = bytes / (em * chip.bandwidth)
    return Terms(t0 + memory, 0.0 * memory, memory, t0)


def collective(v: Values, wire: Numeric, bandwidth: Numeric, devices: Numeric) -> Terms:
    """(a^q + (bytes on the wire / (b BW))^q)^(1/q), a growing with the number of hops."""
    a, b, q, hop = v
    memory = wire / (b * bandwidth)
    fixed = a + hop * maximum(devices - 2.0, 0.0)
    return Terms(smooth_maximum(fixed, memory, q), 0.0 * memory, memory, fixed)


def roofline(chip: Chip, v: Values, peak: Numeric, flops: Numeric, bytes: Numeric) -> Terms:
    """t0 + smooth-max of two rates, for kernels nobody fitted."""
    t0, ec, em, p = v
    compute = flops / (ec * peak)
    memory = bytes / (em * chip.bandwidth)
    return Terms(t0 + smooth_maximum(compute, memory, p), compute, memory, t0)
