"""Single points: rows of a frame back to scenarios, and lists of points evaluated at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.assemble import assemble
from simulator.measure import measure
from simulator.search import columns
from simulator.search.axes import Axis
from simulator.search.grid import Part, Run, column_type, frame_of
from simulator.search.space import Space
from simulator.spec.scenario import HardwareScale, Scenario
from simulator.spec.source import SpecError
from simulator.spec.validated import validated
from simulator.spec.workload import Image, Workload

if TYPE_CHECKING:
    import pandas as pd

ROWS = 8_192
"""Independent rows evaluated at once: as many as stay in cache."""


def value_of(axis: Axis, cell: Any) -> Any:
    """The value of an axis behind a cell of its column; None where the axis is not active."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if axis.kind in ("choice", "pair", "list") and isinstance(cell, str):
        if cell not in axis.labels:
            raise SpecError(f"{axis.path}: {cell!r} is not on the axis; accepted: {', '.join(axis.labels)}")
        return axis.values[axis.labels.index(cell)]
    return cell.item() if isinstance(cell, np.generic) else cell


def picked(space: Space, row: Mapping[str, Any]) -> Scenario:
    """The scenario of a row: `estimate` of it gives the row's numbers."""
    found = {axis.path: value_of(axis, row[axis.path]) for axis in space.axes}
    scenario = space.scenario({axis.path: found[axis.path] for axis in space.choices})
    return with_numbers(scenario, {axis.path: found[axis.path] for axis in space.numbers if found[axis.path] is not None})


def with_numbers(scenario: Scenario, values: Mapping[str, Any]) -> Scenario:
    """A scenario with numbers at the paths of numeric axes, validated."""
    work: dict[str, Any] = scenario.workload.model_dump()
    scale: dict[str, Any] = scenario.scale.model_dump()
    uses = {use.kind: dict(use.parameters) for use in scenario.techniques}
    for path, value in values.items():
        head, *rest = path.split(".")
        if path == "workload.image":
            first = scenario.workload.images[0].model_dump() if scenario.workload.images else {}
            work["images"] = [first | {"width": int(value[0]), "height": int(value[1]), "file": None}]
        elif head == "scale":
            scale[rest[0]] = float(value)
        elif head == "techniques":
            uses[rest[0]][rest[1]] = list(value) if isinstance(value, tuple) else value
        elif len(rest) == 1:
            work[rest[0]] = int(value)
        elif rest[1] == "scale":
            continue
        else:
            if rest[1] == "frames":
                work[rest[0]] = [item | {"duration": None, "fps": None} for item in work[rest[0]]]
            work[rest[0]] = [item | {rest[1]: value if rest[1] in ("duration", "fps") else int(value)} for item in work[rest[0]]]
    for kind in ("images", "videos"):
        factor = values.get(f"workload.{kind}.scale")
        if factor is not None:
            work[kind] = [item | {side: max(round(item[side] * factor), 1) for side in ("width", "height")} for item in work[kind]]
    techniques = tuple(use.model_copy(update={"parameters": uses[use.kind]}) for use in scenario.techniques)
    update = {"workload": validated(Workload, work, "workload"), "scale": validated(HardwareScale, scale, "scale"), "techniques": techniques}
    return scenario.model_copy(update=update)


def base_value(scenario: Scenario, path: str) -> Any:
    """The value a scenario has at the path of a numeric axis; the default of a parameter that is not given."""
    from simulator.presets import presets
    from simulator.technique import convert, parameters, registry

    head, *rest = path.split(".")
    if head == "scale":
        return getattr(scenario.scale, rest[0])
    if head == "techniques":
        use = next((item for item in scenario.techniques if item.kind == rest[0]), None)
        parts = dict(presets()[rest[0]].parts) if rest[0] in presets() else {rest[0]: ()}
        for part, overrides in parts.items():
            for knob in parameters(registry()[part]):
                if knob.name == rest[1]:
                    given = {**dict(overrides), **(use.parameters if use else {})}.get(rest[1], knob.default)
                    return convert(rest[0], knob, given)
        raise SpecError(f"{path}: no such parameter")
    if path == "workload.image":
        first: Image = scenario.workload.images[0]
        return first.width, first.height
    if len(rest) == 1:
        return getattr(scenario.workload, rest[0])
    items = getattr(scenario.workload, rest[0])
    if not items:
        raise SpecError(f"{path}: the scenario has no {rest[0]}; give it one")
    return 1.0 if rest[1] == "scale" else getattr(items[0], rest[1])


def evaluate(space: Space, points: Sequence[Mapping[str, Any]], metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """Chosen points of a space as rows, in the order given: axis path -> value (or its label), None where an axis is inactive.

    Points that share their choices are evaluated together as independent rows. Constraints are not applied.
    """
    names = columns.checked(metrics)
    groups: dict[tuple[int, ...], list[int]] = {}
    found = [{axis.path: value_of(axis, point.get(axis.path)) for axis in space.axes} for point in points]
    for index, values in enumerate(found):
        codes = tuple(-1 if values[axis.path] is None else axis.values.index(values[axis.path]) for axis in space.choices)
        groups.setdefault(codes, []).append(index)
    parts: list[Part] = []
    order: list[int] = []
    for codes, members in groups.items():
        choice = {axis.path: None if code < 0 else axis.values[code] for axis, code in zip(space.choices, codes, strict=True)}
        active = [axis for axis in space.numbers if space.active(axis, choice)]
        for start in range(0, len(members), ROWS):
            some = members[start : start + ROWS]
            order += some
            parts.append(_rows(space, choice, codes, active, [found[index] for index in some], names))
    frame = frame_of(space, parts)
    return frame.iloc[np.argsort(np.array(order, dtype=np.intp), kind="stable")].reset_index(drop=True)


def each(function: Callable[[Scenario], Mapping[str, float]]) -> Callable[[Space, Sequence[Mapping[str, Any]]], pd.DataFrame]:
    """For `optimise(evaluate_with=each(f))`: f makes numbers of its own of one scenario (a serving simulation, a measurement), which stand
    beside the metrics in every row and may be objectives or be named in conditions. It is not called for what was refused.
    With an executor of other processes f must be a function of a module."""
    return partial(_each, function)


def _each(function: Callable[[Scenario], Mapping[str, float]], space: Space, points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    frame = evaluate(space, points)
    refused = frame["refused"].astype(str).to_numpy() != ""
    made = [{} if bad else dict(function(picked(space, point))) for bad, point in zip(refused, points, strict=True)]
    more = pd.DataFrame(made, index=frame.index)
    return pd.concat([frame[[name for name in frame.columns if name not in more]], more], axis=1)


def _rows(
    space: Space, choice: Mapping[str, Any], codes: tuple[int, ...], active: Sequence[Axis], rows: Sequence[Mapping[str, Any]],
    names: tuple[str, ...],
) -> Part:  # fmt: skip
    values: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for axis in space.numbers:
        coded = axis.kind in ("pair", "list")
        if axis not in active:
            data[axis.path] = np.full(len(rows), -1, np.int32) if coded else np.full(len(rows), np.nan)
            continue
        given = [row[axis.path] for row in rows]
        numbers = np.array(given, dtype=float)
        single = len(rows) == 1  # a plain float costs the core a tenth of an array of one
        values[axis.path] = tuple(map(float, numbers[0]) if single else numbers.T) if coded else float(numbers[0]) if single else numbers
        data[axis.path] = np.array([axis.values.index(item) for item in given], np.int32) if coded else numbers.astype(column_type(space, axis))
    ready, refused = "runs", ""
    try:
        case = space.case(space.scenario(choice), values)
        assembly = assemble(case)
        made = columns.values(columns.Point(case, assembly, measure(case, assembly)), names, (len(rows),))
        ready = columns.deployable(case.techniques, case.engine.name)
    except SpecError as error:
        refused, made = str(error), columns.missing(names, len(rows))
    return Part(0, len(rows), {**data, **made}, (Run(len(rows), codes, ready, refused),))
