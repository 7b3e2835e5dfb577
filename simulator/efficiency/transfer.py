"""Devices nobody measured: efficiencies of related devices, carried over as fractions of the datasheet.

An efficiency is a property of a kernel on an architecture, so relatives lend theirs: devices of the same architecture
alone if there are any, else the nearest, weighted. Within an architecture the datasheet's power is used too: a chip with
more multipliers per watt than the lender throttles more, one with fewer throttles less (`POWER`, a cautious exponent).
Element-wise kernels are held up by their instructions too: a chip with more bandwidth per SM reaches a smaller share of it.
The band is the lender's with the error of leaving a device out added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import exp, log

from simulator.efficiency.bands import Bands
from simulator.efficiency.fits import Fit
from simulator.efficiency.forms import PARAMETERS

# How near two architectures are, 0..1, by how well one's parameters time the other's kernels; not named: FAR.
NEAR: dict[frozenset[str], float] = {
    frozenset(("hopper", "blackwell")): 0.8,
    frozenset(("ada", "blackwell")): 0.4,
    frozenset(("ada", "hopper")): 0.35,
    frozenset(("ada", "ampere")): 0.35,
    frozenset(("ampere", "hopper")): 0.3,
    frozenset(("ampere", "blackwell")): 0.25,
    frozenset(("ada", "blackwell-rtx")): 0.8,
    frozenset(("hopper", "blackwell-rtx")): 0.3,
    frozenset(("blackwell", "blackwell-rtx")): 0.3,
    frozenset(("cdna2", "cdna3")): 0.6,
    frozenset(("cdna2", "cdna4")): 0.5,
    frozenset(("ampere", "turing")): 0.5,
    frozenset(("ampere", "volta")): 0.5,
}
FAMILY = {"blackwell-ultra": "blackwell"}  # the same kernels
FAR = 0.1  # too far to lend alone
POWER = 0.35  # exponent of the multipliers-per-watt ratio, within one architecture
ISSUE = 0.25  # exponent of the bandwidth per SM, for element-wise kernels
CEILING = 0.95
OTHER_SILICON = 0.7  # log of tensor over vector rate: beyond it two chips of one architecture are not twins
# Log half-widths added to the lender's band: within an architecture, and across, by op and format. They are what leaving one
# device out shows (report.md): the 80th percentile of its error, over all devices that can be left out.
WITHIN: dict[tuple[str, str], float] = {
    ("gemm", "bf16"): 0.15,
    ("norm", "bf16"): 0.55,
    ("rope", "bf16"): 0.65,
    ("activation", "bf16"): 0.3,
    ("add", "bf16"): 0.35,
}
SAME = 0.12
ACROSS: dict[tuple[str, str], float] = {
    ("gemm", "bf16"): 0.33,
    ("gemm", "fp8"): 0.42,
    ("gemm", "fp8_block"): 1.0,
    ("gemm", "fp4"): 0.5,
    ("decode_attention", "bf16"): 0.5,
    ("decode_attention", "fp8"): 0.5,
    ("prefill_attention", "bf16"): 0.5,
    ("prefill_attention", "fp8"): 0.55,
    ("encoder_attention", "bf16"): 0.55,
    ("grouped_gemm", "bf16"): 0.3,
    ("grouped_gemm", "fp8"): 1.4,
    ("grouped_gemm", "fp8_block"): 0.33,
    ("all_reduce", "bf16"): 0.7,
    ("all_gather", "bf16"): 0.45,
    ("all_to_all", "bf16"): 0.45,
}
ELSE = 0.45
RATES = {"ec": CEILING, "em": 0.97, "eq": 4.0}


def family(architecture: str) -> str:
    """Architectures that run the same kernels have one name."""
    return FAMILY.get(architecture, architecture)


def nearness(a: str, b: str) -> float:
    """1 for the same architecture, less for a relative."""
    a, b = family(a), family(b)
    return 1.0 if a == b else NEAR.get(frozenset((a, b)), FAR)


def silicon(figures: Mapping[str, float]) -> float:
    """log of tensor over vector rate: compute and graphics chips of one architecture differ fourfold."""
    return log(figures["tensor"])


def _per_sm(figures: Mapping[str, float]) -> float:
    """Bandwidth per SM [byte/s]."""
    return figures["bandwidth"] / figures["sms"]


def transferred(lenders: list[Fit], device: str, architecture: str, figures: Mapping[str, float]) -> Fit:
    """One fit from several of the same op, format, variant and form: a weighted geometric mean of the parameters.

    The lenders are chosen by `catalogue`: of the same architecture if there are any. The table goes along where architecture and SM count agree: then the
    library picks the same kernels.
    """
    relatives = [fit for fit in lenders if nearness(architecture, fit.architecture) == 1.0]
    weights = [nearness(architecture, fit.architecture) ** 2 for fit in lenders]
    total = sum(weights)
    best = max(range(len(lenders)), key=lambda i: weights[i])
    head = lenders[best]
    values: list[float] = []
    for place, name in enumerate(PARAMETERS[head.form]):
        mean = 0.0
        for fit, weight in zip(lenders, weights, strict=True):
            value = max(fit.values[place], 1e-12)
            if name == "ec" and relatives:
                value *= (fit.figures["density"] / figures["density"]) ** POWER
            if name == "em" and head.form == "stream":
                value *= (_per_sm(fit.figures) / _per_sm(figures)) ** ISSUE
            mean += weight / total * log(value)
        values.append(head.values[place] if name == "tile" else min(exp(mean), RATES.get(name, 1e9)))
    same = bool(relatives)
    kernel = (head.op, head.format)
    extra = WITHIN.get(kernel, SAME) if same else ACROSS.get(kernel, ELSE)
    bands = Bands(head.bands.low, head.bands.high).widened(extra)
    error = (head.error**2 + (extra / 1.6) ** 2) ** 0.5
    return replace(
        head,
        id=f"{device}/{head.op}/{head.format}/{head.framework}/{head.version}/{head.variant}<-{head.device}",
        device=device,
        architecture=architecture,
        values=tuple(values),
        bands=bands,
        source="transferred",
        error=error,
        median=error,
        table=head.table if same and head.figures["sms"] == figures["sms"] else None,
    )
