"""Devices nobody measured: efficiencies of related devices, carried over as fractions of the datasheet.

An efficiency is a property of a kernel on an architecture, so relatives lend theirs: the nearest architectures, weighted.
What the datasheet says about power is used too: a chip that has more multipliers per watt than the lender throttles
more, one that has fewer throttles less (`POWER`). The band is that of leaving one device out, not that of the lender.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

from simulator.efficiency.bands import Bands
from simulator.efficiency.fits import Fit
from simulator.efficiency.forms import PARAMETERS

# How near two architectures are, 0..1; symmetrical; not named: FAR.
NEAR: dict[frozenset[str], float] = {
    frozenset(("hopper", "blackwell")): 0.5,
    frozenset(("hopper", "ampere")): 0.25,
    frozenset(("ada", "ampere")): 0.35,
    frozenset(("ada", "hopper")): 0.15,
    frozenset(("ada", "blackwell-consumer")): 0.6,
    frozenset(("ampere", "blackwell-consumer")): 0.3,
}
FAR = 0.05
POWER = 0.35  # exponent of the multipliers-per-watt ratio
CEILING = 0.95
EXTRA = {True: 0.10, False: 0.22}  # log half-width added: same architecture or not
RATES = {"ec": CEILING, "em": 0.97, "el2": 4.0, "eq": 4.0}


def nearness(a: str, b: str) -> float:
    """1 for the same architecture, less for a relative."""
    return 1.0 if a == b else NEAR.get(frozenset((a, b)), FAR)


def transferred(lenders: list[Fit], device: str, architecture: str, figures: dict[str, float]) -> Fit:
    """One fit from several of the same op, format, variant and form: a weighted geometric mean of the parameters.

    Lenders of the same architecture lend alone. The table goes along where architecture and SM count agree: then the
    library picks the same kernels.
    """
    relatives = [fit for fit in lenders if fit.architecture == architecture]
    lenders = relatives or lenders
    weights = [nearness(architecture, fit.architecture) ** 2 for fit in lenders]
    total = sum(weights)
    best = max(range(len(lenders)), key=lambda i: weights[i])
    head = lenders[best]
    values: list[float] = []
    for place, name in enumerate(PARAMETERS[head.form]):
        mean = 0.0
        for fit, weight in zip(lenders, weights, strict=True):
            value = max(fit.values[place], 1e-12)
            if name == "ec" and "density" in figures and fit.figures.get("density"):
                value *= (fit.figures["density"] / figures["density"]) ** POWER
            mean += weight / total * log(value)
        values.append(min(exp(mean), RATES.get(name, 1e9)))
    same = head.architecture == architecture
    bands = Bands(head.bands.low, head.bands.high).widened(EXTRA[same])
    error = (head.error**2 + (EXTRA[same] / 1.6) ** 2) ** 0.5
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
        table=head.table if same and head.figures.get("sms") == figures.get("sms") else None,
    )
