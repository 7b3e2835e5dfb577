"""BibTeX of catalogue entries."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.literature.catalogue import find
from simulator.literature.entry import Entry

_SPECIAL = str.maketrans({"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_"})
_JOURNALS = ("IJCV",)


def bibtex(entry: Entry) -> str:
    """One BibTeX record. A title and authors written down from memory say so in a note."""
    preprint = entry.venue == "arXiv"
    journal = entry.venue in _JOURNALS
    kind = "misc" if preprint else "article" if journal else "inproceedings"
    fields = {
        "title": "{" + entry.title.translate(_SPECIAL) + "}",
        "author": entry.authors.translate(_SPECIAL),
        "journal" if journal else "booktitle": "" if preprint else entry.venue,
        "year": str(entry.year),
        "eprint": entry.arxiv,
        "archivePrefix": "arXiv" if entry.arxiv else "",
        "url": entry.url,
        "note": "" if entry.checked else "title and authors not checked",
    }
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    return f"@{kind}{{{entry.id},\n{body}\n}}"


def citation(ids: Iterable[str]) -> str:
    """BibTeX of these entries, each once, in the order given. Raises ValueError for an id the catalogue lacks."""
    return "\n\n".join(bibtex(find(identifier)) for identifier in dict.fromkeys(ids))
