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
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path: Path, header: str, line: str, named: str) -> None:
    with pytest.raises(SpecError, match=named) as caught:
        load_table(table(tmp_path, line, header=header))
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="CSV file is wanted"):
        load_table(tmp_path / "none.csv")
