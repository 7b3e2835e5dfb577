"""Where tables go: the terminal's own width, or 160 columns into a file or a pipe."""

from __future__ import annotations

import sys

from rich.console import Console


def console() -> Console:
    """A console for standard output."""
    return Console(width=None if sys.stdout.isatty() else 160)
