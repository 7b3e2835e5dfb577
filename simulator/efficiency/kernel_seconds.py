"""The calibrated core by itself: seconds of one kernel, for one shape or for arrays of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.efficiency.catalogue import FAMILY, VECTOR
from simulator.efficiency.default import FORMS
from simulator.efficiency.fits import fits_of
from simulator.efficiency.kernels import Kernels, kernels_for
from simulator.efficiency.select import ROOFLINES, frameworks_of, newest
from simulator.efficiency.timed import physical, rate
from simulator.spec.hardware import BITS, Chip, Device
from simulator.spec.load_hardware import load_hardware
from simulator.timing import Time

Array = NDArray[np.float64]
SHAPES: dict[str, tuple[str, ...]] = {
    "gemm": ("m", "n", "k"),
    "encoder_attention": ("batch", "heads", "kv_heads", "head_dim", "query", "context"),
    "prefill_attention": ("batch", "heads", "kv_heads", "head_dim", "query", "context"),
    "decode_attention": ("batch", "heads", "kv_heads", "head_dim", "query", "context"),
    "elementwise": ("bytes",),
    "all_reduce": ("bytes", "devices"),
}
FORMATS = (*BITS, "fp8_block", "nvfp4")


@final
@dataclass(frozen=True, slots=True)
class KernelSeconds:
    """floor, lower, expected, upper [s], arrays of the broadcast shape; lower..upper is an 80 % interval.

    source: measured | fitted | transferred | default. fit: id of the fit. error: the mean absolute error it was
    validated at, as a fraction.
    """

    floor: Array
    lower: Array
    expected: Array
    upper: Array
    source: str
    fit: str
    error: float


def kernel_seconds(
    op: str,
    hardware: str | Device,
    engine: str = "vllm",
    format: str = "bf16",
    *,
    version: str | None = None,
    footprint: ArrayLike = inf,
    m: ArrayLike | None = None,
    n: ArrayLike | None = None,
    k: ArrayLike | None = None,
    batch: ArrayLike | None = None,
    heads: ArrayLike | None = None,
    kv_heads: ArrayLike | None = None,
    head_dim: ArrayLike | None = None,
    query: ArrayLike | None = None,
    context: ArrayLike | None = None,
    bytes: ArrayLike | None = None,
    devices: ArrayLike | None = None,
    kind: str = "copy",
    kv_bits: ArrayLike | None = None,
) -> KernelSeconds:
    """Seconds of kernel `op` on a device under an engine, in a compute format.

    op gemm: m, n, k. encoder_attention, prefill_attention, decode_attention: batch, heads, head_dim, query (1 in decode),
    context (all keys, the queries' own included; default: query), kv_heads (default: heads). elementwise: bytes [byte
    read and written] and `kind`. all_reduce: bytes [per device] and devices. footprint [byte]: cycled through before
    the same data is touched again; infinite means cold. kv_bits: stored width of K and V (default: the format's, at
    most 16). Sources: the fits in `hardware_profiles/fitted`.
    """
    if op not in SHAPES:
        raise ValueError(f"op: {op!r} is not accepted; accepted: {', '.join(SHAPES)}")
    if format not in FORMATS:
        raise ValueError(f"format: {format!r} is not accepted; accepted: {', '.join(FORMATS)}")
    passes = sorted(name for name, (form, _) in FORMS.items() if form == "stream")
    if kind not in passes:
        raise ValueError(f"kind: {kind!r} is not accepted; accepted: {', '.join(passes)}")
    device = load_hardware(hardware) if isinstance(hardware, str) else hardware
    chip = device.chip
    rate(chip, format)
    kernels = kernels_for(device, engine, version)
    if version is not None:
        _known(version, kind if op == "elementwise" else op, device.name, engine, format)
    given: dict[str, ArrayLike | None] = {
        "m": m,
        "n": n,
        "k": k,
        "batch": batch,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "query": query,
        "context": context,
        "bytes": bytes,
        "devices": devices,
    }
    if op == "decode_attention" and query is None:
        given["query"] = 1.0
    if op in ("encoder_attention", "prefill_attention") and context is None:
        given["context"] = query
    if op.endswith("attention") and kv_heads is None:
        given["kv_heads"] = heads
    bits = _positive("kv_bits", min(BITS.get(format, 8), 16) if kv_bits is None else kv_bits)
    shape = _shape(op, given, {"footprint": _positive("footprint", footprint), "kv_bits": bits})
    cycle, bits = shape["footprint"], shape["kv_bits"]
    if op == "gemm":
        return _gemm(kernels, chip, format, shape, cycle)
    if op.endswith("attention"):
        return _attention(kernels, chip, op, format, shape, bits, cycle)
    if op == "elementwise":
        time = kernels.elementwise(chip, kind, shape["bytes"])
        floor = np.maximum(shape["bytes"] - chip.l2_bytes, 0.0) / chip.bandwidth
        return _result(time, floor, kernels.validated_error(kind))
    return _all_reduce(kernels, chip, shape["bytes"], shape["devices"])


def _known(version: str, op: str, device: str, engine: str, format: str) -> None:
    """Refuses a version of which the device has no fit under the engine."""
    family = "bf16" if op in VECTOR else FAMILY.get(format, format)
    frameworks = () if engine in ROOFLINES else frameworks_of(engine, op)
    there = sorted({fit.version for fit in fits_of(device, op, family) if fit.framework in frameworks}, key=newest)
    if version not in there:
        raise ValueError(f"version: {version!r} is not accepted; {op} in {format} on {device} under {engine} has {', '.join(there) or 'none'}")


def _positive(name: str, value: ArrayLike) -> Array:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {value!r} is not accepted; a number or an array of numbers is") from None
    if np.any(np.isnan(array)) or np.any(array <= 0.0):
        bad = array[np.isnan(array) | (array <= 0.0)].ravel()[0]
        raise ValueError(f"{name}: {bad:g} is not accepted; a number above 0 is")
    return array


def _shape(op: str, given: dict[str, ArrayLike | None], also: dict[str, Array]) -> dict[str, Array]:
    """The figures of an op, checked and broadcast, together with those every op takes."""
    wanted = SHAPES[op]
    surplus = [name for name, value in given.items() if value is not None and name not in wanted]
    if surplus:
        raise ValueError(f"{surplus[0]}: not a figure of {op}; it takes {', '.join(wanted)}")
    shape: dict[str, Array] = {}
    for name in wanted:
        value = given[name]
        if value is None:
            raise ValueError(f"{name}: is missing; {op} takes {', '.join(wanted)}")
        array = _positive(name, value)
        if np.any(np.isinf(array)):
            raise ValueError(f"{name}: inf is not accepted; a finite number above 0 is")
        shape[name] = array
    shape |= also
    try:
        arrays = np.broadcast_arrays(*shape.values())
    except ValueError:
        sizes = ", ".join(f"{name} {array.shape}" for name, array in shape.items())
        raise ValueError(f"{op}: shapes {sizes} do not broadcast; equal lengths or single numbers do") from None
    return dict(zip(shape, arrays, strict=True))


def _gemm(kernels: Kernels, chip: Chip, format: str, shape: dict[str, Array], cycle: Array) -> KernelSeconds:
    m, n, k = shape["m"], shape["n"], shape["k"]
    bits = {"fp8_block": 8, "nvfp4": 4}.get(format) or BITS[format]
    flops = 2.0 * m * n * k
    moved = (n * k + m * k) * bits / 8.0 + m * n * 2.0
    time = kernels.gemm(chip, format, m, n, k, 1.0, float(bits), flops, moved, cycle)
    floor = np.asarray(physical(chip, rate(chip, format), flops, moved))
    return _result(time, floor, kernels.validated_error("gemm", format))


def _all_reduce(kernels: Kernels, chip: Chip, bytes: Array, devices: Array) -> KernelSeconds:
    floor = np.empty(bytes.shape)
    parts = [np.empty(bytes.shape) for _ in range(3)]
    last: Time | None = None
    for count in sorted({float(item) for item in devices.ravel()}):
        at = devices == count
        last = kernels.all_reduce(chip, bytes[at], count)
        floor[at] = 2.0 * (count - 1.0) / count * bytes[at] / chip.between(count).bandwidth
        for part, value in zip(parts, (last.expected, last.low, last.high), strict=True):
            part[at] = value
    if last is None:
        raise ValueError("bytes: nothing was given; at least one number is accepted")
    time = Time(parts[0], parts[1], parts[2], 0.0, 0.0, 0.0, last.fit, last.source)
    return _result(time, floor, kernels.validated_error("all_reduce"))


def _attention(
    kernels: Kernels, chip: Chip, op: str, format: str, shape: dict[str, Array], bits: Array, cycle: Array
) -> KernelSeconds:
    batch, heads, kv_heads = shape["batch"], shape["heads"], shape["kv_heads"]
    head_dim, query, context = shape["head_dim"], shape["query"], shape["context"]
    if np.any(kv_heads > heads):
        raise ValueError(f"kv_heads: {np.max(kv_heads):g} is not accepted; at most heads ({np.min(heads):g}) is")
    if op != "encoder_attention" and np.any(context < query):
        raise ValueError("context: less than query is not accepted; it counts the queries' own keys too")
    pairs = query * context if op == "encoder_attention" else query * context - query * (query - 1.0) / 2.0
    flops = 4.0 * batch * heads * head_dim * pairs
    moved = batch * head_dim * (4.0 * heads * query + 2.0 * kv_heads * context * bits / 8.0)
    floor = physical(chip, rate(chip, format), flops, moved)
    parts = [np.empty(batch.shape) for _ in range(3)]
    last: Time | None = None
    for size in sorted({float(item) for item in head_dim.ravel()}):
        at = head_dim == size
        b, h, g, q, n, f, w = (item[at] for item in (batch, heads, kv_heads, query, context, flops, moved))
        if op == "decode_attention":
            last = kernels.decode_attention(chip, format, b, h, g, size, q, n, f, w, cycle[at])
        elif op == "encoder_attention":
            last = kernels.encoder_attention(chip, format, b, h, g, size, q, n, f, w)
        else:
            last = kernels.prefill_attention(chip, format, b, h, g, size, q, n, f, w)
        for part, value in zip(parts, (last.expected, last.low, last.high), strict=True):
            part[at] = value
    if last is None:
        raise ValueError(f"{op}: nothing was given; at least one shape is accepted")
    time = Time(parts[0], parts[1], parts[2], 0.0, 0.0, 0.0, last.fit, last.source)
    return _result(time, np.asarray(floor), kernels.validated_error(op, format))


def _result(time: Time, floor: Array, error: float) -> KernelSeconds:
    expected = np.maximum(np.asarray(time.expected, dtype=np.float64), floor)
    lower = np.maximum(expected * np.exp(-np.asarray(time.low)), floor)
    upper = expected * np.exp(np.asarray(time.high))
    return KernelSeconds(np.asarray(floor), lower, expected, upper, time.source, time.fit, error)
