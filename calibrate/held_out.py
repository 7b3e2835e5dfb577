"""How wrong a fit is on shapes it has not seen: whole (n, k) pairs or head configurations held out, several times.

Bands come from the residuals of all seeds; their coverage is counted seed by seed against the bands of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd

from calibrate.estimate import columns_of, estimate
from calibrate.problems import Array, form_of, terms
from calibrate.samples import Samples
from calibrate.tables import corrected, make_table, supported
from simulator.efficiency.bands import REGIONS, Bands, region
from simulator.spec.hardware import Chip

SEEDS = (0, 1, 2)
MANY = (0, 1, 2, 3, 4, 5, 6, 7)  # few groups: each is held out about twice
FEW_GROUPS = 25
HANDFUL = 12  # fewer groups than this are held out one by one
VERY_FEW, ENOUGH_ROWS = 8, 100  # from so many groups on with so many rows only: the ends of an axis would be extrapolated to
FOLDS = {"collective": 10}  # families of few rows: a tenth of the groups at a time, each group once
SHARE = 0.3
FEWEST = 40  # rows of a region before it gets its own band
QUANTILES = (0.085, 0.915)
ENOUGH = 0.78  # share of a seed's rows inside the bands of the other seeds below which bands are widened
LEVEL = 0.82  # and how far
MOST = 4.0  # times as wide
NARROWEST = 0.01
FEWEST_LEFT = 5  # rows that holding out may leave


@final
@dataclass(frozen=True)
class HeldOut:
    """Rows nobody had fitted: seed, seconds, parametric and tabled prediction [log residuals], region; and the bands."""

    rows: pd.DataFrame
    bands: Bands
    tabled: bool
    ratio: float

    def error(self, column: str = "") -> Array:
        """Absolute errors as fractions; predicted over measured less one."""
        e = self.rows[column or self.best].to_numpy(np.float64)
        return np.abs(np.exp(-e) - 1.0)

    @property
    def best(self) -> str:
        """The column of the prediction that is shipped."""
        return "tabled" if self.tabled else "parametric"

    def coverage(self) -> float:
        """Share of rows inside the band, every seed's rows against the bands of the other seeds."""
        seeds = self.rows["seed"].to_numpy(np.int64)
        e, where = self.rows[self.best].to_numpy(np.float64), self.rows["region"].to_numpy(np.int64)
        inside: list[float] = []
        for seed in np.unique(seeds):
            mine = seeds == seed
            bands = scaled_bands(e[~mine], where[~mine], seeds[~mine]) if not mine.all() else self.bands
            inside.append(float(np.mean(_places(e[mine], where[mine], bands) <= 1.0)))
        return float(np.mean(inside))

    def inside(self, bands: Bands) -> float:
        """Share of rows inside bands that were made from other splits (the shipped ones)."""
        e, where = self.rows[self.best].to_numpy(np.float64), self.rows["region"].to_numpy(np.int64)
        return float(np.mean((e >= -np.asarray(bands.low)[where]) & (e <= np.asarray(bands.high)[where])))

    def width(self) -> float:
        """Mean of upper over lower, less one."""
        where = self.rows["region"].to_numpy(np.int64)
        return float(np.mean(np.exp(np.asarray(self.bands.low)[where] + np.asarray(self.bands.high)[where]) - 1.0))


def in_turn(samples: Samples) -> bool:
    """Whether groups are held out in turn, the same ways whatever the seed."""
    groups = int(samples.rows["group"].nunique())
    return samples.family in FOLDS or 1 < groups < (HANDFUL if len(samples.rows) >= ENOUGH_ROWS else VERY_FEW)


def mask_of(samples: Samples, seed: int) -> Array:
    """Rows to hold out: 30 % of whole groups; of a handful, each in turn, of collectives a tenth; of one group, 30 % of the rows."""
    groups = np.unique(samples.rows["group"].to_numpy())
    rng = np.random.default_rng(1000 + seed)
    if samples.family in FOLDS:
        folds = np.random.default_rng(7).permutation(len(groups)) % FOLDS[samples.family]
        return np.isin(samples.rows["group"].to_numpy(), groups[folds == seed % FOLDS[samples.family]])
    if len(groups) == 1:
        return rng.random(len(samples.rows)) < SHARE
    if in_turn(samples):
        return samples.rows["group"].to_numpy() == groups[seed % len(groups)]
    chosen = rng.permutation(groups)[: max(1, round(SHARE * len(groups)))]
    return np.isin(samples.rows["group"].to_numpy(), chosen)


def hold_out(samples: Samples, chip: Chip, seeds: tuple[int, ...] = SEEDS, tables: bool = True) -> HeldOut:
    """Fit on the rest, predict what was held out, for every seed."""
    form = form_of(samples.family, samples.format, samples.kernel)
    tables = tables and supported(samples)
    groups = int(samples.rows["group"].nunique())
    if samples.family in FOLDS:
        seeds = tuple(range(FOLDS[samples.family]))
    elif in_turn(samples):
        seeds = tuple(range(groups))
    elif seeds == SEEDS and groups < FEW_GROUPS and not tables:
        seeds = MANY
    parts: list[pd.DataFrame] = []
    for seed in seeds:
        out = mask_of(samples, seed)
        values = estimate(samples, form, chip, ~out, FEWEST_LEFT).values
        c, seconds = columns_of(samples, out)
        found, floor = terms(samples.family, form, values, c, chip, samples.format)
        part = samples.rows[out].assign(seed=seed, region=np.broadcast_to(np.asarray(region(found)), len(seconds)))
        part["parametric"] = np.log(seconds / np.maximum(found.total, floor))
        if tables:
            table = make_table(samples, form, values, chip, ~out)
            part["tabled"] = np.log(seconds / np.maximum(found.total * np.exp(corrected(samples, table, c)), floor))
        parts.append(part)
    rows = pd.concat(parts, ignore_index=True)
    tabled = False
    if tables:
        plain, better = (np.abs(np.exp(-rows[name]) - 1.0).mean() for name in ("parametric", "tabled"))
        tabled = bool(better < 0.95 * plain)
    column = "tabled" if tabled else "parametric"
    bands = scaled_bands(rows[column].to_numpy(np.float64), rows["region"].to_numpy(np.int64), rows["seed"].to_numpy(np.int64))
    return HeldOut(rows, bands, tabled, ratio_of(rows, column, samples))


def bands_of(e: Array, where: Array) -> Bands:
    """Quantiles of the residuals by region; a thin region takes those of all rows, widened."""
    whole = np.quantile(e, QUANTILES)
    low: list[float] = []
    high: list[float] = []
    for index in range(len(REGIONS)):
        mine = e[where == index]
        few = len(mine) < FEWEST
        a, b = whole if few else np.quantile(mine, QUANTILES)
        grow = 1.25 if few else 1.0
        low.append(round(max(NARROWEST, -float(a) * grow), 4))
        high.append(round(max(NARROWEST, float(b) * grow), 4))
    return Bands(tuple(low), tuple(high))


def scaled_bands(e: Array, where: Array, seeds: Array) -> Bands:
    """Bands by region, all widened alike so that they hold `LEVEL` of a seed's rows when made from the other seeds', if they hold too few.

    The rows of a group err together: quantiles of few groups say too little about the next one.
    """
    bands = bands_of(e, where)
    if len(np.unique(seeds)) < 2:
        return bands
    parts = ((seeds == seed, seeds != seed) for seed in np.unique(seeds))
    places = np.concatenate([_places(e[mine], where[mine], bands_of(e[others], where[others])) for mine, others in parts])
    if np.mean(places <= 1.0) >= ENOUGH:
        return bands
    scale = min(float(np.quantile(places, LEVEL)), MOST)
    low, high = (tuple(round(width * scale, 4) for width in side) for side in (bands.low, bands.high))
    return Bands(low, high)


def _places(e: Array, where: Array, bands: Bands) -> Array:
    """How far out in its band each residual lies: 1 at the edge."""
    return np.where(e < 0.0, -e / np.asarray(bands.low)[where], e / np.asarray(bands.high)[where])


def ratio_of(rows: pd.DataFrame, column: str, samples: Samples) -> float:
    """80 % log half-width of the ratio of two neighbouring shapes of a group: their residuals largely cancel."""
    family = samples.family.removesuffix("_cpu")
    key = {"gemm": ["n", "k"], "grouped_gemm": ["hidden", "inter", "group"], "grouped_product": ["n", "k", "group"]}.get(family, ["group"])
    sizes = {"gemm": "m", "grouped_gemm": "tokens", "grouped_product": "rows", "collective": "wire", "whole_encoder": "flops"}
    size = "bytes" if family in ("stream", "host_copy") else sizes.get(family, "context")
    others = [name for name in ("batch", "devices") if name in rows.columns]
    ordered = rows.sort_values(["seed", *key, *others, size])
    same = (ordered[["seed", *key, *others]] == ordered[["seed", *key, *others]].shift()).all(axis=1)
    near = same & (ordered[size] <= 4.0 * ordered[size].shift()) & (ordered[size] > ordered[size].shift())
    steps = (ordered[column] - ordered[column].shift())[near]
    return float(np.quantile(np.abs(steps), 0.8)) if len(steps) >= 20 else 0.15
