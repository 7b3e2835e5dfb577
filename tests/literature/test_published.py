"""The table of published figures: whole, in SI units, classified by the stated rules, and consistent with arithmetic."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from simulator.literature import load_entries

TABLE = Path(__file__).parents[2] / "simulator" / "literature" / "published.csv"
SHARED = Path(os.environ.get("LVLM_SHARED", Path(__file__).parents[2] / ".." / "shared"))
UNITS = {"s", "s/token", "token/s", "B", "B/h", "FLOP", "MAC", "FLOP/s", "1", "token", "element", "frame/s"}
COUNTED = {"flops", "llm_flops", "prefill_flops", "flops_ratio"}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(TABLE, keep_default_na=False)


def number(table: pd.DataFrame, column: str) -> pd.Series:
    return pd.to_numeric(table[column].replace("", None))


def test_ids_are_unique_and_entries_known(table: pd.DataFrame) -> None:
    assert table["id"].is_unique
    assert set(table["entry"]) <= {entry.id for entry in load_entries()}


def test_entries_count_their_rows(table: pd.DataFrame) -> None:
    counts = table["entry"].value_counts()
    for entry in load_entries():
        assert entry.published == counts.get(entry.id, 0), entry.id


def test_units_and_kinds_are_of_the_vocabulary(table: pd.DataFrame) -> None:
    assert set(table.loc[table["metric"] != "accuracy", "unit"]) <= UNITS
    assert set(table["kind"]) == {"measured", "modelled", "text_only"}
    assert set(table["specified"]) == {"true", "false"} or table["specified"].dtype == bool
    assert set(table["provenance"]) == {"primary", "figure_labels", "digitised", "transcription", "full_text"}


def test_numbers_are_numbers(table: pd.DataFrame) -> None:
    for column in (
        "devices",
        "batch",
        "visual_before",
        "visual_after",
        "visual_kept",
        "text_tokens",
        "prompt_tokens",
        "prompt_after",
        "output_tokens",
        "baseline",
        "value",
        "accuracy_baseline",
        "accuracy_value",
    ):
        values = number(table, column).dropna()
        assert (values >= 0).all(), column
    assert number(table, "visual_kept").dropna().between(0, 1).all()


def test_every_row_of_the_reference_is_there_with_its_value(table: pd.DataFrame) -> None:
    source = SHARED / "reference" / "published.csv"
    if not source.exists():
        pytest.skip("the reference table of published figures is not on this machine")
    theirs = pd.read_csv(source, dtype=str, keep_default_na=False)
    assert len(table) == len(theirs) + 1  # one cell of a survey table that the reference leaves out
    scale = {
        "ms": 1e-3,
        "ms/token": 1e-3,
        "GB": 1e9,
        "GiB": 2**30,
        "MB": 1e6,
        "TFLOP": 1e12,
        "TFLOP(MAC)": 1e12,
        "TFLOP/s": 1e12,
        "%": 1e-2,
        "K elements": 1e3,
        "h": 3600.0,
        "GiB/h": 2**30,
    }
    ours = number(table, "value")
    for index, row in theirs.iterrows():
        try:
            expected = float(row["value"]) * scale.get(row["unit"], 1.0)
        except ValueError:
            continue
        assert ours[index] == pytest.approx(expected, rel=1e-6), index


def test_specified_follows_from_the_columns(table: pd.DataFrame) -> None:
    """A timed row is specified when device, precision, batch, visual and text tokens stand in it, and nothing is called assumed
    but the variant of a chip."""
    specified = table["specified"].astype(str).str.lower() == "true"
    timed = table["unit"].isin(["s", "s/token", "token/s"]) & (table["metric"] != "benchmark_time")
    for column in ("model", "hardware", "precision", "batch", "visual_before", "text_tokens"):
        assert (table.loc[timed & specified, column].astype(str) != "").all(), column
    missing = table["assumed_fields"].str.split("|").map(lambda names: set(names) - {"", "hardware_variant"})
    assert (missing.map(bool) == ~specified).all()


def test_text_only_rows_carry_no_picture(table: pd.DataFrame) -> None:
    rows = table[table["kind"] == "text_only"]
    assert (number(rows, "visual_before").fillna(0) == 0).all()


def test_counts_and_formulas_are_modelled_and_clocks_are_not(table: pd.DataFrame) -> None:
    assert set(table.loc[table["metric"].isin(COUNTED), "kind"]) == {"modelled"}
    clocks = table["metric"].isin(["ttft", "tpot", "decode_speedup", "generate_throughput"])
    assert "modelled" not in set(table.loc[clocks, "kind"])
    roofline = table[(table["metric"] == "prefill_time") & (table["entry"] == "prumerge")]
    assert len(roofline) == 4 and set(roofline["kind"]) == {"modelled"}


def test_cache_bytes_reproduce_from_layers_and_width(table: pd.DataFrame) -> None:
    """2 (K and V) x 32 layers x 4096 x 2 bytes a token of LLaVA-1.5-7B."""
    per_token = 2 * 32 * 4096 * 2
    rows = table[table["metric"] == "kv_bytes_visual"]
    assert len(rows) == 3
    for row in rows.to_dict("records"):
        assert float(row["value"]) == pytest.approx(per_token * float(row["visual_after"]), rel=0.005)


def test_fastv_ratio_reproduces_from_its_own_formula(table: pd.DataFrame) -> None:
    """4 n d^2 + 2 n^2 d + 2 n d m per layer, three of 32 layers dense (arXiv 2403.06764)."""
    row = table[
        (table["entry"] == "fastv") & (table["metric"] == "flops_ratio") & (table["prune_layer"].astype(str) == "3")
    ].iloc[0]

    def layer(n: float) -> float:
        return 4 * n * 4096**2 + 2 * n**2 * 4096 + 2 * n * 4096 * 11008

    text = float(row["text_tokens"])
    full, less = layer(float(row["visual_before"]) + text), layer(float(row["visual_after"]) + text)
    assert (3 * full + 29 * less) / (32 * full) == pytest.approx(float(row["value"]), abs=0.005)


def test_pyramiddrop_macs_reproduce(table: pd.DataFrame) -> None:
    """4 n d^2 + 2 n^2 d + 3 n d m over picture tokens, eight layers a stage (arXiv 2410.17247)."""
    rows = table[(table["entry"] == "pyramiddrop") & (table["metric"] == "llm_flops")]
    assert len(rows) == 3

    def layer(n: float) -> float:
        return 4 * n * 4096**2 + 2 * n**2 * 4096 + 3 * n * 4096 * 11008

    for row in rows.to_dict("records"):
        n = float(row["visual_before"])
        schedule = [n, *(float(part) for part in row["visual_schedule"].split("|"))]
        assert 8 * sum(layer(part) for part in schedule) == pytest.approx(float(row["value"]), rel=0.005)
        assert 32 * layer(n) == pytest.approx(float(row["baseline"]), rel=0.005)
