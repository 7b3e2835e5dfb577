"""Devices nobody measured: efficiencies of related devices, carried over as fractions of the datasheet.

An efficiency is a property of a kernel on an architecture, so relatives lend theirs: devices of the same architecture
alone if there are any, else the nearest, weighted. Within an architecture the datasheet's power is used too: a chip with
more multipliers per watt than the lender throttles more, one with fewer throttles less (`POWER`, a cautious exponent).
Element-wise kernels are held up by their instructions too: a chip with more bandwidth per SM reaches a smaller share of it.
Waits of a kernel (its start, a CTA's) are half clock cycles of the chip, half memory's. Attention takes an exponential per pair besides
its products: a chip whose multipliers grew faster than its special-function units reaches less of its peak.
The band across architectures is what leaving each measured device out shows, by region (`fitted/transfer.yaml`, written by
`python -m calibrate transfer`); within one, the lender's with an allowance added. Of cards with GDDR6 some check their memory and some do
not, which is a known share of its rate; chips that share their CPU's memory have a wide allowance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import exp, log
from typing import final

from simulator.efficiency.bands import REGIONS, Bands
from simulator.efficiency.fits import Fit
from simulator.efficiency.forms import PARAMETERS
from simulator.spec.folders import data_folder
from simulator.spec.yaml import read_yaml

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
# Architectures that run FlashAttention-2, for there is nothing newer for them.
SWAPPED = frozenset(("volta", "turing", "ampere", "ada", "blackwell-rtx"))
FAMILY = {"blackwell-ultra": "blackwell"}  # the same kernels
FAR = 0.1  # too far to lend alone
POWER = 0.35  # exponent of the multipliers-per-watt ratio, within one architecture
ISSUE = 0.25  # exponent of the bandwidth per SM, for element-wise kernels
CYCLES = frozenset(("t0", "cta", "block", "combine", "row", "group", "sequence", "swap", "walk"))  # parameters that are waits of a chip's own
CLOCK = 0.5  # exponent of the clock in them
EXPONENTIAL = 0.72 / 16.0  # cycles of an SM per pair: 16 special functions a cycle, of which fused kernels hide a part
LEAST_PRODUCTS = 0.3  # share of a pair's time that its products take at least
OWN = frozenset(("grouped_tiles",))  # kernels that only one architecture runs, and none would where there are others
STRUCTURE = frozenset(("tile", "keys", "limit"))  # what a kernel is built for: taken over, not averaged
GRAPHICS = 9.0  # tensor over vector rate of graphics chips is below it (4 where the chip is for computing 16)
CEILING = 0.95
OTHER_SILICON = 0.7  # log of tensor over vector rate: beyond it two chips of one architecture are not twins
# Log half-widths added to the lender's band within an architecture; few pairs of devices show them (A100 and A40).
WITHIN: dict[tuple[str, str], float] = {
    ("gemm", "bf16"): 0.15,
    ("norm", "bf16"): 0.55,
    ("rope", "bf16"): 0.65,
    ("activation", "bf16"): 0.3,
    ("add", "bf16"): 0.35,
}
SAME = 0.12
ELSE = 0.45  # across architectures, for kernels that were measured on one only
SHARED = 0.45  # within an architecture, to a chip whose memory is its CPU's (LPDDR behind a few SMs); none is measured: as ELSE
RATES = {"ec": CEILING, "em": 0.97, "eq": 4.0}
# Cards with GDDR6 whose checksums lie in the same memory and are on unless switched off: 10 to 15 % of the rate (README of IST-DASLab/marlin_artifact, A10).
CHECKED = frozenset(("a10", "a40", "l4", "l20", "l40s", "t4"))
CHECKS = 0.875


def family(architecture: str) -> str:
    """Architectures that run the same kernels have one name."""
    return FAMILY.get(architecture, architecture)


def nearness(a: str, b: str) -> float:
    """1 for the same architecture, less for a relative."""
    a, b = family(a), family(b)
    return 1.0 if a == b else NEAR.get(frozenset((a, b)), FAR)


def generation_of(architecture: str) -> int:
    """Of FlashAttention, or of what else an engine runs in its place."""
    return 2 if family(architecture) in SWAPPED else 3


def generation(lenders: list[Fit], architecture: str) -> list[Fit]:
    """Of attention kernels those of the generation that the architecture runs, if there are any; one form in any case, the nearest's."""
    if not lenders[0].op.endswith("_attention"):
        near = [fit for fit in lenders if fit.form not in OWN or nearness(architecture, fit.architecture) == 1.0] or lenders
        nearest = max(near, key=lambda fit: nearness(architecture, fit.architecture))
        return [fit for fit in near if fit.form == nearest.form]
    same = [fit for fit in lenders if generation_of(fit.architecture) == generation_of(architecture)] or lenders
    return [fit for fit in same if fit.form == same[0].form]


def silicon(figures: Mapping[str, float]) -> float:
    """log of tensor over vector rate: compute and graphics chips of one architecture differ fourfold."""
    return log(figures["tensor"])


def _per_sm(figures: Mapping[str, float]) -> float:
    """Bandwidth per SM [byte/s]."""
    return figures["bandwidth"] / figures["sms"]


def _checks(device: str) -> float:
    """Share of the memory rate that checksums leave."""
    return CHECKS if device in CHECKED else 1.0


def widest_tile(fit: Fit, architecture: str, figures: Mapping[str, float]) -> float:
    """Query rows of a tile of attention: at most 128 in FlashAttention-2, 64 where a causal tile must fit the shared memory of a
    graphics chip; what was fitted elsewhere."""
    if family(architecture) not in SWAPPED:
        return fit.values[PARAMETERS[fit.form].index("tile")]
    return 64.0 if fit.form.startswith("prefill") and figures["tensor"] < GRAPHICS else 128.0


def _exchanged(fit: Fit, ec: float, figures: Mapping[str, float]) -> float:
    """The share of the peak that attention reaches on another chip: a pair of tokens costs its products, at the same share of what
    each chip multiplies, and an exponential, of which every SM of either makes one every `EXPONENTIAL` cycles."""
    size = float(fit.variant.rpartition("=")[2] or "128")
    work = 4.0 * size / (2.0 if fit.format == "fp8" else 1.0)  # the share is of the format's own peak
    peak, theirs = (item["peak"] for item in (fit.figures, figures))
    before, after = (EXPONENTIAL / (item["sms"] * item["clock"]) for item in (fit.figures, figures))
    pair = work / (ec * peak)
    products = max(pair - before, LEAST_PRODUCTS * pair) * peak / theirs
    return work / (theirs * (products + after))


@final
@dataclass(frozen=True)
class Across:
    """What leaving devices out showed for one op and format: the band by region, and the mean absolute error of the middling fit."""

    bands: Bands
    error: float


@lru_cache(maxsize=1)
def left_out() -> Mapping[tuple[str, str], Across]:
    """(op, format) -> what leaving devices out showed; empty where nobody has looked."""
    path = data_folder("hardware_profiles") / "fitted" / "transfer.yaml"
    found: dict[tuple[str, str], Across] = {}
    for name, item in (read_yaml(path) if path.is_file() else {}).items():
        op, _, format = name.rpartition(" ")
        widths = tuple(float(item["widths"][region]) for region in REGIONS)
        found[op, format] = Across(Bands(widths, widths), float(item["error"]))
    return found


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
            if name == "ec" and fit.form in ("prefill", "prefill_apart", "encoder"):
                value = _exchanged(fit, value, figures)
            if name == "ec" and relatives:
                value *= (fit.figures["density"] / figures["density"]) ** POWER
            if name in CYCLES:
                value *= (fit.figures["clock"] / figures["clock"]) ** CLOCK
            if name == "cta" and "tile" in PARAMETERS[head.form]:  # what a smaller tile begins and ends with is less
                value *= min(widest_tile(head, architecture, figures) / head.values[PARAMETERS[head.form].index("tile")], 1.0)
            if name == "em" and relatives and abs(silicon(fit.figures) - silicon(figures)) < OTHER_SILICON:
                value *= _checks(device) / _checks(fit.device)
            if name == "em" and head.form == "stream":
                value *= (_per_sm(fit.figures) / _per_sm(figures)) ** ISSUE
            mean += weight / total * log(value)
        if name in STRUCTURE:
            values.append(min(head.values[place], widest_tile(head, architecture, figures)) if name == "tile" else head.values[place])
            continue
        values.append(min(exp(mean), RATES.get(name, 1e9)))
    same = bool(relatives)
    kernel = (head.op, head.format)
    across = None if same else left_out().get(kernel)
    if across is None:
        extra = ELSE if not same else max(WITHIN.get(kernel, SAME), SHARED if figures.get("shared", 0.0) else 0.0)
        bands = Bands(head.bands.low, head.bands.high).widened(extra)
        error = (head.error**2 + (extra / 1.6) ** 2) ** 0.5
    else:
        bands, error = across.bands.no_narrower(head.bands), across.error
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
