"""Sweeps: counts, order, conditions, resumption, and agreement with single estimates."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulator import Image, Scenario, Space, Video, Workload, estimate, sweep
from simulator.presets import names
from simulator.search import METRICS, evaluate, read_space, store, stream
from simulator.search.axes import make_axis
from simulator.search.blocks import Chunk
from simulator.search.cases import case_with
from simulator.search.columns import CODED
from simulator.search.grid import Part
from simulator.spec.source import SpecError
from simulator.technique import parameters, registry

BASE = Scenario(
    model="qwen2.5-vl-7b",
    hardware="h100-sxm",
    workload=Workload(images=(Image(width=1280, height=720),), text_tokens=64, output_tokens=128),
)


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    assert list(a) == list(b) and len(a) == len(b)
    for name in a:
        x, y = a[name], b[name]
        if x.dtype.kind in "fiub" and x.dtype != "category":
            np.testing.assert_allclose(x.to_numpy(float), y.to_numpy(float), rtol=1e-12, err_msg=name)
        else:
            assert x.astype(object).fillna("").tolist() == y.astype(object).fillna("").tolist(), name


def test_rows_are_estimates() -> None:
    axes = {
        "hardware": ["h100-sxm", "l40s"], "workload.text_tokens": [16, 512], "techniques.fastv.keep": [0.25, 0.75],
        "workload.image": ["640x480", (1600, 900)], "workload.batch": [1, 6], "scale.bandwidth": [1.0, 2.0],
    }  # fmt: skip
    space = Space(BASE, axes)
    frame = sweep(space)
    assert len(frame) == space.size == 2**6
    assert list(frame)[: len(axes)] == list(axes)
    for row in range(0, len(frame), 7):
        result = estimate(space.pick(frame, row))
        for name in ("ttft_s", "tpot_s_lower", "latency_s_upper", "energy_j", "cost_usd", "output_tokens_per_s"):
            assert frame[name][row] == pytest.approx(getattr(result, name), rel=1e-12), name
        for name in ("peak_bytes", "max_batch", "weight_bytes", "kv_bytes_resident"):
            assert frame[name][row] == pytest.approx(float(getattr(result.memory, name)), rel=1e-12), name
        for stage, item in result.stages.items():
            assert frame[f"{stage}_s"][row] == pytest.approx(float(item.seconds), rel=1e-12)
            if item.seconds:
                assert frame[f"{stage}_bound"][row] == item.bound
        assert frame["fidelity"][row] == pytest.approx(result.fidelity.retained, rel=1e-12)
        assert bool(frame["fits"][row]) == bool(result.memory.fits)


MIX = {
    "techniques": ["none", "fastv", "fastv + kv_quant:bits=4", ["kv_quant"]],
    "techniques.fastv.keep": [0.25, 0.5, 0.75],
    "techniques.kv_quant.bits": [2, 4],
    "workload.batch": [1, 2],
}


def test_axes_of_absent_techniques_have_one_empty_point() -> None:
    space = Space(BASE, MIX)
    frame = sweep(space, ["ttft_s"])
    assert space.size == len(frame) == 2 * (1 + 3 + 6 + 2)
    none = frame[frame["techniques"] == "none"]
    assert none["techniques.fastv.keep"].isna().all() and none["techniques.kv_quant.bits"].isna().all()
    assert not frame.drop(columns="ttft_s").duplicated().any()


def test_switches_and_conditions() -> None:
    axes = {"techniques.kv_quant.bits": [2, 4, 8], "techniques.kv_quant": [True, False], "hardware": ["l40s", "h100-sxm"], "parallel.tp": [1, 2, 4]}
    space = Space(BASE, axes, when={"parallel.tp": "hardware == 'l40s'"})
    frame = sweep(space, ["ttft_s"])
    assert len(frame) == space.size == (3 + 1) * (3 + 1)
    assert frame[frame["hardware"] == "h100-sxm"]["parallel.tp"].isna().all()
    off = frame[~frame["techniques.kv_quant"] & (frame["hardware"] == "h100-sxm")]
    alone = estimate(BASE)
    assert off["ttft_s"].tolist() == [pytest.approx(alone.ttft_s, rel=1e-12)]


def test_constraints_on_axes_and_metrics() -> None:
    axes = {"workload.batch": [1, 2, 4, 8], "workload.text_tokens": [16, 64, 256], "hardware": ["l4", "h100-sxm"]}
    everything = sweep(Space(BASE, axes))
    rules = ["workload.batch * workload.text_tokens <= 512", "ttft_s <= 0.4 or hardware == 'l4'", lambda frame: frame["tpot_s"] < 1.0]
    frame = sweep(Space(BASE, axes, rules))
    mask = (everything["workload.batch"] * everything["workload.text_tokens"] <= 512) & (
        (everything["ttft_s"] <= 0.4) | (everything["hardware"] == "l4")
    )
    assert 0 < mask.sum() < len(everything)
    same(frame, everything[mask].reset_index(drop=True))


@pytest.mark.parametrize("points", [1, 3, 7, 1000])
def test_chunks_do_not_change_rows(points: int) -> None:
    space = Space(BASE, MIX)
    same(sweep(space), sweep(space, points=points))
    same(sweep(space), pd.concat(stream(space, points=points), ignore_index=True).astype(sweep(space).dtypes.to_dict()))


def test_chosen_points_equal_the_sweep() -> None:
    space = Space(BASE, MIX | {"workload.image": ["640x480", "1920x1080"]})
    frame = sweep(space).sample(frac=1.0, random_state=1).reset_index(drop=True)
    same(frame, evaluate(space, [dict(row) for _, row in frame.iterrows()])[list(frame)])


def test_combinations_that_cannot_be_say_why() -> None:
    frame = sweep(Space(BASE, {"engine": ["vllm", "ideal"], "format": ["bf16", "tf32"]}))
    bad = frame[frame["refused"].astype(str) != ""]
    assert len(frame) == 4 and len(bad) == 1
    assert "vllm" in str(bad["refused"].iloc[0]) and bad["ttft_s"].isna().all() and not bad["fits"].any()


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"workload.text_token": [1]}, "did you mean workload.text_tokens"),
        ({"workload.batch": [0]}, "axes.workload.batch: 0"),
        ({"workload.batch": []}, "is empty"),
        ({"workload.batch": [1, 1]}, "given twice"),
        ({"workload.batch": 3}, "a list of values"),
        ({"hardware": ["h1000"]}, "hardware: 'h1000'"),
        ({"techniques.fastvv.keep": [0.5]}, "'fastvv' is not known"),
        ({"techniques.fastv.kept": [0.5]}, "no such parameter"),
        ({"techniques.fastv.keep": [1.5]}, "1.5 is not accepted"),
        ({"workload.videos.frames": [8]}, "has no video"),
    ],
)
def test_bad_axes_are_named(axes: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=words.replace(".", r"\.")):
        Space(BASE, axes)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["__import__('os')", "ttft_s.__class__()", "ttft_s <", "[x for x in y]", "lambda: 1"])
def test_constraints_are_not_executed(text: str) -> None:
    with pytest.raises(SpecError, match="constraint"):
        Space(BASE, {"workload.batch": [1]}, [text])


def test_yaml_space() -> None:
    space = read_space(
        {
            "base": {"model": "qwen2.5-vl-7b", "hardware": "l40s", "workload": {"images": ["640x480"]}},
            "axes": {"workload.batch": {"from": 1, "to": 64, "count": 7, "spacing": "log"}, "scale.flops": {"from": 0.5, "to": 2, "step": 0.5}},
            "constraints": "fits",
        }
    )
    assert space.numbers[0].values == (1, 2, 4, 8, 16, 32, 64) and space.numbers[1].values == (0.5, 1.0, 1.5, 2.0)


INTERRUPTED = """
import sys
from simulator import Image, Scenario, Space, Workload
from simulator.search import store
base = Scenario(model="qwen2.5-vl-7b", hardware="h100-sxm", workload=Workload(images=(Image(width=1280, height=720),)))
store(Space(base, {"workload.text_tokens": range(1, 201), "workload.batch": range(1, 11)}), sys.argv[1], ["ttft_s", "tpot_s"], points=10)
"""


def test_killed_and_resumed_nothing_is_lost_or_twice(tmp_path: Path) -> None:
    space = Space(
        BASE.model_copy(update={"workload": Workload(images=(Image(width=1280, height=720),))}),
        {"workload.text_tokens": range(1, 201), "workload.batch": range(1, 11)},
    )
    folder = tmp_path / "out"
    for files in (3, 40):  # killed twice, at whatever it was doing
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(folder)], cwd=Path(__file__).parents[2])
        while process.poll() is None and len(list(folder.glob("chunk-*.parquet"))) < files:
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert 0 < len(list(folder.glob("chunk-*.parquet"))) < 200
    finished = {file: file.stat().st_mtime_ns for file in folder.glob("chunk-*.parquet")}
    done = store(space, folder, ["ttft_s", "tpot_s"], points=10)
    assert done.points == done.rows == space.size == 2000
    assert {file: file.stat().st_mtime_ns for file in finished} == finished, "finished chunks are not evaluated again"
    same(done.read(), sweep(space, ["ttft_s", "tpot_s"]))
    with pytest.raises(SpecError, match="another space"):
        store(space, folder, ["ttft_s"], points=10)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_stopped_anywhere_and_resumed(error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the evaluation of a chunk, at its file, and between the file and its name; a torn file is as good as none."""
    from simulator.search import grid, sweeps

    space = Space(BASE, MIX)
    evaluated: Counter[int] = Counter()
    real, fsync, calls = grid.evaluate_chunk, os.fsync, itertools.count()
    stops = {3, 4, 9, 14}

    def counted(space: Space, chunk: Chunk, metrics: tuple[str, ...]) -> Part:
        if next(calls) in stops:
            raise error
        evaluated[chunk.index] += 1
        return real(space, chunk, metrics)

    def cut(number: int) -> None:
        if next(calls) in stops:
            raise error
        fsync(number)

    monkeypatch.setattr(sweeps, "evaluate_chunk", counted)
    monkeypatch.setattr(os, "fsync", cut)
    stopped = 0
    while True:
        try:
            done = store(space, tmp_path / "out", points=3)
            break
        except error:
            stopped += 1
            files = {file.stem for file in (tmp_path / "out").glob("chunk-*.parquet")}
            (tmp_path / "out" / "chunk-00000099.parquet.partial").write_bytes(b"PAR1 torn")
            assert all(f"chunk-{index:08d}" in files for index, count in evaluated.items() if count > 1)
    assert stopped == 4 and done.points == space.size == len(done.read())
    lost = sum(evaluated.values()) - done.chunks
    assert lost <= 2, "only a chunk whose file was not finished is evaluated again"
    assert not list((tmp_path / "out").glob("*.partial"))
    same(done.read(), sweep(space))
    evaluated.clear()
    assert store(space, tmp_path / "out", points=3).rows == done.rows and not evaluated
    torn = tmp_path / "out" / "chunk-00000002.parquet"
    torn.write_bytes(torn.read_bytes()[:-9])
    assert store(space, tmp_path / "out", points=3).rows == done.rows and list(evaluated) == [2]
    same(done.read(), sweep(space))


VIDEO = Workload(videos=(Video(width=640, height=480, frames=16),), images=(Image(width=640, height=480),), text_tokens=64, output_tokens=32)


def numeric_knobs() -> list[str]:
    return [f"techniques.{name}.{knob.name}" for name, cls in registry().items() for knob in parameters(cls) if knob.kind == "number"]


@pytest.mark.parametrize("path", numeric_knobs())
def test_every_numeric_knob_broadcasts(path: str) -> None:
    """A knob as an axis gives the rows that each of its values gives alone."""
    from simulator.search.line import knob
    from simulator.search.pick import base_value

    base = BASE.model_copy(update={"workload": VIDEO})
    line = knob(base, path)
    default = float(base_value(line.scenario, path))
    near = {value for value in (default * 0.6, default * 0.8, default, default * 1.2) if line.low < value < line.high}
    if not near:
        pytest.skip("off by default: no value to vary")
    try:
        estimate(line.scenario)
    except SpecError as error:
        pytest.skip(f"not on this model: {error}")
    scalars = []
    values = []
    for value in sorted(near):
        try:
            scalars.append(sweep(Space(line.scenario, {path: [value]})))
            values.append(value)
        except ValueError:
            continue
    frame = sweep(Space(line.scenario, {path: values}))
    each = pd.concat(scalars, ignore_index=True)
    if (each["refused"].astype(str) != "").any():
        values = [value for value, refused in zip(values, each["refused"].astype(str), strict=True) if not refused]
        each = each[each["refused"].astype(str) == ""].reset_index(drop=True)
        frame = sweep(Space(line.scenario, {path: values}))
    assert (frame["refused"].astype(str) == "").all(), frame["refused"].iloc[0]
    for name in METRICS:
        if name not in CODED:
            np.testing.assert_allclose(frame[name].to_numpy(float), each[name].to_numpy(float), rtol=1e-12, err_msg=name)
    assert make_axis(path, values, line.scenario).numeric and case_with(line.scenario, {path: values[0]})


def test_presets_can_be_axes() -> None:
    assert make_axis("techniques", [[name] for name in names()], BASE).kind == "choice"
