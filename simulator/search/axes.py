"""What an axis may be: a number of a scenario (broadcast through the core) or a choice (looped over)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from simulator.presets import presets, resolve
from simulator.spec.deployment import load_engine
from simulator.spec.load_hardware import load_hardware
from simulator.spec.load_model import load_model
from simulator.spec.scenario import Scenario, TechniqueUse, parse_technique
from simulator.spec.source import SpecError
from simulator.spec.validated import nearest
from simulator.technique import parameters, registry, unknown

WHOLE: dict[str, tuple[float, float]] = {
    "workload.text_tokens": (0, 1e8),
    "workload.output_tokens": (1, 1e8),
    "workload.batch": (1, 1e6),
    "workload.images.width": (1, 1e5),
    "workload.images.height": (1, 1e5),
    "workload.images.count": (1, 1e6),
    "workload.videos.width": (1, 1e5),
    "workload.videos.height": (1, 1e5),
    "workload.videos.frames": (1, 1e6),
}
"""Paths of whole numbers with their bounds."""
REAL: dict[str, tuple[float, float]] = {
    "workload.images.scale": (1e-3, 1e3),
    "workload.videos.scale": (1e-3, 1e3),
    "workload.videos.duration": (1e-3, 1e6),
    "workload.videos.fps": (1e-3, 1e3),
    "scale.bandwidth": (1e-9, 1e3),
    "scale.flops": (1e-9, 1e3),
    "scale.capacity": (1e-9, 1e3),
    "scale.link": (1e-9, 1e3),
    "scale.price": (0, 1e3),
}
"""Paths of real numbers with their bounds. `images.scale` and `videos.scale` multiply both sides of every picture."""
PAIRS = ("workload.image",)
"""Sizes as WIDTHxHEIGHT: two numbers on one axis."""
CHOICES = (
    "model", "hardware", "engine", "format", "task", "preprocess", "workload.processor", "techniques",
    "parallel.tp", "parallel.pp", "parallel.dp", "parallel.ep", "parallel.encoder",
)  # fmt: skip
"""Paths that are looped over, besides `techniques.NAME` (on or off) and parameters of techniques that are not numbers."""

_DEGREES = ("parallel.tp", "parallel.pp", "parallel.dp", "parallel.ep")
_SIZE = re.compile(r"\d+x\d+")


@final
@dataclass(frozen=True, slots=True)
class Axis:
    """One path with its values. kind: whole and real numbers broadcast, a pair is two of them, a list several, a choice loops.
    numbers: the values of a numeric axis, one row for each number of a value [1 or more, len(values)]."""

    path: str
    values: tuple[Any, ...]
    kind: Literal["whole", "real", "pair", "list", "choice"]
    labels: tuple[str, ...]

    @property
    def numeric(self) -> bool:
        """True where it broadcasts."""
        return self.kind != "choice"

    def numbers(self) -> NDArray[np.float64]:
        """Values as numbers, [components, len(values)]."""
        rows = [value if isinstance(value, tuple) else (value,) for value in self.values]
        return np.array(rows, dtype=float).T.copy()

    @property
    def technique(self) -> str:
        """Name of the technique it belongs to, or nothing."""
        return self.path.split(".")[1] if self.path.startswith("techniques.") else ""


def make_axis(path: str, values: Sequence[Any], base: Scenario) -> Axis:
    """An axis from what a user wrote; raises SpecError in one line that names path and value."""
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise SpecError(f"axes.{path}: {values!r} is not accepted; a list of values")
    given = [item.item() if isinstance(item, np.generic) else item for item in values]
    if not given:
        raise SpecError(f"axes.{path}: is empty; give at least one value")
    bounds = WHOLE.get(path) or REAL.get(path)
    if bounds is not None:
        _check_media(path, base)
        return _number_axis(path, given, *bounds, path in WHOLE)
    if path in PAIRS:
        pairs = tuple(_pair(path, item) for item in given)
        _distinct(path, pairs)
        return Axis(path, pairs, "pair", tuple(f"{width}x{height}" for width, height in pairs))
    if path in CHOICES:
        made = tuple(_choice(path, item) for item in given)
        labels = tuple(label(item) for item in made)
        _distinct(path, labels)
        return Axis(path, made, "choice", labels)
    if path.startswith("techniques.") and path.count(".") in (1, 2):
        return _technique_axis(path, given)
    accepted = [*WHOLE, *REAL, *PAIRS, *CHOICES, "techniques.NAME", "techniques.NAME.PARAMETER"]
    close = nearest(path, accepted)
    raise SpecError(f"axes.{path}: no such axis; " + (f"did you mean {' or '.join(close)}?" if close else f"accepted: {', '.join(accepted)}"))


def _check_media(path: str, base: Scenario) -> None:
    if path.startswith("workload.images.") and not base.workload.images:
        raise SpecError(f"axes.{path}: the base scenario has no image; give it one, or use workload.image with sizes")
    if path.startswith("workload.videos."):
        if not base.workload.videos:
            raise SpecError(f"axes.{path}: the base scenario has no video; give it one")
        sampled = any(video.frames is None for video in base.workload.videos)
        if path.endswith((".duration", ".fps")) and not sampled:
            raise SpecError(f"axes.{path}: the base video is given by frames; give it duration and fps")


def _number_axis(path: str, given: list[Any], low: float, high: float, whole: bool) -> Axis:
    for item in given:
        if isinstance(item, bool | str) or not isinstance(item, int | float) or not low <= item <= high or (whole and item != int(item)):
            raise SpecError(f"axes.{path}: {item!r} is not accepted; a {'whole ' if whole else ''}number, {low:g} to {high:g}")
    _distinct(path, given)
    return Axis(path, tuple(int(item) if whole else float(item) for item in given), "whole" if whole else "real", ())


def _pair(path: str, item: Any) -> tuple[int, int]:
    if isinstance(item, str) and _SIZE.fullmatch(item):
        item = [int(side) for side in item.split("x")]
    if not isinstance(item, list | tuple) or len(item) != 2 or not all(isinstance(side, int) and 1 <= side <= 100_000 for side in item):
        raise SpecError(f"axes.{path}: {item!r} is not accepted; WIDTHxHEIGHT in pixels, 1 to 100000")
    return int(item[0]), int(item[1])


def _distinct(path: str, items: Sequence[Any]) -> None:
    seen: set[Any] = set()
    for item in items:
        if item in seen:
            raise SpecError(f"axes.{path}: {item!r} is given twice")
        seen.add(item)


def _choice(path: str, item: Any) -> Any:
    if path == "techniques":
        return _mix(item)
    if path == "model":
        load_model(item) if isinstance(item, str) else None
    elif path == "hardware":
        load_hardware(item) if isinstance(item, str) else None
    elif path == "engine":
        load_engine(item)
    elif path in _DEGREES and (isinstance(item, bool) or not isinstance(item, int) or not 1 <= item <= 4096):
        raise SpecError(f"axes.{path}: {item!r} is not accepted; a whole number from 1")
    return item


def _mix(item: Any) -> tuple[TechniqueUse, ...]:
    """A mix: a list of `kind:a=1` texts or uses; nothing, `none` or an empty list for no techniques; parts of a text joined by +."""
    if item is None or item == "none":
        return ()
    parts = [part.strip() for part in item.split(" + ")] if isinstance(item, str) else item
    if not isinstance(parts, list | tuple):
        raise SpecError(f"axes.techniques: {item!r} is not accepted; a list of techniques, e.g. [fastv:keep=0.5, kv_quant]")
    uses: list[TechniqueUse] = []
    for part in parts:
        try:
            use = parse_technique(part) if isinstance(part, str) else part if isinstance(part, TechniqueUse) else TechniqueUse.model_validate(part)
        except ValueError as error:
            raise SpecError(f"axes.techniques: {part!r} is not accepted: {str(error).splitlines()[0]}") from None
        resolve(use.kind, use.parameters)
        uses.append(use)
    return tuple(uses)


def _technique_axis(path: str, given: list[Any]) -> Axis:
    _, name, *rest = path.split(".")
    known = registry()
    if name not in known and name not in presets():
        raise unknown(name, [*known, *presets()])
    if not rest:
        for item in given:
            if not isinstance(item, bool):
                raise SpecError(f"axes.{path}: {item!r} is not accepted; true or false (on or off)")
        _distinct(path, given)
        return Axis(path, tuple(given), "choice", tuple(map(label, given)))
    parts = [name] if name in known else [part for part, _ in presets()[name].parts]
    knobs = {knob.name: knob for part in parts for knob in parameters(known[part])}
    if rest[0] not in knobs:
        raise SpecError(f"axes.{path}: no such parameter; accepted: {', '.join(knobs) or 'none'}")
    kind = knobs[rest[0]].kind
    if kind not in ("number", "numbers"):
        values = tuple(tuple(item) if isinstance(item, list) else item for item in given)
        labels = tuple(label(item) for item in values)
        _distinct(path, labels)
        return Axis(path, values, "choice", labels)
    for item in given:
        lengths = {len(item) if isinstance(item, list | tuple) else 0 for item in given}
        numbers = item if isinstance(item, list | tuple) else [item]
        if len(lengths) > 1 or not numbers or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers):
            raise SpecError(f"axes.{path}: {item!r} is not accepted; a number (or lists of numbers of one length)")
    knob = knobs[rest[0]]
    for item in given:
        for value in item if isinstance(item, list | tuple) else [item]:
            if not knob.low <= value <= knob.high:
                raise SpecError(f"axes.{path}: {value!r} is not accepted; {knob.low:g} to {knob.high:g} {knob.unit}".rstrip())
    if isinstance(given[0], list | tuple):
        values = tuple(tuple(float(value) for value in item) for item in given)
        labels = tuple(label(item) for item in values)
        _distinct(path, labels)
        return Axis(path, values, "list", labels)
    _distinct(path, given)
    return Axis(path, tuple(float(item) for item in given), "real", ())


def label(item: Any) -> str:
    """A value as it stands in a column and in a command: a mix as `fastv:keep=0.5 + kv_quant`, a list as `8|16`."""
    if isinstance(item, tuple) and (not item or isinstance(item[0], TechniqueUse)):
        return " + ".join(map(mix_text, item)) or "none"
    if isinstance(item, tuple):
        return "|".join(f"{value:g}" if isinstance(value, float) else str(value) for value in item)
    return str(item.name) if hasattr(item, "name") else str(item)


def mix_text(use: TechniqueUse) -> str:
    """A use as the command line takes it."""
    values = ",".join(f"{name}={'|'.join(map(str, value)) if isinstance(value, list | tuple) else value}" for name, value in use.parameters.items())
    return f"{use.kind}:{values}" if values else use.kind
