"""Figures: right numbers, a unit on every axis, both themes, a template of ours."""

from __future__ import annotations

import re

import numpy as np
import pytest

from simulator import Image, Scenario, Workload, estimate, load_hardware
from simulator import figures as F
from simulator.figures.theme import CYCLE, STAGE_COLOURS
from simulator.search import Space, interaction, migration, pareto, shapley, sweep

BASE = Scenario(model="qwen2.5-vl-7b", hardware="h100-sxm", workload=Workload(images=(Image(width=1920, height=1080),)))
MIX = Scenario(**{**BASE.model_dump(), "techniques": ["fastv", "weight_quant"]})


@pytest.fixture(scope="module")
def both():
    return {"baseline": estimate(BASE), "variant": estimate(MIX)}


@pytest.fixture(scope="module")
def drawn(both):
    space = Space(BASE, {"workload.batch": [1, 4, 16], "scale.bandwidth": [0.5, 1.0, 2.0]})
    frame = sweep(space)
    line = sweep(Space(BASE, {"workload.batch": [1, 4, 16, 64]}))
    wide = sweep(Space(BASE, {"hardware": ["l40s", "h100-sxm"], "techniques": [[], ["weight_quant"]]}))
    front = pareto(wide, ["cost_usd", "latency_s"])
    pairs = interaction(BASE, ["fastv", "weight_quant", "kv_quant"])
    shares = shapley(BASE, ["fastv", "weight_quant"])
    return {
        "bars": F.stage_bars(both),
        "one bar": F.stage_bars({"baseline": both["baseline"]}, "dark"),
        "roof": F.roofline({name: F.operators(item.scenario) for name, item in both.items()}, load_hardware("h100-sxm").chip),
        "memory": F.memory_waterfall({name: F.memory_parts(item) for name, item in both.items()}),
        "river": F.token_river({name: F.river(item.scenario) for name, item in both.items()}, "dark"),
        "lines": F.lines({"baseline": line}, "workload.batch", "ttft_s", True),
        "heat": F.heat(frame, "workload.batch", "scale.bandwidth", "latency_s", (True, True)),
        "comparison": F.comparison(wide, wide["hardware"].astype(str), "latency_s"),
        "front": F.pareto_scatter(wide, front, "cost_usd", "latency_s", wide["techniques"].astype(str)),
        "synergy": F.synergy_matrix(pairs.matrix(), "latency"),
        "shapley": F.shapley_bars(shares.factors, shares.total, "latency"),
        "migration": F.migration_bars(migration(BASE, ["fastv", "weight_quant"])),
    }  # fmt: skip


def test_units_on_every_axis_that_has_numbers(drawn):
    named = {"memory": ("xaxis",), "synergy": ("yaxis",), "migration": ("xaxis",), "river": ("xaxis",)}
    for name, figure in drawn.items():
        for key, axis in figure.layout.to_plotly_json().items():
            if re.fullmatch(r"[xy]axis\d*", key) and not (key.startswith("y") and name in ("bars", "one bar", "comparison", "shapley")):
                words = axis["title"]["text"]
                assert words, (name, key)
                if key not in named.get(name, ()):
                    assert re.search(r"\[.+\]", words), (name, key, words)


def test_one_template(drawn):
    for figure in drawn.values():
        assert figure.layout.template.layout.paper_bgcolor in ("#FFFFFF", "#11151A")
        assert sorted(figure.layout.template.layout.colorway) == sorted(CYCLE)
    assert drawn["river"].layout.template.layout.font.color != drawn["bars"].layout.template.layout.font.color


def test_bars_add_up_to_the_estimate(both, drawn):
    widths = [trace for trace in drawn["bars"].data if trace.type == "bar" and trace.xaxis == "x2"]
    total = sum(np.array(trace.x, dtype=float) for trace in widths)
    factor = 1.0 if max(item.latency_s_upper for item in both.values()) >= 1 else 1e3
    assert total[::-1] == pytest.approx([item.latency_s * factor for item in both.values()], rel=1e-9)
    assert {trace.name for trace in widths} == {"preprocess", "encode", "project", "prefill", "decode", "engine"}
    assert len({STAGE_COLOURS[stage] for stage in STAGE_COLOURS}) == 6


def test_operators_add_up_to_the_stages(both):
    frame = F.operators(BASE)
    for stage in ("encode", "prefill"):
        rows = frame[frame["stage"] == stage]
        assert rows["flops"].sum() == pytest.approx(float(both["baseline"].stages[stage].matmul_flops), rel=1e-6)
        assert rows["seconds"].sum() <= float(both["baseline"].stages[stage].seconds) * (1 + 1e-9)
    assert frame["share"].sum() == pytest.approx(1.0)
    assert set(frame["bound"]) <= {"compute", "memory", "overhead"}


def test_points_lie_below_the_roof():
    chip = load_hardware("h100-sxm").chip
    frame = F.operators(BASE)
    rows = frame[frame["flops"] > 0]
    roof = np.minimum(rows["intensity"] * float(chip.bandwidth) * 1.6, float(chip.peak["bf16"]))  # small operands may stay in L2
    assert (rows["flops"] / rows["seconds"] <= roof * 1.001).all()


def test_memory_parts_add_up_to_the_peak(both):
    for item in both.values():
        frame = F.memory_parts(item)
        assert frame["bytes"].sum() == pytest.approx(float(item.memory.peak_bytes))
        assert (frame["bytes"] >= 0).all()


def test_river_follows_the_layers(both):
    before, after = F.river(BASE), F.river(MIX)
    assert before[before["place"] == "decoder"]["tokens"].tolist() == pytest.approx(list(both["baseline"].visual_tokens_per_layer))
    assert after[after["place"] == "decoder"]["tokens"].tolist() == pytest.approx(list(both["variant"].visual_tokens_per_layer))
    assert after[after["place"] == "decoder"]["tokens"].iloc[-1] == pytest.approx(0.5 * before["tokens"].iloc[-1])
    assert before[before["place"] == "patches"]["tokens"].iloc[0] == pytest.approx(4 * both["baseline"].visual_tokens)  # 2 x 2 patches a token


def test_text_only_has_figures():
    plain = Scenario(model="qwen2.5-7b", hardware="h100-sxm", workload=Workload(text_tokens=100))
    assert F.token_river({"a": F.river(plain)}).data
    assert F.roofline({"a": F.operators(plain)}, load_hardware("h100-sxm").chip).data


def test_regimes_name_the_longest_stage(drawn):
    frame = sweep(Space(BASE, {"workload.output_tokens": [1, 2000]}))
    named = F.regimes(frame, "latency_s").tolist()
    assert named[1] == "decode: memory" and not named[0].startswith("decode")
