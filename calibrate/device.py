"""The hardware profile of a measured device: known by its name, or made of what the run found.

`measure` writes tables and who was measured; this turns them into a profile (`profile.yaml` in the run's folder): the
best product and the best copy seen become peak and bandwidth, so no prediction is faster than anything ever was.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from simulator.spec.hardware import Device
from simulator.spec.load_hardware import load_hardware
from simulator.spec.validated import validated

# What a driver calls a device (whole words, a pattern) -> the profile that ships; the first that occurs in the name counts.
KNOWN: tuple[tuple[str, str], ...] = (
    ("h100 pcie", "h100-pcie"), ("h100 nvl", "h100-nvl"), ("h100", "h100-sxm"), ("h200 nvl", "h200-nvl"), ("h200", "h200-sxm"),
    ("gh200 (480|120)gb", "gh200"), ("h800(?! (pcie|nvl))", "h800-sxm"), ("h20(?!-)", "h20"),
    ("a100-sxm4-80gb", "a100-sxm-80gb"), ("a100-sxm4-40gb", "a100-sxm-40gb"), ("a100 80gb pcie", "a100-pcie-80gb"),
    ("a800-sxm4-80gb", "a800-sxm-80gb"), ("rtx a6000", "a6000"), ("a40", "a40"), ("a30", "a30"), ("a10", "a10"),
    ("l40s", "l40s"), ("l20", "l20"), ("nvidia l4", "l4"), ("rtx 6000 ada", "rtx-6000-ada"),
    ("v100-sxm2-32gb", "v100-sxm2-32gb"), ("tesla t4", "t4"), ("rtx 3090 ti", "rtx-3090-ti"), ("rtx 3090", "rtx-3090"),
    ("rtx 4080(?! super)", "rtx-4080"), ("rtx 4090(?! d)", "rtx-4090"), ("rtx 5090(?! d)", "rtx-5090"),
    ("rtx pro 6000(?!.* max-q)", "rtx-pro-6000"), ("gb200", "gb200"), ("gb300", "gb300"), ("b200", "b200-sxm"), ("b300", "b300-sxm"),
    ("mi250x", "mi250x"), ("mi210", "mi210"), ("mi300x", "mi300x"), ("mi325x", "mi325x"), ("mi350x", "mi350x"), ("mi355x", "mi355x"),
)  # fmt: skip
FORMATS = {"f32": "fp32", "bf16": "bf16", "fp16": "fp16", "fp8": "fp8", "int8": "int8"}
BITS = {"f32": 32, "bf16": 16, "fp16": 16}
LARGE = 0.7  # a footprint below this share of the cache is served by it
SEVERAL = 2.0  # ... and one this many times as large is not


def meta_of(run: Path) -> dict[str, Any]:
    """meta.yaml of a run; refused by name where it is not one."""
    try:
        meta = json.loads((run / "meta.yaml").read_text(encoding="utf-8"))
        str(meta["identity"]["torch"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{run / 'meta.yaml'}: not a run's meta file ({error}); truncated?") from None
    return dict(meta)


def known(meta: dict[str, Any]) -> str | None:
    """Name of the shipped profile of a measured accelerator, if there is one."""
    identity = meta["identity"]
    if identity.get("kind") != "cuda":
        return None
    called = str(identity["device"]).lower()
    if "laptop" in called:  # the name of the desktop card, on a smaller chip
        return None
    return next((profile for part, profile in KNOWN if re.search(rf"\b{part}\b", called)), None)


def name_of(meta: dict[str, Any]) -> str:
    """A profile name for a device: `amd-epyc-2-threads`."""
    identity = meta["identity"]
    slug = re.sub(r"[^a-z0-9]+", "-", str(identity["device"]).lower()).strip("-")
    return f"{slug}-{identity['threads']}-threads" if identity.get("kind") == "cpu" else slug


def hardware_of(run: Path, fits: Path) -> str:
    """The profile that a run's fits are for (a path): the one that ships for the device, or one made of the run."""
    return str(write_profile(run, fits))


def write_profile(run: Path, fits: Path | None, target: Path | None = None) -> Path:
    """`profile.yaml` beside the tables (or `target`), naming the folder of fits made of this device."""
    path = target or run / "profile.yaml"
    shipped = known(meta_of(run))
    data = profile(run) if shipped is None else load_hardware(shipped).model_dump(mode="json", exclude_none=True)
    if fits is not None:
        data["fits"] = os.path.relpath(fits.resolve(), path.parent.resolve())
    validated(Device, data, str(path))
    text = yaml.safe_dump(data, sort_keys=False, width=120, default_flow_style=None, allow_unicode=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    load_hardware(path)
    return path


def profile(run: Path) -> dict[str, Any]:
    """A profile as plain data. Measured: peak rates, bandwidths; found: cache, threads, memory; the others are assumed."""
    meta = meta_of(run)
    identity, details = meta["identity"], meta.get("details", {})
    day = str(meta.get("date", ""))[:10] or None
    cache = float(details.get("cache_bytes", 32 * 2**20))
    peaks, memory, cached = rates(run, cache)
    base = "fp32" if "fp32" in peaks else next(iter(peaks))
    threads = float(details.get("multiprocessors", identity.get("threads", 1)))
    what = f"{identity['device']}, torch {identity['torch']}, {identity['threads']} threads"
    sources = {
        "measured": {"kind": "measured", "reference": f"best of its matrix products and copies: calibrate measure on {what}", "date": day},
        "found": {"kind": "measured", "reference": f"as the system reports it: {what}", "date": day},
        "guess": {"kind": "assumed", "reference": "order of a plain server of 2020-2025; nothing that was measured", "date": day},
        "price": {"kind": "assumed", "reference": "order of the on-demand list prices of public clouds; varies by 2x between them", "date": day},
    }
    kind_cpu = identity.get("kind") == "cpu"

    def figure(value: float, source: str) -> dict[str, Any]:
        return {"value": float(f"{value:.4g}"), "source": source}

    def link(name: str, bandwidth: float, latency: float) -> dict[str, Any]:
        return {"name": name, "bandwidth": figure(bandwidth, "guess"), "latency": figure(latency, "guess")}

    def reported(name: str, otherwise: float) -> dict[str, Any]:
        value = details.get(name)
        return figure(float(value), "found") if value else figure(otherwise, "guess")

    lower = {"tf32", "bf16", "fp16", "fp8", "int8", "fp4", "int4", "fp32"} - set(peaks)
    return {
        "name": name_of(meta),
        "title": f"{identity['device']}, {identity['threads']} threads, as measured" if kind_cpu else f"{identity['device']}, as measured",
        "vendor": "generic",
        "architecture": "x86-64" if kind_cpu else re.sub(r"[^a-z0-9]+", "-", str(identity["device"]).lower()),
        "year": int((day or "2025")[:4]),
        "notes": "Peak and bandwidths are the best that this run saw, not a datasheet's: efficiencies refer to them.",
        "sources": sources,
        "peak": {name: figure(value, "measured") for name, value in peaks.items()},
        "runs_as": dict.fromkeys(sorted(lower), base),
        "vector_flops": figure(peaks[base], "measured"),
        "memory_bytes": reported("memory_bytes", 16 * 2**30),
        "memory_bandwidth": figure(memory, "measured"),
        "l2_bytes": figure(cache, "found"),
        "l2_bandwidth": figure(cached, "measured"),
        "sms": figure(threads, "found"),
        "clock_hz": figure(2.5e9 if kind_cpu else 1.5e9, "guess"),
        "tdp_w": figure(15.0 * threads if kind_cpu else 300.0, "guess"),
        "idle_w": figure(5.0 * threads if kind_cpu else 60.0, "guess"),
        "price_per_hour": figure(0.04 * threads if kind_cpu else 1.5, "price"),
        "pcie": link("PCIe 4.0 x16", 31.5e9, 5e-6),
        "host": link("same memory" if kind_cpu else "PCIe 4.0 x16", memory if kind_cpu else 25e9, 1e-6 if kind_cpu else 1e-5),
        "max_devices": 1,
    }  # fmt: skip


def rates(run: Path, cache: float) -> tuple[dict[str, float], float, float]:
    """(peak FLOP/s by format, byte/s of the memory, byte/s of the last-level cache): the best readings of a run."""
    gemm = _good(run / "gemm.csv")
    if not len(gemm):
        raise ValueError(f"{run}: gemm.csv has no good row; run `python -m calibrate measure` for longer")
    speed = 2.0 * gemm["m"] * gemm["n"] * gemm["k"] / gemm["min_s"]
    peaks = {name: float(speed[gemm["format"] == format].max()) for format, name in FORMATS.items() if (gemm["format"] == format).any()}
    moved, footprint = [], []
    plain = gemm[gemm["format"].isin(list(BITS))]
    streamed = plain["n"] * plain["k"] * plain["format"].map(BITS) / 8.0
    moved += list(streamed / plain["min_s"])
    footprint += list(plain["footprint_bytes"])
    copies = _good(run / "copy.csv")
    if len(copies):
        inside = copies[copies["op"].isin(["device_to_device", "host_to_host"])]
        moved += list(2.0 * inside["bytes"] / inside["min_s"])
        footprint += list(2.0 * inside["footprint_bytes"])
    passes = _good(run / "elementwise.csv")
    if len(passes):
        moved += list(passes["bytes"] / passes["min_s"])
        footprint += list(passes["footprint_bytes"])
    seen = pd.DataFrame({"rate": moved, "footprint": footprint})
    cold = seen[seen["footprint"] >= SEVERAL * 0.95 * cache]["rate"]
    warm = seen[seen["footprint"] <= LARGE * cache]["rate"]
    memory = float(cold.max()) if len(cold) else float(seen["rate"].max())
    return peaks, memory, max(float(warm.max()), memory) if len(warm) else 4.0 * memory


def _good(path: Path) -> pd.DataFrame:
    from calibrate.own_tables import good_rows

    frame, _ = good_rows(path)
    return frame
