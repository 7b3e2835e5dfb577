"""Memory-bound kernels of a layer: norms, rope, activations, additions, softmax, gathers, top-k, sort, quantisation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from calibrate.measure.case import Call, Case, Prepared, Unsupported
from calibrate.measure.device import Device, item_bytes
from calibrate.measure.gemm import fused, quantise_fp8, quantise_int8

Maker = Callable[[Device, str, int, int], Call]


def rms_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """As model code writes it: float32 inside, one kernel per operation when not compiled."""
    wide = x.to(torch.float32)
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
    return weight * wide.to(x.dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of x [rows, heads, head_dim] by the half-split form."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + turned * sin


def silu_gate(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Gated activation."""
    return functional.silu(gate) * up


def unpack_int4(packed: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Two 4-bit numbers per byte [rows, width/2] -> [rows, width] of ``dtype``, one scale per row."""
    low = (packed & 0x0F).to(dtype) - 8.0
    high = ((packed >> 4) & 0x0F).to(dtype) - 8.0
    return torch.stack((low, high), dim=-1).flatten(-2) * scale


@dataclass(frozen=True)
class Kernel:
    """How to make one call, and what it must move at least, per element of [rows, width] [bytes]."""

    make: Maker
    bytes_per_element: Callable[[int], float]


def _fused_rms(device: Device, format: str, rows: int, width: int) -> Call:
    norm = getattr(functional, "rms_norm", None)
    if norm is None:
        raise Unsupported("this torch has no rms_norm")
    return functools.partial(norm, device.take((rows, width), format), (width,), device.take((width,), format), 1e-6)


def _plain_rms(device: Device, format: str, rows: int, width: int) -> Call:
    return functools.partial(rms_norm, device.take((rows, width), format), device.take((width,), format))


def _compiled_rms(device: Device, format: str, rows: int, width: int) -> Call:
    return functools.partial(
        fused(rms_norm, device.is_cuda), device.take((rows, width), format), device.take((width,), format)
    )


def _layer_norm(device: Device, format: str, rows: int, width: int) -> Call:
    x, weight, bias = device.take((rows, width), format), device.take((width,), format), device.take((width,), format)
    return functools.partial(functional.layer_norm, x, (width,), weight, bias)


def _rope(device: Device, format: str, rows: int, width: int) -> Call:
    head_dim = 128 if width % 128 == 0 else 64
    x = device.take((rows, width // head_dim, head_dim), format)
    cos, sin = device.take((rows, 1, head_dim), format), device.take((rows, 1, head_dim), format)
    return functools.partial(rotate, x, cos, sin)


def _silu_gate(device: Device, format: str, rows: int, width: int) -> Call:
    return functools.partial(silu_gate, device.take((rows, width), format), device.take((rows, width), format))


def _compiled_silu_gate(device: Device, format: str, rows: int, width: int) -> Call:
    gate = fused(silu_gate, device.is_cuda)
    return functools.partial(gate, device.take((rows, width), format), device.take((rows, width), format))


def _gelu(device: Device, format: str, rows: int, width: int) -> Call:
    return functools.partial(functional.gelu, device.take((rows, width), format), approximate="tanh")


def _add(device: Device, format: str, rows: int, width: int) -> Call:
    return functools.partial(torch.add, device.take((rows, width), format), device.take((rows, width), format))


def _softmax(device: Device, format: str, rows: int, width: int) -> Call:
    return functools.partial(functional.softmax, device.take((rows, width), format), dim=-1, dtype=torch.float32)


def _gather(device: Device, format: str, rows: int, width: int) -> Call:
    table = device.take((2 * rows, width), format)
    index = torch.randperm(2 * rows, generator=torch.Generator().manual_seed(rows))[:rows].to(device.torch)
    return functools.partial(torch.index_select, table, 0, index)


def _concatenate(device: Device, format: str, rows: int, width: int) -> Call:
    cache, new = device.take((rows, width), format), device.take((1, width), format)
    return functools.partial(torch.cat, (cache, new))


def _top_k(device: Device, format: str, rows: int, width: int) -> Call:
    return functools.partial(torch.topk, device.take((rows, width), format), max(1, width // 2), dim=-1)


def _sort(device: Device, format: str, rows: int, width: int) -> Call:
    return functools.partial(torch.argsort, device.take((rows, width), format), dim=-1, descending=True)


def _quantise_int8(device: Device, format: str, rows: int, width: int) -> Call:
    return functools.partial(fused(quantise_int8, device.is_cuda), device.take((rows, width), format))


def _quantise_fp8(device: Device, format: str, rows: int, width: int) -> Call:
    return functools.partial(fused(quantise_fp8, device.is_cuda), device.take((rows, width), format))


def _dequantise_int8(device: Device, format: str, rows: int, width: int) -> Call:
    x8, scale = device.take((rows, width), "int8"), device.take((rows, 1), format)
    return lambda: x8.to(scale.dtype) * scale


def _dequantise_int4(device: Device, format: str, rows: int, width: int) -> Call:
    packed, scale = device.take((rows, width // 2), "int8").view(torch.uint8), device.take((rows, 1), format)
    return functools.partial(fused(unpack_int4, device.is_cuda), packed, scale, scale.dtype)


def _sample(device: Device, format: str, rows: int, width: int) -> Call:
    return functools.partial(torch.argmax, device.take((rows, width), format), dim=-1)


# "auto" is compiled on CUDA and plain elsewhere. (op, implementation) -> kernel; bytes: one read and one write of each operand and result, nothing twice
KERNELS: dict[tuple[str, str], Kernel] = {
    ("rms_norm", "plain"): Kernel(_plain_rms, lambda s: 2 * s),
    ("rms_norm", "fused"): Kernel(_fused_rms, lambda s: 2 * s),
    ("rms_norm", "compiled"): Kernel(_compiled_rms, lambda s: 2 * s),
    ("layer_norm", "fused"): Kernel(_layer_norm, lambda s: 2 * s),
    ("rope", "plain"): Kernel(_rope, lambda s: 2 * s),
    ("silu_gate", "plain"): Kernel(_silu_gate, lambda s: 3 * s),
    ("silu_gate", "compiled"): Kernel(_compiled_silu_gate, lambda s: 3 * s),
    ("gelu", "fused"): Kernel(_gelu, lambda s: 2 * s),
    ("add", "fused"): Kernel(_add, lambda s: 3 * s),
    ("softmax", "fused"): Kernel(_softmax, lambda s: s + 4),
    ("gather", "fused"): Kernel(_gather, lambda s: 2 * s),
    ("concatenate", "fused"): Kernel(_concatenate, lambda s: 2 * s),
    ("top_k", "fused"): Kernel(_top_k, lambda s: s + (s + 8) / 2),
    ("sort", "fused"): Kernel(_sort, lambda s: s + 8),
    ("argmax", "fused"): Kernel(_sample, lambda s: s),
    ("quantise_int8", "auto"): Kernel(_quantise_int8, lambda s: s + 1),
    ("quantise_fp8", "auto"): Kernel(_quantise_fp8, lambda s: s + 1),
    ("dequantise_int8", "plain"): Kernel(_dequantise_int8, lambda s: s + 1),
    ("dequantise_int4", "auto"): Kernel(_dequantise_int4, lambda s: s + 0.5),
}
COMPILED_ONLY_ON_CUDA = "compiled"


def elementwise_case(op: str, implementation: str, format: str, rows: int, width: int, mode: str = "cold") -> Case:
    """One kernel over [rows, width]. ``bytes`` counts each operand once; inputs rotate when cold."""
    kernel = KERNELS[(op, implementation)]
    elements = rows * width
    moved = round(elements * kernel.bytes_per_element(item_bytes(format)))
    key = {
        "op": op, "implementation": implementation, "format": format, "rows": rows, "width": width,
        "elements": elements, "bytes": moved, "mode": mode,
    }  # fmt: skip

    def prepare(device: Device) -> Prepared:
        copies = device.copies(moved, mode)
        return Prepared(tuple(kernel.make(device, format, rows, width) for _ in range(copies)), copies * moved)

    return Case("elementwise", {**key}, prepare, 8 * elements + moved)


def elementwise_cases(device_kind: str) -> list[Case]:
    """The grid of the kernels suite: row counts of decode to long prefill, widths of the models' layers."""
    cuda = device_kind == "cuda"
    format = "bf16" if cuda else "f32"
    rows = (1, 4, 16, 64, 256, 1024, 4096, 16384) if cuda else (1, 8, 64, 256, 729, 1500)
    widths = (1152, 1280, 3584, 4096, 5120, 8192) if cuda else (576, 768, 960, 1536)
    cases: list[Case] = []
    for op, implementation in KERNELS:
        if implementation == COMPILED_ONLY_ON_CUDA and not cuda:
            continue
        for count in rows:
            for width in tuple(4 * w for w in widths) if op in ("silu_gate", "gelu") else widths:
                if op in ("top_k", "sort") and count > (256 if cuda else 64):
                    continue
                cases.append(elementwise_case(op, implementation, format, count, width))
                if count in (64, 1024) and width == widths[-1]:
                    cases.append(elementwise_case(op, implementation, format, count, width, "warm"))
        if op == "argmax":
            cases += [elementwise_case(op, implementation, format, count, 151936) for count in (1, 8)]
    return cases
