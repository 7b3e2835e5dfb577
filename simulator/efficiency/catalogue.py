"""The fits an engine uses on a device, settled once per (device, engine, version)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import final

import numpy as np

from simulator.efficiency.default import FORMS, default_fit
from simulator.efficiency.fits import Fit, fits_of, fitted_devices
from simulator.efficiency.forms import NETWORK
from simulator.efficiency.select import FUSED, STAND_INS, choose, frameworks_of
from simulator.efficiency.transfer import FAR, OTHER_SILICON, generation, generation_of, nearness, silicon, transferred
from simulator.quantity import Numeric
from simulator.spec.hardware import Chip

FORMATS = ("bf16", "fp32", "tf32", "fp8", "fp8_block", "int8", "fp4", "int4")
FAMILY = {"fp16": "bf16", "nvfp4": "fp4", "vector": "bf16"}
LIKE = {"int8": "fp8", "fp4": "fp8", "fp8_block": "fp8", "tf32": "bf16", "fp32": "bf16", "int4": "bf16", "fp8": "bf16"}
ALIKE = {"layer_norm": "norm", "gelu": "activation"}  # timed by another pass where they were not measured on the device itself
THIN = 100  # rows below which a fit is lent within its architecture only
UNLIKE = 0.15  # log half-width added when a format borrows the fit of another
ANOTHER = 0.45  # the same when a kernel borrows that of another: as from another architecture
VECTOR = tuple(op for op, (form, _) in FORMS.items() if form in ("stream", "strided", "collective"))

Choice = Mapping[tuple[str, str], tuple[Fit, ...]]


def nominal(value: Numeric) -> float:
    """A figure as one number: the middle of a swept one."""
    return float(np.median(value)) if isinstance(value, np.ndarray) else float(value)


def figures_of(chip: Chip) -> dict[str, float]:
    """The datasheet figures that efficiencies refer to. density: bf16 FLOP/s per watt."""
    peak = nominal(chip.peak.get("bf16", chip.peak.get("fp16", chip.vector_flops)))
    return {
        "peak": peak,
        "bandwidth": nominal(chip.bandwidth),
        "l2_bytes": nominal(chip.l2_bytes),
        "l2_bandwidth": nominal(chip.l2_bandwidth),
        "sms": nominal(chip.sms),
        "density": peak / nominal(chip.tdp_w),
        "tensor": peak / nominal(chip.vector_flops),
        "linked": 0.0 if chip.scale_up is None else 1.0,
        "clock": nominal(chip.clock_hz),
    }


def choices(chip: Chip, engine: str, version: str | None = None, folder: Path | None = None, alone: bool = False) -> Choice:
    """(op, format) -> the fits that time it, one per variant. `alone`: ignore the device's own fits (leave-one-out)."""
    figures = figures_of(chip) | {"shared": float(nominal(chip.host.bandwidth) >= nominal(chip.bandwidth))}
    key = tuple(sorted(figures.items()))
    runs_as = tuple(sorted((name, chip.runs_as.get(name, name)) for name in FORMATS if name not in chip.peak))
    beside = Path(chip.fits) if chip.fits and folder is None else folder
    return _choices(chip.name, chip.architecture, key, runs_as, engine, version, folder, beside, alone)


@lru_cache(maxsize=256)
def _choices(
    device: str,
    architecture: str,
    figures: tuple[tuple[str, float], ...],
    runs_as: tuple[tuple[str, str], ...],
    engine: str,
    version: str | None,
    folder: Path | None,
    beside: Path | None,
    alone: bool,
) -> Choice:
    where = _Where(device, architecture, dict(figures), dict(runs_as), engine, version, folder, beside, alone)
    return _Settled(where)


@final
@dataclass(frozen=True)
class _Where:
    """What decides about fits. beside: folder of the device's own fits (`folder`, or the one beside its profile)."""

    device: str
    architecture: str
    figures: dict[str, float]
    runs_as: dict[str, str]
    engine: str
    version: str | None
    folder: Path | None
    beside: Path | None
    alone: bool


class _Settled(dict[tuple[str, str], tuple[Fit, ...]]):
    """Settles an (op, format) when it is first asked for, so that a command reads only the fits it needs."""

    def __init__(self, where: _Where) -> None:
        super().__init__()
        self.where = where

    def __missing__(self, key: tuple[str, str]) -> tuple[Fit, ...]:
        op, format = key
        if op not in FORMS or format not in (("bf16",) if op in VECTOR else FORMATS):
            raise KeyError(key)
        base = "fp8" if format == "fp8_block" else format
        executed = self.where.runs_as.get(base, base)
        real = FAMILY.get(executed, executed)
        fits = self[key] = _settle(op, format if real == base else real, self.where)
        return fits


def _settle(op: str, format: str, where: _Where) -> tuple[Fit, ...]:
    device, architecture, figures = where.device, where.architecture, where.figures
    frameworks, version = frameworks_of(where.engine, op), where.version
    for place in () if where.alone else dict.fromkeys((where.beside, where.folder)):
        held = choose(fits_of(device, op, format, place), op, format, frameworks, version)
        if held:
            return tuple(held)
    if op in ALIKE:
        return _settle(ALIKE[op], format, where)
    lenders: dict[str, list[Fit]] = {}
    others = (fits_of(name, op, format, where.folder) for name in fitted_devices(where.folder) if name != device)
    for fits in others:
        for fit in choose(fits, op, format, frameworks, version):
            near = nearness(architecture, fit.architecture)
            far = near <= FAR or (near < 1.0 and fit.rows < THIN and fit.form not in NETWORK)
            if not far and (fit.form not in NETWORK or fit.figures["linked"] == figures["linked"]):
                lenders.setdefault(fit.variant, []).append(fit)
    if op in STAND_INS and where.engine in FUSED and not _related(lenders, architecture):
        held = tuple(_borrowed(fit, op, ANOTHER) for fit in _settle(STAND_INS[op], format, where) if fit.source != "default")
        if held:
            return held
    if lenders:
        return tuple(
            transferred(_alike(lenders[key], architecture, frameworks, figures), device, architecture, figures)
            for key in _current(lenders, architecture)
        )
    if format in LIKE:
        base = _settle(op, LIKE[format], where)
        return tuple(_borrowed(fit, format, UNLIKE) for fit in base)
    return (default_fit(op, format),)


def _alike(lenders: list[Fit], architecture: str, frameworks: tuple[str, ...], figures: Mapping[str, float]) -> list[Fit]:
    """Of the best framework's lenders those of the same architecture (and of the same silicon, if any), else all of them.

    Another framework's kernels of the same architecture come last, for they differ more than the same kernels on two
    architectures do; but a bf16 GEMM is one library's nearly everywhere, so there the same silicon goes before the framework.
    """

    def rank(fit: Fit) -> int:
        return frameworks.index(fit.framework)

    lenders = generation(lenders, architecture)
    best = min(map(rank, lenders))
    own = [fit for fit in lenders if rank(fit) == best]
    kin = [fit for fit in lenders if nearness(architecture, fit.architecture) == 1.0]
    twins = [fit for fit in kin if abs(silicon(fit.figures) - silicon(figures)) < OTHER_SILICON]
    ours = [[fit for fit in group if rank(fit) == best] for group in (twins, kin)]
    if (lenders[0].op, lenders[0].format) == ("gemm", "bf16") and twins and not ours[0]:
        nearest = min(map(rank, twins))
        return [fit for fit in twins if rank(fit) == nearest]
    return ours[0] or ours[1] or own


def _current(lenders: Mapping[str, list[Fit]], architecture: str) -> list[str]:
    """Variants that are known of the generation of kernels that the architecture runs, if any are: it tells more than the head size."""
    own = [key for key, fits in lenders.items() if any(generation_of(fit.architecture) == generation_of(architecture) for fit in fits)]
    return sorted(own if own and next(iter(lenders.values()))[0].op.endswith("_attention") else lenders)


def _related(lenders: Mapping[str, list[Fit]], architecture: str) -> bool:
    """Whether one of them was measured on the same architecture."""
    return any(nearness(architecture, fit.architecture) == 1.0 for fits in lenders.values() for fit in fits)


def _borrowed(fit: Fit, what: str, extra: float) -> Fit:
    """A fit of another format of the same kernels, or of a kernel built alike: wider, and no longer called a measurement of this one."""
    source = fit.source if fit.source == "default" else "transferred"
    error = (fit.error**2 + (extra / 1.6) ** 2) ** 0.5
    return replace(fit, id=f"{fit.id}~{what}", source=source, bands=fit.bands.widened(extra), error=error, median=error)
