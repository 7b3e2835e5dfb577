"""What is the largest that will do, and which hardware is the cheapest that will."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from simulator.search import columns
from simulator.search.expression import parse
from simulator.search.line import edge, knob, plain
from simulator.search.objectives import feasible_rows
from simulator.search.space import Space
from simulator.search.sweeps import sweep
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import pandas as pd


@final
@dataclass(frozen=True, slots=True)
class Largest:
    """Answer of `largest`. value: None where not even the smallest will do. binding: the conditions that the next value breaks.
    monotone: False where larger values hold again after smaller ones fail."""

    path: str
    value: float | None
    binding: tuple[str, ...]
    monotone: bool
    text: str


def largest(
    scenario: Scenario, path: str, conditions: str | Sequence[str] = ("fits", "within_context"), high: float | None = None, low: float | None = None
) -> Largest:
    """The largest batch, context, picture or video for which the conditions hold: `largest(scenario, "workload.batch")`.

    conditions: texts over metric columns and the knob (`fits`, `ttft_s <= 0.5`). The value is exact for whole numbers; where conditions hold
    again further on, the largest of the first stretch is given and `monotone` is False.
    """
    line = knob(scenario, path, low, high)
    conditions = (conditions,) if isinstance(conditions, str) else tuple(conditions)
    if not conditions:
        raise SpecError("conditions: none given; e.g. fits, ttft_s <= 0.5")
    rules = [parse(text) for text in conditions]
    names = tuple(sorted({name for rule in rules for name in rule.names} - {path}))
    columns.checked(names)

    def each(values: NDArray[np.float64]) -> NDArray[np.bool_]:
        found = columns.values(line.at(plain(values)), names, values.shape) | {path: values}
        return np.array([np.broadcast_to(np.asarray(rule(found), bool), values.shape) for rule in rules])

    samples = line.samples()
    holds: Any = each(samples).all(axis=0)
    if not holds[0]:
        broken = tuple(text for text, ok in zip(conditions, each(samples[:1])[:, 0], strict=True) if not ok)
        return Largest(path, None, broken, True, f"not even {path} = {line.low:g} satisfies {', '.join(broken)}")
    if holds.all():
        return Largest(path, line.high, (), True, f"{path} up to {line.high:g}, the end of the range, satisfies {', '.join(conditions)}")
    first = int(np.argmin(holds))
    below, above = edge(lambda value: bool(each(np.array([value])).all()), float(samples[first - 1]), float(samples[first]), line.whole)
    broken = tuple(text for text, ok in zip(conditions, each(np.array([above]))[:, 0], strict=True) if not ok)
    monotone = not holds[first:].any()
    more = "" if monotone else "; it holds again for some larger values"
    return Largest(path, below, broken, monotone, f"{path} = {below:.10g} is the largest; beyond it fails: {', '.join(broken)}{more}")


def cheapest(
    scenario: Scenario, conditions: str | Sequence[str], hardware: Sequence[str] | None = None, tp: Sequence[int] = (1, 2, 4, 8), by: str = "price"
) -> pd.DataFrame:
    """Hardware that meets an objective (`["ttft_s <= 0.2", "tpot_s <= 0.02"]`), the cheapest first; those that do not, left out.

    hardware: names (default all that ship); tp: tensor-parallel degrees tried. by: `price` (dollars per hour of the whole
    deployment) or `request` (`cost_usd`). Column `price_per_hour_usd` is added. What does not fit never qualifies.
    """
    from simulator.spec.load_hardware import hardware_names, load_hardware

    if by not in ("price", "request"):
        raise SpecError(f"by: {by!r} is not accepted; price or request")
    names = hardware_names() if hardware is None else [hardware] if isinstance(hardware, str) else list(hardware)
    frame = sweep(Space(scenario, {"hardware": names, "parallel.tp": list(tp)}))
    devices: Any = frame["parallel.tp"].to_numpy() * scenario.parallel.pp * scenario.parallel.dp
    hourly = {load_hardware(name).name: load_hardware(name).price_per_hour.value for name in names}
    frame["price_per_hour_usd"] = frame["hardware"].astype(str).map(lambda name: hourly[name]).to_numpy(dtype=float) * scenario.scale.price * devices
    good: Any = frame[feasible_rows(frame, conditions)]
    order = ["price_per_hour_usd", "cost_usd"] if by == "price" else ["cost_usd", "price_per_hour_usd"]
    return good.sort_values([*order, "latency_s"], kind="stable")
