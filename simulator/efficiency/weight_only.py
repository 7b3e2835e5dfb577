"""Products whose weights are stored narrower than they are multiplied, and unpacked inside the kernel. None of them is fitted.

They take over the fit of the plain product, changed by what public benchmarks show, with a band of their own:

- few rows: Marlin moves bytes as fast as cuBLAS on A10 (its README: close to the ideal 4 times faster), at 0.80 of its rate on a card
  that is an A100 by its figures (github vllm pull 2497), and at the same rate but 2 to 5 us later on H100 and its like (weights of 4
  and 8 bits against 16, github inclusionAI/humming pull 2 and vllm pull 34556);
- many rows: 0.60 (the same A100), 0.82 (RTX 6000 Ada, github marlin issue 21), 0.6 (a Triton kernel) and 0.13 (tinygemm; both A6000,
  pytorch/ao, HQQ) of the rate of the plain product. Kernels of serving engines expand weights in registers for Ampere's warp-level
  instruction, with which Hopper's tensor cores reach 62 to 75 % of their peak (vllm pull 7174); newer ones are taken to reach no more.

Held against 162 measured layers of experts by Marlin on H100 (AIConfigurator, vLLM 0.24), which no constant comes from, the time is
12 % off in the median and 86 % lie inside the band (upper over lower 2.4).

Where weights are expanded first and multiplied by the plain product (transformers, many rows), its rate stays.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from simulator.efficiency.bands import Bands
from simulator.efficiency.fits import Fit
from simulator.efficiency.forms import PARAMETERS
from simulator.quantity import Numeric, is_array, minimum, where
from simulator.spec.hardware import BITS, Chip

LATER = 3e-6
"""Seconds that the kernel takes longer from start to end."""
MULTIPLIED = 0.7
"""Share of the plain product's rate of multiplying."""
WARP = 0.65 * 4096.0
"""FLOP per SM and clock cycle of Ampere's instruction, in 16 bits, at most."""
WIDER = Bands((0.2, 0.2, 0.2, 0.35, 0.35), (0.45, 0.45, 0.45, 0.6, 0.6))
"""Log half-widths by region: down to the plain product's rates; up to what older kernels take, the slowest left out."""
PACKED = "~weight-only"
FORMS = frozenset(("gemm", "gemm_quantised", "grouped_gemm", "grouped_tiles"))


def unpacked(chip: Chip, format: str, weight_bits: Numeric) -> Numeric:
    """1 where weights are narrower than the format they are really multiplied in, else 0."""
    if not is_array(weight_bits) and weight_bits >= 16.0:
        return 0.0
    base = {"fp8_block": "fp8", "nvfp4": "fp4"}.get(format, format)
    executed = BITS.get(chip.executed_format(base), 16) if base in BITS else 16
    narrow = weight_bits < min(executed, 16)
    return where(narrow, 1.0, 0.0) if is_array(weight_bits) else float(narrow)


@lru_cache(maxsize=256)
def weight_only(fit: Fit, inside: bool) -> Fit:
    """The fit of such a product from the plain one's. inside: the kernel itself multiplies what it unpacks, however many rows."""
    names = PARAMETERS[fit.form]
    changed = {"t0": fit.values[names.index("t0")] + LATER}
    if inside:
        changed["ec"] = fit.values[names.index("ec")] * MULTIPLIED
    values = tuple(changed.get(name, value) for name, value in zip(names, fit.values, strict=True))
    source = fit.source if fit.source == "default" else "transferred"
    table = None if inside else fit.table
    low, high = (tuple((a * a + b * b) ** 0.5 for a, b in zip(*pair, strict=True)) for pair in ((fit.bands.low, WIDER.low), (fit.bands.high, WIDER.high)))
    error = (fit.error**2 + 0.3**2) ** 0.5
    return replace(fit, id=f"{fit.id}{PACKED}", values=values, bands=Bands(low, high), source=source, error=error, median=error, table=table)


def warp_rate(chip: Chip, peak: Numeric) -> Numeric:
    """What Ampere's instruction reaches of a peak [FLOP/s]."""
    wide = chip.peak.get("bf16", chip.peak.get("fp16", chip.vector_flops))
    return peak * minimum(WARP * chip.sms * chip.clock_hz / wide, 1.0)
