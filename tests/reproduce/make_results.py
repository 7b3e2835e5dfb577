"""Writes RESULTS.md beside it: how well the published table is predicted. `python tests/reproduce/make_results.py`, some minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from simulator.reproduce import Result, load_table, reproduce, summary
from simulator.reproduce.halves import fresh_held_out
from simulator.reproduce.render import HEADER, SCORES, amount, cells, markdown, score_cells
from simulator.reproduce.table import FRESH
from simulator.reproduce.verdict import judge

HERE = Path(__file__).parent


def by_method(results: Sequence[Result], kind: str) -> list[tuple[str, ...]]:
    groups: dict[tuple[str, str], list[Result]] = {}
    for item in results:
        if item.scored and item.verdict != "impossible" and item.row.kind == kind:
            groups.setdefault((item.row.entry, item.quantity), []).append(item)
    lines: list[tuple[str, ...]] = []
    for (entry, quantity), items in sorted(groups.items()):
        inside = sum(item.verdict == "inside" for item in items)
        errors = [item.error or 0.0 for item in items]
        width = median((item.upper or 1.0) / (item.lower or 1.0) for item in items)
        lines.append((entry, quantity, str(len(items)), str(inside), f"{median(errors):+.0%}", f"{min(errors):+.0%} to {max(errors):+.0%}", f"{width:.2f}"))
    return lines


def fresh() -> str:
    """The figures entered before they were predicted, by source and quantity, by half, and all of them."""
    results = [item for row in load_table(FRESH) for item in (judge(row),) if item.scored]
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for item in results:
        groups.setdefault((item.row.entry, item.row.hardware, item.quantity), []).append(item)
    lines: list[tuple[str, ...]] = []
    halves = {name: [item for item in results if fresh_held_out(item.row) == kept] for name, kept in (("development half", False), ("held-out half", True))}
    for key, items in [*groups.items(), *(((name, "", ""), half) for name, half in halves.items()), (("all", "", ""), results)]:
        inside, errors = sum(item.verdict == "inside" for item in items), [item.error or 0.0 for item in items]
        width = median((item.upper or 1.0) / (item.lower or 1.0) for item in items)
        off = median(map(abs, errors))
        lines.append((*key, str(len(items)), str(inside), f"{median(errors):+.0%}", f"{off:.0%}", f"{min(errors):+.0%} to {max(errors):+.0%}", f"{width:.2f}"))
    return markdown(("source", "hardware", "quantity", "rows", "inside", "median error", "without sign", "errors", "upper/lower"), lines)


def page(results: Sequence[Result]) -> str:
    scores = markdown(SCORES, [score_cells(item) for item in summary(results)])
    columns = ("method", "quantity", "rows", "inside", "median error", "errors", "upper/lower")
    counted = [item for item in results if item.group == "count" and item.verdict in ("reproduced", "off")]
    exact = [item for item in counted if item.row.specified]
    off = [cells(item) for item in counted if item.verdict == "off"]
    impossible = [(item.row.id, item.row.entry, item.row.method, item.quantity, amount(item.published, item.row.unit), amount(item.floor, item.row.unit))
                  for item in results if item.verdict == "impossible"]  # fmt: skip
    doubtful = [(item.row.id, item.row.entry, item.row.method, item.quantity, amount(item.published, item.row.unit), amount(item.predicted, item.row.unit),
                 item.why.partition(":")[0]) for item in results if item.verdict == "doubtful"]  # fmt: skip
    weighed = [item for item in results if item.group == "memory" and item.predicted is not None]
    memory = [(entry, str(len(items)), str(sum(item.verdict == "inside" for item in items)), f"{median(item.error or 0.0 for item in items):+.0%}")
              for entry in sorted({item.row.entry for item in weighed}) for items in [[item for item in weighed if item.row.entry == entry]]]  # fmt: skip
    why = Counter(item.why.split(";")[0] for item in results if item.verdict == "not comparable" and not item.row.metric.startswith("accuracy"))
    return "\n\n".join((
        (HERE / "RESULTS.in.md").read_text(encoding="utf-8").strip(),
        "As predicted by the present code:\n\n" + fresh(),
        "## Clocks\n\n" + scores,
        "### Measured with pictures in the prompt\n\n" + markdown(columns, by_method(results, "measured")),
        "### Text only\n\n" + markdown(columns, by_method(results, "text_only")),
        f"## Counted figures\n\n{sum(item.verdict == 'reproduced' for item in exact)} of {len(exact)} fully specified rows (FLOPs, cache bytes, "
        "PruMerge's roofline table; before and after the method) come out within 1 % or the last printed digit. The rest, and rows with open text lengths "
        "that miss by more:\n\n" + markdown(HEADER, off),
        "## Impossible as printed\n\n" + markdown(("row", "method", "setting", "quantity", "published", "floor"), impossible),
        "In one series with these, and not scored:\n\n" + markdown(("row", "method", "setting", "quantity", "published", "predicted", "why"), doubtful),
        "## Memory readings\n\n" + markdown(("method", "rows", "inside", "median error"), memory),
        "## Not compared\n\n" + markdown(("rows", "why"), [(str(count), reason) for reason, count in why.most_common()]),
    )) + "\n"  # fmt: skip


if __name__ == "__main__":
    (HERE / "RESULTS.md").write_text(page(reproduce(everything=True)), encoding="utf-8")
