"""Kernels on a CPU: blocked products that saturate slowly, products of one row that only stream, attention in blocks.

A core has no tensor unit to fill and no waves of CTAs; what costs is how far a shape is from the blocking of the library,
and for one row how fast the weights stream. Parameters are named in `forms.PARAMETERS`, fitted by `calibrate fit`.
"""

from __future__ import annotations

from simulator.efficiency.forms import Terms, Values, move
from simulator.quantity import Numeric, smooth_maximum, where
from simulator.spec.hardware import Chip


def saturation(m: Numeric, n: Numeric, k: Numeric, rows: float, columns: float, depth: float) -> Numeric:
    """Share of the rate that a product of this shape reaches: half of it at m = rows, n = columns and k = depth each."""
    return m / (m + rows) * (n / (n + columns)) * (k / (k + depth))


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
    """m > 1: t0 + smooth-max(F / (ec P saturation), move). One row: v0 + weights at a rate of their own (a library calls
    another routine, which is bound by memory). Few rows stream weights at half the rate where k = reach: every row of a
    matrix is a stretch of memory that has to be found first."""
    t0, ec, em, p, share, el2, rows, columns, depth, v0, ev, reach = v
    compute = flops / (ec * peak * saturation(m, n, k, rows, columns, depth))
    found = 1.0 + reach / k
    many = move(chip, bytes, em, share, el2, footprint) * found
    one = move(chip, bytes, ev, share, el2, footprint) * found
    single = m <= 1.0
    total = where(single, v0 + one, t0 + smooth_maximum(compute, many, p))
    return Terms(total, where(single, 0.0 * compute, compute), where(single, one, many), where(single, v0 + 0.0 * one, t0 + 0.0 * many))


def attention(
    chip: Chip, v: Values, peak: Numeric, flops: Numeric, bytes: Numeric, head_dim: Numeric, query: Numeric
) -> Terms:
    """t0 + smooth-max(multiply, move). Multiply: F / (ec P), with `edge` more rows of keys per query row (blocks on the
    diagonal are computed whole) and an exponential per pair that costs as much as `soft` elements of a head."""
    t0, ec, em, p, edge, soft = v
    compute = flops / (ec * peak) * (1.0 + edge / query) * (1.0 + soft / head_dim)
    memory = bytes / (em * chip.bandwidth)
    return Terms(t0 + smooth_maximum(compute, memory, p), compute, memory, t0)


PASSES = 8.0  # over the score map: written, scaled, masked and normalised (read and written each), read


def eager(chip: Chip, v: Values, peak: Numeric, head_dim: Numeric, maps: Numeric) -> Terms:
    """Attention as model code writes it, with `maps` bytes of float32 scores in memory: t0 + F / (ec P) of the whole square +
    passes over the map, which cost several times as much once it is larger than the cache."""
    t0, ec, em, share, el2 = v
    compute = maps * head_dim / (ec * peak)
    memory = move(chip, PASSES * maps, em, share, el2, maps)
    return Terms(t0 + compute + memory, compute, memory, t0)
