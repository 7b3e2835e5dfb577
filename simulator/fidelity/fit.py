"""Fits the pooled model to the evidence table, and widens its bands by what methods left out of the fit need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, final

import numpy as np
import yaml
from numpy.typing import NDArray

from simulator.fidelity.curve import FLOOR, Z80, build_curve
from simulator.fidelity.model import PARAMETERS, Pool, band, losses, span, uncertainty
from simulator.fidelity.score import interval_score
from simulator.literature.evidence import AXES, Evidence, load_evidence

Vector = NDArray[np.float64]
RIDGE = 0.2
"""Weight of the squared family and task offsets and spreads against the mean interval score of a row; 0.1 to 2 change little."""
SMALLEST_POOL = 2
"""Different papers an axis must have before anything is pooled over it."""


COVERAGE = 0.8
"""Share of what a method left out published that the bands shall cover."""
WIDEST = 3.0
"""No band is widened more than this."""
MANY = 10
"""A task class that so many methods report on an axis is widened by its own needs; 0.8 (1 + 1/10) is a quantile one can still estimate."""
DRAWN = 5.0
"""So many methods' worth a class is drawn towards what all axes and classes need together."""


@final
@dataclass(frozen=True, slots=True)
class Need:
    """How far the band of a pool must be widened to reach one row of a method that the pool has not seen."""

    axis: str
    task: str
    entry: str
    size: float


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

    tasks_at, spreads_at = 4 + len(families), 4 + len(families) + len(tasks)

    def score(v: Vector) -> float:
        offsets = v[4:]
        term = np.exp(v[4 + family] + v[tasks_at + task]) * x ** np.exp(v[3])
        loss, spread = np.exp(v[0]) * term, v[spreads_at + family]
        middle, low, high = band(loss * np.exp(-np.exp(v[1] + spread)), loss, loss * np.exp(np.exp(v[2] + spread)))
        rows_score = interval_score(y, low, high) + 2 * np.abs(y - middle)
        prior = RIDGE * float(offsets @ offsets) + 0.5 * float(v[1] ** 2 + v[2] ** 2 + (v[3] - 0.3) ** 2)
        return float((weight * rows_score).mean()) + prior / len(y)

    v: Vector = np.concatenate([[-3.0, 0.0, 0.0, 0.3], np.zeros(2 * len(families) + len(tasks))])
    if start is not None:
        edges = np.log(start.theta_50 / start.theta_10), np.log(start.theta_90 / start.theta_50)
        offsets = [
            *(start.families[name] for name in families),
            *(start.tasks[name] for name in tasks),
            *(start.spreads[name] for name in families),
        ]
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
        families={name: float(value) for name, value in zip(families, v[4:tasks_at], strict=True)},
        tasks={name: float(value) for name, value in zip(tasks, v[tasks_at:spreads_at], strict=True)},
        spreads={name: float(value) for name, value in zip(families, v[spreads_at:], strict=True)},
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


def answered(pool: Pool, row: Evidence) -> bool:
    """Whether the pool says anything of this row: of its family, its task class, and so small a fraction."""
    spoken = span(pool, row.family, row.task_class)
    return spoken is not None and row.kept >= spoken[0] * (1.0 - 1e-9)


def needs(pool: Pool, rows: Sequence[Evidence]) -> list[Need]:
    """How far the band of this pool must be widened to reach each row it speaks of.

    Zero within the floor about the middle; a gain over the baseline beyond it is out of reach, whatever the widening.
    """
    found: list[Need] = []
    for row in rows:
        if not answered(pool, row):
            continue
        middle = float(losses(pool, row.family, row.task_class, row.kept)[1])
        loss, away = -float(np.log(row.retained)), abs(row.retained - float(np.exp(-middle)))
        edge = pool.theta_90 / pool.theta_50 if loss > middle else pool.theta_50 / pool.theta_10
        ratio = max(loss / middle, middle / loss) if loss > 0.0 else float("inf")
        unit = float(np.log(edge)) * uncertainty(pool, row.family, row.task_class)
        found.append(Need(pool.axis, row.task_class, row.entry, 0.0 if away <= FLOOR else float(np.log(ratio)) / unit))
    return found


def widening(found: Sequence[Need]) -> float:
    """What covers COVERAGE of the needs of one method more.

    A need weighs 1/sqrt(needs of its method), as rows do in the fit; among m methods COVERAGE (1 + 1/m) must be covered to cover
    COVERAGE of another one (split conformal prediction; Vovk and others, 2005, with methods in place of rows).
    """
    if not found:
        return 1.0
    counts = Counter((need.axis, need.entry) for need in found)
    methods = len({need.entry for need in found})
    order = sorted(found, key=lambda need: need.size)
    share = np.cumsum([counts[need.axis, need.entry] ** -0.5 for need in order])
    at = int(np.searchsorted(share / share[-1], min(COVERAGE * (1.0 + 1.0 / methods), 1.0) - 1e-9))
    return min(order[at].size, WIDEST)


def widened(pool: Pool, found: Sequence[Need]) -> Pool:
    """The pool with what all needs say, and what those of each task class say that enough methods of its axis report."""
    general = widening(found)
    own: dict[str, float] = {}
    for task in pool.tasks:
        here = [need for need in found if (need.axis, need.task) == (pool.axis, task)]
        methods = len({need.entry for need in here})
        if methods >= MANY:
            part = methods / (methods + DRAWN)
            own[task] = min(general ** (1.0 - part) * widening(here) ** part, WIDEST)
    return replace(pool, widening=general, widenings=own)


def papers_of(rows: Sequence[Evidence]) -> dict[str, list[Evidence]]:
    """Rows by the entry of their method."""
    return {entry: [row for row in rows if row.entry == entry] for entry in sorted({row.entry for row in rows})}


def without(rows: Sequence[Evidence], *entries: str) -> list[Evidence]:
    """Rows of all methods but these."""
    return [row for row in rows if row.entry not in entries]


def fit_all(rows: Sequence[Evidence]) -> dict[str, Pool]:
    """Pool per axis that has evidence from at least two methods, widened by what each method needs from a fit to the others."""
    by_axis = {axis: [row for row in rows if row.axis == axis] for axis in AXES}
    pools = {axis: fit_pool(own, axis) for axis, own in by_axis.items() if len(papers_of(own)) >= SMALLEST_POOL}
    found = [
        need
        for axis, pool in pools.items()
        for entry, test in papers_of(by_axis[axis]).items()
        for need in needs(fit_pool(without(by_axis[axis], entry), axis, pool), test)
    ]
    return {axis: widened(pool, found) for axis, pool in pools.items()}


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
