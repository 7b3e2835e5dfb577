"""A technique is a pure function from program to program, placed at a site.

The user names techniques in any order; sites put them in the order in which a request meets them: what changes the input
comes before what changes the encoder, that before the projector, and so on to decoding. Each technique edits only what is
there when it is reached, so a `keep` is always the fraction of what reached it. "Off" is a value: `neutral()` returns the
parameters at which the program stays as it was.

Adding one: a file in `simulator/techniques/` with a final, frozen dataclass that derives from `AbstractTechnique`, declares
its parameters with `parameter(...)`, sets `about`, and implements `apply`. Everything else (command line, JSON, forms,
schema, contract test) follows from the declaration.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import pkgutil
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import lru_cache
from typing import Any, ClassVar, Literal, final

import numpy as np

from simulator.program import Program
from simulator.quantity import Numeric
from simulator.spec.deployment import Engine, Parallelism
from simulator.spec.hardware import Chip
from simulator.spec.model import Lvlm
from simulator.spec.source import SpecError
from simulator.spec.validated import nearest


class Site(IntEnum):
    """Where in a request a technique acts; the order of composition."""

    INPUT = 0
    ENCODER = 1
    PROJECTOR = 2
    PROJECTED = 3
    PRE_LLM = 4
    REUSE = 5
    IN_LLM = 6
    ATTENTION = 7
    KV = 8
    KV_TIER = 9
    KV_BITS = 10
    WEIGHTS = 11
    DEPTH = 12
    DECODING = 13
    OUTPUT = 14
    SYSTEM = 15


Deployable = Literal["runs", "patch", "hypothetical"]
Axis = Literal["visual_tokens", "kv_tokens", "bits", "attention", "frames", "draft", "output", "weights", "none"]


@final
@dataclass(frozen=True, slots=True)
class Parameter:
    """Declaration of one knob. kind decides how text becomes a value; bounds are inclusive."""

    name: str
    kind: Literal["number", "integer", "choice", "flag", "numbers", "integers", "text"]
    default: Any
    low: float
    high: float
    unit: str
    help: str
    choices: tuple[str, ...]


def parameter(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float = -math.inf,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    kind: str = "number",
) -> Any:
    """A dataclass field that carries its own declaration."""
    if choices:
        kind = "choice"
    meta = {"kind": kind, "low": low, "high": high, "unit": unit, "help": help, "choices": choices}
    return field(default=default, metadata=meta)


@final
@dataclass(frozen=True, slots=True)
class About:
    """What users need to know of a technique before they run it.

    entry: id in the literature catalogue of the paper its default comes from. needs_query: it looks at the question, so its result
    cannot be cached across questions. needs_scores: it wants attention maps. conflicts: other technique -> why not both.
    engines: engine -> (runs | patch | hypothetical, version and source); an engine not listed is `hypothetical`.
    within: it acts inside its first layer, so after what acts before that layer.
    """

    title: str
    site: Site
    family: str
    entry: str
    axis: Axis = "none"
    lossless: bool = False
    needs_training: bool = False
    needs_query: bool = False
    needs_scores: bool = False
    conflicts: Mapping[str, str] = field(default_factory=dict[str, str])
    engines: Mapping[str, tuple[Deployable, str]] = field(default_factory=dict[str, "tuple[Deployable, str]"])
    repeatable: bool = False
    within: bool = False


@final
@dataclass(frozen=True, slots=True)
class Context:
    """What a technique may look at besides the program. load: name -> model; rebuild: (model, frames share, size scale) -> program
    of that model on the same pictures, before any technique."""

    model: Lvlm
    chip: Chip
    engine: Engine
    parallel: Parallelism
    load: Callable[[str], Lvlm]
    rebuild: Callable[[Lvlm, Numeric], Program]


class AbstractTechnique:
    """One technique with its parameters. Subclasses are final frozen dataclasses."""

    about: ClassVar[About]

    @abstractmethod
    def apply(self, program: Program, context: Context) -> Program:
        """The program with this technique in it."""

    @classmethod
    @abstractmethod
    def neutral(cls) -> AbstractTechnique:
        """Parameters at which nothing changes."""

    @abstractmethod
    def kept(self, program: Program) -> Numeric:
        """Share kept on the technique's axis (tokens, bits / 16, ...), for the evidence on fidelity."""

    def settle(self, program: Program, context: Context) -> Program:
        """Once all techniques are in: what depends on what the others left behind. Most have nothing to settle."""
        return program


def name_of(technique: type[AbstractTechnique]) -> str:
    """`KvQuant` is `kv_quant`: the name of a technique is its module's."""
    return technique.__module__.rsplit(".", 1)[-1]


@lru_cache(maxsize=512)
def parameters(technique: type[AbstractTechnique]) -> tuple[Parameter, ...]:
    """The knobs a technique declares."""
    return tuple(
        Parameter(item.name, item.metadata["kind"], item.default, item.metadata["low"], item.metadata["high"],
                  item.metadata["unit"], item.metadata["help"], item.metadata["choices"])
        for item in dataclasses.fields(technique)  # type: ignore[arg-type]
    )  # fmt: skip


@lru_cache(maxsize=8)
def registry(package: str = "simulator.techniques") -> dict[str, type[AbstractTechnique]]:
    """Every technique in a package, by name: one module, one technique."""
    root = importlib.import_module(package)
    found: dict[str, type[AbstractTechnique]] = {}
    for info in pkgutil.iter_modules(root.__path__):
        module = importlib.import_module(f"{package}.{info.name}")
        for item in vars(module).values():
            if inspect.isclass(item) and issubclass(item, AbstractTechnique) and item.__module__ == module.__name__:
                found[info.name] = item
    return found


def check(name: str, technique: AbstractTechnique) -> None:
    """Bounds of every numeric parameter, arrays included; one line that names the field."""
    for knob in parameters(type(technique)):
        value = getattr(technique, knob.name)
        if knob.kind == "choice" and value not in knob.choices:
            raise SpecError(f"techniques.{name}.{knob.name}: {value!r} is not accepted; one of {', '.join(knob.choices)}")
        if knob.kind in ("choice", "flag", "text"):
            continue
        for item in value if isinstance(value, tuple) else (value,):
            array = np.asarray(item, dtype=float)
            if not (np.isfinite(array).all() and (array >= knob.low).all() and (array <= knob.high).all()):
                raise SpecError(
                    f"techniques.{name}.{knob.name}: {item!r} is not accepted; "
                    f"{knob.low:g} to {knob.high:g} {knob.unit}".rstrip()
                )
            if knob.kind in ("integer", "integers") and (array != np.floor(array)).any():
                raise SpecError(f"techniques.{name}.{knob.name}: {item!r} is not accepted; a whole number")


def convert(name: str, knob: Parameter, value: Any) -> Any:
    """A value as written (text, number or list) as the parameter's kind."""
    where = f"techniques.{name}.{knob.name}"
    try:
        if knob.kind in ("numbers", "integers"):
            items = value.split("|") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
            cast = int if knob.kind == "integers" else _number
            return tuple(cast(item) for item in items)
        if knob.kind == "flag":
            if str(value).lower() not in ("true", "false", "1", "0", "yes", "no"):
                raise ValueError
            return str(value).lower() in ("true", "1", "yes")
        if knob.kind in ("choice", "text"):
            return str(value)
        if isinstance(value, np.ndarray):
            return value.astype(float)
        return int(value) if knob.kind == "integer" and float(value) == int(value) else _number(value)
    except (TypeError, ValueError, OverflowError):
        wanted = {"numbers": "numbers parted by |", "integers": "whole numbers parted by |", "flag": "true or false"}
        raise SpecError(f"{where}: {value!r} is not accepted; {wanted.get(knob.kind, 'a number')}") from None


def _number(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, str) and "/" in value:
        over, under = value.split("/", 1)
        return float(over) / float(under)
    return float(value)


def compose(
    program: Program, techniques: Sequence[tuple[str, AbstractTechnique]], context: Context
) -> tuple[Program, list[tuple[str, AbstractTechnique, Numeric]]]:
    """The fold over sites; also what each technique kept, in order of application."""
    ordered = sorted(techniques, key=_place)
    refuse_conflicts(ordered)
    uses: list[tuple[str, AbstractTechnique, Numeric]] = []
    for name, technique in ordered:
        uses.append((name, technique, technique.kept(program)))
        program = _everywhere(technique.apply, program, context)
    for _, technique in ordered:
        program = _everywhere(technique.settle, program, context)
    return program, uses


def _everywhere(change: Callable[[Program, Context], Program], program: Program, context: Context) -> Program:
    """The change on every way the request may go, branches of branches first."""
    if program.branches:
        branches = tuple(replace(item, program=_everywhere(change, item.program, context)) for item in program.branches)
        program = replace(program, branches=branches)
    return change(program, context)


def _place(item: tuple[str, AbstractTechnique]) -> tuple[int, float, str]:
    """(site, layer, name): the order of composition."""
    technique = item[1]
    return technique.about.site, _first_layer(technique) + 0.5 * technique.about.within, name_of(type(technique))


def _first_layer(technique: AbstractTechnique) -> float:
    layer = getattr(technique, "layer", 0)
    return float(layer[0]) if isinstance(layer, tuple) and layer else float(layer) if isinstance(layer, int | float) else 0.0


def refuse_conflicts(techniques: Sequence[tuple[str, AbstractTechnique]]) -> None:
    """One line with the reason where two techniques exclude each other or one is given twice."""
    kinds: dict[str, str] = {}
    for name, technique in techniques:
        kind = name_of(type(technique))
        if kind in kinds and not technique.about.repeatable:
            raise SpecError(f"techniques: {kinds[kind]} and {name} are both {kind}; give one of them")
        kinds[kind] = name
    for name, technique in techniques:
        for other, reason in technique.about.conflicts.items():
            if other in kinds and kinds[other] != name:
                raise SpecError(f"techniques: {name} and {kinds[other]} exclude each other: {reason}")


def unknown(name: str, known: Sequence[str]) -> SpecError:
    """The error for a technique nobody knows, with the nearest names."""
    close = nearest(name, list(known))
    near = f"nearest: {', '.join(close)}; " if close else ""
    return SpecError(f"techniques: {name!r} is not known; {near}`lvlm-sim techniques --presets` lists all")
