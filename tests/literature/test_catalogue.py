"""The catalogue: complete, well-formed, searchable, and closed to duplicates."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.literature import (
    Entry,
    add,
    bibtex,
    check,
    citation,
    coverage,
    export,
    find,
    load_entries,
    load_presets,
    report,
    search,
)
from simulator.literature.catalogue import CATALOGUE, _plain, add_all
from simulator.literature.report import add_text

SHARED = Path(os.environ.get("LVLM_SHARED", Path(__file__).parents[2] / ".." / "shared"))


def new_entry(**changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "id": "new-method",
        "method": "New",
        "title": "A title that nobody has used before",
        "placements": [{"stage": "Prefilling", "category": "Sparse Attention"}],
        "venue": "arXiv",
        "year": 2026,
        "arxiv": "2612.99999",
        "summary": "Does something that no paper in the catalogue has done yet.",
        "no_preset_reason": "Only here to be tested.",
    }
    return fields | changes


def test_no_problem_is_left_in_the_shipped_catalogue() -> None:
    assert check() == []


def test_the_survey_is_there_whole() -> None:
    entries = load_entries()
    in_figure = [entry for entry in entries if "F" in entry.listed.split(";")]
    assert len(in_figure) == 88
    assert sum(len(entry.placements) for entry in in_figure) == 93
    assert len([entry for entry in entries if entry.listed != "added"]) == 116


def test_every_row_of_the_reference_list_has_an_entry_in_its_place() -> None:
    table = SHARED / "reference" / "literature.csv"
    if not table.exists():
        pytest.skip("the reference list of papers is not on this machine")
    by_title = {entry.title: entry for entry in load_entries()}
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert len(rows) == 121
    for row in rows:
        entry = by_title[row["title"]]
        assert (entry.method, entry.venue, entry.year, entry.arxiv) == (
            row["method"],
            row["venue"],
            int(row["year"]),
            row["arxiv_id"],
        )
        places = {(place.stage, place.category, place.subcategory) for place in entry.placements}
        assert (row["stage"], row["category"].replace(" (App. C.1)", ""), row["subcategory"]) in places


def test_every_method_of_the_figure_has_a_preset_or_a_reason() -> None:
    for entry in load_entries():
        if "F" in entry.listed.split(";"):
            assert entry.presets or entry.no_preset_reason, entry.id


def test_two_methods_of_one_name_keep_apart() -> None:
    assert find("specvlm-ji").arxiv != find("specvlm-huang").arxiv
    assert find("fastvlm").arxiv != find("fastvlm-selfspec").arxiv
    assert find("aim").title != find("aim-icl-gao").title


def test_summaries_are_one_sentence_and_not_the_title() -> None:
    for entry in load_entries():
        assert entry.summary.endswith(".") and entry.summary.count(". ") == 0, entry.id
        assert entry.title.lower() not in entry.summary.lower(), entry.id


def test_search_by_words_and_filters() -> None:
    assert "fastv" in {entry.id for entry in search("plug-and-play", stage="prefilling")}
    assert {entry.id for entry in search(operator="KV_QUANT", stage="Decoding")} >= {
        "kivi",
        "vidkv",
        "akvq-vl",
        "calibquant",
    }
    assert all(entry.year == 2024 and entry.training_free for entry in search(year=2024, training_free=True))
    assert all(2025 <= entry.year <= 2026 for entry in search(year=(2025, 2026)))
    assert search("no such words anywhere") == ()
    for filters in ({"stage": "Foo"}, {"operator": "FOO"}):
        with pytest.raises(ValueError, match="accepted: "):
            search(**filters)


def test_a_paper_filed_twice_is_found_in_both_stages() -> None:
    for stage in ("Encoding", "Decoding"):
        assert "sparsevila" in {entry.id for entry in search(stage=stage)}


def test_coverage_counts_every_placement_once() -> None:
    table = coverage()
    assert table["papers"].sum() == sum(len({(p.stage, p.category) for p in e.placements}) for e in load_entries())
    assert (table["with_preset"] <= table["papers"]).all()
    row = table[(table["stage"] == "Encoding") & (table["category"] == "Keyframe Selection")].iloc[0]
    assert row["papers"] == 10


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "fastv"}, "id"),
        ({"arxiv": "2403.06764"}, "arxiv"),
        (
            {
                "title": "AN IMAGE is worth 1/2 tokens after layer 2: plug-and-play inference acceleration for large vision-language models"
            },
            "title",
        ),
        ({"id": "Not A Slug"}, "id"),
        ({"arxiv": "arXiv:2403.06764"}, "arxiv"),
        ({"operators": ["MAGIC"]}, "operators"),
        ({"placements": [{"stage": "Prefilling", "category": "Nowhere"}]}, "category"),
        ({"summary": "short"}, "summary"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_add_refuses_what_is_double_or_malformed(tmp_path: Path, changes: dict[str, object], field: str) -> None:
    path = tmp_path / "entries.yaml"
    shutil.copy(CATALOGUE, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=field):
        add(new_entry(**changes), path)
    assert path.read_bytes() == before


def test_add_appends_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "entries.yaml"
    shutil.copy(CATALOGUE, path)
    add(new_entry(authors="Müller, Ann and others", training_free=True), path)
    entries = load_entries(path)
    assert (
        entries[-1].id == "new-method"
        and entries[-1].authors == "Müller, Ann and others"
        and entries[-1].training_free is True
    )
    assert len(entries) == len(load_entries()) + 1
    with pytest.raises(ValueError, match="id"):
        add(new_entry(), path)
    assert path.read_text(encoding="utf-8").startswith(CATALOGUE.read_text(encoding="utf-8"))


def test_check_names_the_preset_that_cites_nothing() -> None:
    cited = {preset.name: preset.entry for preset in load_presets().values()}
    assert any("orphan" in line for line in check(cited | {"orphan": "no-such-paper"}))
    assert any("silent" in line for line in check(cited | {"silent": ""}))
    without = {name: entry for name, entry in cited.items() if entry != "fastv"}
    assert any("fastv" in line for line in check(without))


def test_bibtex_is_balanced_and_cites_each_once() -> None:
    for entry in load_entries():
        text = bibtex(entry)
        assert text.count("{") == text.count("}") and text.startswith("@")
        assert ("author =" in text) == bool(entry.authors)
        assert ("note = {title and authors not checked}" in text) == (not entry.checked)
    assert citation(["fastv", "kivi", "fastv"]).count("@") == 2
    with pytest.raises(ValueError, match="entry"):
        citation(["no-such-paper"])


def test_exports_hold_every_entry() -> None:
    entries = load_entries()
    assert len(json.loads(export("json"))) == len(entries)
    rows = list(csv.DictReader(io.StringIO(export("csv"))))
    assert [row["id"] for row in rows] == [entry.id for entry in entries]
    assert [Entry.model_validate(item).id for item in json.loads(export("json"))] == [entry.id for entry in entries]
    assert export("bibtex").count("\n@") == len(entries) - 1
    markdown = export("markdown")
    assert markdown.count("\n- **") == sum(len(entry.placements) for entry in entries)
    assert markdown.index("## Encoding") < markdown.index("## Prefilling") < markdown.index("## Decoding")
    with pytest.raises(ValueError, match="format"):
        export("docx")


def test_reports_for_the_command() -> None:
    table = report.list_table(search(stage="Decoding"))
    assert {"name", "stage", "presets"} <= set(table.columns) and len(table) == len(search(stage="Decoding"))
    text = report.show_text("prunevid")
    assert "pre_llm_reduce" in text and "in_llm_prune" in text and "layer=10" in text and "@" in text
    text, clean = report.check_text()
    assert clean and text.startswith(f"{len(load_entries())} entries, no problem;")
    assert not report.check_text({"orphan": "nobody"})[1]


MINE: dict[str, object] = {
    "id": "mine", "method": "fastv", "title": "A title nobody has", "venue": "arXiv", "year": 2026, "arxiv": "2612.99998",
    "placements": [{"stage": "Prefilling", "category": "Sparse Attention"}], "summary": "One sentence that says what it does.",
}  # fmt: skip


@pytest.mark.parametrize("text", ["2403.06764", "arXiv:2403.06764v2", "https://arxiv.org/abs/2403.06764", "http://www.arxiv.org/pdf/2403.06764v1.pdf"])
def test_an_arxiv_id_is_the_same_however_it_is_written(text: str) -> None:
    assert Entry.model_validate({**MINE, "arxiv": text}).arxiv == "2403.06764"
    with pytest.raises(ValueError, match="already as 'fastv'"):
        add({**MINE, "arxiv": text}, CATALOGUE)


def test_titles_are_compared_in_any_script() -> None:
    assert _plain("视觉令牌压缩") != _plain("视觉令牌") and _plain("視覚") != ""
    assert _plain("Naïve “Tokens”: 100 %") == _plain("naive tokens -- 100")


def test_what_is_wrong_with_an_entry_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"venue: Field required; arxiv: a text is expected; put it in quotes") as error:
        add({name: value for name, value in MINE.items() if name != "venue"} | {"arxiv": 2612.5}, tmp_path / "none.yaml")
    assert "Value error" not in str(error.value)


def test_entries_are_added_all_or_none(tmp_path: Path) -> None:
    file = tmp_path / "entries.yaml"
    file.write_text("[]\n")
    with pytest.raises(ValueError, match="already as 'mine'"):
        add_all([MINE, {**MINE, "id": "other", "title": "Another"}], file)
    assert file.read_text() == "[]\n"


def test_adding_says_what_is_left_to_do(tmp_path: Path) -> None:
    file = tmp_path / "entries.yaml"
    file.write_text(CATALOGUE.read_text(encoding="utf-8"), encoding="utf-8")
    text = add_text([MINE], file)
    assert "added mine" in text and "also that of fastv" in text and "presets.csv" in text and "authors: none" in text


def test_a_method_is_found_by_its_name() -> None:
    assert find("FastV").id == find(" fastv ").id == "fastv"
    with pytest.raises(ValueError, match=r"nearest: specvlm-.*, specvlm-.*; `lvlm-sim literature` lists all"):
        find("SpecVLM")  # two methods
    with pytest.raises(ValueError, match="'vision zip' is not in the catalogue; nearest: visionzip"):
        find("vision zip")


def test_the_command_takes_words_before_and_after_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["literature", "export", "--as", "bibtex", "hybridkv"]) == 0
    assert capsys.readouterr().out.startswith("@")
    assert main(["literature", "list", "kv", "cache", "--stage", "decoding", "--year", "2024-2026", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) > 3 and all(2024 <= row["year"] <= 2026 for row in found)
    assert main(["literature", "list", "--modality", "audio"]) == 2
    assert "accepted: image" in capsys.readouterr().err
