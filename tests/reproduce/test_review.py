"""An author's own table: every trap is found, a fair table passes, a bad file is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.reproduce import load_table, review
from simulator.spec.source import SpecError

HEADER = "id,method,techniques,model,hardware,engine,precision,precision_baseline,batch,visual_before,visual_after,text_tokens,output_tokens,metric,unit,baseline,value"
OURS = '1,ours,"fastv:layer=2,keep=0.25",llava-1.5-7b,a100-sxm-80gb,hf-eager,bf16,bf16,1,576,144,64,1,prefill_speedup,1,1,1.9'
THEIRS = '2,theirs,"fastv:layer=2,keep=0.5",llava-1.5-7b,a100-sxm-80gb,hf-eager,bf16,bf16,1,576,288,64,1,prefill_speedup,1,1,1.5'
TOO_FAST = "3,too fast,kv_evict:budget=0.05,llava-1.5-7b,a100-sxm-80gb,hf-flash,bf16,bf16,1,576,,64,128,tpot,s/token,0.004,0.003"
UNSAID = "4,unsaid,vl-cache,llava-1.5-7b,,,,,,,,,,decode_speedup,1,1,3.0"


def table(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / f"mine{abs(hash(lines))}.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def test_every_trap_is_found(tmp_path: Path) -> None:
    _, findings = review(load_table(table(tmp_path, OURS, THEIRS, TOO_FAST, UNSAID)))
    said = {(item.level, item.row): item.text for item in findings}
    texts = [item.text for item in findings]
    assert any(item.level == "error" and item.row == "3" and "physical floor" in item.text for item in findings)
    assert any("baseline: tpot 0.004 lies below" in text for text in texts)
    assert any("eager attention" in text for text in texts)
    assert any("un-fused baseline" in text for text in texts)
    assert any("unequal budgets" in text and "29.7%" in text and "53.1%" in text for text in texts)
    missing = next(item for item in findings if item.row == "4" and item.text.startswith("missing"))
    assert all(name in missing.text for name in ("hardware", "engine", "batch", "visual_before", "output_tokens"))
    assert said


def test_equal_budgets_and_named_engines_pass(tmp_path: Path) -> None:
    fair = OURS.replace("hf-eager", "hf-sdpa"), OURS.replace("1,ours", "9,other").replace("hf-eager", "hf-sdpa")
    _, findings = review(load_table(table(tmp_path, *fair)))
    assert not [item for item in findings if item.level in ("error", "warning")]


def test_command_prints_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(table(tmp_path, OURS, THEIRS))
    assert main(["reproduce", "--csv", path, "--markdown"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("| row | method |") and "unequal budgets" in shown.err
    assert main(["reproduce", "--csv", path, "--latex"]) == 0
    latex = capsys.readouterr().out
    assert latex.startswith(r"\begin{tabular}") and r"prefill\_speedup" in latex and latex.count(r"\\") == 3
    assert main(["reproduce", "--csv", str(table(tmp_path, TOO_FAST)), "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["results"][0]["verdict"] == "impossible" and data["results"][0]["floor"] > 0.003


def test_command_on_the_published_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "pyramiddrop", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [item["verdict"] for item in data["results"]] == ["reproduced"] * 3
    assert main(["reproduce", "deepseek-v2"]) == 0
    assert "4 of 4 counted figures" in capsys.readouterr().out
    assert main(["reproduce", "nothing-such"]) == 2
    assert "no published cost figures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("header", "line", "named"),
    [
        (HEADER, OURS.replace(",1.9", ",fast"), "value"),
        (HEADER, OURS.replace(",1.9", ",-1"), "value"),
        (HEADER, OURS.replace("prefill_speedup,1,", "prefill_speedup,ms,"), "unit"),
        (HEADER + ",colour", OURS + ",red", "colour"),
        ("model,metric", "llava-1.5-7b,ttft", "value"),
        (HEADER, OURS.replace("bf16,1,576", "bf16,0,576"), "whole number from 1"),
        (HEADER, OURS.replace("bf16,1,576", "bf16,1.5,576"), "whole number from 1"),
        (HEADER, OURS.replace("576,144", "1e300,144"), "at most 1e"),
        (HEADER, OURS + ",more", "1 cells more than columns"),
        (HEADER, OURS.replace("prefill_speedup", ""), "metric: is empty"),
        (HEADER, OURS.replace("prefill_speedup,1,", "prefill_speedup,s,"), "not accepted for prefill_speedup; 1"),
        (HEADER, OURS.replace("prefill_speedup,1,", "ttft,B,"), "not accepted for ttft; s"),
        (HEADER + ",kind", OURS + ",guessed", "measured, modelled, text_only"),
        ("model,metric,metric,value", "llava-1.5-7b,ttft,ttft,1", "stands there twice"),
        ("model;metric;value", "llava-1.5-7b;ttft;1", "commas is wanted"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path: Path, header: str, line: str, named: str) -> None:
    with pytest.raises(SpecError, match=named) as caught:
        load_table(table(tmp_path, line, header=header))
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="CSV file is wanted"):
        load_table(tmp_path / "none.csv")


def test_blank_lines_and_line_breaks_in_cells_are_harmless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = OURS.replace("1,ours", '1,"ours {x}_1 \\ ~50 % & µ|ν\nsecond line"')
    path = table(tmp_path, named, "", "," * HEADER.count(","))
    assert len(load_table(path)) == 1
    assert main(["reproduce", "--csv", str(path), "--latex"]) == 0
    latex = capsys.readouterr().out
    assert len(latex.splitlines()) == 8  # tabular, three rules, head, one row, end, an empty line
    assert r"ours \{x\}\_1 \textbackslash{} \textasciitilde{}50 \% \& \textmu{}$|$" in latex
    assert main(["reproduce", "--csv", str(path), "--markdown"]) == 0
    shown = capsys.readouterr().out.strip().splitlines()
    assert len(shown) == 3 and all(line.replace(r"\|", "").count("|") == shown[0].count("|") for line in shown)


def test_what_cannot_be_compared_is_a_warning_that_names_it(tmp_path: Path) -> None:
    lines = (
        OURS.replace("fastv:layer=2,keep=0.25", "fastw:layer=2"),
        THEIRS.replace("llava-1.5-7b", "llava-9-7b"),
        THEIRS.replace("2,theirs", "4,other").replace("a100-sxm-80gb", "a1000"),
        '5,ours,,llava-1.5-7b,a100-sxm-80gb,hf-sdpa,bf16,bf16,1,576,,64,1,ttft,s,,0.1',
        '6,baseline,,llava-1.5-7b,a100-sxm-80gb,hf-sdpa,bf16,bf16,1,576,,64,1,ttft,s,,0.06',
    )  # fmt: skip
    results, findings = review(load_table(table(tmp_path, *lines)))
    said = {item.row: item.text for item in findings if item.level == "warning" and item.text.startswith("not compared")}
    assert set(said) == {"1", "2", "4", "5"}
    assert all(word in said[row] for row, word in (("1", "fastw"), ("2", "llava-9-7b"), ("4", "a1000"), ("5", "techniques")))
    assert "techniques: techniques" not in said["1"]
    assert results[-1].verdict == "inside"


def test_tokens_that_the_setting_does_not_leave(tmp_path: Path) -> None:
    _, findings = review(load_table(table(tmp_path, OURS.replace("576,144", "576,288"))))
    assert any("288 visual tokens are said to be left" in item.text and "144 of 576" in item.text for item in findings)
    _, findings = review(load_table(table(tmp_path, OURS)))
    assert not any("said to be left" in item.text for item in findings)


def test_a_series_with_an_impossible_point(tmp_path: Path) -> None:
    slow = TOO_FAST.replace("3,too fast", "7,slower").replace("0.004,0.003", "0.004,0.02")
    results, findings = review(load_table(table(tmp_path, TOO_FAST, slow)))
    assert [item.verdict for item in results] == ["impossible", "doubtful"]
    assert any(item.row == "7" and item.level == "warning" and "3 of the same series is below the floor" in item.text for item in findings)


def test_a_figure_in_another_unit_is_asked_about(tmp_path: Path) -> None:
    dense = "baseline,,llava-1.5-7b,a100-sxm-80gb,hf-sdpa,bf16,bf16,1,576,,64,64"
    lines = f"1,{dense},ttft,s,,65", f"2,{dense},tpot,s/token,,23", f"3,{dense},gpu_memory,B,,15.5", f"4,{dense},ttft,s,,0.9", OURS.replace("1,ours", "5,ours").replace("prefill_speedup,1,1,1.9", "flops_ratio,1,,30")
    _, findings = review(load_table(table(tmp_path, *lines)))
    asked = {item.row: item.text.partition("is it in ")[2].partition("?")[0] for item in findings if "is it in" in item.text}
    assert asked == {"1": "milliseconds", "2": "milliseconds", "3": "gigabytes", "5": "per cent"}
