"""Lines and maps over swept frames, with the boundaries between what binds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from simulator.figures.theme import BASELINE, SEQUENTIAL, Mode, cycle, figure, ink, log_axis, title, translucent
from simulator.quantity import text

STAGES = ("preprocess", "encode", "project", "prefill", "decode")
_BOUNDS = ("-", "compute", "memory", "network", "overhead", "host")


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """A metric as drawn: title with unit, factor from SI, unit for hovers, and whether the frame has its band."""

    title: str
    factor: float
    unit: str
    band: tuple[str, str] | None = None
    stages: Sequence[str] = STAGES


METRICS: dict[str, Shown] = {
    "ttft_s": Shown("time to first token [ms]", 1e3, "s", ("ttft_s_lower", "ttft_s_upper"), STAGES[:4]),
    "tpot_s": Shown("time per output token [ms]", 1e3, "s", ("tpot_s_lower", "tpot_s_upper"), STAGES[4:]),
    "latency_s": Shown("latency [s]", 1.0, "s", ("latency_s_lower", "latency_s_upper")),
    "output_tokens_per_s": Shown("output rate [tokens/s]", 1.0, "tokens/s"),
    "peak_bytes": Shown("peak memory of the fullest device [GB]", 1e-9, "B"),
    "energy_j": Shown("energy per request [J]", 1.0, "J"),
    "cost_usd": Shown("cost of 1,000 requests [$]", 1e3, "$"),
    "fidelity": Shown("accuracy retained [%]", 100.0, "", ("fidelity_low", "fidelity_high")),
    "max_batch": Shown("largest batch that fits [requests]", 1.0, ""),
}


def needed(metric: str) -> list[str]:
    """Columns a figure of this metric needs from a sweep."""
    shown = METRICS[metric]
    stages = [column for stage in shown.stages for column in (f"{stage}_s", f"{stage}_bound")]
    return [metric, *(shown.band or ()), "fits", "within_context", *stages]


def regimes(frame: pd.DataFrame, metric: str) -> pd.Series:
    """`stage: resource` of the longest stage that the metric is made of, per row; `does not fit` where it does not."""
    stages = METRICS[metric].stages
    seconds = frame[[f"{stage}_s" for stage in stages]].fillna(0.0).to_numpy()
    codes = np.column_stack([_codes(frame[f"{stage}_bound"]) for stage in stages])
    longest = seconds.argmax(axis=1)
    found = [f"{stages[at]}: {codes[row, at]}" for row, at in enumerate(longest)]
    named = pd.Series(found, index=frame.index, dtype=object)
    return named.where(frame["fits"].astype(bool), "does not fit")


def _codes(column: pd.Series) -> Any:
    if column.dtype.kind in "iuf":
        return np.array(_BOUNDS, dtype=object)[column.to_numpy().astype(int)]
    return column.astype(str).to_numpy()


def lines(frames: Mapping[str, pd.DataFrame], path: str, metric: str, log: bool = False, mode: Mode = "light", at: float | None = None) -> go.Figure:
    """One line with its band per label over one numeric axis; shaded stretches say what binds the last of them. `at`: the scenario itself."""
    shown = METRICS[metric]
    data: list[dict[str, Any]] = []
    first = int("baseline" in frames and len(frames) > 1)
    for position, (label, frame) in enumerate(frames.items()):
        colour = BASELINE if position < first else cycle(mode)[(position - first) % 8]
        x = frame[path].tolist()
        if shown.band:
            low, high = ((frame[name] * shown.factor).tolist() for name in shown.band)
            data.append({"type": "scatter", "x": x + x[::-1], "y": high + low[::-1], "fill": "toself", "mode": "lines", "line": {"width": 0},
                         "fillcolor": translucent(colour, 0.18 if len(frames) <= 2 else 0.08), "hoverinfo": "skip", "showlegend": False, "legendgroup": label})  # fmt: skip
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": x, "y": (frame[metric] * shown.factor).tolist(), "name": label, "legendgroup": label,
                "line": {"color": colour, "width": 2, "dash": "dot" if colour == BASELINE else "solid"},
                "marker": {"size": 5, "symbol": ["circle" if fits else "x" for fits in frame["fits"]]},
                "customdata": regimes(frame, metric).tolist(),
                "hovertemplate": f"{label}<br>{words(path)} = %{{x}}<br><b>%{{y:.4g}}</b> {shown.title}<br>%{{customdata}}<extra></extra>",
            }
        )  # fmt: skip
    shapes, notes = _stretches(list(frames.values())[-1], path, metric, log)
    if at is not None:
        shapes.append({"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": at, "x1": at, "line": {"color": ink(mode), "width": 1, "dash": "dash"}})
    return figure(
        data, mode, 470, shapes=shapes, annotations=notes, hovermode="closest", margin={"t": 66},
        xaxis={"title": title(words(path)), **(log_axis([float(x) for frame in frames.values() for x in frame[path]]) if log else {"type": "linear"})},
        yaxis={"title": title(shown.title), "rangemode": "tozero"}, legend={"y": 1.09},
    )  # fmt: skip


def _stretches(frame: pd.DataFrame, path: str, metric: str, log: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Background stretches over which the same thing binds, and their names."""
    ordered = frame.sort_values(path)
    named, x = regimes(ordered, metric).to_numpy(), ordered[path].to_numpy(dtype=float)
    starts = [0, *(np.flatnonzero(named[1:] != named[:-1]) + 1)]
    if len(starts) > 8:
        return [], []
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    middle = (lambda a, b: float(np.sqrt(a * b))) if log else (lambda a, b: float(a + b) / 2)
    for order, (start, stop) in enumerate(zip(starts, [*starts[1:], len(x)], strict=True)):
        left = x[0] if start == 0 else middle(x[start - 1], x[start])
        right = x[-1] if stop == len(x) else middle(x[stop - 1], x[stop])
        if order % 2:
            shapes.append({"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "x0": left, "x1": right, "layer": "below", "line": {"width": 0},
                           "fillcolor": "rgba(128,128,128,0.10)"})  # fmt: skip
        centre = middle(left, right) if right > left else left
        notes.append({"x": np.log10(centre) if log else centre, "y": 1.0, "yref": "paper", "yanchor": "bottom", "text": str(named[start]).replace(": ", "<br>by "),
                      "showarrow": False, "font": {"size": 10}})  # fmt: skip
    return shapes, notes


def heat(frame: pd.DataFrame, across: str, up: str, metric: str, logs: tuple[bool, bool] = (False, False), mode: Mode = "light") -> go.Figure:
    """A map over two axes; white lines part the regions where another stage or resource binds, and crosses mark what does not fit."""
    shown = METRICS[metric]
    table = frame.pivot_table(index=up, columns=across, values=metric, aggfunc="first", sort=True, observed=True, dropna=False)
    named = frame.assign(regime=regimes(frame, metric)).pivot_table(index=up, columns=across, values="regime", aggfunc="first", sort=True, observed=True)
    kinds = sorted({str(item) for item in named.to_numpy().ravel()})
    x, y = [_cell(item) for item in table.columns], [_cell(item) for item in table.index]
    z = table.to_numpy(dtype=float) * shown.factor
    positive = z[np.isfinite(z) & (z > 0)]
    wide = positive.size > 0 and positive.size == np.isfinite(z).sum() and positive.max() > 20 * positive.min()
    scale = log_axis([float(positive.min()), float(positive.max())]) if wide else {}
    bar = {"tickvals": np.log10(scale["tickvals"]), "ticktext": scale["ticktext"]} if wide else {}
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap", "x": x, "y": y, "z": np.log10(z) if wide else z, "colorscale": SEQUENTIAL,
            "colorbar": {"title": {"text": shown.title, "side": "right"}, "thickness": 14, **bar},
            "customdata": np.dstack([named.to_numpy(dtype=object), z.astype(object)]),
            "hovertemplate": f"{words(across)} = %{{x}}<br>{words(up)} = %{{y}}<br><b>%{{customdata[1]:.4g}}</b> {shown.title}<br>%{{customdata[0]}}<extra></extra>",
        }
    ]  # fmt: skip
    numeric = all(isinstance(item, float) for item in (*x, *y))
    notes: list[dict[str, Any]] = []
    if numeric and len(x) > 1 and len(y) > 1:
        for kind in kinds if len(kinds) > 1 else []:
            inside = (named.to_numpy() == kind).astype(float)
            data.append({"type": "contour", "x": x, "y": y, "z": inside, "showscale": False, "showlegend": False, "hoverinfo": "skip", "autocontour": False,
                         "contours": {"start": 0.5, "end": 0.5, "size": 1, "coloring": "none"}, "line": {"color": "#FFFFFF", "width": 2}})  # fmt: skip
        for kind in kinds:
            rows, columns = np.nonzero(named.to_numpy() == kind)
            centre = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
            px, py = x[columns[centre]], y[rows[centre]]
            notes.append({"x": np.log10(px) if logs[0] else px, "y": np.log10(py) if logs[1] else py, "text": kind, "showarrow": False,
                          "font": {"size": 12, "color": "#FFFFFF"}, "bgcolor": "rgba(20,20,20,0.55)"})  # fmt: skip
    else:
        fits = named.to_numpy() != "does not fit"
        data[0] |= {"texttemplate": "%{text}", "text": [
            [(text(value / shown.factor, shown.unit) + ("" if ok else "<br>✕ does not fit")) if np.isfinite(value) else "" for value, ok in zip(row, row_fits, strict=True)]
            for row, row_fits in zip(z, fits, strict=True)
        ]}  # fmt: skip
    axes = [log_axis(cells) if log else {"type": "linear" if numeric else "category"} for log, cells in zip(logs, (x, y), strict=True)]
    return figure(data, mode, 520, annotations=notes, xaxis={"title": title(words(across))} | axes[0], yaxis={"title": title(words(up))} | axes[1], margin={"t": 24})


def _cell(value: Any) -> Any:
    return float(value) if isinstance(value, int | float | np.number) else str(value)


_WORDS = {
    "workload.text_tokens": "prompt text [tokens]", "workload.output_tokens": "output [tokens]", "workload.batch": "batch [requests]",
    "workload.images.scale": "size of the pictures [times]", "workload.images.count": "pictures [1]", "workload.videos.frames": "frames [1]",
    "workload.videos.duration": "length of the video [s]", "workload.videos.scale": "size of the frames [times]",
    "scale.bandwidth": "memory bandwidth [times today's]", "scale.flops": "FLOP rates [times today's]", "scale.capacity": "memory capacity [times today's]",
    "scale.link": "device links [times today's]", "scale.price": "price [times today's]", "hardware": "hardware", "model": "model", "engine": "engine",
}  # fmt: skip


def words(path: str) -> str:
    """An axis path as people say it, with its unit."""
    return _WORDS.get(path, path.removeprefix("techniques.").replace(".", " "))


def comparison(frame: pd.DataFrame, labels: pd.Series, metric: str, mode: Mode = "light") -> go.Figure:
    """Stacked stage times of every row, its band at the end; rows that do not fit are hatched. For ttft_s, tpot_s and latency_s."""
    from simulator.figures.theme import STAGE_COLOURS

    shown = METRICS[metric]
    order = list(frame.index)[::-1]
    names = [str(labels[row]) for row in order]
    fits = [bool(frame.loc[row, "fits"]) for row in order]
    data: list[dict[str, Any]] = []
    if shown.band and metric in ("ttft_s", "latency_s"):
        for stage in shown.stages:
            data.append({"type": "bar", "orientation": "h", "y": names, "x": [frame.loc[row, f"{stage}_s"] * shown.factor for row in order], "name": stage,
                         "marker": {"color": STAGE_COLOURS[stage], "pattern": {"shape": ["" if ok else "/" for ok in fits]}},
                         "hovertemplate": "%{y}, <b>" + stage + "</b>: %{x:.4g}<extra></extra>"})  # fmt: skip
    else:
        data.append({"type": "bar", "orientation": "h", "y": names, "x": [frame.loc[row, metric] * shown.factor for row in order], "showlegend": False,
                     "marker": {"color": cycle(mode)[0], "pattern": {"shape": ["" if ok else "/" for ok in fits]}}, "hovertemplate": "%{y}: <b>%{x:.4g}</b><extra></extra>"})  # fmt: skip
    if shown.band:
        low, high = shown.band
        total = [frame.loc[row, metric] * shown.factor for row in order]
        data.append({"type": "scatter", "mode": "markers", "y": names, "x": total, "showlegend": False, "marker": {"color": ink(mode), "size": 3}, "hoverinfo": "skip",
                     "error_x": {"type": "data", "symmetric": False, "color": ink(mode), "thickness": 1.4, "width": 4,
                                 "array": [frame.loc[row, high] * shown.factor - t for row, t in zip(order, total, strict=True)],
                                 "arrayminus": [t - frame.loc[row, low] * shown.factor for row, t in zip(order, total, strict=True)]}})  # fmt: skip
    return figure(data, mode, 130 + 34 * len(order), barmode="stack", bargap=0.3, xaxis={"title": title(shown.title), "rangemode": "tozero"},
                  yaxis={"ticks": "", "title": title("")}, margin={"t": 40}, legend={"traceorder": "normal"})  # fmt: skip
