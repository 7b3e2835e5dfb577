"""``python -m calibrate transfer``: every measured device as if nobody had measured it, and how wide the bands of others must be.

Each device is left out in turn and timed with the efficiencies of the rest. What an op and format show by region, each fit counting
alike, is written to `fitted/transfer.yaml`, where the simulator reads how sure it may be of a chip that nobody measured. The report
counts how many rows lie inside bands made from the other devices' errors only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import yaml

from calibrate.estimate import columns_of
from calibrate.fit import FITTED
from calibrate.problems import Array, terms
from calibrate.readers import read_all
from calibrate.samples import Samples
from calibrate.tables import corrected
from simulator.efficiency.bands import REGIONS, region
from simulator.efficiency.catalogue import choices
from simulator.efficiency.default import FORMS
from simulator.efficiency.fits import Fit
from simulator.efficiency.timed import nearest_variant
from simulator.quantity import EVERYTHING
from simulator.spec.load_hardware import load_hardware

LEVEL = 0.85  # share of the rows inside the band that is made; on the device that was left out fewer are (few devices are measured)
BEYOND = 1.0 / 3.0  # of the width, shared by the devices left out
FEWEST = 40  # rows of a region before it gets a width of its own
FEWEST_OF_ONE = 10  # rows of one fit in a region before they count there
FRAMEWORKS = ("vllm", "sglang")


@final
@dataclass(frozen=True)
class LeftOut:
    """One family of a device timed with the others' efficiencies: log of measured over predicted, and the region, of every row."""

    samples: Samples
    fit: Fit
    e: Array
    where: Array

    @property
    def kernel(self) -> tuple[str, str]:
        return self.samples.op, self.samples.format

    @property
    def name(self) -> str:
        return f"{self.samples.device}/{self.samples.name}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--measured", type=Path, required=True, help="folder of public measured tables")
    parser.add_argument("--fitted", type=Path, default=FITTED, help="the fits that lend (default: the shipped ones)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (the result does not depend on it)")


def run(args: argparse.Namespace) -> int:
    """Leave every device out, write the widths."""
    families = read_all(args.measured)
    with ProcessPoolExecutor(args.jobs) as pool:
        found = [item for item in pool.map(partial(leave_out, fitted=args.fitted), families) if item is not None]
    path = args.fitted / "transfer.yaml"
    path.write_text(yaml.safe_dump(described(found), sort_keys=False, width=160, default_flow_style=None), encoding="utf-8")
    print(f"{len(found)} fits left out; {path}")
    return 0


def leave_out(samples: Samples, fitted: Path) -> LeftOut | None:
    """A family timed without its device's own rows; None where no other device can lend."""
    if samples.framework not in FRAMEWORKS or samples.op not in FORMS:
        return None
    chip = load_hardware(samples.device).chip
    choice = choices(chip, "vllm", None, None if fitted == FITTED else fitted, alone=True)
    fit = nearest_variant(choice[samples.op, samples.format], float(samples.variant.rpartition("=")[2] or 128))
    if fit.source != "transferred":
        return None
    full = samples.rows["window"].to_numpy() == EVERYTHING if "window" in samples.rows else np.ones(len(samples.rows), dtype=bool)
    c, seconds = columns_of(samples, full)
    found, floor = terms(samples.family, fit.form, fit.values, c, chip, samples.format)
    factor = np.exp(corrected(samples, fit.table, c, fit.form))
    e = np.log(seconds / np.maximum(found.total * factor, floor))
    return LeftOut(samples, fit, e, np.broadcast_to(np.asarray(region(found)), len(e)))


def widths(found: Sequence[LeftOut]) -> Array:
    """Half-width of each region that holds `LEVEL` of its rows, each fit counting alike (of all rows where a region has few), and more
    the fewer devices there were: the next one may lie beyond them."""
    whole = _level([item.e for item in found])
    out: list[float] = []
    for index in range(len(REGIONS)):
        parts = [part for item in found if len(part := item.e[item.where == index]) >= FEWEST_OF_ONE]
        out.append(_level(parts) if sum(map(len, parts)) >= FEWEST else whole)
    return np.array(out) * (1.0 + BEYOND / len({item.samples.device for item in found}))


def _level(parts: Sequence[Array]) -> float:
    size = np.concatenate([np.abs(part) for part in parts])
    weight = np.concatenate([np.full(len(part), 1.0 / len(part)) for part in parts])
    order = np.argsort(size)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(size[order][min(int(np.searchsorted(share, LEVEL)), len(size) - 1)])


def described(found: Sequence[LeftOut]) -> dict[str, Any]:
    """The file, op and format by op and format, in alphabetical order."""
    out: dict[str, Any] = {}
    for kernel in sorted({item.kernel for item in found}):
        mine = [item for item in found if item.kernel == kernel]
        error = float(np.median([np.abs(np.exp(-item.e) - 1.0).mean() for item in mine]))
        out[" ".join(kernel)] = {
            "error": float(f"{error:.3g}"),
            "devices": sorted({item.samples.device for item in mine}),
            "widths": {name: float(f"{width:.3g}") for name, width in zip(REGIONS, widths(mine), strict=True)},
        }
    return out


def section(families: Sequence[Samples], fitted: Path) -> list[str]:
    """Each device as if nobody had measured it, as a section of the report."""
    found = [item for samples in families if (item := leave_out(samples, fitted)) is not None]
    lines = ["## A device nobody measured", ""]
    lines += ["Each device timed with the efficiencies of the others only (no row of its own); bands from the errors of the others only."]
    lines += ["", "| fit | rows | MAPE | median | bias | inside the band | half-width (log) | lent by |", "|---|---|---|---|---|---|---|---|"]
    shares: list[float] = []
    for item in sorted(found, key=lambda each: each.name):
        error = np.exp(-item.e) - 1.0
        others = [other for other in found if other.kernel == item.kernel and other.samples.device != item.samples.device]
        cells = ["", ""]
        if others:
            band = widths(others)[item.where]
            shares.append(float(np.mean(np.abs(item.e) <= band)))
            cells = [f"{shares[-1]:.0%}", f"{band.mean():.2f}"]
        figures = f"{len(error)} | {np.abs(error).mean():.1%} | {np.median(np.abs(error)):.1%} | {np.median(error):+.1%}"
        lines.append(f"| {item.name} | {figures} | {cells[0]} | {cells[1]} | {item.fit.id.rpartition('<-')[2]} |")
    return [*lines, "", f"Inside on average: {np.mean(shares):.0%}; median of the fits: {np.median(shares):.0%}."]
