"""Matrix products: one weight of a linear layer [n, k] applied to m rows, in every format the device multiplies in."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable

import torch
from torch.nn import functional

from calibrate.measure import shapes
from calibrate.measure.case import Call, Case, Prepared, Unsupported
from calibrate.measure.device import Device

PLAIN = ("bf16", "fp16", "f32")
EIGHT_BIT = ("fp8", "fp8_dynamic", "int8", "int8_dynamic")
FP8_LARGEST = 448.0


def quantise_fp8(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Per-token scale: x [rows, width] -> float8 rows and scales [rows, 1]."""
    scale = x.abs().amax(dim=-1, keepdim=True).float().clamp_min(1e-6) / FP8_LARGEST
    return (x.float() / scale).to(torch.float8_e4m3fn), scale


def quantise_int8(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Per-token scale: x [rows, width] -> int8 rows and scales [rows, 1]."""
    scale = x.abs().amax(dim=-1, keepdim=True).float().clamp_min(1e-6) / 127.0
    return torch.round(x.float() / scale).to(torch.int8), scale


@functools.cache
def fused(function: Callable[..., object], on_cuda: bool) -> Callable[..., object]:
    """One compiled kernel on CUDA, the plain function (several kernels) elsewhere.

    Compiled when first called. Where torch.compile does not work, the call raises Unsupported: plain kernels would be
    timed under the name of a fused one.
    """
    if not on_cuda:
        return function
    config = importlib.import_module("torch._dynamo").config
    for name in ("recompile_limit", "cache_size_limit"):  # at the limit dynamo runs the plain kernels without a word
        if hasattr(config, name):
            setattr(config, name, 256)
    compiled = torch.compile(function, dynamic=True)
    seen: list[bool] = []

    def run(*arguments: object) -> object:
        if seen:
            return compiled(*arguments)
        try:
            result = compiled(*arguments)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # the compiler raises types of its own
            raise Unsupported(f"torch.compile failed: {type(error).__name__}") from error
        seen.append(True)
        return result

    return run


def gemm_case(format: str, m: int, n: int, k: int, mode: str = "cold") -> Case:
    """Linear layer y[m, n] = x[m, k] w[n, k]^T. ``*_dynamic`` includes the quantisation of x.

    Weights rotate when cold; x stays, because the kernel before has just written it.
    """
    bytes_each = 1 if format in EIGHT_BIT else (4 if format == "f32" else 2)
    key = {"op": "gemm", "format": format, "m": m, "n": n, "k": k, "mode": mode}
    needed = bytes_each * (m * k + n * k) + 8 * m * n

    def prepare(device: Device) -> Prepared:
        copies = device.copies(n * k * bytes_each, mode)
        if format in PLAIN:
            x = device.take((m, k), format)
            weights = [device.take((n, k), format) for _ in range(copies)]
            calls: tuple[Call, ...] = tuple(functools.partial(functional.linear, x, w) for w in weights)
        elif format in ("fp8", "fp8_dynamic"):
            calls = fp8_calls(device, format, m, n, k, copies)
        else:
            calls = int8_calls(device, format, m, n, k, copies)
        output = m * n * (2 if bytes_each == 1 else bytes_each)
        return Prepared(calls, bytes_each * (copies * n * k + m * k) + output)

    return Case("gemm", {**key}, prepare, needed)


def fp8_calls(device: Device, format: str, m: int, n: int, k: int, copies: int) -> tuple[Call, ...]:
    """Static: one scale per tensor. Dynamic: one per token and output channel, quantisation inside the timed call."""
    if n % 16 or k % 16:
        raise Unsupported(f"float8 products need n and k in multiples of 16, got n={n} k={k}")
    if device.is_cuda and torch.cuda.get_device_capability() < (8, 9):
        raise Unsupported("this device does not multiply in float8")
    one = torch.ones((), device=device.torch)
    weights = [device.take((n, k), "bf16").to(torch.float8_e4m3fn) for _ in range(copies)]
    product = torch._scaled_mm
    if format == "fp8":
        x8 = device.take((m, k), "bf16").to(torch.float8_e4m3fn)
        return tuple(
            functools.partial(product, x8, w.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16) for w in weights
        )
    x = device.take((m, k), "bf16")
    scale_b = torch.ones((1, n), device=device.torch)
    quantise = fused(quantise_fp8, device.is_cuda)

    def call(w: torch.Tensor) -> object:
        x8, scale_a = quantise(x)  # type: ignore[misc]
        return product(x8, w.t(), scale_a=scale_a, scale_b=scale_b, out_dtype=torch.bfloat16)

    return tuple(functools.partial(call, w) for w in weights)


def int8_calls(device: Device, format: str, m: int, n: int, k: int, copies: int) -> tuple[Call, ...]:
    """int8 x int8 -> int32. Dynamic adds the quantisation of x and the scaling of the result to bfloat16."""
    if device.is_cuda and (m <= 16 or n % 8 or k % 8):
        raise Unsupported(f"torch._int_mm needs m > 16 and n, k in multiples of 8, got m={m} n={n} k={k}")
    weights = [device.take((n, k), "int8") for _ in range(copies)]
    product = torch._int_mm
    if format == "int8":
        x8 = device.take((m, k), "int8")
        return tuple(functools.partial(product, x8, w.t()) for w in weights)
    x = device.take((m, k), "bf16")
    scale_b = torch.ones((1, n), device=device.torch)
    quantise = fused(quantise_int8, device.is_cuda)

    def call(w: torch.Tensor) -> object:
        x8, scale_a = quantise(x)  # type: ignore[misc]
        return (product(x8, w.t()) * scale_a * scale_b).to(torch.bfloat16)

    return tuple(functools.partial(call, w) for w in weights)


def grouped_case(implementation: str, format: str, tokens: int, experts: int, top_k: int, n: int, k: int) -> Case:
    """Routed experts: tokens x top_k rows spread over experts [experts, n, k] by a random, even router.

    ``loop`` is one product per expert that got rows; ``grouped`` is torch._grouped_mm; ``batched`` pads to the longest.
    """
    key = {
        "op": "grouped_gemm", "implementation": implementation, "format": format, "tokens": tokens, "experts": experts,
        "top_k": top_k, "n": n, "k": k, "mode": "cold",
    }  # fmt: skip
    bytes_each = 4 if format == "f32" else 2
    rows = tokens * top_k

    def prepare(device: Device) -> Prepared:
        generator = torch.Generator().manual_seed(tokens * 131 + experts)
        chosen = torch.rand(tokens, experts, generator=generator).topk(top_k, dim=-1).indices.flatten()
        sizes = torch.bincount(chosen, minlength=experts).tolist()
        copies = min(device.copies(experts * n * k * bytes_each, "cold"), 8)
        x = device.take((rows, k), format)
        weights = [device.take((experts, n, k), format) for _ in range(copies)]
        calls = tuple(functools.partial(grouped_product(implementation, device, x, sizes), w) for w in weights)
        touched = sum(size > 0 for size in sizes) * n * k
        return Prepared(calls, bytes_each * (copies * touched + rows * (k + n)))

    return Case("grouped_gemm", {**key}, prepare, bytes_each * (experts * n * k + rows * (n + k)))


def grouped_product(
    implementation: str, device: Device, x: torch.Tensor, sizes: list[int]
) -> Callable[[torch.Tensor], object]:
    """The function of the weights [experts, n, k] that one implementation runs."""
    parts = torch.split(x, sizes)

    def loop(w: torch.Tensor) -> object:
        return [functional.linear(part, w[index]) for index, part in enumerate(parts) if part.shape[0]]

    if implementation == "loop":
        return loop
    if implementation == "batched":
        padded = device.take((len(sizes), max(sizes), x.shape[1]), x.dtype)
        return lambda w: torch.bmm(padded, w.transpose(1, 2))
    grouped = getattr(torch, "_grouped_mm", None)
    if grouped is None:
        raise Unsupported("this torch has no _grouped_mm")
    offsets = torch.tensor(sizes, device=device.torch).cumsum(0).to(torch.int32)
    return lambda w: grouped(x, w.transpose(1, 2), offs=offsets)


def gemm_cases(device_kind: str) -> list[Case]:
    """The GEMM grid of the kernels suite."""
    if device_kind == "cuda":
        cases = [gemm_case("bf16", m, n, k) for n, k in shapes.GPU_PAIRS for m in shapes.GPU_ROWS]
        cases += [gemm_case("bf16", m, n, k) for n, k in shapes.HEAD_PAIRS for m in (1, 4, 16, 64, 256)]
        subset = shapes.LANGUAGE_PAIRS + shapes.VISION_PAIRS
        cases += [gemm_case(f, m, n, k) for f in EIGHT_BIT for n, k in subset for m in shapes.GPU_ROWS[::2]]
        cases += [gemm_case("fp16", m, n, k) for n, k in shapes.LANGUAGE_PAIRS[::3] for m in shapes.GPU_ROWS[::3]]
        cases += [gemm_case("f32", m, n, k) for n, k in shapes.VISION_PAIRS[::3] for m in shapes.GPU_ROWS[::4]]
        cases += [gemm_case("bf16", m, n, k, "warm") for n, k in shapes.GPU_PAIRS[::3] for m in shapes.GPU_ROWS[::3]]
        return cases
    return [
        gemm_case(format, m, n, k, mode)
        for format in ("f32", "bf16")
        for mode in ("cold", "warm")
        for n, k in (shapes.CPU_PAIRS if mode == "cold" else shapes.CPU_PAIRS[::4])
        for m in (shapes.CPU_ROWS if mode == "cold" else shapes.CPU_ROWS[::4])
        if 2.0 * m * n * k <= shapes.CPU_MOST_FLOPS[format]
    ]


def grouped_cases(device_kind: str) -> Iterable[Case]:
    """Experts of Qwen3-VL-30B-A3B (128 of 768), Kimi-VL (64 of 1408), DeepSeek-VL2; tiny ones on a CPU."""
    if device_kind == "cuda":
        grids = (
            (128, 8, 1536, 2048),
            (128, 8, 2048, 768),
            (64, 6, 2816, 2048),
            (64, 6, 2048, 1408),
            (16, 1, 8192, 5120),
        )
        rows, formats, kinds = (1, 4, 16, 64, 256, 1024, 2048, 4096, 8192), ("bf16",), ("grouped", "loop", "batched")
    else:
        grids = ((8, 2, 512, 576), (16, 4, 256, 576), (32, 4, 384, 512))
        rows, formats, kinds = (1, 8, 32, 128, 512), ("f32", "bf16"), ("loop", "grouped")
    return [
        grouped_case(kind, format, tokens, *grid)
        for kind in kinds
        for format in formats
        for grid in grids
        for tokens in rows
    ]
