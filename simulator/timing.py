"""The result of timing something: seconds with a band, what they are made of, and which fit they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from simulator.quantity import Numeric


@final
@dataclass(frozen=True, slots=True)
class Time:
    """expected [s]; low, high: 80 % half-widths in log (lower = expected e^-low, upper = expected e^high).

    compute, memory, overhead [s]: the terms the expectation is made of (they overlap, so they need not add up).
    fit: id of the fit whose residuals it carries (residuals of one fit add coherently).
    source: measured | fitted | transferred | default.
    """

    expected: Numeric
    low: Numeric
    high: Numeric
    compute: Numeric
    memory: Numeric
    overhead: Numeric
    fit: str
    source: str
