"""From operators to a stage: lower to the engine's kernels, time each, add up seconds, work and uncertainty.

Residuals that rest on one fit are taken to move together, so within a fit they add; different fits are independent, so
their sums add in squares. A stage is as fast as the slower of the device and the host that feeds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import final

from simulator.attention import Attention
from simulator.efficiency.kernels import Kernels
from simulator.ops import AbstractOp, Shape, Work
from simulator.quantity import Numeric, exp, is_array, maximum, sqrt, where
from simulator.spec.deployment import Engine
from simulator.spec.hardware import Chip
from simulator.timing import Time

NETWORK = frozenset(("all_reduce", "all_gather", "all_to_all", "send"))
UNFUSED = frozenset(("norm", "rope", "activation", "add"))
TERMS = ("compute", "memory", "overhead", "network", "host")


@final
@dataclass(frozen=True, slots=True)
class Machine:
    """What the operators run on. devices: how many work on this stage in step (totals are over all of them)."""

    chip: Chip
    kernels: Kernels
    engine: Engine


@final
@dataclass(slots=True)
class Total:
    """Running sums of one stage on one device; `devices` turns work into totals."""

    machine: Machine
    stage: str
    seconds: Numeric = 0.0
    terms: dict[str, Numeric] = field(default_factory=lambda: dict.fromkeys(TERMS, 0.0))
    launches: Numeric = 0.0
    flops: Numeric = 0.0
    compute_floor: Numeric = 0.0
    weight_bytes: Numeric = 0.0
    activation_bytes: Numeric = 0.0
    kv_bytes: Numeric = 0.0
    transient_bytes: Numeric = 0.0
    widest_bytes: Numeric = 0.0
    low: dict[str, Numeric] = field(default_factory=dict[str, Numeric])
    high: dict[str, Numeric] = field(default_factory=dict[str, Numeric])
    sources: dict[str, Numeric] = field(default_factory=dict[str, Numeric])
    rows: list[tuple[str, Work, Time, Numeric]] | None = None

    def run(self, ops: Iterable[AbstractOp], shape: Shape, repeats: Numeric = 1.0, devices: Numeric = 1.0) -> None:
        """Every operator once on `shape`, `repeats` times."""
        for op in ops:
            self.count(op, shape, repeats, devices)
            self.time(op, shape, repeats)

    def count(self, op: AbstractOp, shape: Shape, repeats: Numeric, devices: Numeric, counted: bool = True) -> None:
        """Work only, over all devices; does not depend on the engine."""
        work = op.work(shape)
        scale = repeats * devices
        if counted:
            self.flops = self.flops + work.flops * scale
        self.weight_bytes = self.weight_bytes + work.weight_bytes * scale
        self.activation_bytes = self.activation_bytes + work.activation_bytes * scale
        self.kv_bytes = self.kv_bytes + work.kv_bytes * scale
        self.widest_bytes = maximum(self.widest_bytes, work.activation_bytes)
        if work.kernel not in NETWORK and work.format != "vector":
            peak = self.machine.chip.peak[self.machine.chip.executed_format(work.format)]
            self.compute_floor = self.compute_floor + work.flops * repeats / peak

    def time(self, op: AbstractOp, shape: Shape, repeats: Numeric) -> None:
        """Seconds only, on one device."""
        for work in lowered(op, shape, self.machine.engine):
            size = work.dims[0]
            if not is_array(size) and size <= 0.0:
                continue
            taken = timed(work, self.machine)
            scale = where(size > 0.0, repeats, 0.0) if is_array(size) else repeats
            self.add(work, taken, scale)

    def add(self, work: Work, taken: Time, scale: Numeric) -> None:
        """One timed kernel, `scale` times."""
        seconds = taken.expected * scale
        self.seconds = self.seconds + seconds
        terms = self.terms
        if work.kernel in NETWORK:
            terms["network"] = terms["network"] + seconds
        else:
            terms["compute"] = terms["compute"] + taken.compute * scale
            terms["memory"] = terms["memory"] + taken.memory * scale
            terms["overhead"] = terms["overhead"] + taken.overhead * scale
        self.launches = self.launches + scale * (work.launches * self.machine.engine.kernels.get(work.kernel, 1.0))
        self.transient_bytes = maximum(self.transient_bytes, work.transient_bytes)
        fit = taken.fit
        self.low[fit] = self.low.get(fit, 0.0) + seconds * taken.low
        self.high[fit] = self.high.get(fit, 0.0) + seconds * taken.high
        self.sources[taken.source] = self.sources.get(taken.source, 0.0) + seconds
        if self.rows is not None:
            self.rows.append((work.name, work, taken, scale))

    def extra(self, seconds: Numeric, term: str, spread: float, fit: str) -> None:
        """A time that no kernel model covers (host, engine)."""
        self.seconds = self.seconds + seconds
        self.terms[term] = self.terms[term] + seconds
        self.low[fit] = self.low.get(fit, 0.0) + seconds * spread
        self.high[fit] = self.high.get(fit, 0.0) + seconds * spread

    def host(self, passes: Numeric, overhead: Numeric, spread: float) -> None:
        """The host's side of `passes` executions: launches that the device may have to wait for, and fixed time."""
        engine = self.machine.engine
        fit = f"engine {engine.name}"
        if self.stage not in engine.graph:
            feeding = self.launches * engine.launch.seconds
            waiting = maximum(feeding - self.seconds, 0.0)
            self.extra(waiting, "overhead", engine.launch.spread, fit)
        self.extra(passes * overhead, "overhead", spread, fit)

    def band(self) -> tuple[Numeric, Numeric]:
        """80 % half-widths in log: coherent within a fit, independent between fits."""
        safe = maximum(self.seconds, 1e-30)
        low: Numeric = 0.0
        high: Numeric = 0.0
        for fit in self.low:
            low = low + (self.low[fit] / safe) ** 2
            high = high + (self.high[fit] / safe) ** 2
        return sqrt(low), sqrt(high)

    def bounds(self) -> tuple[Numeric, Numeric]:
        """lower and upper seconds."""
        low, high = self.band()
        return self.seconds * exp(-low), self.seconds * exp(high)


def timed(work: Work, machine: Machine) -> Time:
    """Seconds of one kernel on the machine."""
    kernels, chip, dims, kernel = machine.kernels, machine.chip, work.dims, work.kernel
    if kernel == "gemm":
        return kernels.gemm(chip, work.format, *dims, work.flops, work.bytes)
    if kernel == "grouped_gemm":
        return kernels.grouped_gemm(chip, work.format, *dims, work.flops, work.bytes)
    if kernel == "depthwise":
        return kernels.depthwise(chip, work.format, work.flops, work.bytes)
    if kernel == "encoder_attention":
        return kernels.encoder_attention(chip, work.format, *dims, work.flops, work.bytes)
    if kernel == "prefill_attention":
        return kernels.prefill_attention(chip, work.format, *dims, work.flops, work.bytes)
    if kernel == "decode_attention":
        return kernels.decode_attention(chip, work.format, *dims, work.flops, work.bytes)
    if kernel == "all_reduce":
        return kernels.all_reduce(chip, *dims)
    if kernel == "all_gather":
        return kernels.all_gather(chip, *dims)
    if kernel == "all_to_all":
        return kernels.all_to_all(chip, *dims)
    if kernel == "send":
        return kernels.send(chip, *dims)
    if kernel.startswith("copy_"):
        return kernels.copy(chip, kernel.removeprefix("copy_"), dims[0])
    return kernels.elementwise(chip, kernel, work.bytes)


def lowered(op: AbstractOp, shape: Shape, engine: Engine) -> tuple[Work, ...]:
    """The kernels an engine really starts for an operator."""
    work = op.work(shape)
    if isinstance(op, Attention):
        kernel = {"prefill": engine.prefill, "decode": engine.decode}.get(shape.phase, engine.encoder)
        if kernel == "materialised" or op.materialised:
            return _materialised(op, work, engine)
        if engine.repeats_kv and op.heads != op.kv_heads:
            return _repeated(op, work)
        return (work,)
    if engine.passes > 1.0 and work.kernel in UNFUSED:
        moved = work.activation_bytes * engine.passes
        return (_pass(work.name, work.kernel, moved),)
    return (work,)


def _pass(name: str, kind: str, moved: Numeric, transient: Numeric = 0.0) -> Work:
    return Work(name, kind, "vector", 0.0, 0.0, moved, 0.0, (moved,), 1.0, transient)


def _repeated(op: Attention, work: Work) -> tuple[Work, ...]:
    """K and V copied out to every query head, then attention over the copies."""
    batch, heads, _, head_dim, rows, context = work.dims
    copies = batch * heads * context * (op.head_dim + op.value_dim) * 2.0
    attention = Work(
        work.name, work.kernel, work.format, work.flops, 0.0, work.activation_bytes, copies,
        (batch, heads, heads, head_dim, rows, context),
    )  # fmt: skip
    return _pass("repeat_kv", "gather", work.kv_bytes + copies), attention


def _materialised(op: Attention, work: Work, engine: Engine) -> tuple[Work, ...]:
    """QK^T, mask, softmax and PV as four kernels over the full rows x context square; scores in memory in between."""
    batch, heads, kv_heads, head_dim, rows, context = work.dims
    scores = batch * heads * rows * context
    out: list[Work] = []
    keys = batch * kv_heads * context * op.head_dim * 2.0
    values = batch * kv_heads * context * op.value_dim * 2.0
    if engine.repeats_kv and op.heads != op.kv_heads:
        group = op.heads / op.kv_heads
        out.append(_pass("repeat_kv", "gather", (keys + values) * (1.0 + group)))
        keys, values = keys * group, values * group
    query = batch * heads * rows * 2.0
    per_head = batch * heads

    def product(name: str, width: Numeric, other: Numeric) -> Work:
        return Work(
            name, "gemm", work.format, 2.0 * scores * width, 0.0, query * width + scores * 2.0, other,
            (rows, context, width, per_head, 16.0), 1.0, scores * (2.0 + engine.softmax_bits / 8.0),
        )  # fmt: skip

    wide = engine.softmax_bits / 8.0
    # mask: read and write; softmax: read, write wide; back to the compute width: read wide, write.
    moved = scores * (2.0 + 2.0 + 2.0 + 2.0 + (2.0 * wide if wide > 2.0 else 0.0))
    out += [product("scores", op.head_dim, keys), _pass("softmax", "softmax", moved), product("values", op.value_dim, values)]
    return tuple(out)
