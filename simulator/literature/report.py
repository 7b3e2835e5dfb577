"""What `lvlm-sim literature list|show|coverage|export|add|check` prints; the command itself lives elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from simulator.literature.catalogue import CATALOGUE, add_all, check, coverage, find, load_entries, namesakes, search
from simulator.literature.citation import bibtex
from simulator.literature.entry import Entry
from simulator.literature.evidence import load_evidence
from simulator.literature.export import export
from simulator.literature.presets import Value, load_presets


def list_table(entries: Iterable[Entry] | None = None) -> pd.DataFrame:
    """One row a paper: id, method, stage, category, venue, year, arXiv id, training-free, query-aware, presets, published rows."""
    rows = [
        {
            "name": entry.id,
            "method": entry.method,
            "stage": entry.stage,
            "category": entry.category,
            "venue": entry.venue,
            "year": entry.year,
            "arxiv": entry.arxiv,
            "training_free": entry.training_free,
            "query_aware": entry.query_aware,
            "presets": ", ".join(entry.presets),
            "published": entry.published,
        }
        for entry in (search() if entries is None else entries)
    ]
    return pd.DataFrame(rows)


def show_text(identifier: str) -> str:
    """Everything the catalogue knows of one paper, to read."""
    entry = find(identifier)
    lines = [
        f"{entry.method}: {entry.title}",
        f"{entry.venue} {entry.year}"
        + (f", arXiv {entry.arxiv}" if entry.arxiv else "")
        + (f", {entry.url}" if entry.url else ""),
        *(
            " / ".join(part for part in (place.stage, place.category, place.subcategory) if part)
            for place in entry.placements
        ),
        entry.summary,
        f"operators: {', '.join(entry.operators) or 'none'}; training-free: {_say(entry.training_free)}; "
        f"query-aware: {_say(entry.query_aware)}; modality: {entry.modality}",
    ]
    presets = load_presets()
    for name in entry.presets:
        preset = presets[name]
        steps = " + ".join(_step(step.technique, step.parameters) for step in preset.steps)
        lines.append(f"preset {name}: {steps} ({preset.default_kind}: {preset.source})")
    if entry.no_preset_reason:
        lines.append(f"no preset: {entry.no_preset_reason}")
    evidence = [row for row in load_evidence() if row.entry == entry.id]
    lines.append(f"title and authors: {entry.checked or 'from memory, not checked'}")
    lines.append(f"published figures: {entry.published} rows; accuracy evidence: {len(evidence)} rows")
    return "\n".join([*lines, "", bibtex(entry)])


def _say(flag: bool | None) -> str:
    return "unknown" if flag is None else "yes" if flag else "no"


def _step(technique: str, parameters: tuple[tuple[str, Value], ...]) -> str:
    text = ",".join(f"{name}={_value(value)}" for name, value in parameters)
    return f"{technique}:{text}" if text else technique


def _value(value: Value) -> str:
    return "|".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


def coverage_table(entries: Iterable[Entry] | None = None) -> pd.DataFrame:
    """Papers, presets and figures per stage and category."""
    return coverage(entries)


def export_text(format: str, entries: Iterable[Entry] | None = None) -> str:
    """The catalogue as bibtex, csv, json or markdown."""
    return export(format, entries)


def add_text(entries: Iterable[Mapping[str, object]], path: Path = CATALOGUE) -> str:
    """Add entries and say where they went, what else has their names, and what they still lack."""
    lines: list[str] = []
    cited = {preset.entry for preset in load_presets().values()}
    for new in add_all(entries, path):
        lines.append(f"added {new.id} to {path.name}")
        others = namesakes(new, load_entries(path))
        if others:
            lines.append(f"  its name is also that of {', '.join(others)}")
        if not new.authors:
            lines.append("  authors: none, so BibTeX has none")
        elif not new.checked:
            lines.append("  checked: empty, so BibTeX says that title and authors are not checked; name where you read them")
        if new.id not in cited and not new.no_preset_reason:
            lines.append("  next: a line in presets.csv that cites it, or no_preset_reason in the entry; then `lvlm-sim literature check`")
    return "\n".join(lines)


def check_text(presets: Mapping[str, str] | None = None) -> tuple[str, bool]:
    """The problems found, to read, and whether there was none."""
    problems = check(presets)
    read = sum(1 for entry in search() if entry.checked)
    clean = f"{len(search())} entries, no problem; title and first author read in a source for {read}, else from memory"
    return ("\n".join(problems) if problems else clean, not problems)
