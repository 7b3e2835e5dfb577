"""Speculative decoding in numbers: drafted tokens accepted per cycle, for one chance of acceptance or for arrays of them.

A cycle drafts gamma tokens and verifies them in one pass of the target; each is accepted with chance a as long as all
before it were, and the verifier adds one token of its own (Leviathan et al., arXiv 2211.17192, equation 1).
"""

from __future__ import annotations

from simulator.quantity import Numeric, maximum, where

NEAR_ONE = 1e-9


def relaxed(alpha: Numeric, relax: Numeric) -> Numeric:
    """Chance of acceptance when a mismatch is let pass with chance `relax`."""
    return alpha + (1.0 - alpha) * relax


def expected_accepted(alpha: Numeric, gamma: Numeric) -> Numeric:
    """tau = a + a^2 + ... + a^gamma = (1 - a^(gamma+1)) / (1 - a) - 1: accepted drafts per cycle, the bonus token not counted."""
    miss = maximum(1.0 - alpha, 0.0)
    return where(miss < NEAR_ONE, gamma, alpha * (1.0 - alpha**gamma) / maximum(miss, NEAR_ONE))


def acceptance_of(accepted: float, gamma: float) -> float:
    """The chance of acceptance at which `accepted` of `gamma` drafts are accepted; inverse of `expected_accepted`."""
    if not 0.0 <= accepted <= gamma:
        raise ValueError(f"accepted: {accepted!r} is not accepted; 0 to gamma = {gamma:g}")
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if float(expected_accepted(middle, gamma)) < accepted else (low, middle)
    return 0.5 * (low + high)
