"""Spaces from YAML files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.search.axes import WHOLE
from simulator.search.space import Space
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError
from simulator.spec.validated import validated
from simulator.spec.yaml import read_yaml


def read_space(source: Path | str | Mapping[str, Any]) -> Space:
    """A space from YAML: `base` (a scenario), `axes`, `constraints`, `when`. An axis may be a list, or `{from, to, step}`,
    `{from, to, count}` with `spacing: linear | log` (whole numbers are rounded)."""
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
    if not isinstance(values, Mapping):
        return values
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
