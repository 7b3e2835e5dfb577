"""The oracle is a second opinion: only the files where the two sides meet may know of the simulator."""

from __future__ import annotations

import re
from pathlib import Path

MEETING = {"translated.py", "timed.py"}


def test_the_executed_side_imports_nothing_of_the_simulator() -> None:
    for path in Path(__file__).parent.glob("*.py"):
        if path.name not in MEETING:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(from|import) (simulator|calibrate|\.(timed|translated))\b", text, re.M), path.name
