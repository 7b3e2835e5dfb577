"""How much each knob matters: d log(metric) / d log(knob), the bars of a tornado."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simulator.presets import presets
from simulator.search import columns
from simulator.search.line import knob
from simulator.search.pick import base_value
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError
from simulator.technique import parameters, registry

if TYPE_CHECKING:
    import pandas as pd

STEP = 0.1
"""Half-width of the central difference in log: wide enough to average over tiles and patches."""


def knobs_of(scenario: Scenario) -> tuple[str, ...]:
    """Every numeric knob that a scenario has: workload, hardware figures, parameters of its techniques."""
    work = scenario.workload
    paths = [path for path in ("workload.text_tokens", "workload.output_tokens", "workload.batch") if base_value(scenario, path)]
    if work.images:
        paths += ["workload.images.scale", "workload.images.count"]
    if work.videos:
        paths += ["workload.videos.scale", "workload.videos.frames" if work.videos[0].frames else "workload.videos.fps"]
    paths += ["scale.bandwidth", "scale.flops", "scale.capacity", "scale.price"]
    if scenario.parallel.devices > 1:
        paths.append("scale.link")
    for use in scenario.techniques:
        parts = [use.kind] if use.kind in registry() else [part for part, _ in presets()[use.kind].parts]
        for part in parts:
            for item in parameters(registry()[part]):
                path = f"techniques.{use.kind}.{item.name}"
                value = base_value(scenario, path) if item.kind in ("number", "numbers") else 0.0
                if (path not in paths and isinstance(value, int | float) and value > 0) or (path not in paths and isinstance(value, tuple) and len(value) == 1 and value[0] > 0):
                    paths.append(path)
    return tuple(paths)


def elasticities(
    scenario: Scenario, metrics: str | Sequence[str] = ("ttft_s", "tpot_s", "latency_s", "peak_bytes", "energy_j", "cost_usd"),
    paths: Sequence[str] | None = None, step: float = STEP,
) -> pd.DataFrame:  # fmt: skip
    """d log(metric) / d log(knob) by central differences of `step` in log: a row per knob, a column per metric, the knob that
    moves any of them most first. 1: proportional; 0: no effect; one-sided where the knob stands at the end of its range.
    Column `value` holds the knob's own value.
    """
    import pandas as pd

    metrics = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    names = columns.checked(metrics)
    rows: dict[str, dict[str, float]] = {}
    for path in knobs_of(scenario) if paths is None else paths:
        given = base_value(scenario, path)
        value = float(given[0] if isinstance(given, tuple) else given)
        if not value > 0:
            raise SpecError(f"knob {path}: its value is {value:g}; an elasticity needs one above 0")
        ends = [value * math.exp(-step), value * math.exp(step)]
        line = knob(scenario, path)
        low_end, high_end = min(line.low, value), max(line.high, value)
        ends = [max(ends[0], low_end), min(ends[1], high_end)]
        width = math.log(ends[1] / ends[0])
        found = columns.values(line.at(np.array(ends)), names, (2,))
        rows[path] = {"value": value}
        for name in metrics:
            low, high = (float(item) for item in found[name])
            rows[path][name] = math.log(high / low) / width if low > 0 and high > 0 else 0.0
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "knob"
    order = frame[list(metrics)].abs().max(axis=1).sort_values(ascending=False, kind="stable").index
    return frame.loc[order]

