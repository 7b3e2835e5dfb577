"""Sections of the validation report that look beyond one fit: sizes, ratios between chips, unseen chips, few rows."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from calibrate.aiconfigurator import windowed_prefill
from calibrate.estimate import columns_of, estimate, residuals
from calibrate.held_out import HeldOut
from calibrate.problems import Array, form_of, work
from calibrate.samples import COLUMNS, Samples
from simulator.efficiency.kernels import kernels_for
from simulator.ops import clipped_sum
from simulator.quantity import EVERYTHING
from simulator.spec.load_hardware import load_hardware

Chosen = dict[str, tuple[HeldOut, Samples]]
CURVE = (5, 10, 20, 50, 100, 400)


def lvlm(rows: pd.DataFrame) -> Array:
    """Rows of the sizes of vision-language models: 512 <= n, k <= 32768 and m <= 16384."""
    return (rows["n"].between(512, 32768) & rows["k"].between(512, 32768) & (rows["m"] <= 16384)).to_numpy()


def by_size(chosen: Chosen) -> list[str]:
    """Matrix products by rows, inside and outside the sizes of vision-language models."""
    edges = (1, 17, 257, 2049, 1 << 20)
    heads = ["LVLM parametric", "LVLM shipped", *(f"m {a}-{b - 1}" if b < 1 << 20 else f"m {a}+" for a, b in pairwise(edges))]
    lines = ["## Matrix products by size", "", "LVLM: 512 <= n, k <= 32768, m <= 16384; columns by m over these; last: n or k below 512.", ""]
    lines += ["| fit | " + " | ".join([*heads, "small n or k"]) + " |", "|---|" + "---|" * (len(heads) + 1)]
    for name, (held, samples) in sorted(chosen.items()):
        if samples.family != "gemm":
            continue
        error, plain, inside = held.error(), held.error("parametric"), lvlm(held.rows)
        m = held.rows["m"].to_numpy()
        cells = [_share(plain[inside]), _share(error[inside])]
        cells += [_share(error[inside & (m >= a) & (m < b)]) for a, b in pairwise(edges)]
        small = (np.minimum(held.rows["n"], held.rows["k"]) < 512).to_numpy()
        lines.append(f"| {name} | {' | '.join([*cells, _share(error[small])])} |")
    return lines


def ratios(chosen: Chosen) -> list[str]:
    """The ratio of one held-out shape between two chips, the same framework or its nearest."""
    lines = ["## The same shape on two chips", "", "Held-out shapes measured on both: error of the predicted ratio.", ""]
    lines += ["| op | from | to | shapes | median error | MAPE |", "|---|---|---|---|---|---|"]
    entries = sorted(chosen.items())
    for (first, (a, sa)), (second, (b, sb)) in combinations(entries, 2):
        same = (sa.op, sa.format, sa.variant) == (sb.op, sb.format, sb.variant) and sa.device != sb.device
        if not same or sa.format != "bf16" or "whole" in sa.op:
            continue
        shape = [item for item in COLUMNS[sa.family] if item != "footprint"]
        left, right = (held.rows[["seed", *shape]].assign(e=held.rows[held.best]) for held in (a, b))
        both = left.merge(right, on=["seed", *shape], suffixes=("_a", "_b"))
        if len(both) < 30:
            continue
        error = np.abs(np.exp(both["e_a"] - both["e_b"]) - 1.0)
        op = f"{sa.op} {sa.variant}".strip()
        lines.append(f"| {op} | {first.split('/')[0]} | {second.split('/')[0]} | {len(both)} | {np.median(error):.1%} | {error.mean():.1%} |")
    return lines


def beyond_cache(chosen: Chosen) -> list[str]:
    """Decode attention whose cache is larger than the last-level cache, as it is in a forward pass."""
    lines = ["## Decode attention beyond the cache", "", "Held-out rows that move more than 1.5 times the last-level cache.", ""]
    lines += ["| fit | rows | parametric MAPE | shipped MAPE | median |", "|---|---|---|---|---|"]
    for name, (held, samples) in sorted(chosen.items()):
        if samples.family != "decode_attention":
            continue
        columns = {key: held.rows[key].to_numpy(np.float64) for key in COLUMNS[samples.family]}
        large = work(samples.family, columns)[1] > 1.5 * load_hardware(samples.device).chip.l2_bytes
        if large.any():
            plain, error = held.error("parametric")[large], held.error()[large]
            lines.append(f"| {name} | {large.sum()} | {plain.mean():.1%} | {error.mean():.1%} | {np.median(error):.1%} |")
    return lines


def windows(chosen: Chosen, measured: Path, fitted: Path) -> list[str]:
    """Layers that see the last tokens only: decoding by held-out rows, prefill as full attention of the pairs that are left."""
    lines = ["## Windowed attention", "", "Decoding: held-out rows beyond the window. Prefill has no fit of its own: the pairs within the window, by the fits of full attention.", ""]
    lines += ["| device | op | head size | window | rows past the window | MAPE | bias |", "|---|---|---|---|---|---|---|"]
    for _, (held, samples) in sorted(chosen.items()):
        if samples.family != "decode_attention" or samples.format != "bf16":
            continue
        for window, rows in held.rows[held.rows["window"] < EVERYTHING].groupby("window"):
            error = np.exp(-rows[held.best].to_numpy(np.float64)) - 1.0
            size = samples.variant.removeprefix("head_dim=")
            lines.append(_windowed(samples.device, samples.op, size, float(str(window)), error))
    for device, size, window, rows in windowed_prefill(measured):
        chip = load_hardware(device).chip
        rows = rows[rows["context"] > window]
        batch, heads, kv, query, context = (rows[key].to_numpy(np.float64) for key in ("batch", "heads", "kv_heads", "query", "context"))
        flops = 4.0 * batch * heads * size * clipped_sum(0.0 * query, query, window)
        moved = batch * size * (4.0 * heads * query + 4.0 * kv * context)
        time = kernels_for(chip, "vllm", folder=fitted).prefill_attention(chip, "bf16", batch, heads, kv, float(size), query, context, flops, moved)
        error = np.asarray(time.expected) / rows["seconds"].to_numpy(np.float64) - 1.0
        lines.append(_windowed(device, "prefill_attention", str(size), window, error))
    return lines


def _windowed(device: str, op: str, size: str, window: float, error: Array) -> str:
    return f"| {device} | {op} | {size} | {window:.0f} | {len(error)} | {_share(np.abs(error))} | {np.median(error):+.1%} |"


def learning_curve(chosen: Chosen) -> list[str]:
    """How many measured matrix products a new device needs."""
    lines = ["## How many rows are enough", "", "bf16 matrix products of LVLM sizes, rows drawn at random, MAPE on all others (median of 5 draws).", ""]
    lines += ["| fit | " + " | ".join(f"{n} rows" for n in CURVE) + " |", "|---|" + "---|" * len(CURVE)]
    for name, (_, samples) in sorted(chosen.items()):
        if samples.op != "gemm" or samples.format != "bf16" or len(samples.rows) < 2000:
            continue
        chip = load_hardware(samples.device).chip
        form = form_of(samples.family, samples.format, samples.kernel)
        inside = np.flatnonzero(lvlm(samples.rows))
        cells: list[str] = []
        for count in CURVE:
            errors: list[float] = []
            for seed in range(5):
                pick = np.random.default_rng(seed).choice(inside, count, replace=False)
                mask = np.zeros(len(samples.rows), dtype=bool)
                mask[pick] = True
                found = estimate(samples, form, chip, mask, fewest=5)
                rest = np.zeros(len(samples.rows), dtype=bool)
                rest[inside] = True
                c, seconds = columns_of(samples, rest & ~mask)
                e = residuals(samples, form, found.values, chip, c, seconds)
                errors.append(float(np.abs(np.exp(-e) - 1.0).mean()))
            cells.append(f"{np.median(errors):.1%}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def parity(chosen: Chosen, path: Path) -> None:
    """Predicted against measured of held-out rows, and the error by size, as one HTML page."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, subplot_titles=("predicted against measured", "error by measured time"))
    for name, (held, _) in sorted(chosen.items()):
        rows = held.rows.sample(min(len(held.rows), 300), random_state=0)
        predicted = rows["seconds"] * np.exp(-rows[held.best])
        common = {"mode": "markers", "name": name, "legendgroup": name, "marker": {"size": 3}}
        figure.add_trace(go.Scattergl(x=rows["seconds"], y=predicted, **common), row=1, col=1)
        error = predicted / rows["seconds"] - 1.0
        figure.add_trace(go.Scattergl(x=rows["seconds"], y=error, showlegend=False, **common), row=1, col=2)
    figure.update_xaxes(type="log", title="measured [s]")
    figure.update_yaxes(type="log", title="predicted [s]", row=1, col=1)
    figure.update_yaxes(title="relative error", row=1, col=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(path, include_plotlyjs="cdn")


def _share(values: Array) -> str:
    return f"{values.mean():.1%}" if len(values) else ""
