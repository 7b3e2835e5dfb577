"""Reader of NVIDIA's ai-dynamo/aiconfigurator tables (Apache-2.0): latency in milliseconds per call, CUDA graph.

What the tables leave unsaid (copies cycled through, what a message size counts) is said here, once, next to the code that uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from calibrate.samples import Samples, checked
from simulator.quantity import EVERYTHING
from simulator.spec.hardware import Chip
from simulator.spec.load_hardware import load_hardware

AIC_DEVICES = {"h100_sxm": "h100-sxm", "a100_sxm": "a100-sxm-80gb", "l40s": "l40s", "b200_sxm": "b200-sxm"}
GEMM_FORMATS = {"bfloat16": ("bf16", 16), "fp8": ("fp8", 8), "fp8_block": ("fp8_block", 8), "nvfp4": ("fp4", 4)}
COPIES = 6.0  # weight copies a GEMM benchmark cycles through; block-scaled fp8: 1
KV_FORMATS = {"bfloat16": ("bf16", 16), "fp8": ("fp8", 8)}
MOE_FORMATS = {"bfloat16": ("bf16", 16), "fp8": ("fp8", 8), "fp8_block": ("fp8_block", 8), "nvfp4": ("fp4", 4)}
FEWEST = 30
SQUARED_RELU = frozenset({"1024/2688/512"})  # Nemotron 3 Super: two matrices for each expert; only measured where it is not seen in the times
UNTUNED = frozenset({"h100-sxm"})  # FlashInfer's CUTLASS experts on Hopper start with the narrowest tile, whatever the shape
WIDEST_ROW = 16384  # elements of a row in one block of threads; hidden states are no wider


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
        clean = checked(part.assign(context=part["query"] + part["step"]), op, "ms", origin)
        kernel = generation(str(part["kernel_source"].iloc[0]), device)
        yield Samples(device, op, op, format, framework, version, f"head_dim={size}", clean, origin, kernel=kernel)


def _aic_decode(frame: pd.DataFrame, device: str, framework: str, version: str, origin: str) -> Iterator[Samples]:
    """Full attention, and windowed layers beyond their window, whose times at all contexts are one row."""
    op = "decode_attention"
    for format, size, part in _heads(frame, windowed=True):
        whole = part["query"] + part["step"]
        window = part["window_size"].where(part["window_size"] > 0, EVERYTHING) if "window_size" in part else EVERYTHING
        rows = part.assign(context=np.minimum(whole, window), query=1, window=window)
        rows, dropped = _one_kernel(rows[(rows["window"] == EVERYTHING) | (whole > rows["window"])])
        clean = checked(rows, op, "ms", origin)
        kernel = generation(str(part["kernel_source"].iloc[0]), device)
        yield Samples(device, op, op, format, framework, version, f"head_dim={size}", clean, origin, dropped=dropped, kernel=kernel)


def generation(source: str, device: str) -> str:
    """FlashAttention-2 by name, or by what `vllm_flash_attn` was on chips before Hopper."""
    return "fa2" if source.endswith("fa2") or (source == "vllm_flash_attn" and device == "a100-sxm-80gb") else ""


def _one_kernel(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Without the batches from which on another kernel runs: where twice the batch takes less than a third of the time."""
    keys = ["heads", "kv_heads", "context", "window"]
    ordered = rows.sort_values([*keys, "batch"])
    before = ordered.groupby(keys)[["batch", "latency"]].shift()
    fall = (ordered["latency"] / before["latency"])[ordered["batch"] == 2 * before["batch"]]
    typical = fall.groupby(ordered["batch"]).median()
    fallen = typical.index[typical < 1.0 / 3.0]
    kept = rows if not len(fallen) else rows[rows["batch"] < fallen.min()]
    return kept, {} if not len(fallen) else {f"another kernel, three times as fast, from batch {fallen.min():.0f} on": len(rows) - len(kept)}


def _heads(frame: pd.DataFrame, windowed: bool = False) -> Iterator[tuple[str, int, pd.DataFrame]]:
    """By stored format and head size; the fp8 cache for the two common head sizes. Full attention only, or with windows."""
    if "window_size" in frame and not windowed:
        frame = frame[frame["window_size"] == 0]
    for name, (format, bits) in KV_FORMATS.items():
        for size, part in frame[frame["kv_cache_dtype"] == name].groupby("head_dim"):
            if len(part) >= 100 and (format == "bf16" or size in (64, 128)):
                yield format, int(str(size)), _attention(part, bits)


def windowed_prefill(folder: Path) -> Iterator[tuple[str, int, int, pd.DataFrame]]:
    """Device, head size, window and rows of causal attention over the last tokens only (bf16)."""
    for short, device in AIC_DEVICES.items():
        for path in sorted((folder / "aiconfigurator" / "calib" / short).glob("context_attention__vllm_*.parquet")):
            frame = _parquet(path)
            if "window_size" not in frame:
                continue
            rows = _attention(frame[(frame["window_size"] > 0) & (frame["kv_cache_dtype"] == "bfloat16")], 16)
            rows = rows.assign(context=rows["query"] + rows["step"])
            for (size, window), part in rows.groupby(["head_dim", "window_size"]):
                clean = checked(part, "prefill_attention", "ms", f"{path.name} (window {window})")
                yield device, int(str(size)), int(str(window)), clean


def _aic_moe(frame: pd.DataFrame, device: str, framework: str, version: str, origin: str) -> Iterator[Samples]:
    """Whole routed layers; every token visits top-k of the experts, evenly (`balanced`) or as drawn by a power law."""
    chip = load_hardware(device).chip
    parts = {name: _moe_rows(frame, name, bits) for name, (_, bits) in MOE_FORMATS.items()}
    plain = SQUARED_RELU.union(*(_ungated(kept, chip) for kept, _, balanced in parts.values() if balanced))
    for name, (kept, dropped, balanced) in parts.items():
        if len(kept) < FEWEST:
            continue
        if balanced:
            kept = kept.assign(matrices=np.where(kept["group"].isin(plain), 2.0, 3.0))
        clean = checked(kept, "grouped_gemm", "ms", origin)
        kernel = "tiles" if device in UNTUNED and set(kept["kernel_source"].str.contains("flashinfer_cutlass")) == {True} else ""
        yield Samples(
            device, "grouped_gemm", "grouped_gemm", MOE_FORMATS[name][0], framework, version, "", clean, origin, dropped=dropped, kernel=kernel
        )


def _moe_rows(frame: pd.DataFrame, name: str, bits: int) -> tuple[pd.DataFrame, dict[str, int], bool]:
    """Rows of one stored format, what was left out of them, and whether tokens were spread evenly over the experts."""
    rows = frame[(frame["moe_dtype"] == name) & (frame["moe_ep_size"] == 1)]
    balanced = "balanced" in set(rows["distribution"])
    if balanced:
        rows = rows[rows["distribution"] == "balanced"]
    kept, dropped = _usual(rows)
    kept = kept.rename(columns={"num_tokens": "tokens", "hidden_size": "hidden", "num_experts": "all"})
    size = kept["hidden"].astype(str) + "/" + kept["inter_size"].astype(str) + "/" + kept["all"].astype(str)
    drawn = kept["all"] * (1.0 - (1.0 - kept["topk"] / kept["all"]) ** kept["tokens"])
    experts = np.minimum(kept["all"], kept["tokens"] * kept["topk"]) if balanced else np.maximum(drawn, kept["topk"])
    inter = kept["inter_size"] / kept["moe_tp_size"]
    return kept.assign(inter=inter, bits=bits, group=size, experts=experts, matrices=3.0), dropped, balanced


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
    yield from _collective(rows, "all_reduce", 2.0, 2.0, device, framework, version, origin, "peer")


def _aic_nccl(frame: pd.DataFrame, device: str, framework: str, version: str, origin: str) -> Iterator[Samples]:
    half = frame[frame["nccl_dtype"] == "half"]
    for op, share in (("all_reduce", 2.0), ("all_gather", 1.0), ("alltoall", 1.0)):
        rows = half[half["op_name"] == op]
        name = "all_to_all" if op == "alltoall" else op
        yield from _collective(rows, name, share, 2.0, device, "any", version, origin)


def _collective(
    rows: pd.DataFrame, op: str, share: float, element: float, device: str, framework: str, version: str, origin: str, kernel: str = ""
) -> Iterator[Samples]:
    """message_size counts elements; a ring moves share (n-1)/n of the message."""
    if len(rows) < 10:
        return
    devices = rows["num_gpus"]
    wire = share * rows["message_size"] * element * (devices - 1.0) / devices
    rows = rows.assign(wire=wire, devices=devices, group=rows["message_size"].astype(str) + "/" + devices.astype(str))
    clean = checked(rows, "collective", "ms", origin)
    yield Samples(device, op, "collective", "bf16", framework, version, "", clean, origin, kernel=kernel)


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
