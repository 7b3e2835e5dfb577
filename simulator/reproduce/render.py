"""Results as rows of text: for the screen, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from simulator.quantity import text
from simulator.reproduce.review import Finding
from simulator.reproduce.score import Score
from simulator.reproduce.verdict import Result

HEADER = ("row", "method", "model", "hardware", "quantity", "published", "predicted", "80 % band", "floor", "error", "verdict")
SCORES = ("group", "rows", "methods", "inside", "inside, by method", "upper/lower", "median error", "impossible")
_LATEX = str.maketrans({"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$",
                        "|": "$|$", "µ": r"\textmu{}", "×": r"$\times$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "±": r"$\pm$", "–": "--", "$": r"\$"})
_UNITS = {"s": "s", "s/token": "s", "B": "B", "B/h": "B", "FLOP": "FLOP", "MAC": "MAC", "token/s": "token/s"}


def amount(value: float | None, unit: str) -> str:
    """A figure with its unit; shares and ratios bare."""
    if value is None:
        return "-"
    if unit == "1" or unit not in _UNITS:
        return f"{value:.3g}" if abs(value) < 1e4 else f"{value:.4g}"
    return text(value, _UNITS[unit])


def cells(item: Result) -> tuple[str, ...]:
    """One line of the table."""
    row = item.row
    unit = "1" if item.quantity.startswith("share") else row.unit
    band = "-" if item.lower is None or item.lower == item.upper else f"{amount(item.lower, unit)} – {amount(item.upper, unit)}"
    published, predicted = amount(item.published, unit), amount(item.predicted, unit)
    if item.baseline_predicted is not None:
        published = f"{amount(item.baseline_published, unit)} to {published}"
        predicted = f"{amount(item.baseline_predicted, unit)} to {predicted}"
    error = "-" if item.error is None else f"{item.error:+.1%}"
    return (row.id, row.method, row.model, row.hardware or "-", item.quantity, published, predicted, band, amount(item.floor, unit), error, item.verdict)


def score_cells(item: Score) -> tuple[str, ...]:
    """One line of the summary."""
    return (item.name, str(item.rows), str(item.papers), f"{item.inside:.0%}", f"{item.by_paper:.0%}", f"{item.width:.2f}", f"{item.error:.0%}", str(item.impossible))


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows)


def latex(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A LaTeX tabular with booktabs rules."""

    def line(row: Sequence[str]) -> str:
        return "  " + " & ".join(cell.translate(_LATEX) for cell in row) + r" \\"

    body = "\n".join(line(row) for row in lines)
    return "\n".join((rf"\begin{{tabular}}{{{'l' * len(header)}}}", r"  \toprule", line(header), r"  \midrule", body, r"  \bottomrule", r"\end{tabular}"))


def record(item: Result) -> dict[str, Any]:
    """A result as JSON, flat, with the row's own columns."""
    data = asdict(item)
    row = data.pop("row")
    return {"id": row["id"], "entry": row["entry"], "method": row["method"], "metric": row["metric"], "unit": row["unit"], "model": row["model"],
            "hardware": row["hardware"], "engine": row["engine"], "kind": row["kind"], "specified": row["specified"], "source": row["source"],
            "notes": row["notes"], **data}  # fmt: skip


def finding_cells(item: Finding) -> tuple[str, ...]:
    """One line of a review."""
    return (item.level, item.row, item.text)
