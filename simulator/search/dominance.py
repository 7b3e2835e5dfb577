"""Which points no other beats, which of those differ enough to matter, and how much a set of them dominates."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray


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


def thinned(costs: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows of a front stand for all of it within a relative step in each column (Laumanns et al., 2002): values are put into
    boxes as wide as the step in log, a box that another one dominates is dropped, and of each that is left the row closest to the
    ideal point stays. A step of 0 tells all values apart. Rows hold no NaN."""
    kept = np.zeros(len(costs), bool)
    if not len(costs):
        return kept
    boxes = np.column_stack([_boxes(column, step) for column, step in zip(costs.T, steps, strict=True)])
    order = np.lexsort((_ranks(costs).sum(axis=1), *boxes.T[::-1]))
    ordered = boxes[order]
    first = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    kept[order[first][nondominated(ordered[first])]] = True
    return kept


def _boxes(column: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Numbers of boxes in the order of the values; 0 and infinities have their own."""
    if step < np.finfo(float).eps:
        return column
    with np.errstate(divide="ignore", invalid="ignore"):
        boxes = np.floor(np.sign(column) * np.log(np.abs(column)) / np.log1p(step))
    # Logarithms of what is below 1 are negative: each sign gets a stretch of its own, with 0 between.
    far = np.abs(boxes[np.isfinite(boxes)]).max(initial=0.0) + 1.0
    return np.where(column == 0.0, 0.0, boxes + np.sign(column) * far)


def hypervolume(costs: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Volume dominated by rows of `costs` [n, k] (smaller is better) up to `reference` [k]; points beyond the reference or with NaN
    add nothing. By moocore (extra `search`); without it `volume`, for fronts of some hundred rows."""
    reference = np.asarray(reference, dtype=float)
    inside: NDArray[np.bool_] = np.asarray(~np.isnan(costs).any(axis=1))
    inside[inside] = (costs[inside] < reference).all(axis=1)
    if not inside.any():
        return 0.0
    rows = costs[inside]
    rows = rows[nondominated(rows)]
    if _divides() and np.isfinite(rows).all() and np.isfinite(reference).all():
        from moocore import hypervolume as volume_of  # type: ignore[import-not-found, import-untyped]

        return float(volume_of(rows, ref=reference))
    return volume(rows, reference)


def volume(rows: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """The same without a compiled library: what each row dominates beyond the following ones (While, Bradstreet and Barone, 2012)."""
    rows = np.unique(rows, axis=0)
    if rows.shape[1] == 2:
        rows = rows[nondominated(rows)]
        above = np.concatenate([reference[1:], rows[:-1, 1]])
        return float(((reference[0] - rows[:, 0]) * (above - rows[:, 1])).sum())
    total = 0.0
    for at, row in enumerate(rows):
        total += float(np.prod(reference - row))
        limited = np.maximum(rows[at + 1 :], row)
        if len(limited):
            total -= volume(limited[nondominated(limited)], reference)
    return total
