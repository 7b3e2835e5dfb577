"""A progress line: rich's bar where rich is installed, else one plain line rewritten in place."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any


class Progress:
    """Shows how much of the budget is spent and what is being timed. Use as a context manager."""

    def __init__(self, budget_s: float, quiet: bool = False) -> None:
        self.budget_s = budget_s
        self.quiet = quiet
        self.start = time.monotonic()
        self.last = 0.0
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> Progress:
        if not self.quiet and sys.stderr.isatty():
            try:
                rich_progress = importlib.import_module("rich.progress")
                console = importlib.import_module("rich.console").Console(stderr=True)
            except ImportError:
                return self
            columns = (
                rich_progress.BarColumn(),
                rich_progress.TimeElapsedColumn(),
                rich_progress.TextColumn("{task.description}"),
            )
            self.bar = rich_progress.Progress(*columns, console=console)
            self.task = self.bar.add_task("", total=self.budget_s)
            self.bar.start()
        return self

    def update(self, done: int, total: int, what: str) -> None:
        """Say that ``done`` of ``total`` cases are over and ``what`` is next."""
        now = time.monotonic()
        if self.quiet or now - self.last < (0.2 if sys.stderr.isatty() else 10.0):
            return
        self.last = now
        spent = now - self.start
        text = f"{done}/{total} {what}"
        if self.bar is not None:
            self.bar.update(self.task, completed=min(spent, self.budget_s), description=text)
            return
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"{spent:6.0f} s of {self.budget_s:.0f} s  {text:<70.70}", end=end, file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()
        elif not self.quiet and sys.stderr.isatty():
            print(file=sys.stderr)
