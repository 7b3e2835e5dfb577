"""Names users know (`fastv`, `visionzip`) to techniques with the parameters of the method's own paper."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from simulator.spec.source import SpecError
from simulator.technique import AbstractTechnique, check, convert, parameters, registry, unknown

_FILE = Path(__file__).parent / "literature" / "presets.csv"


@final
@dataclass(frozen=True, slots=True)
class Preset:
    """parts: (technique, parameters that differ from its defaults), in the file's words."""

    name: str
    entry: str
    parts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    default_kind: str
    source: str
    training_free: bool
    query_aware: bool
    notes: str


@lru_cache(maxsize=1)
def presets() -> dict[str, Preset]:
    """Every preset by name."""
    with _FILE.open(newline="", encoding="utf-8") as file:
        return {row["preset"]: _preset(row) for row in csv.DictReader(file) if row["techniques"]}


def _preset(row: dict[str, str]) -> Preset:
    kinds = row["techniques"].split(";")
    overrides = row["overrides"].split(";") if row["overrides"] else []
    overrides += [""] * (len(kinds) - len(overrides))
    parts: list[tuple[str, tuple[tuple[str, str], ...]]] = []
    for kind, text in zip(kinds, overrides, strict=True):
        pairs = (item.partition("=") for item in filter(None, text.split(",")))
        parts.append((kind.strip(), tuple((name.strip(), value.strip()) for name, _, value in pairs)))
    return Preset(
        row["preset"], row["entry"], tuple(parts), row["default_kind"], row["source"],
        row["training_free"] == "true", row["query_aware"] == "true", row["notes"],
    )  # fmt: skip


def names() -> list[str]:
    """Techniques and presets, in that order."""
    return [*registry(), *presets()]


def resolve(kind: str, given: Mapping[str, Any]) -> tuple[tuple[str, AbstractTechnique], ...]:
    """A technique or preset with parameters as (name given, technique) pairs; values may be arrays."""
    known = registry()
    if kind in known:
        parts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ((kind, ()),)
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
