"""Fits the pooled model to the evidence table, and says how good it is on methods it has not seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from simulator.fidelity.curve import FLOOR, Z80, build_curve
from simulator.fidelity.model import CEILING, PARAMETERS, Pool, band, losses, uncertainty
from simulator.literature.evidence import AXES, Evidence, load_evidence

Vector = NDArray[np.float64]
RIDGE = 0.2
"""Weight of the squared family and task offsets against the mean interval score of a row; 0.1 to 2 change little."""
SMALLEST_POOL = 2
"""Different papers an axis must have before anything is pooled over it."""


COVERAGE = 0.8
"""Share of what a paper left out published that the bands shall cover."""
WIDEST = 3.0
"""No band is widened more than this."""


def fit_pool(rows: Sequence[Evidence], axis: str, start: Pool | None = None) -> Pool:
    """Parameters of one axis, not widened; a row weighs 1/sqrt(rows of its paper), so that one large table does not decide.

    `start` is a fit to nearly the same rows, from where one round of the search is enough.
    """
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
    if start is not None:
        edges = np.log(start.theta_50 / start.theta_10), np.log(start.theta_90 / start.theta_50)
        offsets = [*(start.families[name] for name in families), *(start.tasks[name] for name in tasks)]
        v = np.concatenate([np.log([start.theta_50, *edges, start.power]), offsets])
    rounds, fine = (2, 1e-3) if start is None else (1, 1e-2)
    for _ in range(rounds):
        with np.errstate(over="ignore"):  # the search tries powers that overflow; an infinite loss keeps nothing
            result = minimize(score, v, method="Powell", options={"maxiter": 4000, "xtol": fine, "ftol": fine / 100})
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


def needed_widening(pool: Pool, rows: Sequence[Evidence]) -> list[float]:
    """How far the band of this pool must be widened to reach each row of a task class it knows; infinite where none does.

    Zero within the floor about the middle; a gain over the baseline beyond it is out of reach, whatever the widening.
    """
    found: list[float] = []
    for row in rows:
        if row.task_class not in pool.tasks:
            continue
        middle = float(losses(pool, row.family, row.task_class, row.kept)[1])
        loss, away = -float(np.log(row.retained)), abs(row.retained - float(np.exp(-middle)))
        edge = pool.theta_90 / pool.theta_50 if loss > middle else pool.theta_50 / pool.theta_10
        ratio = max(loss / middle, middle / loss) if loss > 0.0 else float("inf")
        unit = float(np.log(edge)) * uncertainty(pool, row.family, row.task_class)
        found.append(0.0 if away <= FLOOR else float(np.log(ratio)) / unit)
    return found


def widening(needed: Sequence[float]) -> float:
    """What covers COVERAGE of these needs, the same for every axis: some have too few papers for a figure of their own."""
    return min(float(np.quantile(needed, COVERAGE, method="higher")), WIDEST) if needed else 1.0


def _papers(rows: Sequence[Evidence]) -> dict[str, list[Evidence]]:
    return {entry: [row for row in rows if row.entry == entry] for entry in sorted({row.entry for row in rows})}


def _without(rows: Sequence[Evidence], *entries: str) -> list[Evidence]:
    return [row for row in rows if row.entry not in entries]


def interval_score(y: Vector, low: Any, high: Any, alpha: float = 0.2) -> Vector:
    """Winkler score of a central 1 - alpha interval: its width, plus 2/alpha times the distance by which y lies outside."""
    return (high - low) + 2 / alpha * np.maximum(low - y, 0) + 2 / alpha * np.maximum(y - high, 0)


def fit_all(rows: Sequence[Evidence]) -> dict[str, Pool]:
    """Pool per axis that has evidence from at least two papers, widened by what each paper needs from a fit to the others."""
    by_axis = {axis: [row for row in rows if row.axis == axis] for axis in AXES}
    pools = {axis: fit_pool(own, axis) for axis, own in by_axis.items() if len(_papers(own)) >= SMALLEST_POOL}
    needed = [
        need
        for axis, pool in pools.items()
        for entry, test in _papers(by_axis[axis]).items()
        for need in needed_widening(fit_pool(_without(by_axis[axis], entry), axis, pool), test)
    ]
    return {axis: replace(pool, widening=widening(needed)) for axis, pool in pools.items()}


def needed_spread(rows: Sequence[Evidence]) -> dict[str, list[float]]:
    """Per technique, what share of its loss a curve from the other papers must be unsure of to reach each row of one paper.

    As a standard deviation, beyond re-run noise; rows that no other paper's curve of that technique, class and task covers are left out.
    """
    found: dict[str, list[float]] = {}
    for row in rows:
        others = [other for other in rows if other.axis == row.axis and other.paper != row.paper]
        curve = build_curve(others, row.technique, row.model_class, row.task_class)
        if curve is None or curve.smallest > row.kept or row.kept == 1.0:
            continue
        middle = float(curve.middle(row.kept))
        loss, beyond = -float(np.log(max(middle, 1e-6))), (row.retained - middle) ** 2 - FLOOR**2
        need = 0.0 if beyond <= 0.0 else beyond**0.5 / (Z80 * loss) if loss > 0.0 else float("inf")
        found.setdefault(row.technique, []).append(need)
    return found


def spread_of(needed: Iterable[Sequence[float]]) -> float:
    """What covers COVERAGE of these needs."""
    return float(np.quantile([need for needs in needed for need in needs], COVERAGE, method="higher"))


def refit(path: Path = PARAMETERS) -> Path:
    """Fit the shipped evidence again and write the parameters, rounded, with what they rest on."""
    rows = load_evidence()
    pools = {
        axis: {name: _rounded(getattr(pool, name)) for name in Pool.__slots__ if name != "axis"}
        for axis, pool in fit_all(rows).items()
    }
    data = {"rows": len(rows), "direct_spread": round(spread_of(needed_spread(rows).values()), 4), "pools": pools}
    header = "# Written by simulator.fidelity.fit.refit from simulator/literature/evidence.csv; do not edit.\n"
    path.write_text(header + yaml.safe_dump(data, sort_keys=True), encoding="utf-8")
    return path


def _rounded(value: float | dict[str, float]) -> float | dict[str, float]:
    return {key: round(item, 4) for key, item in value.items()} if isinstance(value, dict) else round(value, 4)


def leave_one_method_out(rows: Sequence[Evidence] | None = None) -> pd.DataFrame:
    """Every row predicted by a pool that has not seen its paper, beside the mean of the other papers of its family.

    The widening is chosen without the paper as well, from fits that leave out two papers each.
    Columns: axis, entry, kept, task_class, actual, middle, low, high, base_low, base_high, score, base_score.
    """
    table = load_evidence() if rows is None else rows
    by_axis = {axis: [row for row in table if row.axis == axis] for axis in AXES}
    by_axis = {axis: own for axis, own in by_axis.items() if len(_papers(own)) > SMALLEST_POOL}
    pools = {axis: {name: fit_pool(_without(own, name), axis) for name in _papers(own)} for axis, own in by_axis.items()}
    needed = {
        (axis, name): needed_widening(pools[axis][name], test) for axis, own in by_axis.items() for name, test in _papers(own).items()
    }
    without: dict[tuple[str, str], list[float]] = {key: [] for key in needed}
    for axis, own in by_axis.items():
        papers = _papers(own)
        for first, second in combinations(papers, 2):
            rest = fit_pool(_without(own, first, second), axis, pools[axis][first])
            without[axis, first] += needed_widening(rest, papers[second])
            without[axis, second] += needed_widening(rest, papers[first])
    found: list[dict[str, Any]] = []
    for axis, name in needed:
        seen = [needs for key, needs in without.items() if key[1] == name]
        apart = {key[0] for key in without if key[1] == name}
        seen += [needs for key, needs in needed.items() if key[0] not in apart]
        pool = replace(pools[axis][name], widening=widening([need for needs in seen for need in needs]))
        train = _without(by_axis[axis], name)
        test = [row for row in _papers(by_axis[axis])[name] if row.task_class in pool.tasks]
        found += [_beside_family(pool, row, train) for row in test]
    frame: Any = pd.DataFrame(found)
    actual = frame["actual"].to_numpy()
    frame["score"] = interval_score(actual, frame["low"].to_numpy(), frame["high"].to_numpy())
    frame["base_score"] = interval_score(actual, frame["base_low"].to_numpy(), frame["base_high"].to_numpy())
    return frame


def _beside_family(pool: Pool, row: Evidence, train: Sequence[Evidence]) -> dict[str, Any]:
    """One prediction, and what mean and scatter of the family say."""
    middle, low, high = band(*losses(pool, row.family, row.task_class, row.kept))
    peers = [other.retained for other in train if other.family == row.family]
    peers = peers if len(peers) > 1 else [other.retained for other in train]
    centre, reach = float(np.mean(peers)), Z80 * float(np.std(peers, ddof=1))
    return {
        "axis": pool.axis, "entry": row.entry, "kept": row.kept, "task_class": row.task_class, "actual": row.retained,
        "middle": middle, "low": low, "high": high, "base_low": centre - reach, "base_high": min(centre + reach, CEILING),
    }  # fmt: skip
