"""The catalogue in the formats other tools read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable

from simulator.literature.catalogue import load_entries
from simulator.literature.citation import bibtex
from simulator.literature.entry import TAXONOMY, Entry, Placement


def export(format: str, entries: Iterable[Entry] | None = None) -> str:
    """The entries as `bibtex`, `csv`, `json` or `markdown` text."""
    if format not in _WRITERS:
        raise ValueError(f"format: {format!r} is not known; accepted: {', '.join(_WRITERS)}")
    return _WRITERS[format](tuple(load_entries() if entries is None else entries))


def _bibtex(entries: tuple[Entry, ...]) -> str:
    return "\n\n".join(bibtex(entry) for entry in entries) + "\n"


def _json(entries: tuple[Entry, ...]) -> str:
    return json.dumps([entry.model_dump(mode="json") for entry in entries], indent=2, ensure_ascii=False) + "\n"


def _csv(entries: tuple[Entry, ...]) -> str:
    out = io.StringIO()
    names = [name for name in Entry.model_fields if name != "placements"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, "placements"])
    for entry in entries:
        values = entry.model_dump()
        row = [
            ";".join(values[name]) if isinstance(values[name], tuple) else "" if values[name] is None else values[name]
            for name in names
        ]
        writer.writerow([*row, "; ".join(_path(place) for place in entry.placements)])
    return out.getvalue()


def _markdown(entries: tuple[Entry, ...]) -> str:
    """A list by stage, category and subcategory; a paper filed twice stands in both places."""
    lines = ["# Efficient inference of large vision-language models: papers", ""]
    for stage, categories in TAXONOMY.items():
        section: list[str] = []
        for category, subcategories in categories.items():
            for subcategory in sorted(subcategories):
                place = Placement(stage=stage, category=category, subcategory=subcategory)
                filed = [entry for entry in entries if place in entry.placements]
                if filed:
                    heading = f"{category} / {subcategory}" if subcategory else category
                    section += [f"### {heading}", "", *(_line(entry) for entry in filed), ""]
        if section:
            lines += [f"## {stage}", "", *section]
    return "\n".join(lines)


def _line(entry: Entry) -> str:
    link = entry.url or (f"https://arxiv.org/abs/{entry.arxiv}" if entry.arxiv else "")
    title = f"[{entry.title}]({link})" if link else entry.title
    presets = f" Presets: {', '.join(f'`{name}`' for name in entry.presets)}." if entry.presets else ""
    return f"- **{entry.method}** ({entry.venue} {entry.year}) {title}. {entry.summary}{presets}"


def _path(place: Placement) -> str:
    return " / ".join(part for part in (place.stage, place.category, place.subcategory) if part)


_WRITERS: dict[str, Callable[[tuple[Entry, ...]], str]] = {
    "bibtex": _bibtex,
    "csv": _csv,
    "json": _json,
    "markdown": _markdown,
}
