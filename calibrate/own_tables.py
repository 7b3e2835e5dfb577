"""Reader of the tables that `python -m calibrate measure` writes (columns: `calibrate/measure/SCHEMA.md`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

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


def read_run(folder: Path, hardware: str) -> list[Samples]:
    """Kernel families of one run, for the hardware profile they are to be fitted for (a name or a path)."""
    if not hardware:
        raise ValueError("hardware: is missing; name the profile this run was measured on, e.g. --hardware h100-sxm")
    load_hardware(hardware)
    try:
        meta = json.loads((folder / "meta.yaml").read_text(encoding="utf-8"))
        version = str(meta["identity"]["torch"]).split("+")[0]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / 'meta.yaml'}: not a run's meta file ({error}); truncated?") from None
    if meta.get("inconclusive"):
        raise ValueError(f"{folder}: the run calls itself inconclusive (too noisy); measure again")
    found = [
        *_gemm(folder, hardware, version),
        *_attention(folder, hardware, version),
        *_elementwise(folder, hardware, version),
    ]
    if not found:
        raise ValueError(f"{folder}: no family has {FEWEST} good rows; run `python -m calibrate measure` for longer")
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


def _gemm(folder: Path, hardware: str, version: str) -> Iterator[Samples]:
    frame, others = good_rows(folder / "gemm.csv")
    for format, (name, bits) in FORMATS.items():
        rows = frame[frame["format"] == format] if len(frame) else frame
        if len(rows) < FEWEST or (format == "fp16" and (frame["format"] == "bf16").sum() >= FEWEST):
            continue
        group = rows["n"].astype(str) + "x" + rows["k"].astype(str)
        rows = rows.assign(bits=bits, footprint=rows["footprint_bytes"].clip(lower=1.0), group=group)
        clean = checked(rows, "gemm", "s", f"gemm.csv ({format})")
        origin = f"calibrate measure, {folder.name}/gemm.csv"
        yield Samples(hardware, "gemm", "gemm", name, "torch", version, "", clean, origin, "measured", others)


def _attention(folder: Path, hardware: str, version: str) -> Iterator[Samples]:
    frame, others = good_rows(folder / "attention.csv")
    if not len(frame):
        return
    frame = frame[(frame["window"] == 0) & (frame["mode"] == "cold")]
    keys = ["op", "backend", "format", "head_dim"]
    for (op, backend, format, size), rows in frame.groupby(keys):
        name, bits = FORMATS.get(str(format), ("", 0))
        framework = FRAMEWORKS.get(str(backend), "")
        if not name or not framework or len(rows) < FEWEST:
            continue
        group = rows["heads"].astype(str) + "/" + rows["kv_heads"].astype(str)
        clean = checked(rows.assign(kv_bits=bits, group=group), str(op), "s", f"attention.csv ({op}, {backend})")
        origin = f"calibrate measure, {folder.name}/attention.csv, {backend}"
        yield Samples(
            hardware, str(op), str(op), name, framework, version, f"head_dim={size}", clean, origin, "measured", others
        )


def _elementwise(folder: Path, hardware: str, version: str) -> Iterator[Samples]:
    frame, others = good_rows(folder / "elementwise.csv")
    if not len(frame):
        return
    frame = frame[frame["mode"] == "cold"]
    formats = set(frame["format"])
    wanted = "bf16" if "bf16" in formats else sorted(formats)[0]
    for (op, implementation), kind in KINDS.items():
        rows = frame[(frame["op"] == op) & (frame["implementation"] == implementation) & (frame["format"] == wanted)]
        if len(rows) < FEWEST:
            continue
        rows = rows.assign(group=rows["width"].astype(str))
        rows = rows.groupby("bytes", as_index=False).agg({"latency": "median", "group": "first"})
        clean = checked(rows, "stream", "s", f"elementwise.csv ({op})")
        origin = f"calibrate measure, {folder.name}/elementwise.csv, {op} {implementation}"
        yield Samples(hardware, kind, "stream", "bf16", "torch", version, "", clean, origin, "measured", others)
