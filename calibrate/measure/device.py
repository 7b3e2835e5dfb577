"""The device under test: its random data, its cache size, and the description that goes into meta.yaml."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

DTYPES: dict[str, torch.dtype] = {
    "f32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.int8,
    "fp8": torch.float8_e4m3fn,
}
CPU_CACHE_GUESS = 32 * 2**20
GPU_CACHE_GUESS = 64 * 2**20
MOST_COPIES = 128
DISTINCT = 2**22 + 4096  # random numbers drawn; the ring repeats them at other addresses


def item_bytes(format: str) -> int:
    """Bytes per element of a format name."""
    return DTYPES[format].itemsize


class Device:
    """A torch device with a ring of random numbers per format.

    ``take`` hands out views of the ring, so that setting a case up costs no time and consecutive views are different
    memory. The ring is larger than twice the last-level cache: once round it, the first view is cold again.
    """

    def __init__(self, kind: str, seed: int = 0) -> None:
        if kind not in ("cpu", "cuda"):
            raise ValueError(f"--device: got {kind!r}, expected cpu or cuda")
        if kind == "cuda" and not torch.cuda.is_available():
            raise ValueError("--device: got 'cuda', but this torch sees no such device; use --device cpu")
        self.kind = kind
        self.torch = torch.device(kind)
        self.is_cuda = kind == "cuda"
        self.generator = torch.Generator(device=self.torch)
        self.generator.manual_seed(seed)
        self.cache_bytes = cuda_cache_bytes() if self.is_cuda else cpu_cache_bytes()
        self.ring_bytes = 3 * self.cache_bytes
        self.rings: dict[torch.dtype, torch.Tensor] = {}
        self.positions: dict[torch.dtype, int] = {}

    def ring(self, dtype: torch.dtype) -> torch.Tensor:
        """The ring of one type: normal with deviation 0.5, integers uniform over their range."""
        if dtype not in self.rings:
            count = self.ring_bytes // dtype.itemsize
            if dtype == torch.int8:
                low, high = -127, 128
                data = torch.randint(low, high, (count,), device=self.torch, dtype=dtype, generator=self.generator)
            else:
                data = torch.empty(count, device=self.torch, dtype=dtype)
                block = torch.randn(min(count, DISTINCT), device=self.torch, generator=self.generator)
                block = (block * 0.5).to(dtype)
                for start in range(0, count, DISTINCT):
                    size = min(DISTINCT, count - start)
                    data[start : start + size] = block[:size]
            self.rings[dtype] = data
            self.positions[dtype] = 0
        return self.rings[dtype]

    def take(self, shape: Sequence[int], format: str | torch.dtype) -> torch.Tensor:
        """Random tensor of ``shape``: a view of the ring where it fits, else memory of its own filled from the ring."""
        dtype = DTYPES[format] if isinstance(format, str) else format
        ring = self.ring(dtype)
        count = 1
        for size in shape:
            count *= size
        if count > ring.numel():
            own = torch.empty(count, device=self.torch, dtype=dtype)
            for start in range(0, count, ring.numel()):
                size = min(ring.numel(), count - start)
                own[start : start + size] = ring[:size]
            return own.view(*shape)
        start = self.positions[dtype]
        if start + count > ring.numel():
            start = 0
        align = 256 // dtype.itemsize
        self.positions[dtype] = start + -(-count // align) * align
        return ring[start : start + count].view(*shape)

    def copies(self, set_bytes: int, mode: str) -> int:
        """How many sets of operands to rotate over: one when warm, else enough for twice the cache (at most 128)."""
        if mode == "warm":
            return 1
        return max(1, min(MOST_COPIES, -(-2 * self.cache_bytes // max(set_bytes, 1))))

    def available_bytes(self) -> int:
        """Memory that a case may still allocate [bytes]."""
        if self.is_cuda:
            return int(torch.cuda.mem_get_info()[0]) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        try:
            for text in Path("/proc/meminfo").read_text().splitlines():
                if text.startswith("MemAvailable:"):
                    return int(int(text.split()[1]) * 1024 * 0.8)
        except OSError:
            pass
        return 4 * 2**30

    def release(self) -> None:
        """Give cached memory back after a case ran out of it."""
        if self.is_cuda:
            torch.cuda.empty_cache()

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.is_cuda:
            torch.cuda.synchronize()


def cuda_cache_bytes() -> int:
    """L2 of the current CUDA device [bytes]."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return int(getattr(properties, "L2_cache_size", 0)) or GPU_CACHE_GUESS


def cpu_cache_bytes() -> int:
    """Last-level cache as the kernel reports it [bytes]; a guess of 32 MiB where it reports none."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        factor = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
        sizes.append(int(text.rstrip("KMG")) * factor)
    return min(max(sizes, default=CPU_CACHE_GUESS), 128 * 2**20)


def memory_bytes() -> int:
    """Main memory of this machine [bytes]; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def cpu_name() -> str:
    """Model name of the processor."""
    try:
        for text in Path("/proc/cpuinfo").read_text().splitlines():
            if text.startswith("model name"):
                return text.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def nvidia_smi() -> dict[str, str]:
    """Driver, clocks and limits as found, read only; empty where the tool is missing."""
    fields = (
        "driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,power.draw,"
        "temperature.gpu,pstate,persistence_mode,ecc.mode.current"
    )
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "-i", "0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    cells = [cell.strip() for cell in done.stdout.strip().splitlines()[0].split(",")]
    return dict(zip(fields.split(","), cells, strict=False))


def describe(device: Device) -> dict[str, Any]:
    """Who was measured: what goes into meta.yaml and must not change when a run is resumed."""
    identity: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device.is_cuda else cpu_name(),
        "kind": device.kind,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    details: dict[str, Any] = {
        "cache_bytes": device.cache_bytes,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host_cpu": cpu_name(),
        "cpu_count": os.cpu_count(),
    }
    if device.is_cuda:
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        details["multiprocessors"] = properties.multi_processor_count
        details["memory_bytes"] = properties.total_memory
        details["capability"] = ".".join(str(part) for part in torch.cuda.get_device_capability())
        details["cuda"] = torch.version.cuda
        details["nvidia_smi"] = nvidia_smi()
    else:
        details["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
        details["memory_bytes"] = memory_bytes()
    return {"identity": identity, "details": details}
