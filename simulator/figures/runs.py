"""A run of `python -m calibrate measure` against what the simulator predicts, and what the shipped fits say of their own errors."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from simulator.efficiency.fits import fits_of, fitted_devices
from simulator.efficiency.kernel_seconds import kernel_seconds
from simulator.spec.hardware import Device
from simulator.spec.source import SpecError

ROWS = 200_000
LINE = 10_000
"""Longest line that is read [byte]; a longer one could name millions of columns."""
LARGEST = 1e12
TABLES = "drop gemm.csv, attention.csv or elementwise.csv"
_FORMATS = {"f32": "fp32", "fp8_dynamic": "", "int8_dynamic": ""}
_ATTENTION = ("encoder_attention", "prefill_attention", "decode_attention")


def fit_table(devices: tuple[str, ...] | None = None) -> pd.DataFrame:
    """One row per shipped fit: device, op, format, framework, version, variant, rows, error, median [fraction], source."""
    rows = [
        {"device": fit.device, "op": fit.op, "format": fit.format, "framework": fit.framework, "version": fit.version, "variant": fit.variant,
         "rows": fit.rows, "error": fit.error, "median": fit.median, "source": fit.source}
        for device in (devices or fitted_devices()) for fit in fits_of(device)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["device", "op", "format", "framework", "version", "variant", "rows", "error", "median", "source"])


def read_run(content: bytes, name: str = "table") -> pd.DataFrame:
    """A CSV of `measure` (gemm, attention or elementwise), the last row of each case, only those that are ok; `attrs` has the number of all.

    Raises SpecError in one line for what is no such table."""
    if b"\0" in content[:LINE]:
        raise SpecError(f"{name}: not a CSV table (binary); {TABLES}")
    if max(map(len, content.splitlines()), default=0) > LINE:
        raise SpecError(f"{name}: not a CSV table (a line of more than {LINE:,} bytes); {TABLES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # of a line with more fields than names the rest is left out
            frame = pd.read_csv(io.BytesIO(content), nrows=ROWS, index_col=False)
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise SpecError(f"{name}: not a CSV table ({str(error).splitlines()[0][:80]}); {TABLES}") from None
    wanted = {"op", "format", "seconds", "status", "case"}
    if not wanted <= set(frame.columns):
        missing = ", ".join(sorted(wanted - set(frame.columns)))
        raise SpecError(f"{name}: no column {missing}; {TABLES} of a run of measure")
    frame = frame.drop_duplicates("case", keep="last")
    every = len(frame)
    frame = frame[(frame["status"] == "ok") & pd.to_numeric(frame["seconds"], errors="coerce").between(0.0, LARGEST, inclusive="neither")]
    if frame.empty:
        raise SpecError(f"{name}: no row with status ok; let the run finish")
    frame = frame.astype({"seconds": float})
    frame.attrs = {"cases": every}
    return frame


def predicted(run: pd.DataFrame, device: Device | str, engine: str = "vllm") -> pd.DataFrame:
    """measured, predicted, lower, upper [s], error [fraction, signed log], op, format, shape, source; cases it cannot predict are left out."""
    parts: list[pd.DataFrame] = []
    for (op, format), rows in run.groupby(["op", "format"], sort=True):
        name = _FORMATS.get(str(format), str(format))
        shape = _shape(str(op), rows)
        if not name or not shape:
            continue
        figures = {key: pd.to_numeric(rows[column], errors="coerce").to_numpy(dtype=float) for key, column in shape.items()}
        sound = np.logical_and.reduce([(values > 0) & (values <= LARGEST) for values in figures.values()])
        if not sound.any():
            continue
        rows, figures = rows[sound], {key: values[sound] for key, values in figures.items()}
        cold = pd.to_numeric(rows["footprint_bytes"], errors="coerce").fillna(np.inf).to_numpy(dtype=float) if "footprint_bytes" in rows else np.full(len(rows), np.inf)
        extra = {"kind": str(op)} if "bytes" in shape else {}
        core = "elementwise" if extra else str(op)
        try:
            made = kernel_seconds(core, device, engine, name, footprint=np.maximum(cold, 1.0), **figures, **extra)  # type: ignore[arg-type]
        except ValueError:
            continue
        labels = [f"{op} {name} " + " ".join(f"{key} {value:g}" for key, value in zip(shape, row, strict=True)) for row in zip(*figures.values(), strict=True)]
        parts.append(pd.DataFrame({"op": op, "format": name, "measured": rows["seconds"].to_numpy(), "predicted": np.asarray(made.expected),
                                   "lower": np.asarray(made.lower), "upper": np.asarray(made.upper), "shape": labels, "source": str(made.source)}))  # fmt: skip
    if not parts:
        raise SpecError("no case of this table can be predicted for this device; choose the device it was measured on, or another table")
    frame = pd.concat(parts, ignore_index=True)
    frame["error"] = frame["predicted"] / frame["measured"] - 1.0
    return frame


def _shape(op: str, rows: pd.DataFrame) -> dict[str, str]:
    """kernel_seconds' figure -> column, or nothing where the op is not one it times."""
    columns = set(rows.columns)
    if op == "gemm" and {"m", "n", "k"} <= columns:
        return {"m": "m", "n": "n", "k": "k"}
    names = ("batch", "heads", "kv_heads", "head_dim", "query", "context")
    if op in _ATTENTION and set(names) <= columns:
        return {name: name for name in names}
    return {"bytes": "bytes"} if {"bytes", "width", "elements"} <= columns else {}


def run_errors(frame: pd.DataFrame) -> pd.DataFrame:
    """Per op and format: cases, mean and median absolute error, bias, and the share inside the 80 % band [fraction]."""
    frame = frame.assign(inside=(frame["measured"] >= frame["lower"]) & (frame["measured"] <= frame["upper"]), size=frame["error"].abs())
    grouped = frame.groupby(["op", "format"], sort=True)
    return grouped.agg(
        cases=("size", "size"), mean_error=("size", "mean"), median_error=("size", "median"), bias=("error", "median"), in_band=("inside", "mean")
    ).reset_index()  # fmt: skip


def shipped_runs(folder: Path) -> dict[str, Path]:
    """Tables of runs that lie in a folder of measured devices: `device/table` -> file."""
    tables = ("gemm.csv", "attention.csv", "elementwise.csv")
    return {f"{path.parent.name}/{path.stem}": path for path in sorted(folder.glob("*/*.csv")) if path.name in tables}
