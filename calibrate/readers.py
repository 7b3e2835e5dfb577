"""Readers of public measurements. Each turns a folder of tables into `Samples`; the tables themselves are never shipped.

A folder holds any of `aiconfigurator/ vidur/ infersim/ llmcompass/` as their projects publish them. What a table leaves
unsaid (units, copies cycled through, what a message size counts) is said here, once, next to the code that uses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from calibrate.aiconfigurator import read_aiconfigurator
from calibrate.samples import Samples, checked
from simulator.quantity import EVERYTHING

FEWEST = 30


def read_all(folder: Path) -> list[Samples]:
    """Every family of kernels found under `folder`, in a fixed order."""
    if not folder.is_dir():
        raise FileNotFoundError(f"measured: {str(folder)!r} is no folder; give one that holds measured tables")
    found: list[Samples] = []
    for reader in (read_aiconfigurator, read_vidur, read_infersim, read_llmcompass, read_timm):
        found.extend(reader(folder))
    if not found:
        raise ValueError(f"measured: {folder} holds no table that is known (aiconfigurator, vidur, infersim, llmcompass)")
    return found


VIDUR_STREAMS = {  # kernel -> op; the embedding look-up is left out: its shards read what nobody recorded
    "input_layernorm": "norm",
    "mlp_act": "activation",
    "attn_rope": "rope",
    "add": "add",
}


def read_vidur(folder: Path) -> Iterator[Samples]:
    """microsoft/vidur profiles (MIT): milliseconds, fp16, kernels of 2024, timed one after another (eager)."""
    for short, device in (("a100", "a100-sxm-80gb"), ("a40", "a40")):
        parts = [
            pd.read_csv(path).assign(model=path.parent.name)
            for path in sorted((folder / "vidur" / "compute" / short).glob("*/*/mlp.csv.gz"))
        ]
        if not parts:
            continue
        frame = pd.concat(parts, ignore_index=True)
        frame = frame[frame["num_tokens"] > 0]
        origin = f"microsoft/vidur 7d475133, compute/{short}"
        yield from _vidur_gemm(frame, device, origin)
        yield from _vidur_streams(frame, device, origin)


def _vidur_gemm(frame: pd.DataFrame, device: str, origin: str) -> Iterator[Samples]:
    size = frame["n_embd"] / frame["n_head"]
    tp = frame["num_tensor_parallel_workers"]
    kv = np.maximum(frame["n_kv_head"] / tp, 1.0)
    inter = frame["n_expanded_embd"] / tp
    gate = np.where(frame["use_gated_mlp"], 2.0, 1.0)
    products = {
        "attn_pre_proj": ((frame["n_head"] / tp + 2.0 * kv) * size, frame["n_embd"]),
        "attn_post_proj": (frame["n_embd"], frame["n_embd"] / tp),
        "mlp_up_proj": (gate * inter, frame["n_embd"]),
        "mlp_down_proj": (frame["n_embd"], inter),
    }
    rows = pd.concat(
        [
            pd.DataFrame({"m": frame["num_tokens"], "n": n, "k": k, "latency": frame[f"time_stats.{name}.median"]})
            for name, (n, k) in products.items()
        ],
        ignore_index=True,
    )
    rows = rows[rows["latency"] > 0.0].dropna()
    rows = rows.groupby(["m", "n", "k"], as_index=False)["latency"].median()
    rows = rows.assign(bits=16, footprint=1e12, group=rows["n"].astype(str) + "x" + rows["k"].astype(str))
    clean = checked(rows, "gemm", "ms", origin)
    yield Samples(device, "gemm", "gemm", "bf16", "vidur", "2024.11", "", clean, origin)


def _vidur_streams(frame: pd.DataFrame, device: str, origin: str) -> Iterator[Samples]:
    tp = frame["num_tensor_parallel_workers"]
    size = frame["n_embd"] / frame["n_head"]
    heads = (frame["n_head"] + frame["n_kv_head"]) / tp
    gate = np.where(frame["use_gated_mlp"], 3.0, 2.0)
    moved = {
        "norm": 2.0 * frame["n_embd"],
        "activation": gate * frame["n_expanded_embd"] / tp,
        "rope": 2.0 * heads * size,
        "add": 3.0 * frame["n_embd"],
    }
    for kernel, op in VIDUR_STREAMS.items():
        rows = pd.DataFrame(
            {"bytes": frame["num_tokens"] * moved[op] * 2.0, "latency": frame[f"time_stats.{kernel}.median"], "group": frame["model"]}
        )
        rows = rows[rows["latency"] > 0.0].dropna()
        rows = rows.groupby(["bytes"], as_index=False).agg({"latency": "median", "group": "first"})
        yield Samples(device, op, "stream", "bf16", "vidur", "2024.11", "", checked(rows, "stream", "ms", origin), origin)


def read_infersim(folder: Path) -> Iterator[Samples]:
    """alibaba/InferSim bench data of H800 (Apache-2.0): microseconds; DeepGEMM fp8, FlashInfer decode, FlashMLA."""
    base = folder / "infersim"
    origin = "alibaba/InferSim f2293dab"
    path = base / "gemm" / "h800" / "data.csv"
    if path.is_file():
        rows = pd.read_csv(path).rename(columns={"latency_us": "latency"})
        rows = rows.assign(bits=8, footprint=1e12, group=rows["n"].astype(str) + "x" + rows["k"].astype(str))
        clean = checked(rows, "gemm", "us", origin)
        yield Samples("h800-sxm", "gemm", "gemm", "fp8_block", "infersim", "2026.05", "", clean, f"{origin}, gemm/h800")
    parts: list[pd.DataFrame] = []
    for path in sorted((base / "mha" / "decode" / "h800").glob("*.csv")):
        heads, kv, size = (int(item) for item in path.stem.split("-"))
        part = pd.read_csv(path).rename(columns={"latency_us": "latency", "batch_size": "batch", "kv_len": "context"})
        part = part.assign(heads=heads, kv_heads=kv, head_dim=size, query=1, kv_bits=16, window=EVERYTHING, group=path.stem)
        parts.append(part[part["kv_dtype"] == "bf16"])
    if parts:
        op = "decode_attention"
        clean = checked(pd.concat(parts, ignore_index=True), op, "us", origin)
        yield Samples("h800-sxm", op, op, "bf16", "infersim", "2026.05", "head_dim=128", clean, f"{origin}, mha/decode/h800")
    path = base / "mla" / "decode" / "h800" / "128-512-64.csv"
    if path.is_file():
        rows = pd.read_csv(path).rename(columns={"latency_us": "latency", "batch_size": "batch", "kv_len": "context"})
        rows = rows[rows["kv_dtype"] == "bf16"]
        rows = rows.assign(heads=128, group=rows["batch"].astype(str))
        clean = checked(rows, "mla_decode", "us", origin)
        yield Samples("h800-sxm", "mla_decode", "mla_decode", "bf16", "infersim", "2026.05", "", clean, f"{origin}, mla/decode/h800")


def read_llmcompass(folder: Path) -> Iterator[Samples]:
    """PrincetonUniversity/LLMCompass figure 5 (BSD-3-Clause): fp16 matrix products, milliseconds in words."""
    for short, device in (("A100", "a100-sxm-80gb"), ("MI210", "mi210")):
        path = folder / "llmcompass" / "figure5" / "ab" / "real_hardware" / f"matmul_{short}.csv"
        if not path.is_file():
            continue
        rows = pd.read_csv(path, header=None, names=["m", "n", "k", "latency", "rate"], skipinitialspace=True)
        rows["latency"] = rows["latency"].astype(str).str.replace("ms", "").astype(float)
        rows = rows.iloc[2:]  # the first calls were cold (its authors' note)
        rows = rows.assign(bits=16, footprint=1e12, group=rows["m"].astype(str))
        clean = checked(rows, "gemm", "ms", path.name)
        origin = f"PrincetonUniversity/LLMCompass 2e015fd2, {path.name}"
        yield Samples(device, "gemm", "gemm", "bf16", "llmcompass", "2025.10", "", clean, origin)


TIMM_FILE = re.compile(r"benchmark-infer-amp-(nchw|nhwc)-pt(\d)(\d+)-cu\d+-(?:rtx)?(\d+)(-dynamo)?\.csv\.gz")
VITS = re.compile(r"^(vit|deit3?|beit(v2)?|eva(02)?|aimv2|flexivit)_(?!.*(relpos|_r\d*_|_r26|_r50|_so150m2|distilled))")


def read_timm(folder: Path) -> Iterator[Samples]:
    """Whole image encoders of huggingface/pytorch-image-models (Apache-2.0): milliseconds per batch, fp16 autocast.

    FLOPs: 2 x gmacs per image. Bytes: every activation is written and read once in fp16, and the weights are read.
    """
    for path in sorted((folder / "timm").glob("*.csv.gz")):
        match = TIMM_FILE.fullmatch(path.name)
        if match is None:
            continue
        layout, major, minor, card, compiled = match.groups()
        frame = pd.read_csv(path)
        rows = frame[frame["model"].str.match(VITS) & (frame["infer_gmacs"] > 0.0) & (frame["infer_macts"] > 0.0)]
        counted = len(rows)
        if layout != "nchw" or len(rows) < FEWEST:
            continue
        rows = rows.dropna(subset=["infer_step_time", "infer_batch_size", "param_count"])
        batch = rows["infer_batch_size"]
        rows = rows.assign(
            latency=rows["infer_step_time"],
            flops=2e9 * rows["infer_gmacs"] * batch,
            bytes=4e6 * rows["infer_macts"] * batch + 2e6 * rows["param_count"],
            group=rows["model"].str.split("_").str[:2].str.join("_"),
        )
        version = f"{major}.{minor}" if major == "1" else f"{major}.{minor[:1]}.{minor[1:]}"
        clean = checked(rows, "whole_encoder", "ms", path.name)
        origin = f"huggingface/pytorch-image-models aa4b5850, {path.name}"
        mode = "mode=compiled" if compiled else "mode=eager"
        yield Samples(f"rtx-{card}", "whole_encoder", "whole_encoder", "bf16", "timm", version, mode, clean, origin, dropped={"no time": counted - len(rows)})
