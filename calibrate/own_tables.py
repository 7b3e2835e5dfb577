"""Reader of the tables that `python -m calibrate measure` writes (columns: `calibrate/measure/SCHEMA.md`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from calibrate.device import meta_of
from calibrate.held_out import FEWEST_LEFT
from calibrate.samples import Samples, checked
from simulator.spec.load_hardware import load_hardware

FORMATS = {"f32": ("fp32", 32), "fp16": ("bf16", 16), "bf16": ("bf16", 16), "fp8_dynamic": ("fp8", 8), "int8_dynamic": ("int8", 8)}
FRAMEWORKS = {  # attention backend -> framework of the fit; what is not here has no engine that runs it
    "eager": "torch-eager",
    "sdpa": "torch-sdpa",
    "sdpa_flash": "torch-flash",
    "flash_attn2": "torch-flash",
    "flash_attn3": "torch-flash",
}
KINDS = {  # (op, implementation) -> the simulator's kind
    ("rms_norm", "plain"): "norm",
    ("silu_gate", "plain"): "activation",
    ("rope", "plain"): "rope",
    ("add", "fused"): "add",
    ("softmax", "fused"): "softmax",
    ("gather", "fused"): "gather",
    ("top_k", "fused"): "topk",
    ("argmax", "fused"): "sample",
    ("concatenate", "fused"): "copy",
    ("quantise_fp8", "auto"): "quantise",
}
FEWEST = 12
FEWEST_CPU = 8


def read_run(folder: Path, hardware: str, noisy: bool = False) -> list[Samples]:
    """Kernel families of one run, for the hardware profile they are to be fitted for (a name or a path).

    A run that calls itself inconclusive is refused unless `noisy`. On a CPU one fit serves all head sizes, for its form
    knows them and a short run has few rows of each.
    """
    if not hardware:
        raise ValueError("hardware: is missing; name the profile this run was measured on, e.g. --hardware h100-sxm")
    load_hardware(hardware)
    meta = meta_of(folder)
    version = str(meta["identity"]["torch"]).split("+")[0]
    cpu = meta["identity"].get("kind") == "cpu"
    if meta.get("inconclusive") and not noisy:
        raise ValueError(f"{folder}: the run calls itself inconclusive (too noisy); measure again")
    found = [
        *_gemm(folder, hardware, version, cpu),
        *_attention(folder, hardware, version, cpu),
        *_elementwise(folder, hardware, version, cpu),
    ]
    if not found:
        raise ValueError(f"{folder}: no family has {FEWEST} good rows; run `python -m calibrate measure` for longer")
    if meta.get("inconclusive"):
        return [replace(item, origin=f"{item.origin} (the run called itself inconclusive)") for item in found]
    return found


def good_rows(path: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """The last row of every case, those that are `ok`; and how many of the others there are, by status."""
    if not path.is_file():
        return pd.DataFrame(), {}
    if not path.read_bytes().endswith(b"\n"):
        raise ValueError(f"{path.name}: the last line is cut short (truncated file); resume the run to repair it")
    try:
        frame = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path.name}: {str(error).splitlines()[0]}") from None
    for name in ("case", "status", "seconds", "footprint_bytes"):
        if name not in frame.columns:
            raise ValueError(f"{path.name}: column {name!r} is missing; see calibrate/measure/SCHEMA.md")
    last = frame.drop_duplicates("case", keep="last")
    others = last[last["status"] != "ok"]["status"].value_counts()
    return last[last["status"] == "ok"].rename(columns={"seconds": "latency"}), {str(k): int(v) for k, v in others.items()}


def _gemm(folder: Path, hardware: str, version: str, cpu: bool) -> Iterator[Samples]:
    frame, others = good_rows(folder / "gemm.csv")
    for format, (name, bits) in FORMATS.items():
        rows = frame[frame["format"] == format] if len(frame) else frame
        if len(rows) < FEWEST or (format == "fp16" and (frame["format"] == "bf16").sum() >= FEWEST):
            continue
        group = rows["n"].astype(str) + "x" + rows["k"].astype(str)
        rows = rows.assign(bits=bits, footprint=rows["footprint_bytes"].clip(lower=1.0), group=group)
        family = "gemm_cpu" if cpu else "gemm"
        clean = checked(rows, family, "s", f"gemm.csv ({format})")
        origin = f"calibrate measure, {folder.name}/gemm.csv"
        yield Samples(hardware, "gemm", family, name, "torch", version, "", clean, origin, "measured", others)


def _attention(folder: Path, hardware: str, version: str, cpu: bool) -> Iterator[Samples]:
    frame, others = good_rows(folder / "attention.csv")
    if not len(frame):
        return
    frame = frame[(frame["window"] == 0) & (frame["mode"] == "cold")]
    frame = frame.assign(size=0 if cpu else frame["head_dim"])
    for (op, backend, format, size), rows in frame.groupby(["op", "backend", "format", "size"]):
        name, bits = FORMATS.get(str(format), ("", 0))
        framework = FRAMEWORKS.get(str(backend), "")
        if not name or not framework or len(rows) < FEWEST:
            continue
        group = rows["heads"].astype(str) + "/" + rows["kv_heads"].astype(str)
        family = f"{op}_cpu" if cpu else str(op)
        clean = checked(rows.assign(kv_bits=bits, group=group), family, "s", f"attention.csv ({op}, {backend})")
        origin = f"calibrate measure, {folder.name}/attention.csv, {backend}"
        variant = "" if cpu else f"head_dim={size}"
        yield Samples(hardware, str(op), family, name, framework, version, variant, clean, origin, "measured", others)


def _elementwise(folder: Path, hardware: str, version: str, cpu: bool) -> Iterator[Samples]:
    frame, others = good_rows(folder / "elementwise.csv")
    if not len(frame):
        return
    frame = frame[frame["mode"] == "cold"]
    formats = set(frame["format"])
    usual = "f32" if cpu else "bf16"
    wanted = usual if usual in formats else sorted(formats)[0]
    for (op, implementation), kind in KINDS.items():
        rows = frame[(frame["op"] == op) & (frame["implementation"] == implementation) & (frame["format"] == wanted)]
        rows = rows.assign(group=rows["width"].astype(str))
        rows = rows.groupby("bytes", as_index=False).agg({"latency": "median", "group": "first"})
        kept = len(rows) - rows["group"].value_counts().max() if len(rows) else 0
        if len(rows) < (FEWEST_CPU if cpu else FEWEST) or kept < FEWEST_LEFT:
            continue
        clean = checked(rows, "stream", "s", f"elementwise.csv ({op})")
        origin = f"calibrate measure, {folder.name}/elementwise.csv, {op} {implementation}"
        yield Samples(hardware, kind, "stream", "bf16", "torch", version, "", clean, origin, "measured", others)
