"""Reader of the tables that `python -m calibrate measure` writes (columns: `calibrate/measure/SCHEMA.md`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from calibrate.device import meta_of
from calibrate.held_out import FEWEST_LEFT
from calibrate.samples import Samples, checked
from simulator.quantity import EVERYTHING
from simulator.spec.load_hardware import load_hardware

FORMATS = {"f32": ("fp32", 32), "fp16": ("bf16", 16), "bf16": ("bf16", 16), "fp8_dynamic": ("fp8", 8), "int8_dynamic": ("int8", 8)}
FRAMEWORKS = {  # attention backend -> framework of the fit, one each, for a run may hold several; what is not here has no engine that runs it
    "eager": "torch-eager",
    "sdpa": "torch-sdpa",
    "sdpa_flash": "torch-sdpa-flash",
    "flash_attn2": "torch-flash",
    "flash_attn3": "torch-flash3",
}
SINGLE = {  # (op, implementation) -> the simulator's kind; one kernel each
    ("add", "fused"): "add",
    ("layer_norm", "fused"): "layer_norm",
    ("gelu", "fused"): "gelu",
    ("softmax", "fused"): "softmax",
    ("gather", "fused"): "gather",
    ("top_k", "fused"): "topk",
    ("argmax", "fused"): "sample",
    ("concatenate", "fused"): "copy",
    ("quantise_fp8", "auto"): "quantise",
}
# As model code writes them on a CPU. On a GPU engines of transformers count the passes of such code themselves (`passes`), so that
# a fit must be of one pass; rope has no single kernel in torch.
ON_CPU = {("rms_norm", "plain"): "norm", ("silu_gate", "plain"): "activation", ("rope", "plain"): "rope"}
ON_CUDA = {("rms_norm", "fused"): "norm", ("silu_gate", "compiled"): "activation"}
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
        *_grouped(folder, hardware, version),
        *_copies(folder, hardware, version),
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
        if cpu and backend == "eager" and op != "decode_attention":
            family = f"{op}".replace("attention", "eager_cpu")
        clean = checked(rows.assign(kv_bits=bits, group=group, window=EVERYTHING), family, "s", f"attention.csv ({op}, {backend})")
        origin = f"calibrate measure, {folder.name}/attention.csv, {backend}"
        variant = "" if cpu else f"head_dim={size}"
        yield Samples(hardware, str(op), family, name, framework, version, variant, clean, origin, "measured", others)


def _elementwise(folder: Path, hardware: str, version: str, cpu: bool) -> Iterator[Samples]:
    frame, others = good_rows(folder / "elementwise.csv")
    if not len(frame):
        return
    frame = frame[frame["mode"] == "cold"]
    formats = set(frame["format"])
    copies = len(_within(folder)) >= FEWEST_CPU
    usual = "f32" if cpu else "bf16"
    wanted = usual if usual in formats else sorted(formats)[0]
    for (op, implementation), kind in (SINGLE | (ON_CPU if cpu else ON_CUDA)).items():
        if kind == "copy" and copies:
            continue
        rows = frame[(frame["op"] == op) & (frame["implementation"] == implementation) & (frame["format"] == wanted)]
        rows = rows.assign(group=rows["width"].astype(str))
        rows = rows.groupby("bytes", as_index=False).agg({"latency": "median", "group": "first"})
        kept = len(rows) - rows["group"].value_counts().max() if len(rows) else 0
        if len(rows) < (FEWEST_CPU if cpu else FEWEST) or kept < FEWEST_LEFT:
            continue
        clean = checked(rows, "stream", "s", f"elementwise.csv ({op})")
        origin = f"calibrate measure, {folder.name}/elementwise.csv, {op} {implementation}"
        yield Samples(hardware, kind, "stream", "bf16", "torch", version, "", clean, origin, "measured", others)


def _grouped(folder: Path, hardware: str, version: str) -> Iterator[Samples]:
    """Single products over the experts that an even random router touches: the grouped kernel, or a loop where it has few rows."""
    frame, others = good_rows(folder / "grouped_gemm.csv")
    for format, (name, bits) in FORMATS.items():
        for implementation in ("grouped", "loop"):
            chosen = frame[(frame["format"] == format) & (frame["implementation"] == implementation)] if len(frame) else frame
            rows = chosen[chosen["mode"] == "cold"] if len(chosen) else chosen
            if len(rows) < FEWEST or rows["n"].nunique() < 2:
                continue
            touched = rows["experts"] * (1.0 - (1.0 - rows["top_k"] / rows["experts"]) ** rows["tokens"])
            group = rows["n"].astype(str) + "x" + rows["k"].astype(str) + "/" + rows["experts"].astype(str)
            footprint = rows["footprint_bytes"].clip(lower=1.0)
            rows = rows.assign(rows=rows["tokens"] * rows["top_k"], experts=touched, bits=bits, footprint=footprint, group=group)
            clean = checked(rows, "grouped_product", "s", f"grouped_gemm.csv ({format})")
            origin = f"calibrate measure, {folder.name}/grouped_gemm.csv, {implementation}"
            yield Samples(hardware, "grouped_gemm", "grouped_product", name, "torch", version, "", clean, origin, "measured", others)
            break


def _within(folder: Path) -> pd.DataFrame:
    """Copies within the device's own memory."""
    frame, _ = good_rows(folder / "copy.csv")
    return frame[frame["op"] == "device_to_device"] if len(frame) else frame


def _copies(folder: Path, hardware: str, version: str) -> Iterator[Samples]:
    """Pinned copies from the host over its link, and copies within the device's memory (read and written)."""
    frame, others = good_rows(folder / "copy.csv")
    if not len(frame):
        return
    over = frame[(frame["op"] == "host_to_device") & (frame["memory"] == "pinned")]
    for op, family, rows, times in (("host_copy", "host_copy", over, 1.0), ("copy", "stream", _within(folder), 2.0)):
        if len(rows) < FEWEST_CPU:
            continue
        rows = rows.assign(bytes=rows["bytes"] * times, group=rows["bytes"].astype(str))
        clean = checked(rows, family, "s", f"copy.csv ({op})")
        yield Samples(hardware, op, family, "bf16", "torch", version, "", clean, f"calibrate measure, {folder.name}/copy.csv", "measured", others)


def launch_costs(folder: Path) -> dict[str, tuple[float, float]]:
    """What `count` one-element kernels cost, by how they are started (`launch`, `launch_and_wait`, `graph_replay`):
    seconds to start and seconds for each, neither below zero, by the least relative squares."""
    frame, _ = good_rows(folder / "overhead.csv")
    found: dict[str, tuple[float, float]] = {}
    for op, rows in frame.groupby("op") if len(frame) else ():
        if rows["count"].nunique() < 3:
            continue
        seconds = rows["latency"].to_numpy(np.float64)
        line = np.stack([np.ones(len(rows)), rows["count"].to_numpy(np.float64)], axis=1)
        start, each = nnls(line / seconds[:, None], np.ones(len(rows)))[0]
        found[str(op)] = (float(start), float(each))
    return found
