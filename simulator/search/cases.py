"""Cases with numbers, or arrays of them, at the paths of numeric axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from simulator.assemble import Case, case_of, scale_chip
from simulator.presets import resolve
from simulator.quantity import Numeric
from simulator.spec.scenario import Scenario, TechniqueUse
from simulator.spec.workload import Picture


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
