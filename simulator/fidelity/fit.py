"""Fits the pooled model to the evidence table, and says how good it is on methods it has not seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from simulator.fidelity.curve import build_curve
from simulator.fidelity.model import CEILING, PARAMETERS, Pool, band, losses
from simulator.literature.evidence import AXES, Evidence, load_evidence

Vector = NDArray[np.float64]
RIDGE = 0.2
"""Weight of the squared family and task offsets against the mean interval score of a row; 0.1 to 2 change little."""
SMALLEST_POOL = 2
"""Different papers an axis must have before anything is pooled over it."""


def fit_pool(rows: Sequence[Evidence], axis: str) -> Pool:
    """Parameters of one axis; a row weighs 1/sqrt(rows of its paper), so that one large table does not decide."""
    from scipy import optimize

    minimize: Any = cast(Any, optimize).minimize

    families, tasks = sorted({row.family for row in rows}), sorted({row.task_class for row in rows})
    x = np.array([-np.log(row.kept) for row in rows])
    y = np.array([row.retained for row in rows])
    family = np.array([families.index(row.family) for row in rows])
    task = np.array([tasks.index(row.task_class) for row in rows])
    counts = Counter(row.entry for row in rows)
    weight: Vector = np.array([counts[row.entry] ** -0.5 for row in rows])
    weight /= weight.mean()

    def score(v: Vector) -> float:
        offsets = v[4:]
        term = np.exp(offsets[family] + offsets[len(families) + task]) * x ** np.exp(v[3])
        loss = np.exp(v[0]) * term
        middle, low, high = band(loss * np.exp(-np.exp(v[1])), loss, loss * np.exp(np.exp(v[2])))
        rows_score = interval_score(y, low, high) + 2 * np.abs(y - middle)
        prior = RIDGE * float(offsets @ offsets) + 0.5 * float(v[1] ** 2 + v[2] ** 2 + (v[3] - 0.3) ** 2)
        return float((weight * rows_score).mean()) + prior / len(y)

    v: Vector = np.concatenate([[-3.0, 0.0, 0.0, 0.3], np.zeros(len(families) + len(tasks))])
    for _ in range(2):
        result = minimize(score, v, method="Powell", options={"maxiter": 4000, "xtol": 1e-3, "ftol": 1e-5})
        v = result.x
    theta = float(np.exp(v[0]))
    pool = Pool(
        axis=axis,
        theta_10=theta * float(np.exp(-np.exp(v[1]))),
        theta_50=theta,
        theta_90=theta * float(np.exp(np.exp(v[2]))),
        power=float(np.exp(v[3])),
        families={name: float(value) for name, value in zip(families, v[4 : 4 + len(families)], strict=True)},
        tasks={name: float(value) for name, value in zip(tasks, v[4 + len(families) :], strict=True)},
        methods={},
        smallest={name: min(row.kept for row in rows if row.family == name) for name in families},
        entries={name: len({row.entry for row in rows if row.family == name}) for name in families},
        seen={name: len({row.entry for row in rows if row.task_class == name}) for name in tasks},
    )
    pool.methods.update(_method_scales(rows, pool))
    return pool


def _method_scales(rows: Sequence[Evidence], pool: Pool, prior: float = 3.0) -> dict[str, float]:
    """Median of observed over pooled loss per technique, as if `prior` more rows had shown no difference; at most 2 either way."""
    scales: dict[str, float] = {}
    for name in sorted({row.technique for row in rows}):
        own = [row for row in rows if row.technique == name and row.kept < 1.0]
        ratios = [-np.log(row.retained) / float(losses(pool, row.family, row.task_class, row.kept)[1]) for row in own]
        middle = max(float(np.median(ratios)), 0.0)
        scales[name] = float(np.clip((len(own) * middle + prior) / (len(own) + prior), 0.5, 2.0))
    return scales


def interval_score(y: Vector, low: Any, high: Any, alpha: float = 0.2) -> Vector:
    """Winkler score of a central 1 - alpha interval: its width, plus 2/alpha times the distance by which y lies outside."""
    return (high - low) + 2 / alpha * np.maximum(low - y, 0) + 2 / alpha * np.maximum(y - high, 0)


def fit_all(rows: Sequence[Evidence]) -> dict[str, Pool]:
    """Pool per axis that has evidence from at least two papers."""
    by_axis = {axis: [row for row in rows if row.axis == axis] for axis in AXES}
    return {
        axis: fit_pool(own, axis) for axis, own in by_axis.items() if len({row.entry for row in own}) >= SMALLEST_POOL
    }


def fit_spread(rows: Sequence[Evidence]) -> float:
    """Scatter of published accuracies around their own technique's curve, beyond re-run noise, as a share of the curve's loss."""
    keys = sorted({(row.technique, row.model_class, row.task_class) for row in rows})
    curves = [curve for key in keys if (curve := build_curve(rows, *key)) is not None and curve.errors.size > 1]
    excess = sum(curve.excess() for curve in curves)
    return float(np.sqrt(excess / sum(curve.squared_loss() for curve in curves)))


def refit(path: Path = PARAMETERS) -> Path:
    """Fit the shipped evidence again and write the parameters, rounded, with what they rest on."""
    rows = load_evidence()
    pools = {
        axis: {name: _rounded(getattr(pool, name)) for name in Pool.__slots__ if name != "axis"}
        for axis, pool in fit_all(rows).items()
    }
    data = {"rows": len(rows), "direct_spread": round(fit_spread(rows), 4), "pools": pools}
    header = "# Written by simulator.fidelity.fit.refit from simulator/literature/evidence.csv; do not edit.\n"
    path.write_text(header + yaml.safe_dump(data, sort_keys=True), encoding="utf-8")
    return path


def _rounded(value: float | dict[str, float]) -> float | dict[str, float]:
    return {key: round(item, 4) for key, item in value.items()} if isinstance(value, dict) else round(value, 4)


def leave_one_method_out(rows: Sequence[Evidence] | None = None) -> pd.DataFrame:
    """Every row predicted by a fit that has not seen its paper, beside the mean of the other papers of its family.

    Columns: axis, entry, kept, task_class, actual, middle, low, high, base_low, base_high, score, base_score.
    """
    table = load_evidence() if rows is None else rows
    found: list[dict[str, Any]] = []
    for axis in AXES:
        own = [row for row in table if row.axis == axis]
        for entry in sorted({row.entry for row in own}):
            train, test = [row for row in own if row.entry != entry], [row for row in own if row.entry == entry]
            if len({row.entry for row in train}) < SMALLEST_POOL:
                continue
            pool = fit_pool(train, axis)
            for row in test:
                if row.task_class not in pool.tasks:
                    continue
                middle, low, high = band(*losses(pool, row.family, row.task_class, row.kept))
                peers = [other.retained for other in train if other.family == row.family]
                peers = peers if len(peers) > 1 else [other.retained for other in train]
                centre, reach = float(np.mean(peers)), 1.2816 * float(np.std(peers, ddof=1))
                found.append(
                    {
                        "axis": axis, "entry": entry, "kept": row.kept, "task_class": row.task_class, "actual": row.retained,
                        "middle": middle, "low": low, "high": high, "base_low": centre - reach, "base_high": min(centre + reach, CEILING),
                    }
                )  # fmt: skip
    frame: Any = pd.DataFrame(found)
    actual = frame["actual"].to_numpy()
    frame["score"] = interval_score(actual, frame["low"].to_numpy(), frame["high"].to_numpy())
    frame["base_score"] = interval_score(actual, frame["base_low"].to_numpy(), frame["base_high"].to_numpy())
    return frame
