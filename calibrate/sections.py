"""Sections of the validation report that look beyond one fit: sizes, ratios between chips, unseen chips, few rows."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from calibrate.estimate import columns_of, estimate, residuals
from calibrate.held_out import HeldOut
from calibrate.problems import Array, form_of, terms, work
from calibrate.readers import read_windowed
from calibrate.samples import COLUMNS, Samples
from calibrate.tables import corrected
from simulator.efficiency.catalogue import choices
from simulator.efficiency.default import FORMS
from simulator.efficiency.fits import Fit
from simulator.efficiency.kernels import kernels_for
from simulator.ops import clipped_sum
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


def windows(measured: Path, fitted: Path) -> list[str]:
    """Layers that see the last tokens only, timed as the simulator does: full attention of the pairs and bytes that are left."""
    lines = ["## Windowed attention", "", "No fit of its own: pairs and bytes within the window, by the fits of full attention.", ""]
    lines += ["| device | op | head size | window | rows past the window | MAPE | bias | rows within | MAPE |", "|---|---|---|---|---|---|---|---|---|"]
    for device, op, size, window, rows in read_windowed(measured):
        chip = load_hardware(device).chip
        batch, heads, kv, query, context = (rows[key].to_numpy(np.float64) for key in ("batch", "heads", "kv_heads", "query", "context"))
        seen = np.minimum(context, window) if op == "decode_attention" else context
        pairs = seen if op == "decode_attention" else clipped_sum(0.0 * query, query, window)
        moved = batch * size * (4.0 * heads * query + 4.0 * kv * seen)
        shape = (batch, heads, kv, float(size), query, seen, 4.0 * batch * heads * size * pairs, moved)
        kernels = kernels_for(chip, "vllm", folder=fitted)
        if op == "decode_attention":
            time = kernels.decode_attention(chip, "bf16", *shape, footprint=moved)
        else:
            time = kernels.prefill_attention(chip, "bf16", *shape)
        error = np.asarray(time.expected) / rows["seconds"].to_numpy(np.float64) - 1.0
        past = context > window
        past_error = f"{past.sum()} | {_share(np.abs(error[past]))} | {np.median(error[past]):+.1%}"
        lines.append(f"| {device} | {op} | {size} | {window} | {past_error} | {(~past).sum()} | {_share(np.abs(error[~past]))} |")
    return lines


def transfers(chosen: Chosen, fitted: Path) -> list[str]:
    """Each device as if nobody had measured it: efficiencies from the others."""
    lines = ["## A device nobody measured", "", "Each device timed with the efficiencies of the others only (no row of its own).", ""]
    lines += ["| fit | rows | MAPE | median | LVLM sizes | inside the band |", "|---|---|---|---|---|---|"]
    for name, (_, samples) in sorted(chosen.items()):
        if samples.framework not in ("vllm", "sglang") or samples.device == "mi210":
            continue
        device = load_hardware(samples.device)
        key = (samples.op, samples.format)
        found = choices(device.chip, "vllm", None, fitted, alone=True)[key] if samples.op in FORMS else ()  # settled when asked for
        fits = [fit for fit in found if fit.variant == samples.variant and fit.source == "transferred"]
        if not fits:
            continue
        e, low, high = _transferred(samples, fits[0])
        error = np.abs(np.exp(-e) - 1.0)
        sizes = _share(error[lvlm(samples.rows)]) if samples.family == "gemm" else ""
        inside = float(np.mean((e >= -low) & (e <= high)))
        lines.append(f"| {name} | {len(e)} | {error.mean():.1%} | {np.median(error):.1%} | {sizes} | {inside:.0%} |")
    return lines


def _transferred(samples: Samples, fit: Fit) -> tuple[Array, Array, Array]:
    chip = load_hardware(samples.device).chip
    c, seconds = columns_of(samples)
    found, floor = terms(samples.family, fit.form, fit.values, c, chip, samples.format)
    factor = np.exp(corrected(samples, fit.table, c))
    low, high = fit.bands.at(found)
    return np.log(seconds / np.maximum(found.total * factor, floor)), np.asarray(low), np.asarray(high)


def learning_curve(chosen: Chosen) -> list[str]:
    """How many measured matrix products a new device needs."""
    lines = ["## How many rows are enough", "", "bf16 matrix products of LVLM sizes, rows drawn at random, MAPE on all others (median of 5 draws).", ""]
    lines += ["| fit | " + " | ".join(f"{n} rows" for n in CURVE) + " |", "|---|" + "---|" * len(CURVE)]
    for name, (_, samples) in sorted(chosen.items()):
        if samples.op != "gemm" or samples.format != "bf16" or len(samples.rows) < 2000:
            continue
        chip = load_hardware(samples.device).chip
        form = form_of(samples.family, samples.op, samples.format)
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
