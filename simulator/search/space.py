"""A space: a base scenario and axes over anything in it. Choices are looped over, numbers broadcast.

Points are counted and numbered before anything is evaluated: choices vary slowest, in the order their axes are given, numbers
after them, the last fastest. An axis may be conditional (`when`): where its condition does not hold, or its technique is not
in the mix, the axis has one point, which is empty (the base's value). Constraints drop points.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from simulator.assemble import Case, case_of, scale_chip
from simulator.presets import resolve
from simulator.quantity import Numeric
from simulator.search.axes import Axis, make_axis
from simulator.search.expression import parse
from simulator.spec.deployment import Parallelism
from simulator.spec.scenario import Scenario, TechniqueUse
from simulator.spec.source import SpecError
from simulator.spec.validated import validated
from simulator.spec.workload import Picture

if TYPE_CHECKING:
    import pandas as pd

    Rule = str | Callable[[pd.DataFrame], Any]

POINTS = 131_072
"""Points evaluated at once."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One choice on every axis that loops (None: inactive there), and the numeric axes that are active with it."""

    index: int
    choice: dict[str, Any]
    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each active numeric axis."""
        return tuple(len(axis.values) for axis in self.axes)

    @property
    def size(self) -> int:
        """Points."""
        return math.prod(self.shape)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive points of a group that broadcast: fixed indices of the slow axes, a run of one axis, all of the fast ones."""

    group: Group
    fixed: tuple[int, ...]
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each numeric axis; 1 where it is fixed."""
        at = len(self.fixed)
        run = (self.stop - self.start,) if at < len(self.group.axes) else ()
        return (*(1 for _ in self.fixed), *run, *self.group.shape[at + 1 :])

    @property
    def size(self) -> int:
        """Points."""
        return math.prod(self.shape)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """What one task evaluates: `index` from 0, and the blocks."""

    index: int
    blocks: tuple[Block, ...]

    @property
    def size(self) -> int:
        """Points."""
        return sum(block.size for block in self.blocks)


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
        constraints: Sequence[Rule] = (),
        when: Mapping[str, str | Callable[[Mapping[str, Any]], bool]] | None = None,
    ) -> None:
        self.axes: tuple[Axis, ...] = tuple(make_axis(path, values, base) for path, values in axes.items())
        self.constraints: tuple[Rule, ...] = tuple(constraints)
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
            if isinstance(rule, str):
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

    def blocks(self, points: int = POINTS) -> Iterator[Block]:
        """Every point once, in blocks of at most `points`."""
        for group in self.groups():
            shape = group.shape
            at = len(shape)
            inner = 1
            while at > 0 and inner * shape[at - 1] <= points:
                at -= 1
                inner *= shape[at]
            if at == 0:
                yield Block(group, (), 0, shape[0] if shape else 1)
                continue
            run = max(points // inner, 1)
            for flat in range(math.prod(shape[: at - 1])):
                fixed: list[int] = []
                for length in reversed(shape[: at - 1]):
                    flat, index = divmod(flat, length)
                    fixed.append(index)
                for start in range(0, shape[at - 1], run):
                    yield Block(group, tuple(reversed(fixed)), start, min(start + run, shape[at - 1]))

    def chunks(self, points: int = POINTS) -> Iterator[Chunk]:
        """Every point once, in tasks of about `points`: small blocks put together."""
        held: list[Block] = []
        count = index = 0
        for block in self.blocks(points):
            if held and count + block.size > points:
                yield Chunk(index, tuple(held))
                held, count, index = [], 0, index + 1
            held.append(block)
            count += block.size
        if held:
            yield Chunk(index, tuple(held))

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
        rules = [rule if isinstance(rule, str) else f"{rule.__module__}.{rule.__qualname__}" for rule in (*self.constraints, *self.when.values())]
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
            from simulator.search.axes import label

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


def case_with(scenario: Scenario, values: Mapping[str, Any]) -> Case:
    """The case of a scenario with numbers or arrays at the paths of numeric axes."""
    case = case_of(scenario)
    changes: dict[str, Any] = {}
    for path, field in (("workload.text_tokens", "text"), ("workload.output_tokens", "output"), ("workload.batch", "batch")):
        if path in values:
            changes[field] = values[path]
    if any(path.startswith("workload.image") for path in values):
        changes["pictures"] = _pictures(case.pictures, values)
    if any(path.startswith("workload.videos.") for path in values):
        changes["clips"] = tuple(_sized(clip, "workload.videos", values, ("width", "height", "frames", "duration", "fps")) for clip in case.clips)
    if any(path.startswith("scale.") for path in values):
        scale = scenario.scale

        def factor(name: str) -> Numeric:
            return values.get(f"scale.{name}", getattr(scale, name))

        chip = case.device.chip
        if any(f"scale.{name}" in values for name in ("bandwidth", "flops", "capacity", "link")):
            changes["chip"] = scale_chip(chip, factor("bandwidth"), factor("flops"), factor("capacity"), factor("link"))
        changes["price"] = case.device.price_per_hour.value * factor("price")
    if any(path.startswith("techniques.") for path in values):
        changes["techniques"] = tuple(item for use in scenario.techniques for item in resolve(use.kind, _knobs(use, values)))
    return replace(case, **changes)


def _knobs(use: TechniqueUse, values: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"techniques.{use.kind}."
    return {**use.parameters, **{path[len(prefix) :]: value for path, value in values.items() if path.startswith(prefix)}}


def _pictures(pictures: tuple[Picture, ...], values: Mapping[str, Any]) -> tuple[Picture, ...]:
    if "workload.image" in values:
        width, height = values["workload.image"]
        first = pictures[0] if pictures else Picture(1.0, 1.0)
        pictures = (replace(first, width=width, height=height),)
    return tuple(_sized(picture, "workload.images", values, ("width", "height", "count")) for picture in pictures)


def _sized(item: Any, prefix: str, values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    changes = {name: values[f"{prefix}.{name}"] for name in names if f"{prefix}.{name}" in values}
    if "frames" in changes and item.frames is None:
        changes |= {"duration": 0.0, "fps": 0.0}
    factor = values.get(f"{prefix}.scale")
    if factor is not None:
        changes |= {side: changes.get(side, getattr(item, side)) * factor for side in ("width", "height")}
    return replace(item, **changes)


def read_space(source: Path | str | Mapping[str, Any]) -> Space:
    """A space from YAML: `base` (a scenario), `axes`, `constraints`, `when`. An axis may be a list, or `{from, to, step}`,
    `{from, to, count}` with `spacing: linear | log` (whole numbers are rounded)."""
    from simulator.spec.yaml import read_yaml

    data = dict(source) if isinstance(source, Mapping) else read_yaml(source)
    where = "space" if isinstance(source, Mapping) else str(source)
    for name in data:
        if name not in ("base", "axes", "constraints", "when", "objectives", "search"):
            raise SpecError(f"{where}: {name}: unknown field; accepted: base, axes, constraints, when, objectives, search")
    for name in ("base", "axes"):
        if not isinstance(data.get(name), Mapping):
            raise SpecError(f"{where}: {name}: is missing; a mapping is expected")
    base = validated(Scenario, data["base"], f"{where}: base")
    axes = {str(path): spread(str(path), values) for path, values in data["axes"].items()}
    constraints = data.get("constraints") or ()
    return Space(base, axes, [constraints] if isinstance(constraints, str) else constraints, data.get("when"))


def spread(path: str, values: Any) -> Sequence[Any]:
    """The values of an axis as written in YAML: a list as it is, a mapping spread out."""
    from simulator.search.axes import WHOLE

    if not isinstance(values, Mapping):
        return values
    import numpy as np

    unknown = set(values) - {"from", "to", "step", "count", "spacing"}
    try:
        if unknown or ("step" in values) == ("count" in values) or values.get("spacing", "linear") not in ("linear", "log"):
            raise ValueError
        low, high = float(values["from"]), float(values["to"])
        if "step" in values:
            items = low + float(values["step"]) * np.arange(math.floor((high - low) / float(values["step"]) * (1 + 1e-12)) + 1)
        else:
            items = (np.geomspace if values.get("spacing") == "log" else np.linspace)(low, high, int(values["count"]))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        raise SpecError(f"axes.{path}: {dict(values)!r} is not accepted; a list, or from, to with step or count (spacing: linear | log)") from None
    return list(dict.fromkeys(round(item) for item in map(float, items))) if path in WHOLE else [float(f"{item:.12g}") for item in items]
