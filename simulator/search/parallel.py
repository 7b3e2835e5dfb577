"""Tasks here or by an executor. Which results come, and how often, does not depend on who makes them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 32
"""Tasks handed to an executor at a time: bounds memory."""


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
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = future.result()
                yield running.pop(future), result
    except BrokenExecutor as error:
        warnings.warn(f"the executor lost a worker and stopped ({error}); the rest is evaluated in this process", RuntimeWarning, stacklevel=2)
        done = [(future, task) for future, task in running.items() if future.done() and not future.cancelled() and future.exception() is None]
        yield from ((task, future.result()) for future, task in done)
        left = [task for future, task in running.items() if future not in dict(done)] + left
    finally:
        for future in running:
            future.cancel()
    for task in itertools.chain(left, waiting):
        yield task, function(task)
