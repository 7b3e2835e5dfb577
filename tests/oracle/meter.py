"""Attributes what torch counts, or what the clock says, to stage, phase and overhead.

FLOPs come from ``FlopCounterMode``, which sees every matrix product as a full rectangle. ``uncount`` takes out,
exactly, the products that belong to masked pairs (see the package docstring).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

STAGES = ("encode", "project", "prefill", "decode")
Label = tuple[str, str, bool]


class Meter:
    """Counts FLOPs (``clock=False``) or seconds (``clock=True``) while used as a context manager."""

    def __init__(self, clock: bool = False, device: str = "cpu") -> None:
        self.totals: Counter[Label] = Counter()
        self.clock = clock
        self._cuda = device.startswith("cuda")
        self._flops = None if clock else FlopCounterMode(display=False)
        self._label: Label = ("", "target", False)
        self._last: float = 0

    def __enter__(self) -> Meter:
        if self._flops is not None:
            self._flops.__enter__()
        self._last = self._reading()
        return self

    def __exit__(self, *error: Any) -> None:
        self._flush()
        if self._flops is not None:
            self._flops.__exit__(*error)

    def _reading(self) -> float:
        if self._flops is not None:
            return self._flops.get_total_flops()
        if self._cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def _flush(self) -> None:
        now = self._reading()
        self.totals[self._label] += now - self._last
        self._last = now

    @contextmanager
    def _as(self, label: Label) -> Iterator[None]:
        if self.clock and label[0] == self._label[0]:
            yield
            return
        self._flush()
        before, self._label = self._label, label
        try:
            yield
        finally:
            self._flush()
            self._label = before

    def stage(self, name: str, phase: str = "target"):
        """Everything inside belongs to this stage (and phase)."""
        return self._as((name, phase, False))

    def overhead(self):
        """Everything inside decides what to keep: counted apart from the model's own products."""
        return self._as((self._label[0], self._label[1], True))

    def uncount(self, flops: int) -> None:
        """Take out FLOPs that torch counted for pairs which the mask removed."""
        if not self.clock:
            self.totals[self._label] -= flops

    def by_stage(self, overhead: bool) -> dict[str, float]:
        return {s: sum(v for (st, _, o), v in self.totals.items() if st == s and o == overhead) for s in STAGES}

    def by_phase(self) -> dict[str, float]:
        """Model FLOPs of (stage, phase) pairs as ``stage.phase``."""
        out: Counter[str] = Counter()
        for (stage, phase, overhead), value in self.totals.items():
            if stage and not overhead:
                out[f"{stage}.{phase}"] += value
        return dict(out)
