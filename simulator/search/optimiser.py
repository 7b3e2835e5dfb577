"""Search in spaces too large to enumerate: Optuna's NSGA-II or TPE over the axes of a `Space`, with constraints and resumption.

The first trials are a plan of the corners: the base of the space, then each axis at its ends, so that no end of the front is left
to chance. From then on three of four trials are untried neighbours of the winners so far (Pareto local search; Paquete, Chiarandini and
Stuetzle, 2004), which close the gaps that crossover leaves. What the optimiser proposes is evaluated generation by generation, as rows of the vectorised core.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np

from simulator.search.axes import Axis
from simulator.search.front import costs_of, directions_of, explained, feasible_rows, nondominated
from simulator.search.pick import evaluate
from simulator.search.space import Space
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    Objective = Callable[[Space, Sequence[Mapping[str, Any]]], pd.DataFrame]

POPULATION = 32
IDLE = 20
"""Generations without a new point after which a search ends."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Answer of `optimise`. front: the feasible nondominated rows, as `pareto` returns them; trials: every row evaluated, in order;
    evaluations: how many distinct points that took."""

    front: pd.DataFrame
    trials: pd.DataFrame
    evaluations: int


def optimise(
    space: Space,
    objectives: Sequence[str] | Mapping[str, str],
    *,
    evaluations: int,
    constraints: Sequence[str | Callable[[pd.DataFrame], Any]] = (),
    method: Literal["nsga2", "tpe"] = "nsga2",
    seed: int = 0,
    storage: Path | str | None = None,
    executor: Executor | None = None,
    ready: str | None = None,
    evaluate_with: Objective | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> Found:
    """The front of a space after `evaluations` distinct points.

    objectives, constraints, ready: as in `pareto`; constraints of the space count too, and points that do not fit, exceed the
    context or were refused are infeasible. method: `nsga2` (Deb et al., 2002) or `tpe` (Bergstra et al., 2011). seed: the same
    seed gives the same trials. storage: a file (Optuna's journal); given again, the search goes on where it was. executor:
    evaluates a generation in parallel. evaluate_with: for objectives that are not metrics of a scenario (a serving simulation): a
    function (space, points) -> frame with the objectives as columns. advance: called with (done, evaluations).
    """
    if evaluations < 1:
        raise SpecError(f"evaluations: {evaluations!r} is not accepted; 1 or more")
    runner = _Runner(space, evaluate_with or _evaluated, executor)
    rules = [*space.constraints, *constraints]
    directions = directions_of(runner.evaluated([_middle(space)]), objectives)
    study = _study(space, directions, method, seed, storage)
    earlier = _told(study)
    known: dict[tuple[Any, ...], tuple[list[float], bool]] = {}
    frames: list[pd.DataFrame] = []

    def learn(points: Sequence[dict[str, Any]]) -> None:
        fresh = {_key(space, point): point for point in points}
        fresh = {key: point for key, point in fresh.items() if key not in known}
        if fresh:
            frame = runner.evaluated(list(fresh.values()))
            costs = costs_of(frame, directions)
            ok = feasible_rows(frame, rules, ready) & ~np.isnan(costs).any(axis=1)
            frames.append(frame)
            for at, key in enumerate(fresh):
                known[key] = ([float(value) if math.isfinite(value) else 1e30 for value in costs[at]], bool(ok[at]))

    learn(earlier)
    plan = [] if earlier else _plan(space, max(evaluations // 3, 1))
    idle, generator = 0, np.random.default_rng(seed + len(known))
    placed: dict[tuple[Any, ...], dict[str, Any]] = {}
    while len(known) < min(evaluations, space.size) and idle < IDLE:
        before = len(known)
        batch: list[tuple[optuna.trial.Trial, dict[str, Any]]] = []
        for _ in range(min(POPULATION if method == "nsga2" else 16, evaluations - len(known))):
            near = [] if plan or len(batch) % 4 == 0 else _neighbours(space, known, placed, generator)
            if plan or near:
                study.enqueue_trial(plan.pop(0) if plan else near[0])
            trial = study.ask()
            batch.append((trial, _suggested(space, trial)))
        learn([point for _, point in batch])
        for trial, point in batch:
            placed[_key(space, point)] = dict(trial.params)
            costs, good = known[_key(space, point)]
            trial.set_user_attr("point", {path: _plain(value) for path, value in point.items()})
            trial.set_user_attr("violation", 0.0 if good else 1.0)
            study.tell(trial, costs)
        idle = idle + 1 if len(known) == before else 0
        if advance:
            advance(len(known), evaluations)
    import pandas as pd

    whole = pd.concat(frames, ignore_index=True)
    allowed: Any = whole[feasible_rows(whole, rules, ready)]
    front: pd.DataFrame = allowed[nondominated(costs_of(allowed, directions))].copy()
    return Found(explained(front, directions), whole, len(whole))


def _evaluated(space: Space, points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return evaluate(space, points)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Runner:
    """Evaluates points here or by an executor."""

    space: Space
    function: Objective
    executor: Executor | None

    def evaluated(self, points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """Rows of points in order."""
        import pandas as pd

        if self.executor is None or len(points) < 2:
            return self.function(self.space, points)
        parts = [list(points[start : start + 16]) for start in range(0, len(points), 16)]
        frames = list(self.executor.map(self.function, [self.space] * len(parts), parts))
        return pd.concat(frames, ignore_index=True)


def _key(space: Space, point: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(_plain(point.get(axis.path)) for axis in space.axes)


def _plain(value: Any) -> Any:
    """A value as JSON holds it."""
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def _study(space: Space, directions: Mapping[str, float], method: str, seed: int, storage: Path | str | None) -> optuna.Study:
    try:
        import optuna
    except ImportError:
        raise SpecError("search: Optuna is missing; pip install 'lvlm-simulator[search]'") from None
    from optuna.samplers import NSGAIISampler, TPESampler

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def violation(trial: optuna.trial.FrozenTrial) -> Sequence[float]:
        return (float(trial.user_attrs.get("violation", 1.0)),)

    if method not in ("nsga2", "tpe"):
        raise SpecError(f"method: {method!r} is not accepted; nsga2 or tpe")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if method == "nsga2":
            sampler: Any = NSGAIISampler(population_size=POPULATION, seed=seed, constraints_func=violation, mutation_prob=None)
        else:
            sampler = TPESampler(seed=seed, constraints_func=violation, n_startup_trials=32)
        ways: Any = ["minimize"] * len(directions)
        backend: Any = None
        if storage is not None:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            backend = JournalStorage(JournalFileBackend(str(storage)))
        return optuna.create_study(
            directions=ways, sampler=sampler, storage=backend, load_if_exists=True,
            study_name=f"{space.digest()} {' '.join(directions)}",
        )  # fmt: skip


def _told(study: optuna.Study) -> list[dict[str, Any]]:
    """Points of earlier sessions, as labels."""
    return [trial.user_attrs["point"] for trial in study.get_trials(deepcopy=False) if "point" in trial.user_attrs]


def _label(axis: Axis, index: int) -> Any:
    return axis.labels[index] if axis.labels else axis.values[index]


def _suggested(space: Space, trial: optuna.trial.Trial) -> dict[str, Any]:
    """The point of a trial: numbers by their position on the axis (so that neighbours are near), choices as categories."""
    found: dict[str, Any] = {}
    for axis in space.axes:
        count = len(axis.values)
        index = trial.suggest_int(axis.path, 0, count - 1) if _ordered(axis) else trial.suggest_categorical(axis.path, list(range(count)))
        found[axis.path] = _label(axis, int(index))
    return _collapsed(space, found)


def _collapsed(space: Space, point: dict[str, Any]) -> dict[str, Any]:
    """The point with None on axes that are not active there, so that one scenario is one point."""
    choice = {axis.path: axis.values[axis.labels.index(point[axis.path])] for axis in space.choices}
    for _ in range(2):
        for axis in space.choices:
            if choice[axis.path] is not None and not space.active(axis, choice):
                choice[axis.path] = None
    return {
        axis.path: None if (choice[axis.path] is None if axis.path in choice else not space.active(axis, choice)) else point[axis.path]
        for axis in space.axes
    }


def _neighbours(
    space: Space, known: Mapping[tuple[Any, ...], tuple[list[float], bool]], placed: Mapping[tuple[Any, ...], dict[str, Any]],
    generator: np.random.Generator,
) -> list[dict[str, Any]]:  # fmt: skip
    """Positions of one untried point a step away from a winner, on one axis; none where every step tried at random is known."""
    keys = [key for key in placed if known[key][1]]
    if not keys:
        return []
    winners = np.flatnonzero(nondominated(np.array([known[key][0] for key in keys])))
    for _ in range(12):
        here = dict(placed[keys[int(generator.choice(winners))]])
        axis = space.axes[int(generator.integers(len(space.axes)))]
        count = len(axis.values)
        if count < 2:
            continue
        if _ordered(axis):
            step = int(generator.choice([-count, -2, -1, 1, 2, count]))  # to an end of the axis too: many knobs are best there
            here[axis.path] = min(max(int(here[axis.path]) + step, 0), count - 1)
        else:
            here[axis.path] = int((int(here[axis.path]) + generator.integers(1, count)) % count)
        if _key(space, _collapsed(space, {item.path: _label(item, int(here[item.path])) for item in space.axes})) not in known:
            return [here]
    return []


def _ordered(axis: Axis) -> bool:
    return axis.numeric or all(isinstance(value, int) and not isinstance(value, bool) for value in axis.values)


def _middle(space: Space) -> dict[str, Any]:
    return _collapsed(space, {axis.path: _label(axis, len(axis.values) // 2 if axis.numeric else 0) for axis in space.axes})


def _plan(space: Space, most: int) -> list[dict[str, int]]:
    """Positions to try first: all axes at one end or the other for numbers, each value of each choice with those."""
    ends = [0, 1]
    start: list[dict[str, int]] = []
    choices = [axis for axis in space.axes if not axis.numeric]
    for end in ends:
        whole = {axis.path: end * (len(axis.values) - 1) if axis.numeric else 0 for axis in space.axes}
        start.append(whole)
        for axis in space.axes:
            if axis.numeric:
                start.append({**whole, axis.path: (1 - end) * (len(axis.values) - 1)})
        for axis in choices:
            start += [{**whole, axis.path: index} for index in range(len(axis.values))]
    return list({tuple(item.items()): item for item in start}.values())[:most]
