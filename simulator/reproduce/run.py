"""Which rows to run, and the notes that go with some methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from simulator.literature import load_entries
from simulator.reproduce.series import doubted
from simulator.reproduce.table import Row, load_table
from simulator.reproduce.verdict import Result, judge
from simulator.spec.source import SpecError
from simulator.spec.validated import nearest

FEATURED = (
    "pyramiddrop", "prumerge", "fastv", "visionzip", "sparsevlm", "voco-llama", "divprune", "minference", "vl-cache", "look-m", "meda",
    "kivi", "deepseek-v2", "rekv", "hybridkv", "specvlm-ji", "specvlm-huang", "vispec", "awq",
)  # fmt: skip
"""Methods whose cost figures are run without `--all`."""

NOTES: dict[str, str] = {
    "vl-cache": "the authors' speed-ups need a baseline that decodes un-fused (repeated KV heads): 7.08x is at most 1.95x where each KV head is read once",
    "meda": "5.18 ms a token at 5 % is below the time to read 7B weights of 16 bits once on an A100 (6.9 ms): impossible, whatever was done to the cache; the other three stand in one series with it and are not scored",
    "hybridkv": "a pure roofline says 18 ms and a gain of 1.1x; 59 ms and 1.5x need a framework that copies KV out to all query heads",
    "specvlm-ji": "the 3B drafter is slower than the 7B one: 36 layers against 28, each bound by kernel starts, not by bytes",
    "prumerge": "operations, bytes and seconds follow from LLM-Viewer's formulas with 698 and 70 tokens, not the 616 and 80 of the text",
    "minference": "below 50 thousand tokens finding the pattern costs more than attention saves; the authors' fixed 2 to 3 s (index search in Python) are not modelled",
    "kivi": "2.6x less peak memory includes the weights, and the batch is not stated",
    "pyramiddrop": "multiply-accumulates of picture tokens alone, a feed-forward part of three matrices",
    "fastv": "two-matrix feed-forward part and 40 text tokens give the printed 57 %; latencies of a whole evaluation script contain host time nobody states",
    "sparsevlm": "192 tokens are what is left after recycling merged ones, which the published layer counts leave out",
    "voco-llama": "the printed seconds are of a cached picture, in a setting the paper does not describe",
}


def reproduce(method: str | None = None, everything: bool = False, table: Sequence[Row] | None = None) -> tuple[Result, ...]:
    """Results of the rows of a method (id of its catalogue entry), of the featured methods, or of all; accuracies only with
    `everything`. Raises SpecError."""
    whole = load_table() if table is None else table
    rows: Iterable[Row] = whole
    if method is not None:
        method = method.strip().lower()  # ids are lower case; papers write FastV
        rows = [row for row in rows if method in (row.entry, row.id)]
        if not rows:
            raise SpecError(f"method: {method!r} has no published cost figures; {_known(method)}")
    elif not everything:
        rows = [row for row in rows if row.entry in FEATURED]
    return doubted((judge(row) for row in rows if everything or row.id == method or not row.metric.startswith("accuracy")), whole)


def _known(method: str) -> str:
    entries = sorted({row.entry for row in load_table()})
    if any(item.id == method for item in load_entries()):
        return f"it is in the catalogue; methods with figures: {', '.join(entries)}"
    return f"nearest: {', '.join(nearest(method, entries)) or ', '.join(entries)}"
