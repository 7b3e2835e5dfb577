"""Score of an interval: how wide it is, and how far what it should hold lies outside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def interval_score(y: Vector, low: Any, high: Any, alpha: float = 0.2) -> Vector:
    """Winkler score of a central 1 - alpha interval: its width, plus 2/alpha times the distance by which y lies outside."""
    return (high - low) + 2 / alpha * np.maximum(low - y, 0) + 2 / alpha * np.maximum(y - high, 0)
