"""``python -m calibrate fit``: measured tables to small YAML files of parameters, errors, bands and provenance."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from calibrate.estimate import Estimated, estimate
from calibrate.held_out import HeldOut, hold_out, in_turn
from calibrate.problems import form_of
from calibrate.readers import read_all
from calibrate.samples import Samples
from calibrate.tables import UNIT, make_table
from simulator.efficiency.bands import REGIONS
from simulator.efficiency.catalogue import figures_of
from simulator.efficiency.forms import PARAMETERS
from simulator.efficiency.table import Table
from simulator.spec.load_hardware import load_hardware

FITTED = Path(__file__).parents[1] / "hardware_profiles" / "fitted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--measured", type=Path, required=True, help="folder of measured tables (ours or public ones)")
    parser.add_argument("--out", type=Path, default=None, help="where the fits go (default: `fitted` in a run of ours, else the shipped folder)")
    parser.add_argument("--only", default="", help="fit only names that contain this text, e.g. h100-sxm/gemm-bf16")
    parser.add_argument("--hardware", default="", help="profile to fit for, when the tables are ours (default: the device's, or one made of the run)")
    parser.add_argument("--no-tables", action="store_true", help="parametric forms only")
    parser.add_argument("--noisy", action="store_true", help="fit a run that calls itself inconclusive; every file says so")
    parser.add_argument("--jobs", type=int, default=1, help="processes (the result does not depend on it)")


def run(args: argparse.Namespace) -> int:
    """Fit every family found; one line each."""
    args.out = args.out or fits_beside(args.measured)
    read = read_measured(args.measured, args.hardware, args.out, args.noisy)
    found = [item for item in read if args.only in f"{item.device}/{item.name}"]
    if not found:
        raise ValueError(f"only: nothing in {args.measured} has {args.only!r} in its name")
    jobs = [(item, args.out, not args.no_tables) for item in found]
    if args.jobs > 1:
        with ProcessPoolExecutor(args.jobs) as pool:
            lines = pool.map(_one, jobs)
            for line in lines:
                print(line, flush=True)
    else:
        for job in jobs:
            print(_one(job), flush=True)
    if is_run(args.measured):
        from calibrate.loop import write_engine

        for line in write_engine(args.measured, args.hardware, args.out):
            print(line, flush=True)
    return 0


def is_run(folder: Path) -> bool:
    """Whether a folder is what `measure` wrote (public tables have no meta file)."""
    return (folder / "meta.yaml").is_file()


def fits_beside(folder: Path) -> Path:
    """Where the fits of measured tables lie: in the run's own folder, or among those that ship."""
    return folder / "fitted" if is_run(folder) else FITTED


def read_measured(folder: Path, hardware: str = "", fits: Path = FITTED, noisy: bool = False) -> list[Samples]:
    """Our own tables if the folder is a run of ours (its profile is made where the device has none), else the public ones."""
    if is_run(folder):
        from calibrate.device import hardware_of
        from calibrate.own_tables import read_run

        return read_run(folder, hardware or hardware_of(folder, fits), noisy)
    return read_all(folder)


def _one(job: tuple[Samples, Path, bool]) -> str:
    samples, out, tables = job
    data, held = fit(samples, tables)
    path = write(data, out)
    error, plain = held.error(), held.error("parametric")
    flags = f"  [{'; '.join(data['flags'])}]" if data["flags"] else ""
    return (
        f"{data['id']}: {len(samples.rows)} rows, held out MAPE {plain.mean():.1%} parametric, "
        f"{error.mean():.1%} shipped (median {np.median(error):.1%}), coverage {held.coverage():.0%}, {path.stat().st_size // 1024} kB{flags}"
    )


def fit(samples: Samples, tables: bool = True) -> tuple[dict[str, Any], HeldOut]:
    """Errors on what is held out, parameters on everything."""
    chip = load_hardware(samples.device).chip
    form = form_of(samples.family, samples.format, samples.kernel)
    held = hold_out(samples, chip, tables=tables)
    found = estimate(samples, form, chip)
    table = make_table(samples, form, found.values, chip) if held.tabled else None
    return describe(samples, form, found, held, table), held


def describe(samples: Samples, form: str, found: Estimated, held: HeldOut, table: Table | None) -> dict[str, Any]:
    """The file of a fit as plain data, in the order it is written."""
    device = load_hardware(samples.device)
    error, plain = held.error(), held.error("parametric")
    signed = np.exp(-held.rows[held.best].to_numpy(np.float64)) - 1.0
    by_region = {
        name: {"mape": _digits(error[where].mean()), "rows": int(where.sum())}
        for index, name in enumerate(REGIONS)
        if (where := held.rows["region"].to_numpy(np.int64) == index).any()
    }
    data: dict[str, Any] = {
        "id": f"{device.name}/{samples.name}",
        "device": device.name,
        "architecture": device.architecture,
        "op": samples.op,
        "format": samples.format,
        "framework": samples.framework,
        "version": samples.version,
        "variant": samples.variant,
        "source": samples.source,
        "form": form,
        "parameters": {
            name: {"value": _digits(value), "relative_error": _digits(spread)}
            for name, value, spread in zip(PARAMETERS[form], found.values, found.errors, strict=True)
        },
        "flags": list(found.flags),
        "held_out": {
            "mape": _digits(error.mean()),
            "median": _digits(np.median(error)),
            "bias": _digits(np.median(signed)),
            "parametric_mape": _digits(plain.mean()),
            "parametric_median": _digits(np.median(plain)),
            "coverage": _digits(held.coverage()),
            "band_width": _digits(held.width()),
            "ratio": _digits(held.ratio),
            "split": split_of(held, samples),
            "regions": by_region,
        },
        "bands": {name: [held.bands.low[i], held.bands.high[i]] for i, name in enumerate(REGIONS)},
        "figures": {key: _digits(value) for key, value in figures_of(device.chip).items()},
        "rows": {
            "count": len(samples.rows),
            "groups": int(samples.rows["group"].nunique()),
            "hash": samples.content_hash(),
            "origin": samples.origin,
            "dropped": samples.dropped,
        },
    }
    if table is not None:
        data["table"] = _table(table)
    return data


def split_of(held: HeldOut, samples: Samples) -> str:
    """How rows were held out, in words."""
    groups, seeds = int(samples.rows["group"].nunique()), int(held.rows["seed"].nunique())
    how = "each group in turn" if in_turn(samples) else f"30 % of whole groups, {seeds} times"
    if groups == 1:
        how = f"30 % of the rows (one group only), {seeds} times"
    return f"{how}; coverage of each by the bands of the others"


def _digits(value: object) -> float:
    return float(f"{float(value):.5g}")  # type: ignore[arg-type]


def _table(table: Table) -> dict[str, Any]:
    """Whole multiples of the unit, one line per combination of all but the last axis."""
    whole = np.rint(table.values / UNIT).astype(int).reshape(-1, table.values.shape[-1])
    knots = {name: [_digits(2.0**item) for item in line] for name, line in zip(table.axes, table.knots, strict=True)}
    return {"axes": list(table.axes), "unit": UNIT, "knots": knots, "rows": [" ".join(map(str, line)) for line in whole]}


def write(data: dict[str, Any], out: Path) -> Path:
    """One YAML file; equal data, equal bytes."""
    folder = out / data["device"]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{data['id'].rpartition('/')[2]}.yaml"
    text = yaml.safe_dump(data, sort_keys=False, width=100000, default_flow_style=None, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit("use: python -m calibrate fit")
