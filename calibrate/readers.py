"""Readers of public measurements. Each turns a folder of tables into `Samples`; the tables themselves are never shipped.

A folder holds any of `aiconfigurator/ vidur/ infersim/ llmcompass/` as their projects publish them. What a table leaves
unsaid (units, copies cycled through, what a message size counts) is said here, once, next to the code that uses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from calibrate.samples import Samples, checked
from simulator.spec.hardware import Chip
from simulator.spec.load_hardware import load_hardware

AIC_DEVICES = {"h100_sxm": "h100-sxm", "a100_sxm": "a100-sxm-80gb", "l40s": "l40s", "b200_sxm": "b200-sxm"}
GEMM_FORMATS = {"bfloat16": ("bf16", 16), "fp8": ("fp8", 8), "fp8_block": ("fp8_block", 8), "nvfp4": ("fp4", 4)}
COPIES = 6.0  # weight copies a GEMM benchmark cycles through; block-scaled fp8: 1
KV_FORMATS = {"bfloat16": ("bf16", 16), "fp8": ("fp8", 8)}
MOE_FORMATS = {"bfloat16": ("bf16", 16), "fp8": ("fp8", 8), "fp8_block": ("fp8_block", 8), "nvfp4": ("fp4", 4)}
FEWEST = 30
WIDEST_ROW = 16384  # elements of a row in one block of threads; hidden states are no wider


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


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name}: cannot be read as parquet ({str(error).splitlines()[0]}); truncated?") from None


def read_aiconfigurator(folder: Path) -> Iterator[Samples]:
    """NVIDIA ai-dynamo/aiconfigurator tables (Apache-2.0): latency in milliseconds per call, CUDA graph."""
    base = folder / "aiconfigurator" / "calib"
    for short, device in AIC_DEVICES.items():
        for path in sorted((base / short).glob("*.parquet")):
            op, _, rest = path.stem.partition("__")
            framework, _, version = rest.partition("_")
            frame = _parquet(path)
            origin = f"ai-dynamo/aiconfigurator 095f58a5, {short}/{path.name}"
            reader = {
                "gemm": _aic_gemm,
                "encoder_attention": _aic_encoder,
                "context_attention": _aic_prefill,
                "generation_attention": _aic_decode,
                "moe": _aic_moe,
                "custom_allreduce": _aic_custom,
                "nccl": _aic_nccl,
                "scale_matrix": _aic_quantise,
                "computescale": partial(_aic_quantise_row, base / short / f"scale_matrix__{rest}.parquet"),
            }.get(op)
            if reader is not None:
                yield from reader(frame, device, framework, version, origin)


def _aic_gemm(frame: pd.DataFrame, device: str, framework: str, version: str, origin: str) -> Iterator[Samples]:
    for name, (format, bits) in GEMM_FORMATS.items():
        rows = frame[(frame["gemm_dtype"] == name) & (frame["m"] > 0)]
        if len(rows) < FEWEST:
            continue
        rows = rows.assign(bits=bits)
        element = bits / 8.0
        copies = 1.0 if format == "fp8_block" else COPIES
        moved = rows["n"] * rows["k"] * element * copies + rows["m"] * rows["k"] * element + rows["m"] * rows["n"] * 2.0
        rows = rows.assign(footprint=moved, group=rows["n"].astype(str) + "x" + rows["k"].astype(str))
        dropped = {"m = 0": int(((frame["gemm_dtype"] == name) & (frame["m"] == 0)).sum())}
        yield Samples(device, "gemm", "gemm", format, framework, version, "", checked(rows, "gemm", "ms", origin), origin, dropped=dropped)


def _attention(frame: pd.DataFrame, kv_bits: int) -> pd.DataFrame:
    rows = frame.rename(columns={"batch_size": "batch", "num_heads": "heads", "isl": "query"})
    kv = rows["num_key_value_heads"] if "num_key_value_heads" in rows else rows["heads"]
    rows = rows.assign(kv_heads=kv, kv_bits=kv_bits)
    return rows.assign(group=rows["heads"].astype(str) + "/" + rows["kv_heads"].astype(str))


def _aic_encoder(frame: pd.DataFrame, device: str, framework: str, version: str, origin: str) -> Iterator[Samples]:
    for size, part in frame.groupby("head_dim"):
        rows = _attention(part, 16)
        rows = checked(rows.assign(context=rows["query"]), "encoder_attention", "ms", origin)
        op = "encoder_attention"
        yield Samples(device, op, op, "bf16", framework, version, f"head_dim={size}", rows, origin)


def _aic_prefill(frame: pd.DataFrame, device: str, framework: str, version: str, origin: str) -> Iterator[Samples]:
    op = "prefill_attention"
    for format, size, part in _heads(frame):
        rows = part.assign(context=part["query"] + part["step"])
        yield Samples(device, op, op, format, framework, version, f"head_dim={size}", checked(rows, op, "ms", origin), origin)


def _aic_decode(frame: pd.DataFrame, device: str, framework: str, version: str, origin: str) -> Iterator[Samples]:
    op = "decode_attention"
    for format, size, part in _heads(frame):
        rows = part.assign(context=part["query"] + part["step"], query=1)
        yield Samples(device, op, op, format, framework, version, f"head_dim={size}", checked(rows, op, "ms", origin), origin)


def _heads(frame: pd.DataFrame) -> Iterator[tuple[str, int, pd.DataFrame]]:
    """Full attention only, by stored format and head size; the fp8 cache for the two common head sizes."""
    if "window_size" in frame:
        frame = frame[frame["window_size"] == 0]
    for name, (format, bits) in KV_FORMATS.items():
        for size, part in frame[frame["kv_cache_dtype"] == name].groupby("head_dim"):
            if len(part) >= 100 and (format == "bf16" or size in (64, 128)):
                yield format, int(str(size)), _attention(part, bits)


def read_windowed(folder: Path) -> Iterator[tuple[str, str, int, int, pd.DataFrame]]:
    """Device, op, head size, window and rows of attention over the last tokens only (bf16)."""
    for short, device in AIC_DEVICES.items():
        for file, op in (("context_attention", "prefill_attention"), ("generation_attention", "decode_attention")):
            for path in sorted((folder / "aiconfigurator" / "calib" / short).glob(f"{file}__vllm_*.parquet")):
                frame = _parquet(path)
                if "window_size" not in frame:
                    continue
                frame = frame[(frame["window_size"] > 0) & (frame["kv_cache_dtype"] == "bfloat16")]
                rows = _attention(frame.assign(context=frame["isl"] + frame["step"]), 16)
                rows = rows.assign(query=1) if op == "decode_attention" else rows
                for (size, window), part in rows.groupby(["head_dim", "window_size"]):
                    clean = checked(part, op, "ms", f"{path.name} (window {window})")
                    yield device, op, int(str(size)), int(str(window)), clean


def _aic_moe(frame: pd.DataFrame, device: str, framework: str, version: str, origin: str) -> Iterator[Samples]:
    """Whole routed layers; every token visits top-k of the experts, evenly (`balanced`) or as drawn by a power law."""
    chip = load_hardware(device).chip
    for name, (format, bits) in MOE_FORMATS.items():
        rows = frame[(frame["moe_dtype"] == name) & (frame["moe_ep_size"] == 1)]
        balanced = "balanced" in set(rows["distribution"])
        if balanced:
            rows = rows[rows["distribution"] == "balanced"]
        kept, dropped = _usual(rows)
        if len(kept) < FEWEST:
            continue
        kept = kept.rename(columns={"num_tokens": "tokens", "hidden_size": "hidden", "num_experts": "all"})
        size = kept["hidden"].astype(str) + "/" + kept["inter_size"].astype(str) + "/" + kept["all"].astype(str)
        drawn = kept["all"] * (1.0 - (1.0 - kept["topk"] / kept["all"]) ** kept["tokens"])
        experts = np.minimum(kept["all"], kept["tokens"] * kept["topk"]) if balanced else np.maximum(drawn, kept["topk"])
        kept = kept.assign(inter=kept["inter_size"] / kept["moe_tp_size"], bits=bits, group=size, experts=experts, matrices=3.0)
        if balanced:
            kept = kept.assign(matrices=np.where(kept["group"].isin(_ungated(kept, chip)), 2.0, 3.0))
        clean = checked(kept, "grouped_gemm", "ms", origin)
        yield Samples(device, "grouped_gemm", "grouped_gemm", format, framework, version, "", clean, origin, dropped=dropped)


def _usual(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows of the kernels that time most of the shapes, of widths that a kernel can load in whole vectors."""
    share = rows.groupby("kernel_source")["latency"].transform("size") / max(len(rows), 1)
    odd = rows["inter_size"] / rows["moe_tp_size"] % 16 != 0
    rare = share < 0.25
    return rows[~odd & ~rare], {"expert width no multiple of 16": int(odd.sum()), "a kernel of few shapes": int((rare & ~odd).sum())}


def _ungated(rows: pd.DataFrame, chip: Chip) -> set[str]:
    """Models whose experts have two matrices (squared ReLU): reading three would have taken longer than was measured."""
    three = 3.0 * rows["experts"] * rows["hidden"] * rows["inter"] * rows["bits"] / 8.0
    large = rows[three > 8.0 * chip.l2_bytes]
    faster = large["latency"] * 1e-3 < three[large.index] / chip.bandwidth
    share = faster.groupby(large["group"]).mean()
    return set(share.index[share > 0.5])


def _aic_custom(frame: pd.DataFrame, device: str, framework: str, version: str, origin: str) -> Iterator[Samples]:
    rows = frame[frame["backend"] == f"{framework}_graph"]
    yield from _collective(rows, "all_reduce", 2.0, 2.0, device, framework, version, origin)


def _aic_nccl(frame: pd.DataFrame, device: str, framework: str, version: str, origin: str) -> Iterator[Samples]:
    half = frame[frame["nccl_dtype"] == "half"]
    for op, share in (("all_reduce", 2.0), ("all_gather", 1.0), ("alltoall", 1.0)):
        rows = half[half["op_name"] == op]
        name = "all_to_all" if op == "alltoall" else op
        yield from _collective(rows, name, share, 2.0, device, "any", version, origin)


def _collective(
    rows: pd.DataFrame, op: str, share: float, element: float, device: str, framework: str, version: str, origin: str
) -> Iterator[Samples]:
    """message_size counts elements; a ring moves share (n-1)/n of the message."""
    if len(rows) < 10:
        return
    devices = rows["num_gpus"]
    wire = share * rows["message_size"] * element * (devices - 1.0) / devices
    rows = rows.assign(wire=wire, devices=devices, group=rows["message_size"].astype(str) + "/" + devices.astype(str))
    yield Samples(device, op, "collective", "bf16", framework, version, "", checked(rows, "collective", "ms", origin), origin)


def _aic_quantise(frame: pd.DataFrame, device: str, framework: str, version: str, origin: str) -> Iterator[Samples]:
    rows = frame[frame["m"] > 0]
    rows = rows.assign(bytes=3.0 * rows["m"] * rows["k"], group=rows["k"].astype(str))
    rows = rows.groupby("bytes", as_index=False).agg({"latency": "median", "group": "first"})
    yield Samples(device, "quantise", "stream", "bf16", framework, version, "", checked(rows, "stream", "ms", origin), origin)


def _aic_quantise_row(
    plain: Path, frame: pd.DataFrame, device: str, framework: str, version: str, origin: str
) -> Iterator[Samples]:
    """One scale per row: the table holds what that takes beyond one scale for all, nothing where the two could not be told apart."""
    if not plain.is_file():
        return
    both = frame[frame["m"] > 0].merge(_parquet(plain), on=["m", "k"], suffixes=("", "_plain"))
    wide, equal = both["k"] > WIDEST_ROW, both["latency"] <= 0.0
    rows = both[~wide & ~equal]
    rows = rows.assign(bytes=3.0 * rows["m"] * rows["k"], group=rows["k"].astype(str), latency=rows["latency"] + rows["latency_plain"])
    rows = rows.groupby("bytes", as_index=False).agg({"latency": "median", "group": "first"})
    dropped = {"wider than a hidden state": int(wide.sum()), "no difference to one scale": int((equal & ~wide).sum())}
    yield Samples(device, "quantise_row", "stream", "bf16", framework, version, "", checked(rows, "stream", "ms", origin), origin, dropped=dropped)


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
        part = part.assign(heads=heads, kv_heads=kv, head_dim=size, query=1, kv_bits=16, group=path.stem)
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
