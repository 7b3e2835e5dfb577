"""Clocks: how a case's calls become samples. Device events and graph replay on CUDA; on CPU see `cpu_clock`."""

from __future__ import annotations

import abc
import math
import time
from collections.abc import Sequence
from typing import final

import torch

from calibrate.measure.case import Call, Prepared
from calibrate.measure.device import Device
from calibrate.measure.statistics import Sample

BLOCK_SECONDS_CUDA = 400e-6
FEWEST_KEPT = 3


class AbstractClock(abc.ABC):
    """Times prepared calls until enough samples are in or the deadline passes."""

    primary: str

    @abc.abstractmethod
    def take(self, prepared: Prepared, wanted: int, seconds: float, deadline: float) -> tuple[str, list[Sample]]:
        """Name of the timer used, and samples of seconds per call; stops at ``deadline`` (time.monotonic)."""

    @abc.abstractmethod
    def keep(self, samples: Sequence[Sample]) -> list[float]:
        """Seconds of the samples that were not disturbed."""

    @abc.abstractmethod
    def report(self) -> dict[str, float | int | bool]:
        """What meta.yaml says of the run's noise."""


@final
class CudaClock(AbstractClock):
    """Several calls in one CUDA graph between two events; without a graph where capture fails, and the timer says so.

    A graph holds at least one round of the rotating buffers and lasts at least 0.4 ms, so that the events' resolution
    and the replay's own start do not show.
    """

    primary = "median"

    def __init__(self, device: Device) -> None:
        self.device = device

    def _events(self, run: Call) -> float:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e-3

    def take(self, prepared: Prepared, wanted: int, seconds: float, deadline: float) -> tuple[str, list[Sample]]:
        calls = prepared.calls
        for call in calls[:2]:
            call()
        torch.cuda.synchronize()
        one = max(self._events(calls[-1]), 1e-6)
        rounds = 1 if prepared.single else max(1, math.ceil(BLOCK_SECONDS_CUDA / (one * len(calls))))
        sequence = (calls * rounds)[: max(len(calls), 256)] if not prepared.single else calls[:1]
        run, timer = self._capture(sequence) if prepared.graph else (_in_turn(sequence), "events")
        if prepared.reset is not None:
            prepared.reset()
        run()
        torch.cuda.synchronize()
        samples: list[Sample] = []
        stop = min(deadline, time.monotonic() + seconds)
        while len(samples) < wanted and (time.monotonic() < stop or len(samples) < FEWEST_KEPT):
            if time.monotonic() >= deadline:
                break
            if prepared.reset is not None:
                prepared.reset()
            samples.append(Sample(self._events(run) / len(sequence)))
        return timer, samples

    def _capture(self, sequence: Sequence[Call]) -> tuple[Call, str]:
        graph = torch.cuda.CUDAGraph()
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                sequence[0]()
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph):
                for call in sequence:
                    call()
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError:
            torch.cuda.synchronize()
            return _in_turn(sequence), "events"
        return graph.replay, "graph"

    def keep(self, samples: Sequence[Sample]) -> list[float]:
        return [sample.seconds for sample in samples]

    def report(self) -> dict[str, float | int | bool]:
        return {"inconclusive": False}


def _in_turn(sequence: Sequence[Call]) -> Call:
    def run() -> None:
        for call in sequence:
            call()

    return run
