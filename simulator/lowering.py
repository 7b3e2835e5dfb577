"""From an operator to the kernels that an engine really starts for it, and how many starts that takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from simulator.attention import Attention
from simulator.ops import AbstractOp, Work
from simulator.quantity import Numeric, is_array, where
from simulator.spec.deployment import Engine

UNFUSED = frozenset(("norm", "layer_norm", "rope", "activation", "gelu", "add"))

_ENGINE_KERNEL = {
    "prefill_attention": "prefill",
    "decode_attention": "decode",
    "mla_decode": "decode",
    "encoder_attention": "encoder",
}


def lowered(op: AbstractOp, work: Work, engine: Engine) -> tuple[Work, ...]:
    """The kernels an engine really starts for an operator with that work."""
    if isinstance(op, Attention):
        kernel = getattr(engine, _ENGINE_KERNEL[work.kernel])
        if engine.copies_cache and work.kernel in ("decode_attention", "mla_decode"):
            appended = _strided("cache append", work.kv_bytes, work.kv_bytes, op.full_bits / 8.0)
            return (appended, *_attended(op, work, engine, kernel))
        return _attended(op, work, engine, kernel)
    if engine.passes > 1.0 and work.kernel in UNFUSED:
        moved = work.activation_bytes * engine.traffic.get(work.kernel, engine.passes)
        return (_pass(work.name, work.kernel, moved),)
    return (work,)


def _attended(op: Attention, work: Work, engine: Engine, kernel: str) -> tuple[Work, ...]:
    if op.varlen and work.kernel == "decode_attention":
        return (work,)
    if kernel == "materialised" or op.materialised:
        return _materialised(op, work, engine)
    if kernel == "unsplit" and work.kernel == "decode_attention":
        work = replace(work, kernel="unsplit_attention")
    if engine.repeats_kv and _grouped(op):
        return _repeated(op, work)
    return (work,)


def _pass(name: str, kind: str, moved: Numeric, transient: Numeric = 0.0) -> Work:
    return Work(name, kind, "vector", 0.0, 0.0, moved, 0.0, (moved,), 1.0, transient)


def _strided(name: str, read: Numeric, written: Numeric, wide: float = 2.0) -> Work:
    """A copy of elements of `wide` bytes between tensors that are not contiguous: the framework's kernel moves them one by one."""
    moved = read + written
    return Work(name, "strided", "vector", 0.0, 0.0, moved, 0.0, (moved, written / wide))


def _grouped(op: Attention) -> bool:
    """Whether query heads share keys and values, in any scenario."""
    differ: Any = op.heads != op.kv_heads
    return bool(differ.any()) if is_array(differ) else bool(differ)


def _repeated(op: Attention, work: Work) -> tuple[Work, ...]:
    """K and V copied out to every query head, then attention over the copies."""
    batch, heads, kv_heads, head_dim, rows, context = work.dims
    wide = op.full_bits / 8.0
    copies, on = batch * heads * context * (op.head_dim + op.value_dim) * wide, op.heads != op.kv_heads
    attention = Work(
        work.name, work.kernel, work.format, work.flops, 0.0, work.activation_bytes, where(on, copies, work.kv_bytes),
        (batch, heads, where(on, heads, kv_heads), head_dim, rows, context),
    )  # fmt: skip
    return _strided("repeat_kv", where(on, work.kv_bytes, 0.0), where(on, copies, 0.0), wide), attention


def _materialised(op: Attention, work: Work, engine: Engine) -> tuple[Work, ...]:
    """QK^T, mask, softmax and PV as four kernels over the full rows x context square; scores in memory in between."""
    batch, heads, kv_heads, _, rows, context = work.dims
    scores = batch * heads * rows * context
    out: list[Work] = []
    element = op.full_bits / 8.0
    keys = batch * kv_heads * context * op.head_dim * element
    values = batch * kv_heads * context * op.value_dim * element
    if engine.repeats_kv and _grouped(op):
        group = op.heads / op.kv_heads
        shared = where(group != 1.0, keys + values, 0.0)
        out.append(_strided("repeat_kv", shared, shared * group, element))
        keys, values = keys * group, values * group
    query = batch * heads * rows * element
    wide = max(engine.softmax_bits / 8.0, element)
    per_head = batch * heads

    def product(name: str, width: Numeric, other: Numeric) -> Work:
        return Work(
            name, "gemm", work.format, 2.0 * scores * width, 0.0, query * width + scores * element, other,
            (rows, context, width, per_head, op.full_bits), 1.0, scores * (element + wide),
        )  # fmt: skip

    # scale: read and write; mask, where there is one: the same; softmax: read, write wide; back to the compute width: read wide, write.
    passes = 3.0 if work.kernel == "encoder_attention" else 5.0
    moved = scores * (passes * element + wide + (wide + element if wide > element else 0.0))
    out += [product("scores", op.head_dim, keys), _pass("softmax", "softmax", moved), product("values", op.value_dim, values)]
    return tuple(out)


def starts(kernel: Work, name: str, engine: Engine) -> Numeric:
    """Kernels started for one of the engine's: by kind (a LayerNorm is one kernel where an RMSNorm is many), by name (`qkv`: three
    products where they are not fused), or one."""
    counts = engine.kernels
    for key in (kernel.kernel, name) if counts else ():
        if key in counts:
            return kernel.launches * counts[key]
    return kernel.launches
