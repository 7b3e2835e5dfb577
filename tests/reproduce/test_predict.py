"""Predictions of timed rows: bands, floors, shared draws, and what is left unsaid by a paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.reproduce import Row, load_table, reproduce, summary
from simulator.reproduce.mixture import mixture
from simulator.reproduce.pictures import crop, seen, shown
from simulator.reproduce.predict import METRICS, predict
from simulator.reproduce.prior import draws
from simulator.reproduce.question import questions
from simulator.reproduce.setting import techniques_of
from simulator.reproduce.stand_ins import is_stand_in, model_named
from simulator.reproduce.verdict import CALIBRATION, judge
from simulator.spec.load_model import load_model, model_names
from simulator.spec.source import SpecError

ROWS = {row.id: row for row in load_table()}


def test_a_mixture_of_one_is_its_band() -> None:
    one = mixture(np.array([2.0]), np.array([0.1]), np.array([0.3]), np.array([1.0]))
    assert one.expected == pytest.approx(2.0, rel=0.01)
    assert np.log(2.0 / one.lower) == pytest.approx(0.1, rel=0.1)
    assert np.log(one.upper / 2.0) == pytest.approx(0.3, rel=0.1)


def test_a_mixture_of_two_spans_both_and_weights_count() -> None:
    both = mixture(np.array([1.0, 4.0]), np.full(2, 0.05), np.full(2, 0.05), np.ones(2))
    assert both.lower < 1.05 and both.upper > 3.8
    left = mixture(np.array([1.0, 4.0]), np.full(2, 0.05), np.full(2, 0.05), np.array([1.0, 0.0]))
    assert left.upper < 1.1


def test_draws_are_stratified_and_the_same_for_all() -> None:
    for axis in (draws().text, draws().output, draws().visual, draws().host):
        assert sorted(np.floor(axis * 16).tolist()) == list(range(16))
    assert draws() is draws()
    assert draws().preprocess.mean() == 0.5


def test_the_impossible_row_of_meda_is_flagged_with_its_floor() -> None:
    item = judge(ROWS["p0762"])
    assert item.verdict == "impossible"
    assert item.floor == pytest.approx(6.9e-3, rel=0.05)
    assert judge(ROWS["p0760"]).verdict != "impossible"


def test_vl_cache_needs_an_unfused_baseline() -> None:
    """7.08x at 128 thousand tokens (arXiv 2410.23317); each KV head read once allows much less."""
    row = ROWS["p0732"]
    item = judge(row)
    assert item.lower is not None and item.upper is not None and item.lower <= 7.08 <= item.upper
    ideal = judge(replace(row, engine="ideal"))
    assert ideal.predicted is not None and ideal.predicted < 2.0 < 4.0 < (item.predicted or 0.0)


def test_what_does_not_fit_does_not_count() -> None:
    """Eager score maps of 32 thousand tokens take more than 80 GB: only the other attention can have been timed."""
    row = ROWS["p0729"]
    asked = questions(row)
    assert {pair[0].engine for pair in asked.pairs} == {"hf-eager", "hf-sdpa"}
    whole, sdpa = predict(row).band, predict(replace(row, engine="hf-sdpa")).band
    assert whole.expected == pytest.approx(sdpa.expected, rel=0.02)


def test_sparse_attention_crosses_over() -> None:
    """MInference (arXiv 2407.02490): little at 64 thousand tokens, 15x at a million."""
    gains = [judge(ROWS[name]).predicted or 0.0 for name in ("p0716", "p0718", "p0721")]
    assert gains[0] < gains[1] < gains[2]
    assert gains[2] == pytest.approx(15.0, rel=0.25)


def test_prompts_come_from_the_printed_cache() -> None:
    """LOOK-M prints 1.52 GiB of cache: 3,113 tokens of 512 KiB each."""
    asked = questions(ROWS["p0752"])
    first = asked.pairs[0][0]
    assert first.visual[0] + first.text[0] == pytest.approx(3113, abs=1)
    assert any("cache" in note for note in asked.assumed)


def test_accepted_lengths_are_taken_from_the_row() -> None:
    assert any("accepted=2.86" in text for text in techniques_of(ROWS["p0829"]))
    assert any("drafter=qwen2.5-vl-7b" in text for text in techniques_of(ROWS["p0768"]))


def test_a_specified_row_assumes_nothing() -> None:
    row = replace(ROWS["p0231"], hardware="rtx-4090", engine="vllm", method="dense", precision="fp16", techniques="")
    assert questions(row).assumed == ()


@pytest.mark.parametrize("name", ["fastv", "rekv", "kivi", "voco-llama"])
def test_every_result_says_why(name: str) -> None:
    for item in reproduce(name):
        assert item.why
        if item.predicted is not None and item.lower is not None and item.upper is not None:
            assert 0.0 < item.lower <= item.predicted <= item.upper < float("inf")
        if item.group == "clock" and item.floor is not None and item.row.unit == "s" and not item.quantity.startswith("share"):
            assert item.predicted is not None and item.predicted >= item.floor


def test_calibration_rows_are_never_scored() -> None:
    results = [judge(ROWS[name]) for name in ("p0110", "p0288")]
    assert {item.verdict for item in results} == {"calibration"} and summary(results) == ()
    assert set(CALIBRATION) <= set(ROWS)


def test_unknown_methods_are_named() -> None:
    with pytest.raises(SpecError, match="fastv"):
        reproduce("fastw")
    assert [item.row.id for item in reproduce("DivPrune")] == [item.row.id for item in reproduce("divprune")]
    assert [item.row.id for item in reproduce("P0143 ")] == ["p0143"]


def test_every_stand_in_loads() -> None:
    names = {row.model for row in load_table() if row.metric in METRICS and row.model}
    assert sum(model_named(name) is not None for name in names) >= 30


def test_summary_counts_methods_and_rows() -> None:
    results = reproduce("vl-cache")
    scores = {item.name: item for item in summary(results)}
    whole = scores["all clocks"]
    assert whole.rows == 15 and whole.papers == 1 and whole.inside == whole.by_paper
    assert scores["  of these: visual-token and cache methods"].rows == 15


def test_row_is_frozen() -> None:
    with pytest.raises(AttributeError):
        ROWS["p0001"].value = 1.0  # type: ignore[misc]
    assert isinstance(ROWS["p0001"], Row)


def test_a_floor_that_rests_on_assumed_tokens_forbids_nothing() -> None:
    """MBQ's prefill (arXiv 2412.19509) states no token counts: with one token it is possible, so it is outside, not impossible."""
    item = judge(ROWS["p1046"])
    assert item.verdict == "outside" and item.floor is not None and item.floor < 27.1e-3


@pytest.mark.parametrize(
    ("model", "video", "patches", "tokens"),
    [
        ("llava-1.5-7b", False, 576.0, 576.0),
        ("llava-onevision-7b", False, 729.0, 729.0),
        ("llava-onevision-7b", True, 729.0, 196.0),  # a frame is pooled 2 x 2 after the encoder
        ("nvila-lite-8b", False, 1024.0, 121.0),  # 448 pixels, pooled 3 x 3
        ("nvila-8b-one-scale", False, 1024.0, 256.0),
        ("vila-1.5-3b", False, 729.0, 196.0),
        ("qwen2.5-vl-7b", False, 2304.0, 576.0),
        ("pllava-7b", True, 576.0, 144.0),
    ],
)
def test_patches_behind_a_visual_token(model: str, video: bool, patches: float, tokens: float) -> None:
    found = model_named(model)
    assert found is not None
    one = crop(found, video)
    assert (float(one.height * one.width), float(one.tokens)) == (patches, tokens)


def test_every_model_with_an_encoder_has_a_crop() -> None:
    """Whatever its scheme, patches and tokens of one crop are known, and as many crops make the tokens that a row states."""
    for name in model_names():
        found = model_named(name)
        if found is None or found.vision is None:
            continue
        for video in (False, True):
            view = seen(found, np.linspace(576.0, 5000.0, 16), video, 0.0)
            (grid,) = view.grids
            assert float(grid.height * grid.width) > 0.0, name
            assert view.tokens == pytest.approx(np.linspace(576.0, 5000.0, 16)), name


def test_stated_frames_are_encoded_whatever_they_are_pooled_to() -> None:
    """64 frames of 448 x 448 pixels that become 2,048 tokens: SigLIP sees all 65,536 patches."""
    found = model_named("nvila-8b-one-scale")
    assert found is not None
    view = seen(found, 2048.0, True, 64.0)
    assert sum(float(grid.crops * grid.height * grid.width) for grid in view.grids) == 65536.0
    assert float(view.tokens) == 2048.0
    question = questions(ROWS["p0311"]).pairs[0][0]
    assert question.frames == 64.0 and question.video


def test_a_shipped_model_is_not_hidden_by_a_stand_in() -> None:
    assert not [name for name in model_names() if is_stand_in(name)]


def test_a_script_times_more_than_the_first_token() -> None:
    row = replace(ROWS["p0013"], metric="ttft")
    script, first = judge(ROWS["p0013"]), judge(row)
    assert script.quantity == "answer_time" and script.predicted is not None and first.predicted is not None
    assert 1.05 * first.predicted < script.predicted < 2.0 * first.predicted


def test_points_of_a_series_with_an_impossible_one_are_doubtful() -> None:
    """MEDA's column (arXiv 2502.17599, table 6) falls below the time to read the weights at 5 %: the rest of it is not scored either."""
    results = {item.row.id: item for item in reproduce("meda")}
    assert results["p0762"].verdict == "impossible"
    assert {results[name].verdict for name in ("p0756", "p0758", "p0760")} == {"doubtful"}
    assert "p0762" in results["p0756"].why and not results["p0756"].scored
    assert reproduce("p0756")[0].verdict == "doubtful"
    assert results["p0757"].verdict != "doubtful"  # a memory reading is another quantity
    assert judge(ROWS["p0756"]).verdict == "outside"


def test_a_stated_picture_is_the_one_encoded() -> None:
    """1920 x 1080 pixels are 2,691 tokens of Qwen2.5-VL, in one grid; where the row's own count differs, the count stands."""
    row = replace(ROWS["p0311"], entry="fastv", model="qwen2.5-vl-7b", image="1920x1080", visual_before=None, prompt_tokens=None)
    question = questions(row).pairs[0][0]
    assert set(question.visual) == {2691.0} and question.picture is not None
    whole = shown(load_model("qwen2.5-vl-7b"), question.picture)
    assert whole is not None and [(float(grid.height), float(grid.width)) for grid in whole.grids] == [(78.0, 138.0)]
    assert questions(replace(row, visual_before=1000.0)).pairs[0][0].picture is None
    assert questions(replace(row, image="a picture")).pairs[0][0].picture is None
