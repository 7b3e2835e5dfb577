"""What is looked for: objectives as costs, and which rows of a frame are allowed, or by how much they are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.search.expression import parse
from simulator.spec.source import SpecError
from simulator.spec.validated import nearest

if TYPE_CHECKING:
    import pandas as pd

    Rule = str | Callable[[pd.DataFrame], Any]
    Rules = Rule | Sequence[Rule]

LARGER_IS_BETTER = frozenset(("output_tokens_per_s", "fidelity", "fidelity_low", "fidelity_high", "max_batch"))
"""Metrics to maximise; all others are minimised."""
_READY = {"runs": 0, "patch": 1, "hypothetical": 2}
FLAGS = ("fits", "within_context")
"""Columns that must be true of a row, whatever the conditions."""


def directions_of(frame: pd.DataFrame, objectives: Sequence[str] | Mapping[str, str]) -> dict[str, float]:
    """1 for objectives to minimise, -1 to maximise. Raises SpecError for one that is not a column of numbers."""
    signs = signs_of(objectives)
    known([str(name) for name in frame.columns], signs)
    for name in signs:
        if list(frame.columns).count(name) > 1:
            raise SpecError(f"objectives: {name!r} is not one column but several")
        if frame[name].dtype.kind not in "fiub":
            raise SpecError(f"objectives: {name!r} holds no numbers")
    return signs


def signs_of(objectives: Sequence[str] | Mapping[str, str]) -> dict[str, float]:
    """The same before there is a frame."""
    if isinstance(objectives, str):
        objectives = [objectives]
    named = dict(objectives) if isinstance(objectives, Mapping) else {name: "max" if name in LARGER_IS_BETTER else "min" for name in objectives}
    if not named:
        raise SpecError("objectives: none given; e.g. ttft_s, tpot_s, fidelity")
    for name, direction in named.items():
        if direction not in ("min", "max"):
            raise SpecError(f"objectives.{name}: {direction!r} is not accepted; min or max")
    return {name: 1.0 if direction == "min" else -1.0 for name, direction in named.items()}


def known(columns: Sequence[str], objectives: Iterable[str]) -> None:
    """Raises SpecError for an objective that is not among the columns."""
    for name in objectives:
        if name not in columns:
            close = nearest(str(name), list(columns))
            hint = f"did you mean {' or '.join(close)}?" if close else f"accepted: {', '.join(columns)}"
            raise SpecError(f"objectives: {name!r} is not a column; {hint}")


def costs_of(frame: pd.DataFrame, directions: Mapping[str, float]) -> NDArray[np.float64]:
    """Objectives as columns to minimise [rows, objectives]."""
    return np.column_stack([frame[name].to_numpy(dtype=float) * sign for name, sign in directions.items()])


def feasible_rows(
    frame: pd.DataFrame, constraints: Rules = (), ready: str | None = None, feasible: bool = True
) -> NDArray[np.bool_]:
    """Rows that satisfy the constraints and, with `feasible`, fit, lie within the context and were not refused."""
    mask = np.ones(len(frame), bool)
    for holds in _flags(frame, ready, feasible):
        mask &= holds
    values = _values(frame, constraints)
    for rule in listed(constraints):
        mask &= np.broadcast_to(np.asarray(parse(rule)(values) if isinstance(rule, str) else rule(frame), bool), len(frame))
    return mask


def violations(frame: pd.DataFrame, constraints: Rules, ready: str | None, needed: Sequence[str]) -> NDArray[np.float64]:
    """How far each row is from being allowed: 0 for `feasible_rows` with numbers in the columns `needed`; else 1 for each flag that
    is not as it should be and each missing number, plus the excess of each condition (see `Expression.excess`)."""
    total = np.zeros(len(frame))
    for holds in _flags(frame, ready, True):
        total += ~holds
    for name in needed:
        total += np.isnan(frame[name].to_numpy(dtype=float))
    values = _values(frame, constraints)
    for rule in listed(constraints):
        total += parse(rule).excess(values) if isinstance(rule, str) else ~np.asarray(rule(frame), bool)
    return total


def listed(constraints: Rules) -> tuple[Rule, ...]:
    """Conditions one by one; a single one may stand alone."""
    return (constraints,) if isinstance(constraints, str) or callable(constraints) else tuple(constraints)


def named(item: Any) -> str:
    """A condition or a function as text that is the same in the next session."""
    if isinstance(item, partial):
        return f"{named(item.func)}({', '.join(named(part) for part in item.args)})"
    if isinstance(item, str) or not callable(item):
        return str(item)
    return f"{getattr(item, '__module__', '')}.{getattr(item, '__qualname__', type(item).__qualname__)}"


def _flags(frame: pd.DataFrame, ready: str | None, feasible: bool) -> Iterator[NDArray[np.bool_]]:
    """What must be true of a row whatever the conditions."""
    if feasible:
        for name in FLAGS:
            if name in frame:
                yield frame[name].to_numpy(dtype=bool)
        if "refused" in frame:
            yield (frame["refused"].astype(str) == "").to_numpy(dtype=bool)
    if ready is not None:
        if ready not in _READY:
            raise SpecError(f"ready: {ready!r} is not accepted; {', '.join(_READY)}")
        if "deployable" not in frame:
            raise SpecError(f"ready: {ready!r}: the rows say nothing about it; a column `deployable` is expected")
        yield frame["deployable"].astype(str).map(lambda text: _READY[text]).to_numpy(dtype=int) <= _READY[ready]


def _values(frame: Any, constraints: Rules) -> dict[str, Any]:
    """Columns by name, where a condition is a text."""
    if not any(isinstance(rule, str) for rule in listed(constraints)):
        return {}
    return {str(name): _plain(frame[name]) for name in frame.columns}


def _plain(column: pd.Series) -> NDArray[Any]:
    return column.astype(object).to_numpy() if column.dtype == "category" else column.to_numpy()
