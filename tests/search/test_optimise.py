"""The optimiser against everything, and what interruption must not do to it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator import Space, estimate, pareto, sweep
from simulator.search import each, evaluate, optimise
from simulator.search.expression import parse
from simulator.search.lattice import Lattice
from simulator.search.objectives import feasible_rows, violations
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError
from tests.search.spaces import BASE, SPACES

QUICK = ("four techniques, three objectives", "three points in a thousand allowed", "engines and switches")


@pytest.mark.parametrize("name", QUICK)
def test_two_percent_find_the_front(name: str) -> None:
    assert 0.99 <= SPACES[name].found(1) <= 1.0 + 1e-9


@pytest.mark.full
@pytest.mark.parametrize("name", SPACES)
def test_two_percent_find_the_front_with_ten_seeds(name: str) -> None:
    found = [SPACES[name].found(seed) for seed in range(10)]
    assert min(found) >= 0.99 and max(found) <= 1.0 + 1e-9, found


SMALL = {"workload.batch": list(range(1, 65)), "techniques.fastv.keep": [0.05 * k for k in range(1, 21)]}
AIMS = ["ttft_s", "cost_usd"]
KEYS = list(SMALL)


class Counted:
    """Evaluates, and counts which points it was asked for; stops at the calls it is told to."""

    def __init__(self, stops: Sequence[int] = (), error: type[BaseException] = KeyboardInterrupt) -> None:
        self.calls = 0
        self.seen: Counter[tuple[Any, ...]] = Counter()
        self.stops, self.error = set(stops), error

    def __call__(self, space: Space, points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        self.calls += 1
        if self.calls in self.stops:
            raise self.error
        self.seen.update(tuple(point.values()) for point in points)
        return evaluate(space, points)


def test_counts_are_what_was_called() -> None:
    space = Space(BASE, SMALL)
    counted = Counted()
    found = optimise(space, AIMS, evaluations=100, evaluate_with=counted)
    assert found.evaluations == len(found.trials) == sum(counted.seen.values()) == counted.calls == 100
    assert max(counted.seen.values()) == 1
    together = Counted()
    same = optimise(space, AIMS, evaluations=100, evaluate_with=together, together=16)
    pd.testing.assert_frame_equal(found.trials, same.trials)
    assert together.seen == counted.seen and together.calls < 12


def test_seeds_repeat_and_differ() -> None:
    space = Space(BASE, SMALL)
    a, b, c = (optimise(space, AIMS, evaluations=100, seed=seed, constraints=["tpot_s <= 0.05"]) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(a.trials, b.trials)
    assert not a.trials[KEYS].equals(c.trials[KEYS])
    assert (a.front["tpot_s"] <= 0.05).all() and not a.trials[KEYS].duplicated().any()


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_as_many_evaluations_as_points_are_a_sweep(method: Any) -> None:
    space = Space(BASE, {"techniques": ["none", "fastv", "kv_quant"], "techniques.fastv.keep": [0.25, 0.5, 0.75], "workload.batch": [1, 2, 4, 8]})
    found = optimise(space, AIMS, evaluations=1000, method=method)
    assert found.evaluations == space.size == 20
    whole = pareto(sweep(space), AIMS)
    assert sorted(found.front["ttft_s"]) == pytest.approx(sorted(whole["ttft_s"]), rel=1e-12)


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_stopped_and_resumed_nothing_is_lost_or_twice(method: Any, error: type[BaseException], tmp_path: Path) -> None:
    space = Space(BASE, SMALL)
    counted = Counted((1, 2, 20, 37, 80, 111), error)
    stopped = 0
    while True:
        try:
            found = optimise(space, AIMS, evaluations=120, method=method, storage=tmp_path / "journal", evaluate_with=counted)
            break
        except error:
            stopped += 1
    assert stopped == 6 and found.evaluations == 120 == sum(counted.seen.values()) and max(counted.seen.values()) == 1
    assert set(map(tuple, found.trials[KEYS].to_numpy())) == set(counted.seen)
    more = optimise(space, AIMS, evaluations=140, method=method, storage=tmp_path / "journal", evaluate_with=counted)
    assert more.evaluations == 140 == sum(counted.seen.values()) and max(counted.seen.values()) == 1
    again = optimise(space, AIMS, evaluations=140, method=method, storage=tmp_path / "journal", evaluate_with=counted)
    assert sum(counted.seen.values()) == 140, "nothing is evaluated where all is known"
    pd.testing.assert_frame_equal(again.trials, more.trials)
    fresh = evaluate(space, again.trials[KEYS].to_dict("records"))
    np.testing.assert_allclose(again.trials["ttft_s"], fresh["ttft_s"], rtol=1e-12)


def test_a_journal_cut_off_anywhere_goes_on(tmp_path: Path) -> None:
    space = Space(BASE, SMALL)
    whole = tmp_path / "whole"
    optimise(space, AIMS, evaluations=60, storage=whole)
    data = whole.read_bytes()
    generator = random.Random(5)
    for at in (3, 40, *(generator.randrange(len(data)) for _ in range(4)), len(data) - 1):
        torn = tmp_path / f"torn-{at}"
        torn.write_bytes(data[:at])
        found = optimise(space, AIMS, evaluations=60, storage=torn)
        assert found.evaluations == 60 and not found.trials[KEYS].duplicated().any()
        again = optimise(space, AIMS, evaluations=60, storage=torn)
        pd.testing.assert_frame_equal(again.trials, found.trials)


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("do not lose me\nno end of line")
    with pytest.raises(SpecError, match="it holds something else"):
        optimise(Space(BASE, SMALL), AIMS, evaluations=10, storage=file)
    assert file.read_text() == "do not lose me\nno end of line"


def test_other_questions_in_one_journal_stay_apart(tmp_path: Path) -> None:
    space = Space(BASE, SMALL)
    first = optimise(space, AIMS, evaluations=40, storage=tmp_path / "journal")
    other = optimise(space, AIMS, evaluations=40, storage=tmp_path / "journal", constraints="tpot_s <= 0.02")
    assert first.evaluations == other.evaluations == 40 and (other.front["tpot_s"] <= 0.02).all()


KILLED = """
import sys
from tests.search.test_optimise import AIMS, SMALL, BASE
from simulator import Space
from simulator.search import evaluate, optimise

def logged(space, points):
    with open(sys.argv[2], "a") as out:
        out.write("".join(str(tuple(point.values())) + "\\n" for point in points))
    return evaluate(space, points)

optimise(Space(BASE, SMALL), AIMS, evaluations=400, storage=sys.argv[1], evaluate_with=logged)
"""


def test_killed_at_any_moment_and_resumed(tmp_path: Path) -> None:
    journal, log = tmp_path / "journal", tmp_path / "log"
    generator = random.Random(1)
    kills = 0
    for wanted in (5, 40, 90):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(KILLED), str(journal), str(log)], cwd=Path(__file__).parents[2])
        while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < wanted):
            time.sleep(0.002)
        time.sleep(generator.random() * 0.05)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert kills == 3
    done = len(log.read_text().splitlines())
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED).replace("400", str(done + 40)), str(journal), str(log)],
                             cwd=Path(__file__).parents[2], check=True)  # fmt: skip
    calls = log.read_text().splitlines()
    assert done + 40 <= len(calls) <= done + 40 + kills, "no more than what was under way when it was killed is lost"
    assert done + 40 <= len(set(calls)) + kills and max(Counter(calls).values()) <= 1 + kills


def slow_square(scenario: Scenario) -> Mapping[str, float]:
    return {"mine": (scenario.workload.batch - 20.0) ** 2 + 1.0, "half": scenario.workload.batch / 2}


def test_numbers_of_ones_own() -> None:
    space = Space(BASE, {"workload.batch": list(range(1, 65)), "engine": ["vllm", "ideal"], "format": ["bf16", "tf32"]})
    found = optimise(space, {"mine": "min", "ttft_s": "min"}, evaluations=120, evaluate_with=each(slow_square), constraints=["half >= 5", "fits"])
    assert found.front["workload.batch"].between(10, 20).all() and found.front["mine"].min() == 1.0
    assert (found.trials[found.trials["refused"] == ""]["half"] * 2 == found.trials[found.trials["refused"] == ""]["workload.batch"]).all()
    with ThreadPoolExecutor(3) as pool:
        other = optimise(space, {"mine": "min", "ttft_s": "min"}, evaluations=120, evaluate_with=each(slow_square), constraints=["half >= 5", "fits"], executor=pool)
    pd.testing.assert_frame_equal(found.trials, other.trials)
    row = found.front.iloc[0]
    assert estimate(space.pick(found.front, 0)).ttft_s == pytest.approx(row["ttft_s"], rel=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"evaluations": 0}, "evaluations: 0"), ({"evaluations": 2.5}, "evaluations: 2.5"), ({"method": "nsga3"}, "method: 'nsga3'"),
        ({"objectives": ["ttft"]}, "did you mean ttft_s"), ({"objectives": []}, "none given"), ({"objectives": {"ttft_s": "least"}}, "min or max"),
        ({"objectives": ["engine"]}, "'engine' holds no numbers"), ({"ready": "soon"}, "ready: 'soon'"), ({"together": 0}, "together: 0"),
        ({"evaluate_with": lambda space, points: evaluate(space, points).head(0)}, "0 rows for 1 points"),
        ({"evaluate_with": lambda space, points: pd.DataFrame({"a": [1.0] * len(points)})}, "'ttft_s' is not a column"),
        ({"constraints": "ttft <= 1"}, "'ttft' is not known here"),
    ],
)  # fmt: skip
def test_wrong_questions_are_refused(change: dict[str, Any], words: str) -> None:
    space = Space(BASE, {"workload.batch": [1, 2, 4, 8], "engine": ["vllm", "ideal"]})
    given: dict[str, Any] = {"objectives": ["ttft_s", "tpot_s"], "evaluations": 4} | change
    with pytest.raises(SpecError, match=words):
        optimise(space, given.pop("objectives"), **given)


def test_nothing_allowed_is_an_empty_front() -> None:
    found = optimise(Space(BASE, SMALL), AIMS, evaluations=60, constraints=["ttft_s <= 1e-6"])
    assert found.front.empty and found.evaluations == 60


def test_lattices_count_what_the_space_counts() -> None:
    for trial in SPACES.values():
        small = Space(trial.base, {path: list(values)[:2] for path, values in trial.axes.items()}, when=trial.when)
        lattice = Lattice(small)
        rows = np.array(list(lattice.every()))
        assert len(np.unique(rows, axis=0)) == len(rows) == small.size
        assert (lattice.settled(rows) == rows).all()
        drawn = lattice.settled(lattice.random(500, np.random.default_rng(0)))
        assert set(map(tuple, drawn.tolist())) <= set(map(tuple, rows.tolist()))
        frame = evaluate(small, [lattice.point(row) for row in rows[::31]], ["ttft_s"])
        np.testing.assert_allclose(frame["ttft_s"], sweep(small, ["ttft_s"])["ttft_s"][::31], rtol=1e-12)


def test_conditions_wait_for_what_they_depend_on() -> None:
    axes = {"parallel.tp": [1, 2], "engine": ["vllm", "ideal"], "hardware": ["l40s", "h100-sxm"]}
    space = Space(BASE, axes, when={"parallel.tp": "engine != 'ideal'", "engine": "hardware == 'l40s'"})
    lattice = Lattice(space)
    assert lattice.settled(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]])).tolist() == [[1, -1, 1], [-1, 1, 0], [1, 0, 0]]
    assert len(list(lattice.every())) == space.size == 5


@pytest.mark.parametrize(
    ("text", "excess"),
    [
        ("a <= 2", [0, 0, 1 / 3, 1]), ("a < 2", [0, 1e-9, 1 / 3, 1]), ("a <= 2 and b", [0, 1, 1 / 3, 2]), ("a <= 2 or b", [0, 0, 0, 1]),
        ("not b", [1, 0, 1, 0]), ("c == 'x'", [0, 1, 0, 0]), ("c in ['x']", [0, 1, 0, 0]), ("a >= 2", [0.5, 0, 0, 1]), ("1 <= a <= 2", [0, 0, 1 / 3, 2]),
    ],
)  # fmt: skip
def test_how_far_a_condition_is_from_true(text: str, excess: list[float]) -> None:
    values = {"a": np.array([1.0, 2.0, 3.0, np.nan]), "b": np.array([True, False, True, False]), "c": np.array(["x", "y", "x", "x"], object)}
    assert parse(text).excess(values) == pytest.approx(np.array(excess))
    frame = pd.DataFrame(values)
    assert ((violations(frame, text, None, []) == 0) == feasible_rows(frame, text)).all()
