"""Trials of an optimiser: Optuna asks and is told, and every point that was evaluated is kept with its row, in a journal if wanted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from simulator.search.lattice import Key, Lattice, Rows
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import optuna
    import pandas as pd

METHODS = ("nsga2", "tpe")
_ROW = "row"
_PATIENCE = 3
"""Seconds after which the lock of a process that is gone is taken over."""


@final
class Trials:
    """A study of Optuna over the positions of a lattice, with the row of every point evaluated, here or in an earlier session with the
    same storage."""

    def __init__(
        self, lattice: Lattice, objectives: int, method: str, population: int, seed: int, storage: Path | str | None, name: str
    ) -> None:
        self._lattice = lattice
        self._paths = [axis.path for axis in lattice.space.axes]
        self._stored = storage is not None
        self._study = _study(objectives, method, population, seed, storage, name)
        self._rows: dict[Key, tuple[int, dict[str, Any]]] = {}
        self.left_open: list[tuple[int, Key]] = []
        """Trials of earlier sessions that were evaluated but not told."""
        for trial in self._study.get_trials(deepcopy=False):
            if _ROW in trial.user_attrs:
                key = self._key(trial.params)
                self._rows[key] = trial.number, trial.user_attrs[_ROW]
                if not trial.state.is_finished():
                    self.left_open.append((trial.number, key))

    def _key(self, params: Mapping[str, Any]) -> Key:
        row = np.array([[int(params[path]) for path in self._paths]], dtype=np.int64)
        return tuple(self._lattice.settled(row)[0].tolist())

    def ask(self, planned: Rows | None) -> tuple[optuna.trial.Trial, Key]:
        """A trial at a row where one is planned, else at one that Optuna proposes, and which row that is."""
        if planned is not None:
            self._study.enqueue_trial({path: max(int(at), 0) for path, at in zip(self._paths, planned, strict=True)})
        trial = self._study.ask()
        for path, length, ordered in zip(self._paths, self._lattice.lengths.tolist(), self._lattice.ordered, strict=True):
            if ordered:
                trial.suggest_int(path, 0, length - 1)
            else:
                trial.suggest_categorical(path, list(range(length)))
        return trial, self._key(trial.params)

    def keep(self, trial: optuna.trial.Trial, key: Key, row: dict[str, Any]) -> None:
        """The row of a point that was just evaluated."""
        self._rows[key] = trial.number, row
        if self._stored:
            trial.set_user_attr(_ROW, row)

    def tell(self, trial: optuna.trial.Trial, costs: Sequence[float], violation: float) -> None:
        """The end of a trial."""
        trial.set_constraint("violation", violation)
        self._study.tell(trial, _finite(costs))

    def tell_late(self, number: int, costs: Sequence[float], violation: float) -> None:
        """The end of a trial that an earlier session left open; Optuna need not know of one that is not allowed."""
        import optuna

        if violation > 0:
            self._study.tell(number, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(number, _finite(costs))

    def __len__(self) -> int:
        """Distinct points evaluated."""
        return len(self._rows)

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def rows(self) -> dict[Key, dict[str, Any]]:
        """Every row evaluated, in the order of trials."""
        return {key: row for key, (_, row) in sorted(self._rows.items(), key=lambda item: item[1][0])}


def plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON holds them: numbers, flags, texts and nothing; missing numbers are NaN."""
    return [{str(name): _cell(value) for name, value in row.items()} for row in frame.astype(object).to_dict("records")]


def _cell(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def _finite(costs: Sequence[float]) -> list[float]:
    """Optuna takes finite numbers only."""
    return [float(value) if math.isfinite(value) else math.copysign(1e30, value) for value in costs]


def _study(objectives: int, method: str, population: int, seed: int, storage: Path | str | None, name: str) -> optuna.Study:
    try:
        import optuna
    except ImportError:
        raise SpecError("search: Optuna is missing; pip install 'lvlm-simulator[search]'") from None
    from optuna.samplers import NSGAIISampler, TPESampler

    if method not in METHODS:
        raise SpecError(f"method: {method!r} is not accepted; {' or '.join(METHODS)}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = NSGAIISampler(population_size=population, seed=seed) if method == "nsga2" else TPESampler(seed=seed, n_startup_trials=population)
    ways: list[Any] = ["minimize"] * objectives
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the journal is marked experimental
        return optuna.create_study(directions=ways, sampler=sampler, storage=_journal(storage), load_if_exists=True, study_name=name)


def _journal(storage: Path | str | None) -> Any:
    if storage is None:
        return None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    file = Path(storage)
    try:
        _mend(file)
        return JournalStorage(JournalFileBackend(str(file), JournalFileSymlinkLock(str(file), grace_period=_PATIENCE)))
    except (OSError, ValueError) as error:
        raise SpecError(f"storage: {file} is not accepted: {error}; the journal of a search, or a file that is not there yet") from None


def _mend(file: Path) -> None:
    """Cuts off a last line that was not written to its end: what it said did not happen. Leaves files alone that are no journal."""
    data = file.read_bytes() if file.exists() else b""
    start = b'{"op_code"'
    if data[: len(start)] != start[: len(data)]:
        raise ValueError("it holds something else")
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with file.open("r+b") as out:
            out.truncate(whole)
