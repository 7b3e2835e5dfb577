"""Copies between and inside memories, and what it costs to launch anything at all."""

from __future__ import annotations

import functools

import torch

from calibrate.measure.case import Call, Case, Prepared, Unsupported
from calibrate.measure.device import Device


def copy_case(op: str, memory: str, size: int) -> Case:
    """``host_to_device``, ``device_to_host``, ``device_to_device`` or ``host_to_host`` of ``size`` bytes."""
    key = {"op": op, "memory": memory, "bytes": size}

    def prepare(device: Device) -> Prepared:
        across = op in ("host_to_device", "device_to_host")
        if across and not device.is_cuda:
            raise Unsupported("a CPU has no device memory apart")
        copies = device.copies(2 * size, "cold") if op != "host_to_device" else max(1, min(16, 2**26 // size))
        pinned = memory == "pinned"

        def host() -> torch.Tensor:
            return torch.zeros(size, dtype=torch.uint8, pin_memory=pinned and device.is_cuda)

        def on_device() -> torch.Tensor:
            return device.take((size,), "int8").view(torch.uint8)

        sources = [host() if op == "host_to_device" else on_device() for _ in range(copies)]
        target = host() if op == "device_to_host" else torch.empty(size, dtype=torch.uint8, device=device.torch)
        calls: tuple[Call, ...] = tuple(
            functools.partial(target.copy_, source, non_blocking=pinned) for source in sources
        )
        return Prepared(calls, copies * size, graph=not across or pinned)

    return Case("copy", {**key}, prepare, 4 * size)


def copy_cases(device_kind: str) -> list[Case]:
    """Powers of four from 4 KiB."""
    if device_kind == "cuda":
        sizes = [4**power for power in range(6, 15)]
        cases = [copy_case(op, memory, size) for op in ("host_to_device", "device_to_host")
                 for memory in ("pinned", "pageable") for size in sizes]  # fmt: skip
        return cases + [copy_case("device_to_device", "device", size) for size in sizes]
    return [copy_case("host_to_host", "pageable", 4**power) for power in range(6, 14)]


def overhead_case(op: str, count: int) -> Case:
    """What is left when the work is nothing. Seconds are for ``count`` of them together."""
    key = {"op": op, "count": count}

    def prepare(device: Device) -> Prepared:
        x = torch.ones(1, device=device.torch)

        def launches() -> None:
            for _ in range(count):
                x.add_(1.0)

        if op == "launch":  # eager kernels queued back to back
            return Prepared((launches,), 4, single=True, graph=False)
        if op == "launch_and_wait":  # one round trip from the host and back

            def wait() -> None:
                launches()
                device.synchronize()

            return Prepared((wait,), 4, single=True, graph=False)
        if not device.is_cuda:
            raise Unsupported("graphs are of CUDA devices")
        graph = torch.cuda.CUDAGraph()
        launches()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            launches()
        return Prepared((graph.replay,), 4, single=True, graph=False)

    return Case("overhead", {**key}, prepare)


def overhead_cases(device_kind: str) -> list[Case]:
    """Counts whose slope is the cost of one more and whose intercept is the cost of starting."""
    counts = (1, 4, 16, 64, 256, 1024)
    ops = ("launch", "launch_and_wait", "graph_replay") if device_kind == "cuda" else ("launch",)
    return [overhead_case(op, count) for op in ops for count in counts]
