"""The clock of a CPU: wall time between yardsticks that tell bursts of other work from calm."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Sequence
from typing import final

import torch

from calibrate.measure.case import Prepared, TooSlow
from calibrate.measure.clock import FEWEST_KEPT, AbstractClock, CudaClock
from calibrate.measure.device import Device
from calibrate.measure.statistics import Sample

BLOCK_SECONDS_CPU = 500e-6
BURST = 1.3
LONGEST_WAIT_S = 1.5
DROWNED = 2.0
SWITCH_PERIOD_S = 0.025  # up to one involuntary switch in that time, samples are no slower than those without any
LONG_S = 5e-3  # a call that leaves the caches full of its own data, dirty lines among it
COLDEST = 3.0  # how much slower than in a calm loop a reading after a long call may be
LONGEST_CALL = 6.0


@final
class Readings:
    """Yardsticks read in one state of the machine, GEMM and copy [s], and what counts as calm in it."""

    def __init__(self, baseline: tuple[float, float] = (math.inf, math.inf)) -> None:
        self.baseline = baseline
        self.least = baseline
        self.gemm: list[float] = []
        self.copy: list[float] = []

    def add(self, reading: tuple[float, float]) -> None:
        """Count a reading."""
        self.least = min(self.least[0], reading[0]), min(self.least[1], reading[1])
        self.gemm.append(reading[0])
        self.copy.append(reading[1])

    def usual(self) -> tuple[float, float]:
        """20th percentiles [s]; infinite before the first reading."""
        return percentile20(self.gemm), percentile20(self.copy)

    def limits(self) -> tuple[float, float]:
        """Slowest readings [s] that still count as calm."""
        gemm, copy = self.usual()
        return BURST * min(gemm, self.baseline[0]), BURST * min(copy, self.baseline[1])

    def drowned(self) -> bool:
        """Whether even the calmer readings are far above the least one."""
        gemm, copy = self.usual()
        return bool(self.gemm) and (gemm > DROWNED * self.least[0] or copy > DROWNED * self.least[1])


@final
class CpuClock(AbstractClock):
    """Wall clock with a yardstick on both sides of every sample: a reference GEMM and a copy of cold memory.

    Samples whose neighbours were more than 1.3 times slower than the yardstick's own 20th percentile were taken in a
    burst of somebody else's work and are dropped, and so are samples during which the system preempted this process's
    threads more than once in 25 ms (a long sample can lie between two calm readings and yet have shared its core). Like is compared
    with like: after a long call the copy finds the caches full of other data and reads a third slower on an idle
    machine, so these readings have percentiles of their own. The copy also evicts the cache before a cold sample. While
    a burst lasts, sampling waits (up to 1.5 s per case). ``baseline`` is what earlier runs into the same folder read
    (GEMM and copy [s]): a run that lies in one long burst does not take that for calm. Where even the 20th percentile is
    twice the least reading, the run has drowned in other work and is called inconclusive as a whole.
    """

    primary = "p20"

    def __init__(self, device: Device, baseline: tuple[float, float] = (math.inf, math.inf)) -> None:
        self.device = device
        self.short, self.long = Readings(baseline), Readings()
        generator = torch.Generator().manual_seed(1)
        self.left = torch.randn(224, 224, generator=generator)
        self.right = torch.randn(224, 224, generator=generator)
        size = 2**20
        self.source = torch.randn(size, generator=generator).repeat(max(4, 2 * device.cache_bytes // (4 * size)))
        self.target = torch.empty(size)
        self.blocks = self.source.numel() // size
        self.turn = 0
        self.taken = 0
        self.kept = 0
        for _ in range(40):
            self.short.add(self.yardstick())

    def limits(self, seconds: float) -> tuple[float, float]:
        """Slowest readings [s] of GEMM and copy that still count as calm beside blocks of ``seconds``."""
        gemm, copy = self.short.limits()
        if seconds <= LONG_S:
            return gemm, copy
        after = self.long.limits()
        return min(max(after[0], gemm), COLDEST * gemm), min(max(after[1], copy), COLDEST * copy)

    def calm(self, seconds: float, until: float) -> tuple[float, float]:
        """Read the yardsticks until they are calm or ``until`` (time.monotonic) has passed."""
        gemm_limit, copy_limit = self.limits(seconds)
        while True:
            reading = self.yardstick()
            if (reading[0] <= gemm_limit and reading[1] <= copy_limit) or time.monotonic() >= until:
                return reading

    def _product(self) -> float:
        started = time.perf_counter()
        torch.mm(self.left, self.right)
        return time.perf_counter() - started

    def _copy(self) -> float:
        size = self.target.numel()
        block = self.source[self.turn * size : (self.turn + 1) * size]
        self.turn = (self.turn + 1) % self.blocks
        started = time.perf_counter()
        self.target.copy_(block)
        return time.perf_counter() - started

    def yardstick(self) -> tuple[float, float]:
        """Read both yardsticks: a 224^3 float32 GEMM [s] and a copy of 4 MiB not touched lately [s].

        The first of each is not timed, so that what ran before does not show; the reading is the least of the next
        few, so that a burst shows only if it lasted.
        """
        self._copy()
        self._product()
        reading = min(self._product() for _ in range(3)), min(self._copy() for _ in range(2))
        return reading

    def take(self, prepared: Prepared, wanted: int, seconds: float, deadline: float) -> tuple[str, list[Sample]]:
        calls = prepared.calls
        started = time.perf_counter()
        calls[0]()
        if prepared.reset is not None:
            prepared.reset()
        one = time.perf_counter() - started
        if one < LONGEST_CALL * seconds:
            started = time.perf_counter()
            calls[-1]()
            one = min(one, time.perf_counter() - started)
        if one > LONGEST_CALL * seconds:
            raise TooSlow(f"one call took {one:.2f} s, at most {LONGEST_CALL * seconds:.2f} s are spent on one")
        inner = 1 if prepared.single else max(1, min(256, math.ceil(BLOCK_SECONDS_CPU / max(one, 1e-6))))
        warm = len(calls) == 1 and not prepared.single
        samples: list[Sample] = []
        position = 0
        readings = self.long if inner * one > LONG_S else self.short
        patience = min(deadline, time.monotonic() + LONGEST_WAIT_S)
        before = self.calm(inner * one, patience)
        stop = min(deadline, time.monotonic() + seconds)
        while len(samples) < wanted and (time.monotonic() < stop or len(samples) < FEWEST_KEPT):
            if time.monotonic() + inner * one >= deadline:
                break
            if prepared.reset is not None:
                prepared.reset()
            if warm and inner > 1:
                calls[0]()
            block = [calls[(position + offset) % len(calls)] for offset in range(inner)]
            position += inner
            switches = involuntary_switches()
            started = time.perf_counter()
            for call in block:
                call()
            wall = time.perf_counter() - started
            preempted = max(0.0, involuntary_switches() - switches - wall / SWITCH_PERIOD_S)
            spent = wall / inner
            after = self.yardstick()
            readings.add(after)
            samples.append(Sample(spent, before[0], after[0], before[1], after[1], float(preempted)))
            self.taken += 1
            gemm_limit, copy_limit = self.limits(inner * one)
            self.kept += preempted == 0 and all(r[0] <= gemm_limit and r[1] <= copy_limit for r in (before, after))
            before = after
            if after[0] > gemm_limit or after[1] > copy_limit:
                waited = time.monotonic()
                before = self.calm(inner * one, patience)
                stop += time.monotonic() - waited
        return "host", samples

    def keep(self, samples: Sequence[Sample]) -> list[float]:
        if not samples:
            return []
        gemm_limit, copy_limit = self.limits(percentile20([sample.seconds for sample in samples]))
        return [
            sample.seconds
            for sample in samples
            if sample.preempted == 0
            and max(sample.gemm_before, sample.gemm_after) <= gemm_limit
            and max(sample.copy_before, sample.copy_after) <= copy_limit
        ]

    def report(self) -> dict[str, float | int | bool]:
        share = self.kept / self.taken if self.taken else 0.0
        gemm, copy = self.short.usual()
        drowned = self.short.drowned() or self.long.drowned()
        return {
            "kept_share": round(share, 4),
            "inconclusive": share < 0.5 or drowned,
            "drowned": drowned,
            "reference_gemm_least_s": self.short.least[0],
            "reference_copy_least_s": self.short.least[1],
            "reference_gemm_p20_s": gemm,
            "reference_copy_p20_s": copy,
            "reference_readings": len(self.short.gemm),
            "readings_after_long_calls": len(self.long.gemm),
        }


def percentile20(values: Sequence[float]) -> float:
    """20th percentile of a list, nearest rank from below; infinite of none."""
    if not values:
        return math.inf
    return sorted(values)[int(0.2 * (len(values) - 1))]


def involuntary_switches() -> int:
    """How often a thread of this process has been taken off its core so far; 0 where the platform does not say."""
    try:
        resource = importlib.import_module("resource")
    except ImportError:
        return 0
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)


def clock_for(device: Device, baseline: tuple[float, float] = (math.inf, math.inf)) -> AbstractClock:
    """The clock of a device; ``baseline`` as in CpuClock."""
    return CudaClock(device) if device.is_cuda else CpuClock(device, baseline)
