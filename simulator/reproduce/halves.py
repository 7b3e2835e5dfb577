"""Two halves of the published table, by method, and two of the fresh one, by source, device and model: what is diagnosed and corrected
on one is validated on the other."""

from __future__ import annotations

from hashlib import sha256

from simulator.reproduce.table import Row

LOOKED_AT = frozenset(("fastv", "holitom", "nvila"))
"""Methods of the held-out half whose misses were diagnosed later; they count as development since, and never go back."""


def held_out(entry: str) -> bool:
    """Whether a method's rows are kept for validation: half of all names, by a hash that knows nothing of them, less those looked at."""
    return _odd(entry) and entry not in LOOKED_AT


def fresh_held_out(row: Row) -> bool:
    """Whether a fresh row is kept for validation: half of all source, device and model names, for one engine's rows share its misses."""
    return _odd(f"{row.entry} {row.hardware} {row.model}")


def _odd(name: str) -> bool:
    return int(sha256(name.encode()).hexdigest(), 16) % 2 == 1
