"""Blocks of points through the vectorised core, and the columns that come out.

Each numeric axis of a block is a dimension of its own, so what does not depend on an axis is computed once along it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from simulator.assemble import assemble
from simulator.measure import measure
from simulator.search import columns
from simulator.search.axes import Axis
from simulator.search.blocks import Block, Chunk
from simulator.search.expression import parse
from simulator.search.space import Space
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import pandas as pd


@final
@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive rows with the same choices. codes: position of each choice on its axis (-1: inactive)."""

    rows: int
    codes: tuple[int, ...]
    deployable: str
    refused: str


@final
@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows of a chunk: numeric axes and metrics as columns, choices as runs. points: how many were evaluated."""

    index: int
    points: int
    columns: dict[str, NDArray[Any]]
    runs: tuple[Run, ...]

    @property
    def rows(self) -> int:
        """Rows left after constraints."""
        return sum(run.rows for run in self.runs)


def evaluate_chunk(space: Space, chunk: Chunk, metrics: tuple[str, ...]) -> Part:
    """Every point of a chunk, constraints applied. A combination that cannot be keeps its rows, with the reason in `refused`."""
    needed = _needed(space, metrics)
    made: list[dict[str, NDArray[Any]]] = []
    runs: list[Run] = []
    for block in chunk.blocks:
        data, run = _evaluate(space, block, metrics, needed)
        made.append(data)
        runs.append(run)
    joined = {name: np.concatenate([data[name] for data in made]) if len(made) > 1 else made[0][name] for name in made[0]}
    return Part(chunk.index, chunk.size, joined, tuple(runs))


def _needed(space: Space, metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Metrics to compute: those asked for and those a constraint looks at (all, where it is a function)."""
    asked = set(metrics)
    for rule in space.constraints:
        asked |= (set(parse(rule).names) & set(columns.METRICS)) if isinstance(rule, str) else set(columns.METRICS)
    return tuple(name for name in columns.METRICS if name in asked)


def _evaluate(space: Space, block: Block, metrics: tuple[str, ...], needed: tuple[str, ...]) -> tuple[dict[str, NDArray[Any]], Run]:
    group, shape = block.group, block.shape
    indices = axis_indices(block)
    ready, refused = "runs", ""
    try:
        scenario = space.scenario(group.choice)
        case = space.case(scenario, spread_values(group.axes, indices, len(shape)))
        assembly = assemble(case)
        point = columns.Point(case, assembly, measure(case, assembly))
        found = columns.values(point, needed, shape)
        ready = columns.deployable(case.techniques, case.engine.name)
    except SpecError as error:
        refused = str(error)
        found = columns.missing(needed, block.size)
    data = {axis.path: axis_column(space, axis, group.axes, indices, shape) for axis in space.numbers}
    codes = tuple(axis.values.index(group.choice[axis.path]) if group.choice[axis.path] is not None else -1 for axis in space.choices)
    rows = block.size
    if space.constraints:
        mask = _mask(space, data, found, codes, ready, refused, block.size)
        if not mask.all():
            rows = int(mask.sum())
            data = {name: column[mask] for name, column in data.items()}
            found = {name: column[mask] for name, column in found.items()}
    data |= {name: found[name] for name in metrics}
    return data, Run(rows, codes, ready, refused)


def axis_indices(block: Block) -> list[NDArray[np.intp] | int]:
    """Positions on each numeric axis of a block: one where the axis is fixed, else a run of them."""
    lengths = block.group.shape
    found: list[NDArray[np.intp] | int] = list(block.fixed)
    for at in range(len(block.fixed), len(lengths)):
        found.append(np.arange(block.start, block.stop) if at == len(block.fixed) else np.arange(lengths[at]))
    return found


def spread_values(axes: Sequence[Axis], indices: Sequence[NDArray[np.intp] | int], dimensions: int) -> dict[str, Any]:
    """Values of each axis along a dimension of its own; plain floats where it is fixed or has one point."""
    values: dict[str, Any] = {}
    for at, (axis, index) in enumerate(zip(axes, indices, strict=True)):
        parts: list[Any] = []
        for numbers in axis.numbers():
            if isinstance(index, int) or index.size == 1:
                parts.append(float(numbers[index if isinstance(index, int) else int(index[0])]))
            else:
                parts.append(numbers[index].reshape([-1 if i == at else 1 for i in range(dimensions)]))
        values[axis.path] = parts[0] if axis.kind in ("whole", "real") else tuple(parts)
    return values


def axis_column(
    space: Space, axis: Axis, active: Sequence[Axis], indices: Sequence[NDArray[np.intp] | int], shape: tuple[int, ...]
) -> NDArray[Any]:
    """An axis as a column of a block: its values, or positions of a pair or list; NaN or -1 where it is not active."""
    size = int(np.prod(shape, dtype=np.int64))
    at = next((i for i, item in enumerate(active) if item is axis), None)
    coded = axis.kind in ("pair", "list")
    if at is None:
        return np.full(size, -1, np.int32) if coded else np.full(size, np.nan)
    index = np.atleast_1d(np.asarray(indices[at]))
    values = index.astype(np.int32) if coded else np.array(axis.values)[index].astype(column_type(space, axis))
    return np.broadcast_to(values.reshape([-1 if i == at else 1 for i in range(len(shape))]), shape).reshape(-1)


def column_type(space: Space, axis: Axis) -> Any:
    """Whole numbers stay whole unless the axis may be inactive somewhere."""
    return np.dtype(np.int64) if axis.kind == "whole" and not space.collapses(axis) else np.dtype(np.float64)


@final
class _Names(Mapping[str, Any]):
    """Columns by name for a condition, choices as their labels."""

    def __init__(self, space: Space, data: Mapping[str, Any], codes: Sequence[int], notes: Mapping[str, str]) -> None:
        self._data = data
        self._coded = {axis.path: axis for axis in space.numbers if axis.kind in ("pair", "list")}
        self._choices = {
            axis.path: None if code < 0 else _scalar(axis, code) for axis, code in zip(space.choices, codes, strict=True)
        } | dict(notes)

    def __getitem__(self, name: str) -> Any:
        if name in self._choices:
            return self._choices[name]
        if name in self._coded:
            return np.array([*self._coded[name].labels, ""])[self._data[name]]
        if name in columns.CODED:
            return np.array(columns.BOUNDS)[self._data[name]]
        return self._data[name]

    def __iter__(self) -> Any:
        return iter([*self._choices, *self._data])

    def __len__(self) -> int:
        return len(self._choices) + len(self._data)


def _scalar(axis: Axis, code: int) -> Any:
    value = axis.values[code]
    return value if isinstance(value, bool | int | float) else axis.labels[code]


def _mask(
    space: Space, data: Mapping[str, Any], found: Mapping[str, Any], codes: tuple[int, ...], ready: str, refused: str, size: int
) -> NDArray[np.bool_]:
    mask = np.ones(size, bool)
    names = _Names(space, {**data, **found}, codes, {"deployable": ready, "refused": refused})
    for rule in space.constraints:
        if isinstance(rule, str):
            mask &= np.broadcast_to(np.asarray(parse(rule)(names), bool), size)
        else:
            whole = Part(0, size, {**data, **found}, (Run(size, codes, ready, refused),))
            mask &= np.asarray(rule(frame_of(space, [whole])), bool)
    return mask


def frame_of(space: Space, parts: Sequence[Part]) -> pd.DataFrame:
    """Parts as a DataFrame: one column per axis as given, then metrics, then notes."""
    import pandas as pd

    names = list(parts[0].columns) if parts else [axis.path for axis in space.numbers]
    rows = np.array([run.rows for part in parts for run in part.runs], dtype=np.int64)
    runs = [run for part in parts for run in part.runs]
    ready: dict[str, Any] = {}
    for axis in space.axes:
        if not axis.numeric:
            at = [item.path for item in space.choices].index(axis.path)
            codes = np.repeat(np.array([run.codes[at] for run in runs], dtype=np.int32), rows)
            ready[axis.path] = _choice_column(axis, codes)
        elif axis.kind in ("pair", "list"):
            ready[axis.path] = pd.Categorical.from_codes(_joined(parts, axis.path), categories=list(axis.labels))
        else:
            ready[axis.path] = _joined(parts, axis.path)
    for name in names:
        if name not in ready:
            column = _joined(parts, name)
            ready[name] = pd.Categorical.from_codes(column, categories=list(columns.BOUNDS)) if name in columns.CODED else column
    for name in columns.NOTES:
        texts = [getattr(run, name) for run in runs]
        categories = list(dict.fromkeys(texts)) or [""]
        codes = np.repeat(np.array([categories.index(text) for text in texts], dtype=np.int32), rows)
        ready[name] = pd.Categorical.from_codes(codes, categories=categories)
    return pd.DataFrame(ready, copy=False)


def _choice_column(axis: Axis, codes: NDArray[np.int32]) -> Any:
    """Numbers and flags as they are where the axis is active throughout, all else as categories."""
    import pandas as pd

    plain = all(isinstance(value, bool) for value in axis.values) or all(type(value) is int for value in axis.values)
    if plain and (codes >= 0).all():
        return np.array(axis.values)[codes]
    return pd.Categorical.from_codes(codes, categories=list(axis.labels))


def _joined(parts: Sequence[Part], name: str) -> NDArray[Any]:
    if len(parts) == 1:
        return parts[0].columns[name]
    return np.concatenate([part.columns.pop(name) for part in parts]) if parts else np.empty(0)
