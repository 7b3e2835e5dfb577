"""Pareto fronts: what no other point beats on every objective, which of those differ enough to matter, and why they win."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.program import STAGES
from simulator.search.expression import parse
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import pandas as pd

LARGER_IS_BETTER = frozenset(("output_tokens_per_s", "fidelity", "fidelity_low", "fidelity_high", "max_batch"))
"""Metrics to maximise; all others are minimised."""
_READY = {"runs": 0, "patch": 1, "hypothetical": 2}


def nondominated(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows of `costs` [n, k] (smaller is better) no other row dominates: not above in any column, below in one.

    Equal rows stand or fall together. Rows with a NaN are never on the front.
    """
    costs = np.asarray(costs, dtype=float)
    winners = np.zeros(len(costs), bool)
    valid = np.flatnonzero(~np.isnan(costs).any(axis=1))
    if valid.size and costs.shape[1] == 1:
        winners[valid] = costs[valid, 0] == costs[valid, 0].min()
    elif valid.size:
        distinct, inverse = _distinct(costs[valid])
        winners[valid] = divided(distinct)[inverse] if _divides() else swept(distinct)[inverse]
    return winners


def _distinct(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Distinct rows in lexicographic order, and which of them each row is."""
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    new = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    inverse = np.empty(len(rows), np.intp)
    inverse[order] = np.cumsum(new) - 1
    return ordered[new], inverse


def _divides() -> bool:
    """Whether moocore (extra `search`) is here."""
    return find_spec("moocore") is not None


def divided(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The front of distinct rows, by moocore: divide and conquer in n log^(k-2) n (Kung, Luccio and Preparata, 1975), however
    many rows are on it."""
    from moocore import is_nondominated  # type: ignore[import-not-found, import-untyped]

    if not np.isfinite(rows).all():  # moocore takes finite numbers only, and only their order counts
        rows = np.column_stack([np.unique(column, return_inverse=True)[1] for column in rows.T]).astype(float)
    return np.asarray(is_nondominated(rows), bool)


def swept(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The same without a compiled library, for fronts of some thousand rows: rows are distinct and in lexicographic order, so only an
    earlier one can dominate a later one, and each block is compared with the front so far and with itself."""
    candidates = np.arange(len(rows))
    # A few good all-round rows first: they sweep most of the others away at once.
    spread = np.ptp(np.where(np.isfinite(rows), rows, 0.0), axis=0)
    scaled = _ranks(rows) if not np.isfinite(rows).all() else (rows - rows.min(axis=0)) / np.where(spread > 0, spread, 1.0)
    for weights in (np.ones(rows.shape[1]), *np.eye(rows.shape[1]) * 4 + 1):
        best = candidates[np.argmin(scaled[candidates] @ weights)]
        beaten = (rows[best] <= rows[candidates]).all(axis=1)
        candidates = candidates[~beaten | (candidates == best)]
    for best in candidates[np.argsort(scaled[candidates].sum(axis=1), kind="stable")[:256]]:
        beaten = (rows[best] <= rows[candidates]).all(axis=1)
        candidates = candidates[~beaten | (candidates == best)]
    kept = np.zeros(len(rows), bool)
    kept[_sweep_front(rows, candidates)] = True
    return kept


def _ranks(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions in each column as fractions; for columns with infinities."""
    order = np.argsort(np.argsort(rows, axis=0), axis=0)
    return order / max(len(rows) - 1, 1)


def _sweep_front(rows: NDArray[np.float64], candidates: NDArray[np.intp], block: int = 512) -> NDArray[np.intp]:
    """Blocks in lexicographic order against the front so far, then against themselves."""
    front = np.empty(0, np.intp)
    for start in range(0, len(candidates), block):
        some = candidates[start : start + block]
        some = some[~_beaten(rows[some], rows[front])]
        some = some[~_beaten(rows[some], rows[some], same=True)]
        front = np.concatenate([front, some])
    return front


def _beaten(rows: NDArray[np.float64], by: NDArray[np.float64], same: bool = False, block: int = 4096) -> NDArray[np.bool_]:
    """Which rows some row of `by` is not above anywhere (rows are distinct, so it is below somewhere)."""
    beaten = np.zeros(len(rows), bool)
    for start in range(0, len(by), block):
        part = by[start : start + block]
        open_rows = np.flatnonzero(~beaten)
        if not open_rows.size:
            break
        below = np.ones((open_rows.size, len(part)), bool)
        for column in range(rows.shape[1]):
            below &= part[:, column] <= rows[open_rows, column, None]
        if same:
            below[np.arange(len(rows)), np.arange(len(rows))] = False
        beaten[open_rows] = below.any(axis=1)
    return beaten


def pareto(
    frame: pd.DataFrame,
    objectives: Sequence[str] | Mapping[str, str],
    constraints: Sequence[str | Callable[[pd.DataFrame], Any]] = (),
    *,
    epsilon: float | Mapping[str, float] = 0.0,
    ready: str | None = None,
    feasible: bool = True,
) -> pd.DataFrame:
    """The front of a swept frame, with what each winner gave up and what binds it.

    objectives: metric columns, minimised or (throughput, fidelity, largest batch) maximised, or a mapping column -> `min` | `max`;
    a band counts too (`ttft_s_upper`). constraints: texts or functions, e.g. "ttft_s <= 0.2", "fidelity >= 0.97". epsilon:
    points within this relative distance of a winner on every objective are represented by it (additive epsilon-dominance in log;
    Laumanns et al., 2002). ready: `runs` or `patch`, the least a mix must be on its engine. feasible: drop points that do not
    fit, exceed the model's context or were refused.

    Rows keep their index. Added columns: `gave_up_<objective>` (relative to the best of the front), `knee` (True for the point
    furthest beyond the plane through the extremes), and, where the stage columns are there, `binding_stage` and
    `binding_resource`. Ties are all kept; rows with NaN in an objective are not winners. Raises SpecError for an unknown column.
    """
    directions = directions_of(frame, objectives)
    allowed: Any = frame[feasible_rows(frame, constraints, ready, feasible)]
    costs = costs_of(allowed, directions)
    winners = nondominated(costs)
    if epsilon:
        winners &= _thinned(costs, winners, directions, epsilon)
    front: pd.DataFrame = allowed[winners].copy()
    return explained(front, directions)


def directions_of(frame: pd.DataFrame, objectives: Sequence[str] | Mapping[str, str]) -> dict[str, float]:
    """1 for objectives to minimise, -1 to maximise."""
    named = dict(objectives) if isinstance(objectives, Mapping) else {name: "max" if name in LARGER_IS_BETTER else "min" for name in objectives}
    if not named:
        raise SpecError("objectives: none given; e.g. ttft_s, tpot_s, fidelity")
    for name, direction in named.items():
        if name not in frame.columns:
            raise SpecError(f"objectives: {name!r} is not a column; accepted: {', '.join(map(str, frame.columns))}")
        if direction not in ("min", "max"):
            raise SpecError(f"objectives.{name}: {direction!r} is not accepted; min or max")
        if frame[name].dtype.kind not in "fiub":
            raise SpecError(f"objectives: {name!r} holds no numbers")
    return {name: 1.0 if direction == "min" else -1.0 for name, direction in named.items()}


def costs_of(frame: pd.DataFrame, directions: Mapping[str, float]) -> NDArray[np.float64]:
    """Objectives as columns to minimise [rows, objectives]."""
    return np.column_stack([frame[name].to_numpy(dtype=float) * sign for name, sign in directions.items()])


def feasible_rows(
    frame: pd.DataFrame, constraints: Sequence[str | Callable[[pd.DataFrame], Any]] = (), ready: str | None = None, feasible: bool = True
) -> NDArray[np.bool_]:
    """Rows that satisfy the constraints and, with `feasible`, fit, lie within the context and were not refused."""
    mask = np.ones(len(frame), bool)
    if feasible:
        for name in ("fits", "within_context"):
            if name in frame:
                mask &= frame[name].to_numpy(dtype=bool)
        if "refused" in frame:
            mask &= (frame["refused"].astype(str) == "").to_numpy()
    if ready is not None:
        if ready not in ("runs", "patch", "hypothetical"):
            raise SpecError(f"ready: {ready!r} is not accepted; runs, patch or hypothetical")
        mask &= frame["deployable"].astype(str).map(lambda text: _READY[text]).to_numpy() <= _READY[ready]
    if any(isinstance(rule, str) for rule in constraints):
        columns: Any = frame
        values = {str(name): _plain(columns[name]) for name in frame.columns}
        for rule in constraints:
            if isinstance(rule, str):
                mask &= np.broadcast_to(np.asarray(parse(rule)(values), bool), len(frame))
    for rule in constraints:
        if not isinstance(rule, str):
            mask &= np.asarray(rule(frame), bool)
    return mask


def _plain(column: pd.Series) -> NDArray[Any]:
    return column.astype(object).to_numpy() if column.dtype == "category" else column.to_numpy()


def _thinned(
    costs: NDArray[np.float64], winners: NDArray[np.bool_], directions: Mapping[str, float], epsilon: float | Mapping[str, float]
) -> NDArray[np.bool_]:
    """One winner for each neighbourhood: in order of distance to the ideal point, each hides what it comes within epsilon of."""
    steps = np.array([epsilon.get(name, 0.0) if isinstance(epsilon, Mapping) else epsilon for name in directions])
    if (steps < 0).any():
        raise SpecError(f"epsilon: {epsilon!r} is not accepted; 0 or more")
    index = np.flatnonzero(winners)
    rows = costs[index]
    spread = np.ptp(rows, axis=0) if len(rows) else np.ones(rows.shape[1])
    closeness = ((rows - rows.min(axis=0)) / np.where(spread > 0, spread, 1.0)).sum(axis=1) if len(rows) else np.empty(0)
    reach = np.abs(rows) * steps
    kept = np.zeros(len(costs), bool)
    hidden = np.zeros(len(rows), bool)
    for at in np.argsort(closeness, kind="stable"):
        if hidden[at]:
            continue
        kept[index[at]] = True
        hidden |= (rows[at] <= rows + reach).all(axis=1)
    return kept


def explained(front: pd.DataFrame, directions: Mapping[str, float]) -> pd.DataFrame:
    """The winners with `gave_up_*`, `knee`, `binding_stage` and `binding_resource`."""
    import pandas as pd

    costs = costs_of(front, directions)
    for at, name in enumerate(directions):
        best = costs[:, at].min() if len(front) else 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            lost = (costs[:, at] - best) / abs(best)
        front[f"gave_up_{name}"] = np.where(costs[:, at] == best, 0.0, lost)
    front["knee"] = knees(costs)
    if all(f"{stage}_s" in front for stage in STAGES):
        longest = np.argmax(front[[f"{stage}_s" for stage in STAGES]].to_numpy(dtype=float), axis=1) if len(front) else np.empty(0, int)
        front["binding_stage"] = pd.Categorical.from_codes(longest, categories=list(STAGES))
        if all(f"{stage}_bound" in front for stage in STAGES):
            texts = np.column_stack([front[f"{stage}_bound"].astype(str).to_numpy() for stage in STAGES])
            front["binding_resource"] = pd.Categorical(texts[np.arange(len(front)), longest])
    return front


def knees(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The point of a front that lies furthest beyond the plane through the ends, in objectives scaled to [0, 1] (Das, 1999).

    With positive costs over two orders of magnitude the scale is logarithmic. Fronts of fewer than three points have none.
    """
    found = np.zeros(len(costs), bool)
    finite = np.isfinite(costs).all(axis=1)
    if finite.sum() < 3:
        return found
    rows = costs[finite].copy()
    for column in rows.T:
        if column.min() > 0 and column.max() / column.min() > 100:
            np.log(column, out=column)
    spread = np.ptp(rows, axis=0)
    used = spread > 0
    if used.sum() < 2:
        return found
    depth = 1.0 - ((rows - rows.min(axis=0)) / np.where(used, spread, 1.0))[:, used].mean(axis=1)
    found[np.flatnonzero(finite)] = np.isclose(depth, depth.max(), rtol=0, atol=1e-12)
    return found


def hypervolume(costs: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Volume dominated by rows of `costs` [n, k] (smaller is better) up to `reference` [k].

    Optuna's own routine, so that the figure is not ours; points beyond the reference or with NaN add nothing.
    """
    from optuna import _hypervolume

    inside: NDArray[np.bool_] = np.asarray(~np.isnan(costs).any(axis=1))
    inside[inside] = (costs[inside] < reference).all(axis=1)
    if not inside.any():
        return 0.0
    rows = costs[inside]
    return float(_hypervolume.compute_hypervolume(rows[nondominated(rows)], np.asarray(reference, dtype=float)))
