"""Pareto fronts of frames: the winners, what each gave up, and what binds it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.program import STAGES
from simulator.search.dominance import nondominated, thinned
from simulator.search.objectives import FLAGS, costs_of, directions_of, feasible_rows
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import pandas as pd


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
    every winner is within this relative distance, on every objective, of one that is kept (epsilon-dominance by boxes;
    Laumanns et al., 2002). ready: `runs` or `patch`, the least a mix must be on its engine. feasible: drop points that do not
    fit, exceed the model's context or were refused; a frame without the columns that say so is warned of (UserWarning).

    Rows keep their index. Added columns: `gave_up_<objective>` (relative to the best of the front), `knee` (True for the point
    furthest beyond the plane through the extremes), and, where the stage columns are there, `binding_stage` and
    `binding_resource`. Ties are all kept; rows with NaN in an objective are not winners. Raises SpecError for an unknown column.
    """
    directions = directions_of(frame, objectives)
    unsaid = [name for name in FLAGS if name not in frame]
    if feasible and unsaid:
        advice = "sweep with these metrics too, or give feasible=False"
        warnings.warn(f"pareto: the frame has no column {' or '.join(unsaid)}, so winners may not be feasible; {advice}", UserWarning, stacklevel=2)
    allowed: Any = frame[feasible_rows(frame, constraints, ready, feasible)]
    costs = costs_of(allowed, directions)
    winners = nondominated(costs)
    steps = np.array([epsilon.get(name, 0.0) if isinstance(epsilon, Mapping) else epsilon for name in directions], dtype=float)
    unknown = sorted(set(epsilon) - set(directions)) if isinstance(epsilon, Mapping) else []
    if unknown or not (np.isfinite(steps) & (steps >= 0)).all():
        raise SpecError(f"epsilon: {unknown[0] if unknown else epsilon!r} is not accepted; 0 or more, for all objectives or by name: {', '.join(directions)}")
    if steps.any():
        winners[winners] = thinned(costs[winners], steps)
    front: pd.DataFrame = allowed[winners].copy()
    return explained(front, directions)


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
