"""The living catalogue: read it, search it, see what it covers, add to it, check it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import get_args

import pandas as pd
import yaml
from pydantic import ValidationError

from simulator.literature.entry import OPERATORS, TAXONOMY, Entry, Modality
from simulator.literature.presets import load_presets

CATALOGUE = Path(__file__).with_name("entries.yaml")


@cache
def load_entries(path: Path = CATALOGUE) -> tuple[Entry, ...]:
    """Every entry, each with the names of the presets that model it. Raises ValueError on a malformed or doubled entry."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    rows: list[dict[str, object]] = yaml.load(path.read_text(encoding="utf-8"), Loader=loader) or []
    presets: dict[str, list[str]] = {}
    for preset in load_presets().values():
        presets.setdefault(preset.entry, []).append(preset.name)
    entries = tuple(_read(row | {"presets": presets.get(str(row.get("id")), [])}) for row in rows)
    for position, entry in enumerate(entries):
        clash = _clash(entry, entries[:position])
        if clash:
            raise ValueError(f"{path.name}: {clash}")
    return entries


def _read(row: dict[str, object]) -> Entry:
    try:
        return Entry.model_validate(row)
    except ValidationError as error:
        found = {".".join(str(part) for part in item["loc"]): item["msg"] for item in error.errors()}
        said = [_words(field, message) for field, message in found.items() if not any(other.startswith(f"{field}.") for other in found)]
        raise ValueError(f"entry {row.get('id')!r}: {'; '.join(said)}") from error


def _words(field: str, message: str) -> str:
    """What is wrong with a field, without what pydantic puts around it."""
    message = message.removeprefix("Value error, ")
    if message == "Extra inputs are not permitted":
        return f"{field}: no such field; accepted: {', '.join(name for name in Entry.model_fields if name != 'presets')}"
    if message == "Input should be a valid string":
        return f"{field}: a text is expected; put it in quotes"
    return message if message.startswith(f"{field}:") else f"{field}: {message}"


def find(identifier: str, entries: Iterable[Entry] | None = None) -> Entry:
    """The entry with this id, or the one method of this name in any casing; otherwise ValueError naming near ones."""
    known = {entry.id: entry for entry in (load_entries() if entries is None else entries)}
    if identifier not in known:
        name = identifier.strip().casefold()
        named = [known[name]] if name in known else [entry for entry in known.values() if entry.method.casefold() == name]
        if len(named) == 1:
            return named[0]
        ids = {entry.method.casefold(): entry.id for entry in known.values()} | {entry: entry for entry in known}
        near = dict.fromkeys([*(entry.id for entry in named), *(ids[key] for key in get_close_matches(name, ids, n=5, cutoff=0.5))])
        near = list(near) or [entry for entry in known if name[:4] in entry][:5]
        raise ValueError(
            f"entry: {identifier!r} is not in the catalogue; "
            + (f"nearest: {', '.join(near)}; " if near else "")
            + f"`lvlm-sim literature` lists all {len(known)}"
        )
    return known[identifier]


def search(
    text: str = "",
    *,
    stage: str | None = None,
    category: str | None = None,
    operator: str | None = None,
    training_free: bool | None = None,
    query_aware: bool | None = None,
    modality: str | None = None,
    venue: str | None = None,
    year: int | tuple[int, int] | None = None,
    preset: bool | None = None,
    entries: Iterable[Entry] | None = None,
) -> tuple[Entry, ...]:
    """Entries that hold every word of `text` and pass every filter given; `year` is one year or (first, last).

    Raises ValueError for a stage outside the taxonomy, and for an operator or a modality the schema lacks.
    """
    words = text.lower().split()
    entries = tuple(load_entries() if entries is None else entries)
    if stage is not None and stage.lower() not in {name.lower() for name in TAXONOMY}:
        raise ValueError(f"stage: {stage!r} is not known; accepted: {', '.join(TAXONOMY)}")
    if operator is not None and operator.upper() not in OPERATORS:
        raise ValueError(f"operator: {operator!r} is not known; accepted: {', '.join(sorted(OPERATORS))}")
    if modality is not None and modality not in get_args(Modality):
        raise ValueError(f"modality: {modality!r} is not known; accepted: {', '.join(get_args(Modality))}")
    first, last = year if isinstance(year, tuple) else (year, year)

    def keep(entry: Entry) -> bool:
        haystack = " ".join((entry.id, entry.method, entry.title, entry.summary, entry.authors, entry.arxiv)).lower()
        return (
            all(word in haystack for word in words)
            and (stage is None or any(place.stage.lower() == stage.lower() for place in entry.placements))
            and (category is None or any(category.lower() in place.category.lower() for place in entry.placements))
            and (operator is None or operator.upper() in entry.operators)
            and (training_free is None or entry.training_free is training_free)
            and (query_aware is None or entry.query_aware is query_aware)
            and (modality is None or entry.modality == modality)
            and (venue is None or venue.lower() in entry.venue.lower())
            and (first is None or last is None or first <= entry.year <= last)
            and (preset is None or bool(entry.presets) is preset)
        )

    return tuple(entry for entry in entries if keep(entry))


def coverage(entries: Iterable[Entry] | None = None) -> pd.DataFrame:
    """Per stage and category: papers filed there, how many a preset models, how many have published figures, training-free ones."""
    chosen = tuple(load_entries() if entries is None else entries)
    rows = [
        {
            "stage": stage,
            "category": category,
            "papers": len(filed),
            "with_preset": sum(bool(entry.presets) for entry in filed),
            "with_figures": sum(entry.published > 0 for entry in filed),
            "training_free": sum(entry.training_free is True for entry in filed),
        }
        for stage, categories in TAXONOMY.items()
        for category in categories
        if (filed := [e for e in chosen if any((p.stage, p.category) == (stage, category) for p in e.placements)])
    ]
    return pd.DataFrame(rows, columns=["stage", "category", "papers", "with_preset", "with_figures", "training_free"])


def namesakes(entry: Entry, entries: Iterable[Entry] | None = None) -> list[str]:
    """Ids of other entries whose method has this name in any casing."""
    others = load_entries() if entries is None else entries
    return [other.id for other in others if other.id != entry.id and other.method.casefold() == entry.method.casefold()]


def add(entry: Entry | Mapping[str, object], path: Path = CATALOGUE) -> Entry:
    """Append a checked entry to the catalogue file. Refuses one whose id, arXiv id or title is there already."""
    return add_all([entry], path)[0]


def add_all(entries: Iterable[Entry | Mapping[str, object]], path: Path = CATALOGUE) -> tuple[Entry, ...]:
    """Append checked entries to the catalogue file: all of them, or none where one is refused."""
    new: list[Entry] = []
    for entry in entries:
        new.append(entry if isinstance(entry, Entry) else _read(dict(entry)))
        clash = _clash(new[-1], [*load_entries(path), *new[:-1]])
        if clash:
            raise ValueError(clash)
    data = [entry.model_dump(mode="json", exclude={"presets"}, exclude_defaults=True) for entry in new]
    with path.open("a", encoding="utf-8") as file:
        for row in data:
            file.write("\n" + yaml.safe_dump([row], sort_keys=False, allow_unicode=True, width=10_000))
    load_entries.cache_clear()
    return tuple(new)


def _clash(entry: Entry, others: Iterable[Entry]) -> str:
    for other in others:
        if entry.id == other.id:
            return f"id: {entry.id!r} is in the catalogue already; accepted: an id not in use"
        if entry.arxiv and entry.arxiv == other.arxiv:
            return f"arxiv: {entry.arxiv!r} is in the catalogue already as {other.id!r}"
        if _plain(entry.title) == _plain(other.title):
            return f"title: {entry.title!r} is in the catalogue already as {other.id!r}"
    return ""


def _plain(title: str) -> str:
    """A title without casing, accents and punctuation, in any script."""
    text = unicodedata.normalize("NFKD", title.casefold())
    return re.sub(r"[\W_]+", " ", "".join(sign for sign in text if not unicodedata.combining(sign))).strip()


def check(presets: Mapping[str, str] | None = None, entries: Iterable[Entry] | None = None) -> list[str]:
    """Problems of the catalogue, one line each; none is the good answer.

    `presets`: name of every preset that exists in the program -> id of the entry it cites (default: the preset table).
    """
    chosen = tuple(load_entries() if entries is None else entries)
    cited = {p.name: p.entry for p in load_presets().values()} if presets is None else dict(presets)
    known = {entry.id for entry in chosen}
    problems = [f"preset {name}: cites no entry" for name, entry in cited.items() if not entry]
    problems += [
        f"preset {name}: cites {entry!r}, which is not in the catalogue"
        for name, entry in cited.items()
        if entry and entry not in known
    ]
    modelled = set(cited.values())
    for entry in chosen:
        if entry.id in modelled and entry.no_preset_reason:
            problems.append(f"entry {entry.id}: has a preset and a reason for having none")
        if entry.id not in modelled and not entry.no_preset_reason:
            problems.append(f"entry {entry.id}: has neither a preset nor a reason for having none")
        if not entry.arxiv and not entry.url and entry.listed == "added":
            problems.append(f"entry {entry.id}: has neither an arXiv id nor an address")
    return problems
