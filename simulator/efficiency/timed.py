"""What every kernel time has, whatever its form: a physical floor, a band, and the fit that is nearest to what is asked for."""

from __future__ import annotations

from math import log

from simulator.efficiency.attention_forms import built_for
from simulator.efficiency.fits import Fit
from simulator.efficiency.forms import Terms
from simulator.quantity import Numeric, is_array, maximum, where
from simulator.spec.hardware import Chip, ChipLink
from simulator.timing import Time


def physical(chip: Chip, peak: Numeric, flops: Numeric, bytes: Numeric) -> Numeric:
    """Seconds below which nothing can be: max(F / P, max(0, B - L2) / BW)."""
    return maximum(flops / peak, maximum(bytes - chip.l2_bytes, 0.0) / chip.bandwidth)


def rate(chip: Chip, format: str) -> Numeric:
    """Peak FLOP/s of the format a multiplication really runs in."""
    found = chip.peak.get(format)
    if found is not None:
        return found
    name = {"fp8_block": "fp8", "nvfp4": "fp4"}.get(format, format)
    return chip.vector_flops if name == "vector" else chip.peak[chip.executed_format(name)]


def timed(fit: Fit, terms: Terms, floor: Numeric, factor: Numeric = 1.0) -> Time:
    """The band of the region the terms lie in, and the floor."""
    low, high = fit.bands.at(terms)
    expected = maximum(terms.total * factor, floor)
    return Time(expected, low, high, terms.compute, terms.memory, terms.overhead, fit.id, fit.source)


def bare(chip: Chip, peak: Numeric, flops: Numeric, bytes: Numeric) -> Time:
    """The roofline alone: max(F / P, B / BW), no overhead, no band."""
    compute, memory = flops / peak, bytes / chip.bandwidth
    return Time(maximum(compute, memory), 0.0, 0.0, compute, memory, 0.0, "ideal", "default")


LINK_SHARE = 0.85  # of a link's datasheet rate, in a large copy
LINK_BAND = 0.2


def copied(link: ChipLink, fit: str, bytes: Numeric, ideal: bool) -> Time:
    """A large copy over a link that nobody measured; `ideal`: at the datasheet's rate and without a start."""
    memory = bytes / ((1.0 if ideal else LINK_SHARE) * link.bandwidth)
    fixed = 0.0 if ideal else link.latency
    width = 0.0 if ideal else LINK_BAND
    return Time(memory + fixed, width, width, 0.0 * memory, memory, fixed, fit, "default")


def either(condition: Numeric, one: Time, other: Time) -> Time:
    """`one` where the condition holds, else `other`; both rest on fits of the same kernels, so that they count as one fit."""
    if not is_array(condition):
        return one if condition else other
    a, b = one, other
    return Time(
        where(condition, a.expected, b.expected),
        where(condition, a.low, b.low),
        where(condition, a.high, b.high),
        where(condition, a.compute, b.compute),
        where(condition, a.memory, b.memory),
        where(condition, a.overhead, b.overhead),
        b.fit,
        b.source,
    )


def padding(fit: Fit, head_dim: Numeric) -> float:
    """FLOPs that a kernel really multiplies over those asked for, relative to what the fit's own head size has in its efficiency."""
    mine, its = float(head_dim), float(fit.variant.rpartition("=")[2] or head_dim)
    if mine == its:
        return 1.0
    return built_for(fit.architecture, mine) / mine / (built_for(fit.architecture, its) / its)


def nearest_variant(fits: tuple[Fit, ...], wanted: Numeric) -> Fit:
    """The fit whose head size is nearest; it is structural, so a number."""
    if len(fits) == 1:
        return fits[0]
    size = log(float(wanted))
    return min(fits, key=lambda fit: abs(log(float(fit.variant.rpartition("=")[2] or "128")) - size))
