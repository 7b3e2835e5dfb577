"""From operators to a stage: lower to the engine's kernels, time each, add up seconds, work and uncertainty.

Residuals that rest on one fit are taken to move together, so within a fit they add, and so do those of kernels that nobody measured;
different fits are independent, so their sums add in squares. A stage is as fast as the slower of the device and the host that feeds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, final

from numpy import ndarray

from simulator.efficiency.kernels import Kernels
from simulator.efficiency.weight_only import PACKED
from simulator.lowering import lowered, starts
from simulator.ops import AbstractOp, Shape, Work
from simulator.passes import distinct
from simulator.quantity import Numeric, exp, is_array, maximum, sqrt, where
from simulator.spec.deployment import Engine
from simulator.spec.hardware import Chip
from simulator.timing import Time

NETWORK = frozenset(("all_reduce", "all_gather", "all_to_all", "send"))
_ATTENTION = frozenset(("encoder_attention", "prefill_attention", "decode_attention", "unsplit_attention"))
TERMS = ("compute", "memory", "overhead", "network", "host")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """What the operators run on; remembers what equal operators cost on equal shapes."""

    chip: Chip
    kernels: Kernels
    engine: Engine
    remembered: dict[tuple[int, Shape, bool, bool], Bundle] = field(default_factory=lambda: {})

    def bundle(self, ops: tuple[AbstractOp, ...], shape: Shape, counted: bool = True, timed: bool = True) -> Bundle:
        """Cost of `ops`, each once on `shape`. Numbers are looked up; arrays are computed afresh."""
        if shape.varies:
            return Bundle(ops, shape, self, counted, timed)
        key = (id(ops), shape, counted, timed)
        known = self.remembered.get(key)
        if known is None or known.ops is not ops:
            known = Bundle(ops, shape, self, counted, timed)
            if is_array(known.seconds, known.flops, known.weight_bytes, known.kv_bytes):
                return known
            if len(self.remembered) > _MEMORY:
                self.remembered.clear()
            self.remembered[key] = known
        return known


_MEMORY = 20_000


@final
class Bundle:
    """Operators once on a shape: one device's seconds, work and uncertainty. Linear in repeats, so computed once."""

    __slots__ = (
        "activation_bytes", "compute_floor", "flops", "high", "kv_bytes", "launches", "low", "ops", "rows", "seconds",
        "sources", "terms", "transient_bytes", "weight_bytes", "widest_bytes",
    )  # fmt: skip

    def __init__(self, ops: tuple[AbstractOp, ...], shape: Shape, machine: Machine, counted: bool, timed: bool) -> None:
        self.ops = ops
        self.seconds: Numeric = 0.0
        self.terms: list[Numeric] = [0.0, 0.0, 0.0, 0.0]
        self.launches: Numeric = 0.0
        self.flops: Numeric = 0.0
        self.compute_floor: Numeric = 0.0
        self.weight_bytes: Numeric = 0.0
        self.activation_bytes: Numeric = 0.0
        self.kv_bytes: Numeric = 0.0
        self.transient_bytes: Numeric = 0.0
        self.widest_bytes: Numeric = 0.0
        self.low: dict[str, Numeric] = {}
        self.high: dict[str, Numeric] = {}
        self.sources: dict[str, Numeric] = {}
        self.rows: list[tuple[str, Work, Time | None]] = []
        for op, names in distinct(ops):
            work = op.work(shape)
            if counted:
                self._count(work, float(len(names)), machine)
            if timed:
                self._time(op, work, names, machine)

    def _count(self, work: Work, times: float, machine: Machine) -> None:
        flops = times * work.flops
        self.flops = self.flops + flops
        self.weight_bytes = self.weight_bytes + times * work.weight_bytes
        self.activation_bytes = self.activation_bytes + times * work.activation_bytes
        self.kv_bytes = self.kv_bytes + times * work.kv_bytes
        self.widest_bytes = maximum(self.widest_bytes, work.activation_bytes)
        if work.format != "vector":
            peak = machine.chip.peak[machine.chip.executed_format(work.format)]
            self.compute_floor = self.compute_floor + flops / peak

    def _time(self, op: AbstractOp, work: Work, names: tuple[str, ...], machine: Machine) -> None:
        for kernel in lowered(op, work, machine.engine):
            size = _size(kernel)
            runs: Numeric = 1.0
            if isinstance(size, ndarray):
                taken = timed(kernel, machine)
                if not size.min() > 0.0:
                    taken, runs = _only(taken, size > 0.0), where(size > 0.0, 1.0, 0.0)
            elif size <= 0.0:
                continue
            else:
                taken = timed(kernel, machine)
            self._add(kernel, taken, float(len(names)))
            for name in names if kernel.name == work.name else (kernel.name,) * len(names):
                self.launches = self.launches + runs * starts(kernel, name, machine.engine)
                self.rows.append((name, kernel, taken))

    def _add(self, work: Work, taken: Time, times: float) -> None:
        seconds = taken.expected if times == 1.0 else times * taken.expected
        self.seconds = self.seconds + seconds
        terms = self.terms
        if work.kernel in NETWORK:
            terms[3] = terms[3] + seconds
        else:
            terms[0] = terms[0] + times * taken.compute
            terms[1] = terms[1] + times * taken.memory
            terms[2] = terms[2] + times * taken.overhead
        self.transient_bytes = maximum(self.transient_bytes, work.transient_bytes)
        fit = taken.fit.removesuffix(PACKED)  # it rests on the plain product's
        if taken.source == "default" and fit != "ideal":
            fit = taken.source  # what nobody measured errs together
        self.low[fit] = self.low.get(fit, 0.0) + seconds * taken.low
        self.high[fit] = self.high.get(fit, 0.0) + seconds * taken.high
        self.sources[taken.source] = self.sources.get(taken.source, 0.0) + seconds


def half_widths(parts: dict[str, tuple[Numeric, Numeric]], seconds: Numeric) -> tuple[Numeric, Numeric]:
    """(low, high) of a sum whose parts move together per fit and independently between fits."""
    safe = maximum(seconds, 1e-30)
    low: Numeric = 0.0
    high: Numeric = 0.0
    for below, above in parts.values():
        low = low + (below / safe) ** 2
        high = high + (above / safe) ** 2
    return sqrt(low), sqrt(high)


def _size(work: Work) -> Numeric:
    """Zero where the kernel has nothing to do: no rows, no columns, no copies, no message."""
    dims = work.dims
    if work.kernel in _ATTENTION:
        return dims[0] * dims[4]
    return dims[0] * dims[1] * dims[2] * dims[3] if work.kernel == "gemm" else dims[0]


def _only(taken: Time, runs: Any) -> Time:
    """The time where the kernel runs, nothing where it has no rows (an empty kernel's formula may not even be a number)."""
    return replace(
        taken,
        expected=where(runs, taken.expected, 0.0),
        low=where(runs, taken.low, 0.0),
        high=where(runs, taken.high, 0.0),
        compute=where(runs, taken.compute, 0.0),
        memory=where(runs, taken.memory, 0.0),
        overhead=where(runs, taken.overhead, 0.0),
    )


@final
@dataclass(slots=True)
class Total:
    """Running sums of one stage: seconds on one device, work over all devices."""

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

    def run(self, ops: tuple[AbstractOp, ...], shape: Shape, repeats: Numeric = 1.0, devices: Numeric = 1.0) -> None:
        """Every operator once on `shape`, `repeats` times, on `devices` in step."""
        bundle = self.machine.bundle(ops, shape)
        self.counted(bundle, repeats, devices)
        self.timed(bundle, repeats)

    def count(self, ops: tuple[AbstractOp, ...], shape: Shape, repeats: Numeric, devices: Numeric) -> None:
        """Work only, over all devices; does not depend on the engine."""
        self.counted(self.machine.bundle(ops, shape, True, False), repeats, devices)

    def time(self, ops: tuple[AbstractOp, ...], shape: Shape, repeats: Numeric) -> None:
        """Seconds only, on one device."""
        self.timed(self.machine.bundle(ops, shape, False, True), repeats)

    def counted(self, bundle: Bundle, repeats: Numeric, devices: Numeric) -> None:
        """Add a bundle's work."""
        scale = repeats * devices
        self.flops = self.flops + bundle.flops * scale
        self.weight_bytes = self.weight_bytes + bundle.weight_bytes * scale
        self.activation_bytes = self.activation_bytes + bundle.activation_bytes * scale
        self.kv_bytes = self.kv_bytes + bundle.kv_bytes * scale
        self.compute_floor = self.compute_floor + bundle.compute_floor * repeats
        self.widest_bytes = maximum(self.widest_bytes, bundle.widest_bytes)

    def timed(self, bundle: Bundle, repeats: Numeric) -> None:
        """Add a bundle's seconds."""
        self.seconds = self.seconds + bundle.seconds * repeats
        terms, more = self.terms, bundle.terms
        terms["compute"] = terms["compute"] + more[0] * repeats
        terms["memory"] = terms["memory"] + more[1] * repeats
        terms["overhead"] = terms["overhead"] + more[2] * repeats
        terms["network"] = terms["network"] + more[3] * repeats
        self.launches = self.launches + bundle.launches * repeats
        self.transient_bytes = maximum(self.transient_bytes, bundle.transient_bytes)
        low, high, sources = self.low, self.high, self.sources
        for fit, value in bundle.low.items():
            low[fit] = low.get(fit, 0.0) + value * repeats
            high[fit] = high.get(fit, 0.0) + bundle.high[fit] * repeats
        for source, value in bundle.sources.items():
            sources[source] = sources.get(source, 0.0) + value * repeats
        if self.rows is not None:
            self.rows += [(name, work, taken, repeats) for name, work, taken in bundle.rows if taken is not None]

    def merge(self, other: Total) -> None:
        """Add what another total of the same stage holds."""
        for name in ("seconds", "launches", "flops", "compute_floor", "weight_bytes", "activation_bytes", "kv_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("transient_bytes", "widest_bytes"):
            setattr(self, name, maximum(getattr(self, name), getattr(other, name)))
        for mine, its in ((self.terms, other.terms), (self.low, other.low), (self.high, other.high), (self.sources, other.sources)):
            for key, value in its.items():
                mine[key] = mine.get(key, 0.0) + value
        if self.rows is not None and other.rows is not None:
            self.rows += other.rows

    def slow(self, factor: float) -> None:
        """Device time times `factor`, as anchored on a deployment."""
        self.seconds = self.seconds * factor
        for part in (self.terms, self.low, self.high, self.sources):
            for key in part:
                part[key] = part[key] * factor

    def extra(self, seconds: Numeric, term: str, spread: float, fit: str) -> None:
        """A time that no kernel model covers (host, engine)."""
        self.seconds = self.seconds + seconds
        self.terms[term] = self.terms[term] + seconds
        self.low[fit] = self.low.get(fit, 0.0) + seconds * spread
        self.high[fit] = self.high.get(fit, 0.0) + seconds * spread

    def host(self, passes: Numeric, overhead: Numeric, spread: float, layers: Numeric = 0.0) -> None:
        """The host's side of `passes` executions of `layers` layers in all: launches and layers, for which the device
        waits if they take longer than it does (always, where the host is the device), and fixed time."""
        engine = self.machine.engine
        fit = f"engine {engine.name}"
        if self.stage not in engine.graph:
            feeding = self.launches * engine.launch.seconds
            spent = engine.launch.spread
            layer = engine.layer.get(self.stage)
            if layer is not None:
                feeding = feeding + layers * layer.seconds
                spent = max(spent, layer.spread)
            waiting = maximum(feeding - self.seconds, 0.0) if engine.overlap else feeding
            self.extra(waiting, "overhead", spent, fit)
        self.extra(passes * overhead, "overhead", spread, fit)

    def uncertain(self) -> dict[str, tuple[Numeric, Numeric]]:
        """Fit -> (low, high): seconds times log half-width; what rests on one fit moves together."""
        out = {fit: (low, self.high[fit]) for fit, low in self.low.items()}
        engine = self.machine.engine
        if engine.spread:
            common = (self.seconds - self.terms["host"]) * engine.spread
            out[f"composition {engine.name}"] = (common, common)
        return out

    def band(self) -> tuple[Numeric, Numeric]:
        """80 % half-widths in log: coherent within a fit, independent between fits."""
        return half_widths(self.uncertain(), self.seconds)

    def bounds(self) -> tuple[Numeric, Numeric]:
        """lower and upper seconds."""
        low, high = self.band()
        return self.seconds * exp(-low), self.seconds * exp(high)


def timed(work: Work, machine: Machine) -> Time:
    """Seconds of one kernel on the machine."""
    kernels, chip, dims, kernel = machine.kernels, machine.chip, work.dims, work.kernel
    format, flops, moved = work.format, work.flops, work.bytes
    if kernel == "gemm":
        m, n, k, copies, bits = dims
        return kernels.gemm(chip, format, m, n, k, copies, bits, flops, moved)
    if kernel == "grouped_gemm":
        m, n, k, experts, bits = dims
        return kernels.grouped_gemm(chip, format, m, n, k, experts, bits, flops, moved)
    if kernel == "depthwise":
        return kernels.depthwise(chip, format, flops, moved)
    if kernel == "mla_decode":
        return _unpacking(kernels.mla_decode(chip, format, flops, moved), work, chip)
    if kernel in _ATTENTION:
        batch, heads, kv_heads, head_dim, rows, context = dims
        query = maximum(rows, 1e-9)
        if kernel == "encoder_attention":
            return kernels.encoder_attention(chip, format, batch, heads, kv_heads, head_dim, query, context, flops, moved)
        if kernel == "prefill_attention":
            return kernels.prefill_attention(chip, format, batch, heads, kv_heads, head_dim, query, context, flops, moved)
        if kernel == "unsplit_attention":
            return _unpacking(kernels.unsplit_attention(chip, format, batch, heads, head_dim, query, context, flops, moved), work, chip)
        taken = kernels.decode_attention(chip, format, batch, heads, kv_heads, head_dim, query, context, flops, moved, window=work.window, narrow=work.narrow)
        return _unpacking(taken, work, chip)
    if kernel == "all_reduce":
        return kernels.all_reduce(chip, dims[0], dims[1])
    if kernel == "all_gather":
        return kernels.all_gather(chip, dims[0], dims[1])
    if kernel == "all_to_all":
        return kernels.all_to_all(chip, dims[0], dims[1])
    if kernel == "send":
        return kernels.send(chip, dims[0], dims[1])
    if kernel == "strided":
        return kernels.strided(chip, dims[1], moved)
    if kernel.startswith("copy_"):
        return kernels.copy(chip, kernel.removeprefix("copy_"), dims[0])
    return kernels.elementwise(chip, kernel, work.bytes)


def _unpacking(taken: Time, work: Work, chip: Chip) -> Time:
    """The time of an attention kernel that unpacks what it reads: at least what the vector units need for it."""
    if not is_array(work.vector_flops) and work.vector_flops <= 0.0:
        return taken
    least = work.vector_flops / chip.vector_flops
    return replace(taken, expected=maximum(taken.expected, least), compute=maximum(taken.compute, least))
