"""One number or a million: every cost function takes `Numeric` and never asks which.

Units are SI throughout: second, byte, FLOP, FLOP/s, byte/s, watt, dollar. The helpers keep plain floats plain (a NumPy
scalar costs ten times a Python float) and hand arrays to NumPy.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numeric: TypeAlias = "float | NDArray[np.float64]"

_ARRAY = np.ndarray
EVERYTHING = 1e9  # the window of a layer that sees every token [tokens]


def is_array(*values: object) -> bool:
    """True where any value is an array."""
    for value in values:  # noqa: SIM110  (a generator costs twice as much here)
        if isinstance(value, _ARRAY):
            return True
    return False


def maximum(a: Numeric, b: Numeric) -> Numeric:
    """Elementwise larger of two."""
    if isinstance(a, _ARRAY) or isinstance(b, _ARRAY):
        return np.maximum(a, b)
    return a if a >= b else b


def minimum(a: Numeric, b: Numeric) -> Numeric:
    """Elementwise smaller of two."""
    if isinstance(a, _ARRAY) or isinstance(b, _ARRAY):
        return np.minimum(a, b)
    return a if a <= b else b


def clip(value: Numeric, low: Numeric, high: Numeric) -> Numeric:
    """`value` held between `low` and `high`."""
    return minimum(maximum(value, low), high)


def where(condition: Any, yes: Numeric, no: Numeric) -> Numeric:
    """`yes` where the condition holds, else `no`; both are evaluated."""
    if isinstance(condition, _ARRAY) or isinstance(yes, _ARRAY) or isinstance(no, _ARRAY):
        return np.where(condition, yes, no)
    return yes if condition else no


def ceil(value: Numeric) -> Numeric:
    """Smallest whole number not below `value`."""
    if isinstance(value, _ARRAY):
        return np.ceil(value)
    return float(math.ceil(value))


def floor(value: Numeric) -> Numeric:
    """Largest whole number not above `value`."""
    if isinstance(value, _ARRAY):
        return np.floor(value)
    return float(math.floor(value))


def exp(value: Numeric) -> Numeric:
    """e to the power of `value`."""
    return np.exp(value) if isinstance(value, _ARRAY) else math.exp(value)


def log(value: Numeric) -> Numeric:
    """Natural logarithm."""
    return np.log(value) if isinstance(value, _ARRAY) else math.log(value)


def log2(value: Numeric) -> Numeric:
    """Binary logarithm."""
    return np.log2(value) if isinstance(value, _ARRAY) else math.log2(value)


def sqrt(value: Numeric) -> Numeric:
    """Square root."""
    return np.sqrt(value) if isinstance(value, _ARRAY) else math.sqrt(value)


def smooth_maximum(a: Numeric, b: Numeric, power: float) -> Numeric:
    """(a^p + b^p)^(1/p): a maximum with a rounded corner; at a = b it is 2^(1/p) times either. Not for negative numbers."""
    if isinstance(a, _ARRAY) or isinstance(b, _ARRAY):  # exp and log are vectorised in NumPy, pow is not: five times as fast
        high = np.maximum(np.maximum(a, b), 1e-30)
        rest = np.maximum(np.minimum(a, b), 1e-200)
        rest /= high
        np.log(rest, out=rest)
        rest *= power
        np.exp(rest, out=rest)
        rest += 1.0
        np.log(rest, out=rest)
        rest /= power
        np.exp(rest, out=rest)
        rest *= high
        return rest
    low, high = (a, b) if a <= b else (b, a)
    high = high if high > 1e-30 else 1e-30
    return high * (1.0 + ((low if low > 1e-200 else 1e-200) / high) ** power) ** (1.0 / power)


_STEPS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def text(value: float, unit: str, digits: int = 3) -> str:
    """A number for people: `text(0.00123, "s")` is `1.23 ms`. The one formatter. Nobody counts in kiloseconds."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    size = abs(value)
    if unit == "s" and size >= 999.5:
        return f"{value:,.0f} s"
    scale, prefix = next(((s, p) for s, p in _STEPS if size >= s * (1 - 0.5 * 10**-digits)), _STEPS[-1])
    return f"{value / scale:.{digits}g} {prefix}{unit}".rstrip() if size < 999.5 * scale else f"{value / scale:.0f} {prefix}{unit}".rstrip()
