"""The figures that were entered before they were predicted, and what their rows need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.reproduce import load_table
from simulator.reproduce.clock import answer, clock
from simulator.reproduce.halves import fresh_held_out
from simulator.reproduce.pictures import picture_in
from simulator.reproduce.predict import _ratio_band, predict  # pyright: ignore[reportPrivateUsage]
from simulator.reproduce.question import questions
from simulator.reproduce.table import FRESH
from simulator.reproduce.verdict import judge

ROWS = {row.id: row for row in load_table(FRESH)}
PUBLISHED = load_table()


def test_fresh_rows_stand_apart_and_can_all_be_compared() -> None:
    assert len(ROWS) == 166
    assert not set(ROWS) & {row.id for row in PUBLISHED}
    assert not {row.source for row in ROWS.values()} & {row.source for row in PUBLISHED}
    assert all(row.source and row.entry and row.hardware for row in ROWS.values())
    verdicts = {row.id: judge(row).verdict for row in ROWS.values()}
    assert set(verdicts.values()) == {"inside", "outside"}, [key for key, verdict in verdicts.items() if verdict not in ("inside", "outside")]


def test_specified_follows_from_what_is_assumed() -> None:
    for row in ROWS.values():
        assert row.specified == (not set(row.assumed_fields) - {"hardware_variant"}), row.id


def test_two_pictures_are_two_grids() -> None:
    """Two pictures of 1280 x 720 are 2 x 1,196 tokens of Qwen2.5-VL (46 x 26 each)."""
    picture = picture_in("2 of 1280x720")
    assert picture is not None and (picture.width, picture.height, picture.count) == (1280.0, 720.0, 2.0)
    assert picture_in("two of 1280x720") is None
    question = questions(ROWS["f098"]).pairs[0][0]
    assert set(question.visual) == {2392.0} and question.source == 2 * 1280 * 720


def test_a_stated_file_is_not_drawn() -> None:
    """Where the picture does not make the stated tokens, its file is still the one that the host decodes."""
    row = next(item for item in PUBLISHED if item.id == "p0111")
    question = questions(row).pairs[0][0]
    assert question.picture is None and question.source == 640 * 480
    stated = answer(question).run.totals["preprocess"].seconds
    drawn = np.asarray(answer(replace(question, source=0.0)).run.totals["preprocess"].seconds)
    assert np.ptp(np.asarray(stated)) == pytest.approx(0.0, abs=1e-9) and np.ptp(drawn) > 1e-3


def test_a_server_always_prepares_the_picture() -> None:
    question = questions(ROWS["f103"]).pairs[0][0]
    served, device = clock(question, "ttft").seconds, clock(question, "cuda_time").seconds
    assert (served - device).min() > 0.02
    local = replace(question, engine="hf-sdpa")
    gap = clock(local, "ttft").seconds - clock(local, "cuda_time").seconds
    assert gap.min() < 0.01 < 0.02 < gap.max()


def test_encoding_is_a_part_of_the_time_on_the_device() -> None:
    question = questions(ROWS["f103"]).pairs[0][0]
    parts = clock(question, "encode_time").seconds + clock(question, "prefill_time").seconds
    assert parts == pytest.approx(clock(question, "cuda_time").seconds, rel=1e-9)


def test_a_floor_leaves_activations_on_the_chip() -> None:
    """Qwen2.5-VL-7B in NVFP4 on Thor prefills 376 tokens in 23.2 ms (TensorRT Edge-LLM): its weights and head alone take 17 ms."""
    item = judge(ROWS["f143"])
    assert item.verdict != "impossible"
    assert item.floor is not None and 0.015 < item.floor < 0.021


def test_a_speed_up_has_the_scatter_of_neighbouring_shapes() -> None:
    row = next(item for item in PUBLISHED if item.id == "p0829")
    method, baseline = questions(row).pairs[0]
    assert answer(method).scatter > 0.05
    assert answer(method).scatter == answer(baseline).scatter
    top, bottom = clock(baseline, "tpot"), clock(method, "tpot")
    tight, loose = _ratio_band(top, bottom, 0.0)[0], _ratio_band(top, bottom, answer(method).scatter)[0]
    assert (loose > tight).all()
    assert predict(row).band.upper > predict(row).band.lower


def test_the_halves_keep_a_device_and_model_of_a_source_together() -> None:
    halves = {(row.entry, row.hardware, row.model): fresh_held_out(row) for row in ROWS.values()}
    assert all(halves[row.entry, row.hardware, row.model] == fresh_held_out(row) for row in ROWS.values())
    assert sum(not fresh_held_out(row) for row in ROWS.values()) == 69
    assert {hardware for (_, hardware, _), kept in halves.items() if kept} & {hardware for (_, hardware, _), kept in halves.items() if not kept}


def test_rows_of_an_older_version_run_on_its_engine() -> None:
    """vLLM 0.7.2 is not the engine of 0.14 and later: a step of 4 ms, and pictures prepared twice."""
    old = {row.engine for row in ROWS.values() if "vLLM 0.7" in row.notes}
    assert old == {"vllm-v0"}
    question = questions(ROWS["f052"]).pairs[0][0]
    newer = replace(question, engine="vllm")
    gap = clock(question, "tpot").seconds - clock(newer, "tpot").seconds
    assert gap.mean() == pytest.approx(4.0e-3 - 0.6e-3, rel=0.1)
    large = questions(ROWS["f025"]).pairs[0][0]
    hosts = [np.mean(np.asarray(answer(replace(large, engine=engine)).run.totals["preprocess"].seconds)) for engine in ("vllm-v0", "vllm")]
    assert 1.4 < hosts[0] / hosts[1] < 2.0


def test_what_nobody_measured_errs_together() -> None:
    """Every kernel of MI300X is a default: their widths add."""
    question = questions(ROWS["f099"]).pairs[0][0]
    low, _ = clock(question, "tpot").shares()
    assert low["default"].mean() > 0.25 and not any(name.startswith("default/") for name in low if "copy" not in name)


def test_packed_weights_start_more_kernels_under_transformers() -> None:
    packed = answer(questions(ROWS["f119"]).pairs[0][0]).run.totals["decode"].launches
    plain = answer(questions(ROWS["f117"]).pairs[0][0]).run.totals["decode"].launches
    assert np.mean(np.asarray(packed)) > 1.2 * np.mean(np.asarray(plain))
    served = questions(ROWS["f016"]).pairs[0][0]
    bare = replace(served, techniques=())
    assert np.mean(np.asarray(answer(served).run.totals["decode"].launches)) == pytest.approx(np.mean(np.asarray(answer(bare).run.totals["decode"].launches)))
