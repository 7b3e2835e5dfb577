"""Model files, import of published configurations, and the programs built from them."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.attention import Attention
from simulator.build.count import kv_bytes_per_token, parameters
from simulator.build.language import build_decoder, split_qkv
from simulator.build.vision import build_tower
from simulator.interop.hf_config import import_config, supported
from simulator.interop.write_model import model_yaml
from simulator.ops import Collective, Experts, Matmul, Shape, Tokens
from simulator.program import Decoder, Grid, total_layers
from simulator.spec.load_model import load_model, model_names
from simulator.spec.model import Lvlm
from simulator.spec.preprocessing import GridPinpoints
from simulator.spec.source import SpecError
from simulator.spec.validated import validated
from simulator.spec.yaml import parse_yaml

CONFIGS = Path(__file__).parent / "reference" / "configs"
REFERENCE = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(CONFIGS.glob("**/*.json"))}
GRID = Grid(3.0, 24.0, 24.0, 144.0, 336.0**2)


def flops(decoder: Decoder, phase: str = "prefill") -> float:
    """Matrix FLOPs of all layers over the devices of one replica."""
    prompt = Tokens(500.0, 100.0)
    decode = phase == "decode"
    shape = Shape("decode", 2.0, Tokens(0.0, 1.0), prompt) if decode else Shape("prefill", 2.0, prompt)
    return sum(
        layer.count * decoder.devices * float(op.work(shape).flops)
        for layer in (*decoder.layers, decoder.head)
        for op in (layer.decode if decode else layer.prefill)
    )


@pytest.mark.parametrize("name", model_names())
def test_every_file_loads_and_states_its_sources(name: str) -> None:
    model = load_model(name)
    assert model.name == name
    assert all(source.reference for source in model.sources)
    assert load_model(name) is model
    counts = parameters(model)
    parts = ("vision", "projector", "language", "embedding", "lm_head")
    assert counts["total"] == sum(counts[part] for part in parts)
    assert 0 < counts["active"] <= counts["total"]


@pytest.mark.parametrize("name", REFERENCE)
def test_file_equals_what_the_import_makes_of_its_configuration(name: str) -> None:
    """Names, sources and notes are added by hand; everything that costs anything comes from config.json."""
    entry = REFERENCE[name]
    fresh = import_config(entry["config"], name, entry.get("processor", {}).get("kw"))
    stored = load_model(name)
    for part in ("vision", "projector", "preprocessing", "language", "assumptions"):
        assert getattr(fresh, part) == getattr(stored, part)


@pytest.mark.parametrize("name", model_names())
def test_writing_and_reading_back_is_identity(name: str) -> None:
    model = load_model(name)
    assert validated(Lvlm, parse_yaml(model_yaml(model), name), name) == model


def test_loading_is_quick() -> None:
    """15 ms, taken from the best of a few cold reads because this machine is shared."""
    path = CONFIGS.parents[2] / "models" / "llama-4-scout.yaml"
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        validated(Lvlm, parse_yaml(path.read_text(encoding="utf-8"), "x"), "x")
        best = min(best, time.perf_counter() - start)
    assert best < 0.015


@pytest.mark.parametrize(("name", "near"), [("qwen2.5-vl-7", "qwen2.5-vl-7b"), ("llava1.5-7b", "llava-1.5-7b")])
def test_unknown_name_offers_the_nearest(name: str, near: str) -> None:
    with pytest.raises(SpecError, match=near) as caught:
        load_model(name)
    assert "\n" not in str(caught.value)


def test_a_name_that_looks_like_none_gets_a_short_line() -> None:
    with pytest.raises(SpecError, match="lvlm-sim models") as caught:
        load_model("junk")
    assert len(str(caught.value)) < 150


def test_path_and_name_give_the_same_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(model_yaml(load_model("phi-2")), encoding="utf-8")
    assert load_model(str(path)) == load_model("phi-2")
    path.write_text("name: mine\nname: twice\n", encoding="utf-8")
    with pytest.raises(SpecError, match="twice"):
        load_model(path)


# ------------------------------------------------------------------------------------------------------------- import

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def test_a_default_of_the_class_is_an_assumption() -> None:
    stated = import_config(LLAMA, "mine")
    left_out = import_config({k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}, "mine")
    assert left_out.language.stack.blocks["full"].attention != stated.language.stack.blocks["full"].attention
    assert any("num_key_value_heads = 32" in note for note in left_out.assumptions)


def test_a_field_without_default_is_named() -> None:
    with pytest.raises(SpecError, match=r"^hidden_size is missing"):
        import_config({k: v for k, v in REFERENCE["qwen-72b"]["config"].items() if k != "hidden_size"}, "mine")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 0, "4096", [4096], True, 10**12, None, 3.5])
def test_a_size_that_makes_no_sense_is_named(value: Any) -> None:
    with pytest.raises(SpecError, match="hidden_size") as caught:
        import_config({**LLAMA, "hidden_size": value}, "mine")
    assert "\n" not in str(caught.value)


def test_unknown_type_offers_the_nearest() -> None:
    with pytest.raises(SpecError, match="qwen2_5_vl"):
        import_config({"model_type": "qwen2_6_vl"})
    for data in ({}, {"model_type": None}, {"model_type": 3}):
        with pytest.raises(SpecError, match="model_type"):
            import_config(data)
    with pytest.raises(SpecError) as caught:
        import_config({"model_type": "zzzz"})
    assert len(str(caught.value)) < 300 and all(word in str(caught.value) for word in ("zzzz", "--types", "CONTRIBUTING"))
    assert {"llama", "qwen2_5_vl", "kimi_vl", "internvl_chat", "mamba", "minicpmv", "llava_qwen2"} <= set(supported())


def test_flat_and_nested_files_of_one_checkpoint_agree() -> None:
    nested = REFERENCE["qwen2.5-vl-7b"]["config"]
    flat = {**nested["text_config"], **{k: v for k, v in nested.items() if k != "text_config"}}
    flat["vision_config"] = {k: v for k, v in flat["vision_config"].items() if k != "in_channels"} | {"in_chans": 3}
    one, two = import_config(nested, "a"), import_config(flat, "a")
    assert one.language == two.language
    assert one.vision == two.vision
    assert one.projector == two.projector


def test_original_internvl_file_agrees_with_the_converted_one() -> None:
    entry = REFERENCE["internvl3-8b"]["config"]
    eyes = {k: v for k, v in entry["vision_config"].items() if k not in ("attention_bias", "use_qk_norm")}
    eyes |= {"model_type": "intern_vit_6b", "qkv_bias": True, "qk_normalization": False, "image_size": 448}
    config = {
        "model_type": "internvl_chat",
        "llm_config": entry["text_config"],
        "vision_config": {**eyes, "patch_size": 14},
        "downsample_ratio": 0.5,
    }
    assert parameters(import_config(config, "a")) == parameters(load_model("internvl3-8b"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_spoilt_configuration_is_refused_in_one_line_or_read(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(REFERENCE)))
    config = copy.deepcopy(REFERENCE[name]["config"])
    part = config
    nested = [key for key, value in config.items() if isinstance(value, dict)]
    if nested and data.draw(st.booleans()):
        part = config[data.draw(st.sampled_from(nested))]
    key = data.draw(st.sampled_from(sorted(part)))
    odd = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 10**13),
        st.floats(),
        st.text(max_size=5),
        st.lists(st.integers(-2, 9)),
    )
    if data.draw(st.booleans()):
        del part[key]
    else:
        part[key] = data.draw(st.one_of(odd, st.dictionaries(st.text(max_size=3), odd, max_size=2)))
    try:
        model = import_config(config, "spoilt")
    except SpecError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
    else:
        assert parameters(model)["total"] > 0


# ----------------------------------------------------------------------------------------------------------- programs


@pytest.mark.parametrize("name", model_names())
def test_layers_are_numbered_and_know_what_they_keep(name: str) -> None:
    decoder = build_decoder(load_model(name))
    assert total_layers(decoder.layers) == load_model(name).language.stack.layers
    index = 0
    for layer in decoder.layers:
        assert layer.index == index
        assert layer.cache is not None
        index = layer.stop


@pytest.mark.parametrize(
    "name", ["qwen2.5-7b", "qwen3-vl-30b-a3b", "kimi-vl-a3b", "llama-3.2-11b-vision", "llama-2-70b"]
)
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_tensor_parallel_devices_share_the_work(name: str, phase: str) -> None:
    """Nothing is lost; only what is replicated by design (router, latent projections, norms) is done twice."""
    model = load_model(name)
    alone, shared = flops(build_decoder(model), phase), flops(build_decoder(model, tp=4), phase)
    assert alone <= shared <= alone * {"kimi-vl-a3b": 1.25, "qwen3-vl-30b-a3b": 1.02}.get(name, 1.001)


def test_expert_parallel_devices_share_the_experts() -> None:
    model = load_model("qwen3-vl-30b-a3b")
    alone, together, wide = build_decoder(model), build_decoder(model, tp=4, ep=4), build_decoder(model, tp=1, ep=8)
    assert flops(together) == pytest.approx(flops(alone), rel=0.02)
    assert flops(wide) == pytest.approx(flops(alone), rel=1e-9)

    def resident(decoder: Decoder) -> float:
        return sum(
            layer.count * op.parameters for layer in decoder.layers for op in layer.prefill if isinstance(op, Experts)
        )

    assert resident(together) == resident(alone) / 4
    assert resident(wide) == resident(alone) / 8
    kinds = {op.kind for layer in wide.layers for op in layer.prefill if isinstance(op, Collective)}
    assert kinds == {"all_to_all"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"tp": 3}, "tp"), ({"tp": 0}, "tp"), ({"pp": 99}, "pp"), ({"ep": 3}, "ep"), ({"ep": 0}, "ep")],
)
def test_degrees_that_do_not_divide_are_refused(changes: dict[str, int], field: str) -> None:
    with pytest.raises(SpecError, match=field):
        build_decoder(load_model("qwen3-vl-30b-a3b"), **changes)


def test_experts_touched_grow_with_the_batch() -> None:
    """One token reads `active` experts; many tokens read nearly all of them."""
    model = load_model("qwen3-vl-30b-a3b")
    op = next(op for op in build_decoder(model).layers[0].decode if isinstance(op, Experts))
    one = float(op.work(Shape("decode", 1.0, Tokens(0.0, 1.0))).weight_bytes)
    many = float(op.work(Shape("decode", 512.0, Tokens(0.0, 1.0))).weight_bytes)
    assert one == pytest.approx(8 / 128 * op.parameters * 2.0)
    assert 0.99 * op.parameters * 2.0 < many <= op.parameters * 2.0


def test_split_qkv_keeps_work_and_weights() -> None:
    op = next(op for op in build_decoder(load_model("qwen2.5-7b")).layers[0].prefill if isinstance(op, Matmul))
    assert op.name == "qkv"
    q, kv = split_qkv(op, 28.0, 4.0, 128.0, 128.0)
    shape = Shape("prefill", 1.0, Tokens(10.0, 5.0))
    assert q.work(shape).flops + kv.work(shape).flops == op.work(shape).flops
    assert q.parameters + kv.parameters == op.parameters


def test_pictures_of_a_cross_attention_model_stay_out_of_the_sequence() -> None:
    """Llama-3.2: more visual tokens cost the cross layers only, once, and nothing in self-attention."""
    decoder = build_decoder(load_model("llama-3.2-11b-vision"))
    few, many = (Shape("prefill", 1.0, Tokens(visual, 64.0)) for visual in (1601.0, 6404.0))
    for layer in decoder.layers:
        for op in layer.prefill:
            same = op.work(few).flops == op.work(many).flops
            assert same != (layer.kind == "cross" and op.name in ("kv", "attention"))
    assert [op.name for op in decoder.layers[1].decode if isinstance(op, Matmul)] == ["q", "o", "gate_up", "down"]


def test_latent_attention_decodes_absorbed() -> None:
    """DeepSeek-V3 style: the cache holds one latent of 576 elements per layer, whatever the heads."""
    model = load_model("kimi-k2.5")
    assert kv_bytes_per_token(model) == 61 * 576 * 2
    assert kv_bytes_per_token(load_model("qwen2.5-vl-72b")) * 40000 == pytest.approx(13.1e9, rel=1e-3)
    names = [op.name for op in build_decoder(model).layers[0].decode]
    assert "kv_b" not in names
    assert names.index("absorb_q") < names.index("attention") < names.index("absorb_o")


def test_padded_heads_and_joint_tiles_of_towers() -> None:
    """25 heads on 2 devices run as 13 each; Llama-3.2's four tiles are one sequence."""
    grids = (Grid(4.0, 40.0, 40.0, 1601.0, 560.0**2),)
    tower = build_tower(load_model("llama-3.2-11b-vision"), grids)
    attention = next(op for op in tower.layers[1].prefill if isinstance(op, Attention))
    shape = Shape("encode", 4.0, Tokens(1600.0, 8.0))
    assert attention.work(shape).flops == 4.0 * 16 * 80 * (4 * 1608.0) ** 2
    wide = build_tower(load_model("internvl3-78b"), (GRID,), tp=2)
    assert next(op for op in wide.layers[1].prefill if isinstance(op, Attention)).heads == 13.0


def test_text_models_have_no_tower() -> None:
    with pytest.raises(SpecError, match="language model"):
        build_tower(load_model("llama-3-8b"), (GRID,))


def test_building_again_costs_next_to_nothing() -> None:
    model = load_model("qwen2.5-vl-7b")
    build_tower(model, (GRID,))
    build_decoder(model)
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(100):
            build_tower(model, (GRID,))
            build_decoder(model)
        best = min(best, (time.perf_counter() - start) / 100)
    assert best < 50e-6


def test_a_vision_part_that_is_not_known_is_not_dropped_in_silence() -> None:
    sizes = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 100,
    }
    for field, value in (("mm_vision_tower", "acme/eyes"), ("visual", {"width": 8}), ("vision_config", {"hidden_size": 8})):
        with pytest.raises(SpecError, match=field) as caught:
            import_config({"model_type": "llama", field: value, **sizes})
        assert "\n" not in str(caught.value)


def test_pinpoints_left_out_are_those_of_the_class_and_a_stored_format_is_noted() -> None:
    model = import_config({"model_type": "llava_next", "quantization_config": {"quant_method": "awq", "bits": 4}})
    assert isinstance(model.preprocessing, GridPinpoints) and (672, 672) in model.preprocessing.pinpoints
    assert any("image_grid_pinpoints" in note for note in model.assumptions)
    assert any("weight_quant" in note for note in model.assumptions)
