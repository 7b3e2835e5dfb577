"""Names users know (`fastv`, `visionzip`) to techniques with the parameters of the method's own paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.literature.presets import Preset, Value, load_deployability, load_presets
from simulator.spec.source import SpecError
from simulator.technique import AbstractTechnique, Deployable, check, convert, parameters, registry, unknown


def presets() -> dict[str, Preset]:
    """Every preset by name."""
    return load_presets()


def names() -> list[str]:
    """Techniques and presets, in that order."""
    return [*registry(), *presets()]


def deployability(name: str, technique: str, engine: str) -> tuple[Deployable, str]:
    """Whether an engine runs a technique as it ships (runs, patch, hypothetical), and by what source. name: the preset it is part of;
    what is said of that method comes before what is said of the technique."""
    said = load_deployability().get((name, technique, engine))
    return said or registry()[technique].about.engines.get(engine, ("hypothetical", "no engine is known to ship it"))


def resolve(kind: str, given: Mapping[str, Any]) -> tuple[tuple[str, AbstractTechnique], ...]:
    """A technique or preset with parameters as (name given, technique) pairs; values may be arrays."""
    known = registry()
    if kind in known:
        parts: tuple[tuple[str, tuple[tuple[str, Value], ...]], ...] = ((kind, ()),)
    elif kind in presets():
        parts = presets()[kind].parts
    else:
        raise unknown(kind, [*known, *presets()])
    accepted = {knob.name for part, _ in parts for knob in parameters(known[part])}
    for name in given:
        if name not in accepted:
            raise SpecError(f"techniques.{kind}.{name}: no such parameter; accepted: {', '.join(sorted(accepted)) or 'none'}")
    made: list[tuple[str, AbstractTechnique]] = []
    for part, overrides in parts:
        cls = known[part]
        knobs = {knob.name: knob for knob in parameters(cls)}
        values: dict[str, Any] = {name: convert(kind, knobs[name], value) for name, value in overrides}
        values |= {name: convert(kind, knobs[name], value) for name, value in given.items() if name in knobs}
        technique = cls(**values)
        check(kind, technique)
        made.append((kind, technique))
    return tuple(made)
