"""Forms of techniques, made from their parameter declarations. Every widget is bound to the page's address."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

import streamlit as st

from simulator.presets import presets
from simulator.spec.scenario import TechniqueUse
from simulator.spec.source import SpecError
from simulator.technique import Parameter, convert, parameters, registry

MAIN = ("keep", "bits", "budget", "ratio", "density", "factor", "hit", "visual", "gamma", "format", "layer", "frames", "split", "chunk")
"""Knobs shown at once; the others wait behind one click."""


@lru_cache(maxsize=256)
def knobs(kind: str) -> tuple[tuple[Parameter, Any], ...]:
    """(declaration, default) of a technique, or of all parts of a preset; a knob that parts share is listed once."""
    known, named = registry(), presets()
    parts = named[kind].parts if kind in named else ((kind, ()),)
    found: dict[str, tuple[Parameter, Any]] = {}
    for part, overrides in parts:
        given = dict(overrides)
        for knob in parameters(known[part]):
            if knob.name in given:
                default = convert(kind, knob, given[knob.name])
            else:
                default = knob.default
            if knob.name not in found or knob.name in given:
                found[knob.name] = (knob, default)
    return tuple(found.values())


def technique_form(kind: str) -> TechniqueUse:
    """The widgets of one technique; only what differs from its defaults is handed on."""
    given: dict[str, Any] = {}
    every = knobs(kind)
    first = sorted((item for item in every if item[0].name in MAIN), key=lambda item: MAIN.index(item[0].name))[:3] or every[:2]
    rest = [item for item in every if item not in first]
    for knob, default in first:
        _collect(kind, knob, default, given)
    if rest:
        with st.popover(f"{len(rest)} more", icon=":material/tune:", width="stretch"):
            for knob, default in rest:
                _collect(kind, knob, default, given)
    return TechniqueUse(kind=kind, parameters=given)


def _collect(kind: str, knob: Parameter, default: Any, given: dict[str, Any]) -> None:
    value = _widget(f"{kind}.{knob.name}", knob, default)
    if value is not None and value != default:
        given[knob.name] = value


def as_state(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """Widget values (by key) that show a technique with these parameters."""
    state: dict[str, Any] = {}
    for knob, default in knobs(kind):
        value = convert(kind, knob, given[knob.name]) if knob.name in given else default
        if knob.kind in ("numbers", "integers"):
            value = value[0] if _single(knob, default) and len(value) == 1 else "|".join(f"{item:g}" for item in value)
        elif knob.kind == "integer":
            value = int(value)
        elif knob.kind == "number":
            value = float(value)
        state[f"{kind}.{knob.name}"] = value
    return state


def _single(knob: Parameter, default: Any) -> bool:
    return knob.kind in ("numbers", "integers") and len(default) == 1


def _widget(key: str, knob: Parameter, default: Any) -> Any:
    label = _label(knob, default)
    if knob.kind == "flag":
        return st.toggle(label, value=default, key=key, help=knob.help, bind="query-params")
    if knob.kind == "choice":
        return st.selectbox(label, knob.choices, index=knob.choices.index(default), key=key, help=knob.help, bind="query-params")
    if knob.kind == "text":
        return st.text_input(label, value=default, key=key, help=knob.help, bind="query-params")
    if _single(knob, default):
        value = _number(label, key, knob, default[0], whole=knob.kind == "integers")
        return None if value is None else (value,)
    if knob.kind in ("numbers", "integers"):
        written = "|".join(f"{item:g}" for item in default)
        text = st.text_input(label, value=written, key=key, help=f"{knob.help}; numbers parted by |", bind="query-params")
        try:
            return convert(key, knob, text) if text.strip() else ()
        except SpecError as error:
            st.error(str(error))
            return None
    return _number(label, key, knob, default, whole=knob.kind == "integer")


def _label(knob: Parameter, default: Any) -> str:
    """Name and unit; where the default is a 0 that stands for something else, what it stands for."""
    label = f"{knob.name} [{knob.unit}]" if knob.unit else knob.name
    meaning = re.search(r"\b0: ([^;)]+)", knob.help) if default == 0 else None
    return f"{label}, 0: {meaning[1]}" if meaning else label


def _number(label: str, key: str, knob: Parameter, default: Any, whole: bool) -> Any:
    low = None if math.isinf(knob.low) else float(knob.low)
    high = None if math.isinf(knob.high) else float(knob.high)
    if whole:
        return st.number_input(
            label, None if low is None else int(low), None if high is None else int(high), int(default), 1, key=key, help=knob.help, bind="query-params"
        )  # fmt: skip
    if low is not None and high == 1.0 and low >= 0.0 and default >= max(low, 0.01):
        bottom = 0.0 if low == 0.0 else 0.01
        return st.slider(label, bottom, 1.0, float(default), 0.01, key=key, help=knob.help, bind="query-params")
    return st.number_input(label, low, high, float(default), key=key, help=knob.help, format="%.4g", bind="query-params")
