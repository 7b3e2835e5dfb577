"""How good the bands are on methods that neither the fit nor the widths of its bands have seen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from simulator.fidelity.curve import Z80
from simulator.fidelity.fit import SMALLEST_POOL, Need, answered, fit_pool, needs, papers_of, widened, without
from simulator.fidelity.model import CEILING, Pool, band, losses, span
from simulator.fidelity.score import interval_score
from simulator.literature.evidence import AXES, Evidence, load_evidence


def leave_one_method_out(rows: Sequence[Evidence] | None = None) -> pd.DataFrame:
    """Every row that the tool would answer, by a pool that has not seen its method, beside the mean of the other methods of its family.

    The widths are chosen without the method as well, from fits that leave out two methods each.
    Columns: axis, entry, family, kept, task_class, actual, middle, low, high, base_low, base_high, score, base_score.
    """
    table = load_evidence() if rows is None else rows
    by_axis = {axis: [row for row in table if row.axis == axis] for axis in AXES}
    by_axis = {axis: own for axis, own in by_axis.items() if len(papers_of(own)) > SMALLEST_POOL}
    pools = {axis: {name: fit_pool(without(own, name), axis) for name in papers_of(own)} for axis, own in by_axis.items()}
    alone = {(axis, name): needs(pools[axis][name], test) for axis, own in by_axis.items() for name, test in papers_of(own).items()}
    paired: dict[tuple[str, str], list[Need]] = {key: [] for key in alone}
    for axis, own in by_axis.items():
        papers = papers_of(own)
        for first, second in combinations(papers, 2):
            rest = fit_pool(without(own, first, second), axis, pools[axis][first])
            paired[axis, first] += needs(rest, papers[second])
            paired[axis, second] += needs(rest, papers[first])
    found: list[dict[str, Any]] = []
    for axis, name in alone:
        apart = {key[0] for key in alone if key[1] == name}
        seen = [need for key, those in paired.items() if key[1] == name for need in those]
        seen += [need for key, those in alone.items() if key[0] not in apart for need in those]
        pool = widened(pools[axis][name], seen)
        train = without(by_axis[axis], name)
        found += [_beside_family(pool, row, train) for row in papers_of(by_axis[axis])[name] if answered(pool, row)]
    frame: Any = pd.DataFrame(found)
    actual = frame["actual"].to_numpy()
    frame["score"] = interval_score(actual, frame["low"].to_numpy(), frame["high"].to_numpy())
    frame["base_score"] = interval_score(actual, frame["base_low"].to_numpy(), frame["base_high"].to_numpy())
    return frame


def _beside_family(pool: Pool, row: Evidence, train: Sequence[Evidence]) -> dict[str, Any]:
    """One prediction, and what mean and scatter of the family say."""
    spoken = span(pool, row.family, row.task_class)
    assert spoken is not None
    low_loss, loss, high_loss = losses(pool, row.family, row.task_class, row.kept)
    middle, low, high = band(low_loss / spoken[1], loss, high_loss * spoken[1])
    peers = [other.retained for other in train if other.family == row.family]
    peers = peers if len(peers) > 1 else [other.retained for other in train]
    centre, reach = float(np.mean(peers)), Z80 * float(np.std(peers, ddof=1))
    return {
        "axis": pool.axis, "entry": row.entry, "family": row.family, "kept": row.kept, "task_class": row.task_class,
        "actual": row.retained, "middle": middle, "low": low, "high": high,
        "base_low": centre - reach, "base_high": min(centre + reach, CEILING),
    }  # fmt: skip
