"""A case is one thing to time: which table it belongs to, what identifies it, and how to set it up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calibrate.measure.device import Device

Value = str | int | float
Call = Callable[[], Any]

SCHEMA_VERSION = 1


class Unsupported(Exception):
    """This device, build or shape cannot run the case; the message says why and lands in the table."""


class TooSlow(Exception):
    """One call takes so long that the samples would eat the budget; a resumed run tries again."""


@dataclass(frozen=True)
class Prepared:
    """Calls to rotate over, and the bytes touched before the first of them is called again [bytes].

    ``reset`` runs untimed before each sample (a cache that grew is cropped again). ``single`` says that one call is one
    sample: no repetition inside the timed region.
    """

    calls: tuple[Call, ...]
    footprint_bytes: int
    reset: Call | None = None
    single: bool = False
    graph: bool = True
    close: Call | None = None


@dataclass(frozen=True)
class Case:
    """``family`` names the table; ``key`` holds the identity columns in order; ``prepare`` makes the calls.

    ``bytes`` is what the case needs to have allocated at once [bytes], an estimate used to skip it on a small machine.
    """

    family: str
    key: dict[str, Value]
    prepare: Callable[[Device], Prepared] = field(compare=False)
    bytes: int = 0

    @property
    def identity(self) -> str:
        """A short stable name of (family, key): the column by which a run is resumed."""
        text = json.dumps([self.family, list(self.key.items())], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def suite_hash(cases: Iterable[Case]) -> str:
    """Hash of what a suite asks for: the same set of cases gives the same value whatever their order."""
    names = sorted(case.identity for case in cases)
    return hashlib.sha256(("\n".join([str(SCHEMA_VERSION), *names])).encode()).hexdigest()[:16]
