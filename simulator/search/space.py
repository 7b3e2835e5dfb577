"""A space: a base scenario and axes over anything in it. Choices are looped over, numbers broadcast.

Points are counted and numbered before anything is evaluated: choices vary slowest, in the order their axes are given, numbers
after them, the last fastest. An axis may be conditional (`when`): where its condition does not hold, or its technique is not
in the mix, the axis has one point, which is empty (the base's value). Constraints drop points.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

from simulator.assemble import Case
from simulator.presets import resolve
from simulator.search.axes import Axis, label, make_axis
from simulator.search.blocks import Chunk, Group, chunks
from simulator.search.cases import case_with
from simulator.search.expression import parse
from simulator.search.objectives import listed, named
from simulator.spec.deployment import Parallelism
from simulator.spec.scenario import Scenario, TechniqueUse
from simulator.spec.source import SpecError
from simulator.spec.validated import validated

if TYPE_CHECKING:
    import pandas as pd

    from simulator.search.objectives import Rule, Rules

POINTS = 131_072
"""Points evaluated at once."""


@final
class Space:
    """Scenarios to look through.

    base: what every point starts from. axes: path -> values, e.g. `{"workload.text_tokens": range(64, 4096, 64),
    "techniques.fastv.keep": [0.25, 0.5, 1.0], "hardware": ["l40s", "h100-sxm"], "scale.bandwidth": [0.5, 1, 2]}`; naming a
    parameter of a technique that neither the base nor a `techniques` axis has puts the technique in. constraints: texts such
    as `workload.batch <= 8 or fits`, or functions from a DataFrame to booleans, over axis and metric columns; points where
    one is false are dropped. when: axis path -> condition on the choices (`hardware == 'l40s'`) under which it is active.
    Raises SpecError in one line on anything that cannot be.
    """

    def __init__(
        self,
        base: Scenario,
        axes: Mapping[str, Sequence[Any]],
        constraints: Rules = (),
        when: Mapping[str, str | Callable[[Mapping[str, Any]], bool]] | None = None,
    ) -> None:
        if not isinstance(base, Scenario):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SpecError(f"base: {type(base).__name__} is not accepted; a Scenario (`read_space` takes plain data)")
        if not isinstance(axes, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SpecError(f"axes: {type(axes).__name__} is not accepted; a mapping of path to values")
        if when is not None and not isinstance(when, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SpecError(f"when: {type(when).__name__} is not accepted; a mapping of path to condition")
        if isinstance(constraints, Mapping):
            raise SpecError(f"constraints: {type(constraints).__name__} is not accepted; a list of conditions")
        self.axes: tuple[Axis, ...] = tuple(make_axis(path, values, base) for path, values in axes.items())
        self.constraints: tuple[Rule, ...] = listed(constraints)
        self.when = dict(when or {})
        self.base = self._with_techniques(base)
        paths = {axis.path for axis in self.axes}
        if "workload.image" in paths and paths & {"workload.images.width", "workload.images.height"}:
            raise SpecError("axes.workload.image: sets both sides, so workload.images.width and height cannot be axes too")
        for path, condition in self.when.items():
            if path not in paths:
                raise SpecError(f"when.{path}: is not an axis; axes are {', '.join(paths)}")
            if isinstance(condition, str):
                names = {axis.path for axis in self.choices if axis.path != path}
                unknown = sorted(parse(condition).names - names)
                if unknown:
                    raise SpecError(f"when.{path}: {unknown[0]!r} is not a choice of this space; accepted: {', '.join(sorted(names)) or 'none'}")
        for rule in self.constraints:
            if not callable(rule):
                parse(rule)
        self._check_numbers()

    @property
    def choices(self) -> tuple[Axis, ...]:
        """Axes that are looped over."""
        return tuple(axis for axis in self.axes if not axis.numeric)

    @property
    def numbers(self) -> tuple[Axis, ...]:
        """Axes that broadcast."""
        return tuple(axis for axis in self.axes if axis.numeric)

    @cached_property
    def size(self) -> int:
        """Points before constraints, counted exactly."""
        if not any(self.collapses(axis) for axis in self.axes):
            return math.prod(len(axis.values) for axis in self.axes)
        return sum(group.size for group in self.groups())

    def groups(self) -> Iterator[Group]:
        """Every combination of choices, lazily."""
        for index, choice in enumerate(self._choose(self.choices, {})):
            ordered = {axis.path: choice[axis.path] for axis in self.choices}
            yield Group(index, ordered, tuple(axis for axis in self.numbers if self.active(axis, ordered)))

    def chunks(self, points: int = POINTS) -> Iterator[Chunk]:
        """Every point once, in tasks of about `points`: small blocks put together."""
        if points < 1:
            raise SpecError(f"points: {points!r} is not accepted; 1 or more")
        return chunks(self.groups(), points)

    def scenario(self, choice: Mapping[str, Any]) -> Scenario:
        """The base with these choices; raises SpecError where they cannot go together."""
        top = {name: choice[name] for name in ("model", "hardware", "engine", "format", "task", "preprocess") if choice.get(name) is not None}
        parallel = {path[9:]: value for path, value in choice.items() if path.startswith("parallel.") and value is not None}
        if parallel:
            top["parallel"] = validated(Parallelism, self.base.parallel.model_dump() | parallel, "parallel")
        if choice.get("workload.processor") is not None:
            top["workload"] = self.base.workload.model_copy(update={"processor": choice["workload.processor"]})
        top["techniques"] = tuple(self._mix(choice))
        return self.base.model_copy(update=top)

    def case(self, scenario: Scenario, values: Mapping[str, Any]) -> Case:
        """A scenario of this space with numbers, or arrays that broadcast, on its numeric axes (a pair: width and height)."""
        return case_with(scenario, values)

    def pick(self, frame: pd.DataFrame, row: int) -> Scenario:
        """The scenario of a row of a frame that was swept from this space."""
        from simulator.search.pick import picked

        return picked(self, dict(frame.iloc[row]))

    def digest(self) -> str:
        """Content hash: two spaces with one hash have the same points in the same order."""
        rules = [named(rule) for rule in (*self.constraints, *self.when.values())]
        axes = [(axis.path, axis.kind, [repr(value) for value in axis.values]) for axis in self.axes]
        text = repr((self.base.canonical(), axes, rules, list(self.when)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _with_techniques(self, base: Scenario) -> Scenario:
        if any(axis.path == "techniques" for axis in self.axes):
            return base
        have = {use.kind for use in base.techniques}
        named = dict.fromkeys(axis.technique for axis in self.axes if axis.technique and axis.technique not in have)
        if not named:
            return base
        return base.model_copy(update={"techniques": (*base.techniques, *(TechniqueUse(kind=name) for name in named))})

    def _mix(self, choice: Mapping[str, Any]) -> Iterator[TechniqueUse]:
        mix: Sequence[TechniqueUse] = choice["techniques"] if choice.get("techniques") is not None else self.base.techniques
        for use in mix:
            if choice.get(f"techniques.{use.kind}") is False:
                continue
            prefix = f"techniques.{use.kind}."
            given = {path[len(prefix) :]: value for path, value in choice.items() if path.startswith(prefix) and value is not None}
            yield use.model_copy(update={"parameters": {**use.parameters, **given}}) if given else use

    def collapses(self, axis: Axis) -> bool:
        """True where the axis may be inactive for some choices."""
        switched = any(other.path in ("techniques", f"techniques.{axis.technique}") for other in self.axes if other is not axis)
        return axis.path in self.when or (axis.technique != "" and switched)

    def _choose(self, axes: tuple[Axis, ...], chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not axes:
            yield chosen
            return
        ready = self._next(axes)
        rest = tuple(axis for axis in axes if axis is not ready)
        for value in ready.values if self.active(ready, chosen) else (None,):
            yield from self._choose(rest, {**chosen, ready.path: value})

    def settled(self, choice: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the choices with None on those that are not active there."""
        found: dict[str, Any] = {}
        waiting = self.choices
        while waiting:
            ready = self._next(waiting)
            found[ready.path] = choice[ready.path] if self.active(ready, found) else None
            waiting = tuple(axis for axis in waiting if axis is not ready)
        return found

    def _next(self, waiting: tuple[Axis, ...]) -> Axis:
        """The first axis whose activity depends on none of the others that wait."""
        ready = next((axis for axis in waiting if not self._waits(axis, waiting)), None)
        if ready is None:
            raise SpecError(f"when.{waiting[0].path}: conditions wait for each other")
        return ready

    def _waits(self, axis: Axis, open_axes: tuple[Axis, ...]) -> bool:
        condition = self.when.get(axis.path)
        others = {other.path for other in open_axes if other is not axis}
        if callable(condition):
            return any(other.path not in self.when and other is not axis for other in open_axes)
        needs = set(parse(condition).names) if condition else set[str]()
        if axis.technique:
            needs |= {"techniques"} | ({f"techniques.{axis.technique}"} if axis.path.count(".") == 2 else set[str]())
        return bool(needs & others)

    def active(self, axis: Axis, choice: Mapping[str, Any]) -> bool:
        """True where the axis has more than its empty point, for these choices."""
        if axis.technique:
            mix = choice.get("techniques")
            if mix is not None and all(use.kind != axis.technique for use in mix):
                return False
            if axis.path.count(".") == 2 and choice.get(f"techniques.{axis.technique}") is False:
                return False
        condition = self.when.get(axis.path)
        if condition is None:
            return True
        if isinstance(condition, str):
            names = {path: value if isinstance(value, bool | int | float | str) or value is None else label(value) for path, value in choice.items()}
            return bool(parse(condition)(names))
        return bool(condition(choice))

    def _check_numbers(self) -> None:
        """Technique parameters within their bounds, found out before the first point is evaluated."""
        for axis in self.axes:
            if axis.technique and axis.path.count(".") == 2:
                name = axis.path.split(".")[2]
                use = next((item for item in self.base.techniques if item.kind == axis.technique), TechniqueUse(kind=axis.technique))
                for value in axis.values:
                    given = {key: item for key, item in use.parameters.items() if key != name}
                    if axis.kind in ("choice", "list"):
                        break  # lists depend on each other; a wrong one is refused where it is met
                    resolve(axis.technique, {**given, name: value})
