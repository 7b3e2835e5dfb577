"""An array of scenarios gives each of them what it gets alone: every technique, knobs at the ends of their ranges included."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import pytest

from simulator import Image, Scenario, Video, Workload, load_model
from simulator.assemble import Assembly, Case, assemble
from simulator.measure import measure
from simulator.search import columns
from simulator.search.cases import case_with
from simulator.spec.load_model import model_names
from simulator.spec.scenario import TechniqueUse
from simulator.spec.source import SpecError
from simulator.technique import Parameter, parameters, registry

ROWS = 25
MODELS = tuple(name for name in model_names() if load_model(name).vision is not None)
HARDWARE = ("h100-sxm", "l40s", "a100-sxm-80gb", "mi300x", "rtx-4090", "jetson-agx-orin")
ENGINES = ("vllm", "sglang", "trtllm", "hf-flash", "hf-sdpa", "hf-eager", "ideal", "survey")
EXACT = 1e-12


def numbers(item: Any, path: str = "") -> dict[str, Any]:
    """Every number in nested dataclasses and mappings, by where it stands."""
    if is_dataclass(item) and not isinstance(item, type):
        item = {name: getattr(item, name) for name in item.__dataclass_fields__}
    if isinstance(item, dict):
        return {key: value for name, inner in item.items() for key, value in numbers(inner, f"{path}.{name}").items()}
    if isinstance(item, tuple):
        return {key: value for name, inner in enumerate(item) for key, value in numbers(inner, f"{path}.{name}").items()}
    return {} if isinstance(item, str) else {path: item}


def everything(case: Case) -> dict[str, Any]:
    """What a case costs: every number of its metrics but the mean shares of sources, and what the columns make of them."""
    assembly: Assembly = assemble(case)
    metrics = measure(case, assembly)
    point = columns.Point(case, assembly, metrics)
    found = {name: formula(point) for name, formula in columns.FORMULAS.items() if not name.endswith("_bound")}
    return {key: value for key, value in numbers(metrics).items() if not key.startswith((".sources", ".uncertain"))} | found


def drawn(knob: Parameter, random: np.random.Generator) -> np.ndarray:
    """Values of a knob: some at either end of its range, some at its default, the others in between."""
    default = knob.default[0] if isinstance(knob.default, tuple) else knob.default
    high = knob.high if math.isfinite(knob.high) else max(4.0 * default, knob.low + 8.0)
    inner = random.uniform(knob.low, high, ROWS)
    where = random.integers(0, 8, ROWS)
    return np.select([where == 0, where == 1, where == 2], [knob.low, high, default], inner)


def scenario(random: np.random.Generator) -> tuple[Scenario, dict[str, Any]]:
    """A scenario with up to four techniques, and an array for every number in it."""

    def pick(items: Any) -> Any:
        return items[int(random.integers(len(items)))]

    def whole(low: float, high: float) -> np.ndarray:
        return np.floor(random.uniform(low, high, ROWS))

    kinds = registry()
    names = [str(name) for name in random.choice(sorted(kinds), int(random.integers(0, 5)), replace=False)]
    uses: list[TechniqueUse] = []
    values: dict[str, Any] = {
        "workload.text_tokens": whole(0, 2000), "workload.output_tokens": whole(1, 300), "workload.batch": whole(1, 40),
        "scale.bandwidth": random.uniform(0.5, 2.0, ROWS), "scale.flops": random.uniform(0.5, 2.0, ROWS),
    }  # fmt: skip
    for name in names:
        settings: dict[str, Any] = {}
        for knob in parameters(kinds[name]):
            if knob.kind == "choice" and random.random() < 0.5:
                settings[knob.name] = pick(knob.choices)
            elif knob.kind == "flag":
                settings[knob.name] = bool(random.random() < 0.5)
            elif knob.kind == "number" and random.random() < 0.7 and (name, knob.name) != ("speculative", "accepted"):
                values[f"techniques.{name}.{knob.name}"] = drawn(knob, random)
        uses.append(TechniqueUse(kind=name, parameters=settings))
    video = random.random() < 0.15
    workload = Workload(videos=(Video(width=448, height=448, frames=8),)) if video else Workload(images=(Image(width=640, height=480),))
    prefix = "workload.videos" if video else "workload.images"
    values |= {f"{prefix}.width": whole(60, 2400), f"{prefix}.height": whole(60, 2000)}
    parallel = {"tp": int(pick((1, 1, 2))), "dp": int(pick((1, 1, 3)))}
    made = Scenario.model_validate(
        {"model": pick(MODELS), "hardware": pick(HARDWARE), "engine": pick(ENGINES), "workload": workload, "techniques": uses, "parallel": parallel}
    )
    return made, values


def disagreements(made: Scenario, values: dict[str, Any]) -> tuple[int, list[str]]:
    """(scenarios compared, where the array differs from the same scenarios one by one)."""
    singles: list[dict[str, Any] | str] = []
    for row in range(ROWS):
        try:
            singles.append(everything(case_with(made, {path: float(array[row]) for path, array in values.items()})))
        except SpecError as error:
            singles.append(str(error))
    refused = [text for text in singles if isinstance(text, str)]
    label = f"{made.model} {made.hardware} {made.engine} {[use.model_dump() for use in made.techniques]}"
    with np.errstate(all="ignore"):
        try:
            together = everything(case_with(made, values))
        except SpecError as error:
            return 0, [] if refused else [f"{label}: only the array is refused: {error}"]
    if refused:
        return 0, [f"{label}: only alone it is refused: {refused[0]}"]
    wrong: list[str] = []
    for row, single in enumerate(singles):
        assert isinstance(single, dict)
        for key, number in single.items():
            found = float(np.broadcast_to(np.asarray(together[key], float), (ROWS,))[row])
            number = float(number)
            if found != number and not (math.isnan(found) and math.isnan(number)) and not abs(found - number) <= EXACT * abs(number):
                knobs = {path: float(array[row]) for path, array in values.items()}
                wrong.append(f"{label} {knobs}: {key} is {number!r} alone, {found!r} in the array")
                break
    return ROWS, wrong


def compared(seeds: range) -> Counter[str]:
    """How many scenarios were compared, in all and by technique; fails with the first few that disagree."""
    count: Counter[str] = Counter()
    wrong: list[str] = []
    for seed in seeds:
        made, values = scenario(np.random.default_rng(seed))
        some, bad = disagreements(made, values)
        count.update(dict.fromkeys(["all", *(use.kind for use in made.techniques)], some))
        wrong += [f"seed {seed}: {text}" for text in bad[:1]]
    assert not wrong, f"{len(wrong)} of {len(seeds)}: " + "\n".join(wrong[:10])
    return count


def test_arrays_equal_scenarios_one_by_one() -> None:
    assert compared(range(24))["all"] >= 300


@pytest.mark.full
def test_arrays_equal_ten_thousand_scenarios_one_by_one() -> None:
    count = compared(range(1000, 1500))
    assert count["all"] >= 10_000
    assert min(count[name] for name in registry()) >= 100, count
