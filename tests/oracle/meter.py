"""Attributes what torch counts, or what the clock says, to stage, phase and overhead.

FLOPs come from torch's own ``flop_counter``, which sees every matrix product as a full rectangle. ``uncount`` takes
out, exactly, the products that belong to masked pairs (see the package docstring). ``FlopCounterMode`` spends some
60 us on every operation, products or not, so the default counter is a dispatch mode that applies the same registry
of formulas to the same calls; a test holds the two equal on whole runs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

COUNTERS = ("registry", "torch", "clock")

STAGES = ("encode", "project", "prefill", "decode")
Label = tuple[str, str, bool]


class RegistryCounter(TorchDispatchMode):
    """Sums ``torch.utils.flop_counter.flop_registry`` over every operation that has a formula there."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is ever compiled; torch's guard against it costs as much as the count."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out

    def get_total_flops(self) -> int:
        return self.total


class Meter:
    """Counts while used as a context manager: FLOPs (counter ``registry`` or ``torch``) or seconds (``clock``).

    On a CPU with one thread, seconds are that thread's CPU time: what other processes take of its core does not count.
    """

    def __init__(self, counter: str = "registry", device: str = "cpu") -> None:
        if counter not in COUNTERS:
            raise ValueError(f"counter={counter!r}: one of {COUNTERS}")
        self.totals: Counter[Label] = Counter()
        self.clock = counter == "clock"
        self._cuda = device.startswith("cuda")
        self._flops: RegistryCounter | FlopCounterMode | None = None
        if not self.clock:
            self._flops = RegistryCounter() if counter == "registry" else FlopCounterMode(display=False)
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
        elif torch.get_num_threads() == 1:
            return time.thread_time()
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
