"""A load of equal requests, by hand; composed decode time against measured serving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibrate.anchor import predict, read_rows
from calibrate.serving import KEPT, deviation, plain, sequence_of
from simulator.assemble import case_of
from simulator.load import closed_loop, parts
from simulator.measure import measure
from simulator.spec.deployment import load_engine
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError
from simulator.spec.workload import Workload

MEASURED = Path(__file__).parents[3] / "shared" / "measured" / "serving" / "qwen3-32b_h100.csv"
HEAD = "backend,model_path,system,isl,osl,gemm_quant_mode,batch_size,tp_size,silicon_tpot_ms"


def case(batch: int, engine: str = "vllm"):
    work = Workload(text_tokens=1024, output_tokens=257, batch=batch)
    return case_of(Scenario(model="qwen3-32b", hardware="h100-sxm", engine=engine, parallel={"tp": 4}, workload=work, preprocess=False))


def test_a_step_costs_the_engine_so_much_for_each_sequence() -> None:
    few, many = case(8), case(8)
    slower = few.engine.model_copy(update={"sequence": few.engine.sequence.model_copy(update={"seconds": 1e-3})})
    without = few.engine.model_copy(update={"sequence": few.engine.sequence.model_copy(update={"seconds": 0.0})})
    a, b = measure(replace(many, engine=slower)), measure(replace(few, engine=without))
    assert a.tpot_s - b.tpot_s == pytest.approx(8e-3, rel=1e-9)
    assert a.ttft_s == b.ttft_s


def test_loop_by_hand() -> None:
    made = parts(case(16))
    assert made.admitted == 16.0 and made.hosted == pytest.approx(16 * load_engine("vllm").sequence.seconds)
    result = closed_loop(made, 0.25)
    assert result.tpot_s == pytest.approx(made.step + 0.75 * 15 * made.each / 256)
    assert result.ttft_s == pytest.approx(made.fixed + made.first + 0.25 * 15 * made.each)
    assert made.each < made.first, "sixteen prompts in full passes cost less than sixteen alone"
    alone = parts(case(1))
    assert alone.each == pytest.approx(alone.first) and closed_loop(alone, 0.25).tpot_s == pytest.approx(alone.step)


def test_a_row_says_how_keys_are_kept_or_the_caller_does(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(f"{HEAD}\ntrtllm,qwen3-32b,h100_sxm,1024,128,fp8,64,1,50\n")
    wide, narrow = read_rows(path)[0], read_rows(path, kept=KEPT)[0]
    assert narrow.made.step < wide.made.step
    path.write_text(f"{HEAD},kv_format\ntrtllm,qwen3-32b,h100_sxm,1024,128,fp8,64,1,50,bf16\n")
    assert read_rows(path, kept=KEPT)[0].made.step == wide.made.step
    path.write_text(f"{HEAD},kv_format\ntrtllm,qwen3-32b,h100_sxm,1024,128,fp8,64,1,50,q3\n")
    with pytest.raises(SpecError, match="line 2: kv_format: 'q3' is not accepted"):
        read_rows(path)


def test_composed_decode_time_holds_on_the_half_nobody_fitted() -> None:
    if not MEASURED.is_file():
        pytest.skip("no measured serving runs beside this checkout")
    rows = read_rows(MEASURED, kept=KEPT)
    for name in ("vllm", "sglang", "trtllm"):
        mine = [row for row in rows if row.scenario.engine == name]
        values = plain(load_engine(name))
        assert sequence_of(mine[::2], values) == pytest.approx(values["sequence_seconds"], rel=0.15), "what ships is what half of the rows say"
        error = deviation(mine[1::2], values)
        assert np.median(error) < 0.08 and error.mean() < 0.12, name
        bias = np.median([predict(row, values)[1] / row.tpot - 1.0 for row in mine[1::2]])
        assert abs(bias) < 0.04, f"{name}: {bias:+.1%}"
