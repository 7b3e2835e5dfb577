"""From samples to a row: percentiles, and the refusal of timings that cannot be timings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


class BadTiming(ValueError):
    """A clock returned something that is no duration."""


@dataclass(frozen=True)
class Sample:
    """One timed block: seconds per call [s], the yardstick readings around it [s] (0 where none are taken), and how often
    the system took a thread of this process off its core meanwhile, beyond once in 25 ms."""

    seconds: float
    gemm_before: float = 0.0
    gemm_after: float = 0.0
    copy_before: float = 0.0
    copy_after: float = 0.0
    preempted: float = 0.0


@dataclass(frozen=True)
class Summary:
    """Percentiles of the samples that survived [s]; ``kept_share`` is survivors over all taken."""

    seconds: float
    median_s: float
    p20_s: float
    p80_s: float
    min_s: float
    samples: int
    kept_share: float


def check_seconds(values: Sequence[float]) -> None:
    """Raise BadTiming naming the first value that is not a finite positive duration [s]."""
    for index, value in enumerate(values):
        if not math.isfinite(value) or value <= 0.0:
            raise BadTiming(f"sample {index} is {value!r} seconds; a duration must be finite and above zero")


def summarise(kept: Sequence[float], taken: int, primary: str) -> Summary:
    """Percentiles of ``kept`` [s]; ``primary`` names the one that becomes ``seconds``: ``median`` or ``p20``."""
    check_seconds(kept)
    p20, median, p80 = (float(value) for value in np.percentile(np.asarray(kept), [20.0, 50.0, 80.0]))
    return Summary(
        seconds={"median": median, "p20": p20}[primary],
        median_s=median,
        p20_s=p20,
        p80_s=p80,
        min_s=float(min(kept)),
        samples=len(kept),
        kept_share=len(kept) / taken,
    )
