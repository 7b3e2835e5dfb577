"""Tasks here or by an executor. Which results come, and how often, does not depend on who makes them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 32
"""Tasks handed to an executor at a time: bounds memory."""
QUIET = 2.0
"""Seconds without a result after which a pool is asked whether all its workers live."""


def finished(function: Callable[[T], R], tasks: Iterable[T], executor: Executor | None) -> Iterator[tuple[T, R]]:
    """Each task with its result, in the order in which they are finished. A cluster that replaces a lost worker goes on by itself; a
    pool that breaks with one (`concurrent.futures.BrokenExecutor`) is not used again: what is left is done here, and a warning says so."""
    waiting = iter(tasks)
    left: list[T] = []
    running: dict[Future[R], T] = {}
    try:
        while executor is not None:
            left = list(itertools.islice(waiting, IN_FLIGHT - len(running)))
            while left:
                running[executor.submit(function, left[0])] = left[0]
                left.pop(0)
            if not running:
                return
            done = wait(running, timeout=QUIET, return_when=FIRST_COMPLETED).done
            if not done:
                _break_if_lost(executor)
            for future in done:
                result = future.result()
                yield running.pop(future), result
    except BrokenExecutor as error:
        _break_if_lost(executor)
        warnings.warn(f"the executor lost a worker and stopped ({error}); the rest is evaluated in this process", RuntimeWarning, stacklevel=2)
        ended = [(future, task) for future, task in running.items() if future.done() and not future.cancelled() and future.exception() is None]
        yield from ((task, future.result()) for future, task in ended)
        left = [task for future, task in running.items() if future not in dict(ended)] + left
    finally:
        for future in running:
            future.cancel()
    for task in itertools.chain(left, waiting):
        yield task, function(task)


def _break_if_lost(executor: Executor | None) -> None:
    """Breaks a process pool for good that has lost a worker. Python's pool waits for ever, and so would whoever closes it, where a worker
    was killed while it sent its result (the rest of which it reads for) or while another was started (which it joins but never
    stops): the first is over once no process can write any more, the second once all of them are stopped. Both need its own fields."""
    if not isinstance(executor, ProcessPoolExecutor):
        return
    pool: Any = executor
    workers = list((pool._processes or {}).values())
    if any(worker.exitcode not in (None, 0) for worker in workers):
        for worker in workers:
            worker.kill()
        if pool._result_queue is not None:
            pool._result_queue._writer.close()
