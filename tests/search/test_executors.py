"""Beyond one process: a pool and a local Dask cluster of separate workers, one of which is killed in mid-run."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator import Image, Scenario, Space, Workload, sweep
from simulator.search import evaluate, optimise, store

BASE = Scenario(
    model="qwen2.5-vl-7b",
    hardware="l40s",
    workload=Workload(images=(Image(width=1280, height=720),), text_tokens=64, output_tokens=128),
)
AXES = {
    "workload.text_tokens": [16 * k for k in range(1, 41)], "workload.batch": list(range(1, 26)),
    "techniques.fastv.keep": [0.25, 0.5, 0.75, 1.0], "hardware": ["l40s", "h100-sxm"],
}  # fmt: skip


def space() -> Space:
    return Space(BASE, AXES, ["fits and tpot_s < 1.0"])


def test_pool_of_processes_gives_the_same_rows(tmp_path: Path) -> None:
    alone = sweep(space(), points=500)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        pd.testing.assert_frame_equal(sweep(space(), points=500, executor=pool), alone)
        done = store(space(), tmp_path / "out", points=500, executor=pool)
        found = optimise(Space(BASE, AXES), ["ttft_s", "cost_usd"], evaluations=96, executor=pool)
    assert done.rows == len(alone) == len(done.read())
    here = optimise(Space(BASE, AXES), ["ttft_s", "cost_usd"], evaluations=96)
    np.testing.assert_allclose(found.trials["ttft_s"], here.trials["ttft_s"], rtol=1e-12)
    assert found.evaluations == here.evaluations == 96


def logged(space: Space, points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Evaluates one point and leaves a line; the first process that finds the file `strike` removes it and dies."""
    folder = Path(os.environ["LVLM_TEST_FOLDER"])
    try:
        (folder / "strike").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    except FileNotFoundError:
        pass
    with (folder / "log").open("a") as out:
        out.write(f"{os.getpid()} {tuple(points[0].values())}\n")
    return evaluate(space, points)


def half_a_result(space: Space, points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Like `logged`, but dies while it sends its result: a few bytes are in the pipe, the rest never comes."""

    def send(self: Any, data: Any, write: Any = None) -> None:
        os.write(self.fileno(), bytes(data)[:3])
        os.kill(os.getpid(), signal.SIGKILL)

    with contextlib.suppress(FileNotFoundError):
        (Path(os.environ["LVLM_TEST_FOLDER"]) / "strike").unlink()
        multiprocessing.connection.Connection._send = send  # pyright: ignore[reportAttributeAccessIssue]
    return evaluate(space, points)


def test_a_worker_killed_while_it_sends_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVLM_TEST_FOLDER", str(tmp_path))
    wanted = optimise(Space(BASE, AXES), ["ttft_s", "cost_usd"], evaluations=64)
    (tmp_path / "strike").touch()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool, pytest.warns(RuntimeWarning, match="lost a worker"):
        found = optimise(Space(BASE, AXES), ["ttft_s", "cost_usd"], evaluations=64, executor=pool, evaluate_with=half_a_result)
    np.testing.assert_allclose(found.trials["ttft_s"], wanted.trials["ttft_s"], rtol=1e-12)
    assert not multiprocessing.active_children()


def test_a_pool_that_loses_a_worker_loses_no_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = sweep(space(), points=200)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        victims = {pool.submit(os.getpid).result()}

        def strike(done: int, size: int) -> None:
            while victims:
                os.kill(victims.pop(), signal.SIGKILL)

        with pytest.warns(RuntimeWarning, match="lost a worker"):
            frame = sweep(space(), points=200, executor=pool, advance=strike)
    pd.testing.assert_frame_equal(frame, alone)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        victims.add(pool.submit(os.getpid).result())
        with pytest.warns(RuntimeWarning, match="lost a worker"):
            done = store(space(), tmp_path / "out", points=200, executor=pool, advance=strike)
    assert done.points == space().size and done.rows == len(alone)
    np.testing.assert_allclose(done.read()["ttft_s"], alone["ttft_s"], rtol=1e-12)

    monkeypatch.setenv("LVLM_TEST_FOLDER", str(tmp_path))
    wanted = optimise(Space(BASE, AXES), ["ttft_s", "cost_usd"], evaluations=64)
    (tmp_path / "strike").touch()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool, pytest.warns(RuntimeWarning, match="lost a worker"):
        found = optimise(Space(BASE, AXES), ["ttft_s", "cost_usd"], evaluations=64, executor=pool, evaluate_with=logged)
    np.testing.assert_allclose(found.trials["ttft_s"], wanted.trials["ttft_s"], rtol=1e-12)
    done_here = [line.split(" ", 1) for line in (tmp_path / "log").read_text().splitlines()]
    assert len({point for _, point in done_here}) == found.evaluations == 64 and not (tmp_path / "strike").exists()
    assert len(done_here) <= 64 + 1, "only what the other worker had under way may be done again"


def test_dask_cluster_survives_a_killed_worker(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    import dask

    alone = sweep(space(), points=200)
    settings = {"distributed.scheduler.allowed-failures": 10, "distributed.nanny.environ.OMP_NUM_THREADS": "1"}
    with dask.config.set(settings):
        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
        with cluster, distributed.Client(cluster) as client:
            pids = client.run(os.getpid)
            assert len(set(pids.values()) | {os.getpid()}) == 3, "workers are processes of their own"
            victim = next(iter(pids.values()))
            killed = threading.Event()

            def strike(done: int, size: int) -> None:
                if not killed.is_set():
                    os.kill(victim, signal.SIGKILL)
                    killed.set()

            frame = sweep(space(), points=200, executor=client.get_executor(), advance=strike)
            assert killed.is_set()
            wanted = optimise(Space(BASE, AXES), ["ttft_s", "cost_usd"], evaluations=96)
            second = set(client.run(os.getpid).values())
            killed.clear()

            def strike_again(done: int, evaluations: int) -> None:
                if done > 40 and not killed.is_set():
                    os.kill(min(second), signal.SIGKILL)
                    killed.set()

            found = optimise(Space(BASE, AXES), ["ttft_s", "cost_usd"], evaluations=96, executor=client.get_executor(),
                             advance=strike_again, storage=tmp_path / "journal", together=4)  # fmt: skip
            assert killed.is_set() and found.evaluations == 96 and not found.trials[list(AXES)].duplicated().any()
            np.testing.assert_allclose(found.trials["ttft_s"], wanted.trials["ttft_s"], rtol=1e-12)
            with pytest.raises(ProcessLookupError):
                for _ in range(100):
                    os.kill(victim, 0)
                    time.sleep(0.05)
    pd.testing.assert_frame_equal(frame, alone)
    assert len(frame.drop_duplicates(list(AXES))) == len(frame)
