"""Devices nobody measured: efficiencies of related devices, carried over as fractions of the datasheet.

An efficiency is a property of a kernel on an architecture, so relatives lend theirs: devices of the same architecture
alone if there are any, else the nearest, weighted. Within an architecture the datasheet's power is used too: a chip with
more multipliers per watt than the lender throttles more, one with fewer throttles less (`POWER`, a cautious exponent).
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
CEILING = 0.95
OTHER_SILICON = 0.7  # log of tensor over vector rate: beyond it two chips of one architecture are not twins
SAME = 0.10  # log half-width added within an architecture
# ... and across architectures, by op and format: what leaving one device out shows (report.md).
ACROSS: dict[tuple[str, str], float] = {
    ("gemm", "bf16"): 0.35,
    ("gemm", "fp8"): 0.45,
    ("gemm", "fp8_block"): 0.8,
    ("gemm", "fp4"): 0.5,
    ("decode_attention", "bf16"): 0.7,
    ("decode_attention", "fp8"): 0.6,
    ("prefill_attention", "bf16"): 0.6,
    ("prefill_attention", "fp8"): 0.7,
    ("grouped_gemm", "fp8"): 1.2,
}
ELSE = 0.4
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
            mean += weight / total * log(value)
        values.append(min(exp(mean), RATES.get(name, 1e9)))
    same = bool(relatives)
    extra = SAME if same else ACROSS.get((head.op, head.format), ELSE)
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
