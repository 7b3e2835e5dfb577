"""Predictions with a band each, equally likely, read as one distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Midpoints of eleven equally likely slices of a standard normal, in units of its 80 % half-width (1.2816 sigma).
_NODES = np.array([-1.6906, -1.0968, -0.7479, -0.4727, -0.2299, 0.0, 0.2299, 0.4727, 0.7479, 1.0968, 1.6906]) / 1.2816


@final
@dataclass(frozen=True, slots=True)
class Band:
    """Median and 80 % interval."""

    expected: float
    lower: float
    upper: float


def mixture(expected: Array, low: Array, high: Array, weights: Array) -> Band:
    """The 10, 50 and 90 % quantiles of log-normal components with 80 % log half-widths `low` and `high`, all flat arrays."""
    wings = np.where(_NODES < 0.0, low[:, None], high[:, None])
    values = np.log(expected)[:, None] + wings * _NODES
    mass = np.repeat(weights / weights.sum() / len(_NODES), len(_NODES))
    flat = values.ravel()
    order = np.argsort(flat)
    cumulative = np.cumsum(mass[order]) - 0.5 * mass[order]
    middle, lower, upper = np.interp((0.5, 0.1, 0.9), cumulative, flat[order])
    return Band(float(np.exp(middle)), float(np.exp(lower)), float(np.exp(upper)))
