"""Measured kernel times in one shape, whoever measured them: what is refused, what is dropped and said."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import final

import numpy as np
import pandas as pd

COLUMNS: dict[str, tuple[str, ...]] = {
    "gemm": ("m", "n", "k", "bits", "footprint"),
    "grouped_gemm": ("tokens", "hidden", "inter", "topk", "experts", "matrices", "bits"),  # experts: with rows of their own
    "grouped_product": ("rows", "n", "k", "experts", "bits", "footprint"),
    "encoder_attention": ("batch", "heads", "kv_heads", "head_dim", "query", "context", "kv_bits"),
    "prefill_attention": ("batch", "heads", "kv_heads", "head_dim", "query", "context", "kv_bits"),
    "decode_attention": ("batch", "heads", "kv_heads", "head_dim", "query", "context", "kv_bits", "window"),  # context: as far as the window
    "mla_decode": ("batch", "heads", "context"),
    "whole_encoder": ("flops", "bytes"),
    "stream": ("bytes",),
    "collective": ("wire", "devices"),
    "host_copy": ("bytes",),
}
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
COLUMNS |= {f"{name}_cpu": COLUMNS[name] for name in ("gemm", "encoder_attention", "prefill_attention", "decode_attention")}
COLUMNS |= {f"{phase}_eager_cpu": COLUMNS[f"{phase}_attention"] for phase in ("encoder", "prefill")}
LONGEST = 600.0  # [s] no kernel takes ten minutes: a unit was mistaken


@final
@dataclass(frozen=True)
class Samples:
    """Rows of one kernel family. rows: shape columns, `seconds` and `group` (what is held out as a whole).

    family: which columns. kernel: which generation of kernels, where that decides about the form. dropped: why rows of the source
    were left out, and how many.
    """

    device: str
    op: str
    family: str
    format: str
    framework: str
    version: str
    variant: str
    rows: pd.DataFrame
    origin: str
    source: str = "fitted"
    dropped: dict[str, int] = field(default_factory=dict)
    kernel: str = ""

    @property
    def name(self) -> str:
        """What a fit of these rows is called."""
        parts = (self.op, self.format, self.framework, self.version, self.variant.replace("=", ""))
        return "-".join(part for part in parts if part).replace("/", "_")

    def content_hash(self) -> str:
        """Hash of the rows used: the same rows, the same hash."""
        values = np.ascontiguousarray(self.rows[[*COLUMNS[self.family], "seconds"]].to_numpy(dtype=np.float64))
        return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def checked(frame: pd.DataFrame, family: str, unit: str, where: str) -> pd.DataFrame:
    """Rows that may be fitted: `latency` in `unit` becomes `seconds`. A bad row is named by its number and refused.

    Equal shapes measured twice are merged by the median; shapes measured twice that differ more than tenfold are refused.
    """
    if unit not in UNITS:
        raise ValueError(f"{where}: unit {unit!r} is not known; known: {', '.join(UNITS)}")
    wanted = [*COLUMNS[family], "latency"]
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise ValueError(f"{where}: column {missing[0]!r} is missing; a {family} table has {', '.join(wanted)}")
    values = frame[wanted].apply(pd.to_numeric, errors="coerce")
    bad = np.isnan(values.to_numpy(dtype=np.float64)).any(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        name = next(item for item in wanted if np.isnan(values[item].iloc[row]))
        raise ValueError(f"{where}: row {row}: {name} is {frame[name].iloc[row]!r}, not a number (truncated file?)")
    small = (values.to_numpy(dtype=np.float64) <= 0.0).any(axis=1)
    if small.any():
        row = int(np.flatnonzero(small)[0])
        name = next(item for item in wanted if values[item].iloc[row] <= 0.0)
        raise ValueError(f"{where}: row {row}: {name} is {values[name].iloc[row]:g}; above 0 is accepted")
    values["seconds"] = values.pop("latency") * UNITS[unit]
    if not np.isfinite(values["seconds"]).all() or (values["seconds"] > LONGEST).any():
        row = int(np.flatnonzero(~(values["seconds"].to_numpy() <= LONGEST))[0])
        raise ValueError(f"{where}: row {row}: {values['seconds'].iloc[row]:g} s for one kernel; is the unit really {unit!r}?")
    values["group"] = frame["group"].astype(str).to_numpy()
    shape = list(COLUMNS[family])
    spread = values.groupby(shape)["seconds"].agg(["min", "max"])
    wild = spread["max"] > 10.0 * spread["min"]
    if wild.any():
        first = ", ".join(f"{name} {values[name].iloc[_first(values, shape, spread[wild])]:g}" for name in shape)
        raise ValueError(f"{where}: {first} was measured twice, tenfold apart")
    merged = values.groupby(shape, as_index=False, sort=True).agg({"seconds": "median", "group": "first"})
    return merged.astype(dict.fromkeys([*shape, "seconds"], np.float64))


def _first(values: pd.DataFrame, shape: list[str], wild: pd.DataFrame) -> int:
    """Number of the first row whose shape is among the contradictory ones."""
    keys = pd.MultiIndex.from_frame(values[shape]) if len(shape) > 1 else pd.Index(values[shape[0]])
    return int(np.flatnonzero(keys.isin(wild.index))[0])
