"""Parameters from rows: soft-L1 on the log of predicted over measured, weak priors, standard errors, flags."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, final

import numpy as np
from scipy.optimize import least_squares

from calibrate.problems import PRIORS, Array, Columns, terms
from calibrate.samples import COLUMNS, Samples
from simulator.efficiency.forms import PARAMETERS
from simulator.spec.hardware import Chip

SCALE = 0.1  # [log] residuals beyond this count linearly; the run-to-run noise of a GEMM is a third of it
MOST_ROWS = 4000
FEWEST_ROWS = 8


@final
@dataclass(frozen=True)
class Estimated:
    """values and relative standard errors in the order of the form's parameters; flags say what is doubtful."""

    values: tuple[float, ...]
    errors: tuple[float, ...]
    flags: tuple[str, ...]


def columns_of(samples: Samples, where: Array | None = None) -> tuple[Columns, Array]:
    """Shape columns and seconds as arrays, of the rows at `where` (a boolean mask)."""
    rows = samples.rows if where is None else samples.rows[where]
    return {name: rows[name].to_numpy(np.float64) for name in COLUMNS[samples.family]}, rows["seconds"].to_numpy(np.float64)


def residuals(samples: Samples, form: str, values: tuple[float, ...], chip: Chip, c: Columns, seconds: Array) -> Array:
    """log(measured / predicted)."""
    found, floor = terms(samples.family, form, values, c, chip, samples.format)
    return np.log(seconds / np.maximum(found.total, floor))


def estimate(
    samples: Samples, form: str, chip: Chip, where: Array | None = None, fewest: int = FEWEST_ROWS
) -> Estimated:
    """Fit the form to the rows at `where`; deterministic."""
    c, seconds = columns_of(samples, where)
    names = PARAMETERS[form]
    if len(seconds) < fewest:
        raise ValueError(f"{samples.device}/{samples.name}: {len(seconds)} rows are too few; at least {fewest} are needed")
    if len(seconds) > MOST_ROWS:
        pick = np.sort(np.random.default_rng(0).choice(len(seconds), MOST_ROWS, replace=False))
        c, seconds = {key: value[pick] for key, value in c.items()}, seconds[pick]
    priors = [PRIORS[form][name] for name in names]
    start = np.log([prior.start for prior in priors])
    spread = np.array([prior.spread for prior in priors])
    low, high = np.log([prior.low for prior in priors]), np.log([prior.high for prior in priors])

    whole = [i for i, prior in enumerate(priors) if prior.choices]
    free = np.array([i for i, prior in enumerate(priors) if not prior.choices])

    def full(x: Array, chosen: tuple[float, ...]) -> tuple[float, ...]:
        values = np.empty(len(names))
        values[free] = np.exp(x)
        values[whole] = chosen
        return tuple(float(item) for item in values)

    def solve(chosen: tuple[float, ...]) -> Any:
        def loss(x: Array) -> Array:
            found, _ = terms(samples.family, form, full(x, chosen), c, chip, samples.format)
            return np.concatenate([np.log(seconds / found.total), SCALE * (x - start[free]) / spread[free]])

        bounds = (low[free], high[free])
        return least_squares(loss, start[free], bounds=bounds, loss="soft_l1", f_scale=SCALE, x_scale=0.3, max_nfev=200)

    tried = [(solve(chosen), chosen) for chosen in product(*(priors[i].choices for i in whole))]
    result, best = min(tried, key=lambda item: item[0].cost)
    values = full(result.x, best)
    noise = float(np.median(np.abs(result.fun[: len(seconds)]))) / 0.6745
    hessian = result.jac.T @ result.jac
    covariance = np.linalg.pinv(hessian) * max(noise, 1e-6) ** 2
    spreads = np.zeros(len(names))
    spreads[free] = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    flags: list[str] = []
    for i, x in zip(free, result.x, strict=True):
        if x - low[i] < 1e-3 or high[i] - x < 1e-3:
            flags.append(f"{names[i]} is at its bound ({values[i]:.4g})")
        elif spreads[i] > 0.5:
            flags.append(f"{names[i]} is not identified by these rows (relative standard error {spreads[i]:.2g})")
    return Estimated(values, tuple(float(item) for item in spreads), tuple(flags))
