"""Search in spaces too large to enumerate, or with objectives too slow: Optuna's NSGA-II or TPE over the axes of a `Space`, and between its
proposals the points that look best by a guess from those tried so far (`surrogate`).

The first points are the middle of the space and its corners, so that no end of the front is left to chance. From then on a quarter of each
batch is Optuna's, so that the search does not rest on the guess alone. A point is evaluated once, whoever proposes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np

from simulator.search.columns import METRICS, NOTES
from simulator.search.dominance import nondominated
from simulator.search.front import explained
from simulator.search.lattice import Key, Lattice, Rows
from simulator.search.objectives import (
    costs_of,
    directions_of,
    feasible_rows,
    known,
    listed,
    named,
    signs_of,
    violations,
)
from simulator.search.parallel import finished
from simulator.search.pick import evaluate
from simulator.search.space import Space
from simulator.search.surrogate import promising
from simulator.search.trials import Trials, plain
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import pandas as pd

    from simulator.search.objectives import Rules

    Objective = Callable[[Space, Sequence[Mapping[str, Any]]], pd.DataFrame]

BATCH = 32
"""Points proposed at a time, and the population of NSGA-II."""
TOGETHER = 16
"""Points of the built-in metrics in one call."""
IDLE = 20
"""Batches without a new point after which a search ends."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Answer of `optimise`. front: the feasible nondominated rows, as `pareto` returns them; trials: every row evaluated, in order;
    evaluations: how many distinct points that took, those of earlier sessions included."""

    front: pd.DataFrame
    trials: pd.DataFrame
    evaluations: int


def optimise(
    space: Space,
    objectives: Sequence[str] | Mapping[str, str],
    *,
    evaluations: int,
    constraints: Rules = (),
    method: Literal["nsga2", "tpe"] = "nsga2",
    seed: int = 0,
    storage: Path | str | None = None,
    executor: Executor | None = None,
    ready: str | None = None,
    evaluate_with: Objective | None = None,
    together: int | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> Found:
    """The front of a space after at most `evaluations` distinct points; all of it where the space has no more.

    objectives, constraints, ready: as in `pareto`; constraints of the space count too, and points that do not fit, exceed the
    context or were refused are infeasible. method: `nsga2` (Deb et al., 2002) or `tpe` (Bergstra et al., 2011). seed: the same
    seed gives the same trials, with any executor. storage: a file (Optuna's journal); given again with the same question, the search goes on
    where it was: what was evaluated is not evaluated again. executor: evaluates a batch in parallel. evaluate_with: for objectives
    that are not metrics of a scenario (a serving simulation): a function (space, points) -> frame with the objectives as columns, a
    row for each point; see `each` for a function of one scenario. together: points in one call of it (default 1, so that the storage
    misses none that is done and workers share the batch; 16 for the built-in metrics). advance: called with (done, evaluations).
    """
    if evaluations != int(evaluations) or evaluations < 1:
        raise SpecError(f"evaluations: {evaluations!r} is not accepted; a whole number from 1")
    if not 0 <= seed < 2**32:
        raise SpecError(f"seed: {seed!r} is not accepted; 0 to {2**32 - 1}")
    if together is not None and together < 1:
        raise SpecError(f"together: {together!r} is not accepted; 1 or more")
    signs = signs_of(objectives)
    if evaluate_with is None:
        known([*(axis.path for axis in space.axes), *METRICS, *NOTES], signs)
    search = _Search(space, signs, (*space.constraints, *listed(constraints)), ready, seed, evaluations, method, storage, evaluate_with)
    caller = _Caller(space, evaluate_with or evaluate, executor, together or (1 if evaluate_with else TOGETHER))
    idle = 0
    while len(search.trials) < search.most and idle < IDLE:
        before = len(search.trials)
        for done in search.batch(caller):
            if advance:
                advance(done, evaluations)
        idle = idle + 1 if len(search.trials) == before else 0
    return search.found()


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Caller:
    """Evaluates points here or by an executor."""

    space: Space
    function: Objective
    executor: Executor | None
    together: int

    def __call__(self, points: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, pd.DataFrame]]:
        """Rows of consecutive points with where they start, as they are finished."""
        parts = [(start, list(points[start : start + self.together])) for start in range(0, len(points), self.together)]
        for (start, part), frame in finished(partial(_called, self.function, self.space), parts, self.executor):
            yield start, self._checked(frame, part)

    def _checked(self, frame: pd.DataFrame, part: Sequence[Any]) -> pd.DataFrame:
        if len(frame) != len(part):
            raise SpecError(f"evaluate_with: gave {len(frame)} rows for {len(part)} points; one for each is expected")
        return frame


def _called(function: Objective, space: Space, part: tuple[int, list[Mapping[str, Any]]]) -> pd.DataFrame:
    return function(space, part[1])


@final
class _Search:
    """What is known so far, and what to try next."""

    def __init__(
        self, space: Space, signs: dict[str, float], rules: tuple[Any, ...], ready: str | None, seed: int, evaluations: int,
        method: str, storage: Path | str | None, function: Objective | None,
    ) -> None:  # fmt: skip
        self._lattice = Lattice(space)
        self._signs, self._rules, self._ready, self._seed = signs, rules, ready, seed
        question = (space.digest(), signs, [named(rule) for rule in rules], ready, named(function) if function else "")
        self.trials = Trials(self._lattice, len(signs), method, BATCH, seed, storage, repr(question))
        self.most = min(evaluations, space.size)
        self._costs: dict[Key, Any] = {}
        self._violations: dict[Key, float] = {}
        earlier = self.trials.rows()
        self._judge(earlier)
        for number, key in self.trials.left_open:
            self.trials.tell_late(number, self._costs[key], self._violations[key])
        if evaluations >= space.size:
            first = list(self._lattice.every())
        else:
            first = list(self._lattice.corners(max(evaluations // 3, 1)))
        self._plan = [row for row in first if tuple(row.tolist()) not in self.trials]

    def batch(self, caller: _Caller) -> Iterator[int]:
        """Asks for a batch, has it evaluated and tells of it; yields how many points are done."""
        asked = [self.trials.ask(row) for row in self._proposed(min(BATCH, self.most - len(self.trials)))]
        fresh = {key: trial for trial, key in reversed(asked) if key not in self.trials}
        fresh = dict(reversed(fresh.items()))
        keys = list(fresh)
        points = [self._lattice.point(np.array(key)) for key in keys]
        for start, frame in caller(points):
            for at, row in enumerate(self._rows(frame, points[start : start + len(frame)]), start):
                self.trials.keep(fresh[keys[at]], keys[at], row)
            yield len(self.trials)
        rows = self.trials.rows()
        self._judge({key: rows[key] for key in keys})
        for trial, key in asked:
            self.trials.tell(trial, self._costs[key], self._violations[key])

    def _rows(self, frame: pd.DataFrame, points: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Rows that start with where they are on each axis, whatever the function says of it: conditions may name axes."""
        rows = plain(frame)
        if all(row.get("refused") for row in rows):  # then it had no reason to make its numbers
            rows = [dict.fromkeys(self._signs, float("nan")) | row for row in rows]
        else:
            directions_of(frame, {name: "min" for name in self._signs})
        for point, row in zip(points, rows, strict=True):
            yield {**point, **{name: value for name, value in row.items() if name not in point}}

    def _judge(self, rows: Mapping[Key, Mapping[str, Any]]) -> None:
        import pandas as pd

        if rows:
            frame = pd.DataFrame.from_records(list(rows.values()))
            self._costs.update(zip(rows, costs_of(frame, self._signs), strict=True))
            self._violations.update(zip(rows, violations(frame, self._rules, self._ready, list(self._signs)).tolist(), strict=True))

    def _proposed(self, count: int) -> list[Rows | None]:
        """Rows to try next; None where Optuna is to propose one."""
        planned: list[Rows | None] = []
        while self._plan and len(planned) < count:
            planned.append(self._plan.pop(0))
        if planned or not self._costs:
            return planned or [None] * count
        guessed = self._guessed(count - count // 4)
        return [*guessed, *[None] * (count - len(guessed))]

    def _guessed(self, count: int) -> list[Rows]:
        keys = list(self._costs)
        generator = np.random.default_rng([self._seed, len(keys)])
        costs, missed = (np.array([values[key] for key in keys]) for values in (self._costs, self._violations))
        return list(promising(self._lattice, np.array(keys, dtype=np.int64), costs, missed, count, generator))

    def found(self) -> Found:
        """The answer so far."""
        import pandas as pd

        whole = pd.DataFrame.from_records(list(self.trials.rows().values()))
        allowed: Any = whole[feasible_rows(whole, self._rules, self._ready)]
        front: pd.DataFrame = allowed[nondominated(costs_of(allowed, self._signs))].copy()
        return Found(explained(front, self._signs), whole, len(whole))
