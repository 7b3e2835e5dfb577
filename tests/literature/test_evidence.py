"""The evidence table: derived from published figures, row by row."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from simulator.literature import load_entries, load_evidence
from simulator.literature.evidence import TABLE
from simulator.literature.presets import GENERAL

PUBLISHED = Path(__file__).parents[2] / "simulator" / "literature" / "published.csv"


def test_rows_cite_entries_and_sources() -> None:
    known = {entry.id for entry in load_entries()}
    for row in load_evidence():
        assert row.entry in known and row.source
        assert row.family in GENERAL | {"weight_activation_quant"}


def test_no_row_stands_twice() -> None:
    table = pd.read_csv(TABLE)
    assert not table.duplicated(["technique", "model", "setting", "kept", "benchmark", "value", "baseline"]).any()


def test_accuracies_are_those_of_the_published_table() -> None:
    """Where the table of published figures has accuracies of the same paper and method, both files print the same numbers."""
    published = pd.read_csv(PUBLISHED, keep_default_na=False)
    pairs = {
        (row["entry"], row["model"], float(row["accuracy_baseline"]), float(row["accuracy_value"]))
        for row in published.to_dict("records")
        if row["accuracy_baseline"] != "" and row["accuracy_value"] != ""
    }
    both = {(row["entry"], row["source"].split(":")[0]) for row in published.to_dict("records") if row["accuracy_value"] != ""}
    elsewhere = ("2604.05546", "2602.07574", "transcription", "conversion", "pull request")  # read elsewhere, and saying so
    checked = [row for row in load_evidence() if (row.entry, row.paper) in both and not any(word in row.source for word in elsewhere)]
    assert len(checked) > 230
    for row in checked:
        assert (row.entry, row.model, row.baseline, row.value) in pairs, row


def test_survey_pilot_means() -> None:
    """Means over the four picture benchmarks of the survey's Table 7, worked out by hand."""
    expected = {"look-m": 69.875, "madakv": 70.5, "sparsemm": 72.875, "hybridkv": 74.625}
    for name, mean in expected.items():
        rows = [
            row
            for row in load_evidence()
            if row.technique == name and "2604.05546: Table 7" in row.source and row.task_class != "video"
        ]
        assert sum(row.value for row in rows) / len(rows) == pytest.approx(mean)
        assert sum(row.baseline for row in rows) / len(rows) == pytest.approx(75.375)


@pytest.mark.parametrize(
    ("column", "value"), [("kept", "1.5"), ("axis", "colour"), ("task_class", "poetry"), ("retained", "0.1")]
)
def test_a_bad_row_is_refused(tmp_path: Path, column: str, value: str) -> None:
    table = pd.read_csv(TABLE, dtype=str, keep_default_na=False).head(2)
    table.loc[0, column] = value
    path = tmp_path / f"{column}.csv"
    table.to_csv(path, index=False)
    with pytest.raises(ValueError, match=column):
        load_evidence(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kept": "textvqa"}, "kept: 'textvqa' in evidence.csv line 2 .* is not a number"),
        ({"model_class": "llava"}, "model_class: 'llava'"),
        ({"task_class": "ocr"}, "task_class: 'ocr'"),
        ({"source": "arXiv 1, Table 2"}, "more cells than columns"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    with TABLE.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        row = next(reader) | {"setting": "", "source": "arXiv 1: Table 2"} | changes
    file = tmp_path / "evidence.csv"
    file.write_text("\n".join([",".join(reader.fieldnames or ()), ",".join(row.values())]) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        load_evidence(file)
