"""Models beyond the first set: parameters and FLOPs against transformers' classes, totals and visual tokens against what their
publishers state, and an estimate of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import counting
import evaluated
import pytest
import torch
import transformers
from counting import meta
from make_more_models import models

from simulator import Image, Scenario, Video, Workload, estimate
from simulator.build.count import kv_bytes_per_token, parameters
from simulator.program import Grid
from simulator.spec.load_model import load_model
from simulator.spec.model import Lvlm
from simulator.spec.workload import Clip, Picture

MADE = models()
IMPORTED = (
    "qwen2.5-vl-32b", "smolvlm-256m", "smolvlm-500m", "internvl3-2b", "internvl3-14b", "llava-next-13b", "llava-onevision-0.5b",
    "llava-onevision-72b", "llama-3.2-90b-vision", "qwen3-next-80b-a3b",
)  # fmt: skip
# Totals that a model page (from memory), a paper or a model's name states: (figure, its decimals) in 10^9.
STATED = {
    "internvl3-2b": (2.09, 2), "internvl3-14b": (15.1, 1), "llava-next-13b": (13.4, 1), "llava-onevision-0.5b": (0.89, 2),
    "llava-onevision-72b": (73.2, 1), "llama-3.2-90b-vision": (88.6, 1), "qwen3-next-80b-a3b": (80.0, 0),
    "mobilevlm-v2-1.7b": (1.7, 1),
}  # fmt: skip
# (model, picture or clip, visual tokens) as papers, model cards and published code state them.
TOKENS = (
    ("fastvlm-0.5b", (1024, 1024), 256),
    ("fastvlm-7b", (1024, 1024), 256),
    ("convllava-7b", (1536, 1536), 576),
    ("blip-2-opt-2.7b", (1024, 1024), 32),
    ("instructblip-vicuna-7b", (1024, 1024), 32),
    ("qwen-vl-chat", (1024, 1024), 256),
    ("honeybee-7b", (1024, 1024), 144),
    ("tokenpacker-7b", (1024, 1024), 144),
    ("mobilevlm-v2-1.7b", (1024, 1024), 144),
    ("mobilevlm-v2-3b", (1024, 1024), 144),
    ("minicpm-v-2.6", (448, 448), 64),
    ("minicpm-v-2.6", (1344, 1344), 640),
    ("video-llama-7b", (8, 640, 360), 32),
    ("llava-video-7b", (64, 640, 360), 64 * 182),
    ("videochat-flash-7b", (64, 448, 448), 64 * 16),
    ("deepseek-vl2", (384, 384), 421),
    ("cobra-3b", (1024, 1024), 729),
    ("nvila-8b", (448, 448), 9 * 256),
    ("smolvlm-256m", (512, 512), 17 * 64),
    ("qwen2.5-vl-32b", (1024, 1024), 1369),
)


@pytest.mark.parametrize("name", MADE)
def test_file_equals_what_the_script_makes(name: str) -> None:
    assert load_model(name) == MADE[name]


@pytest.mark.parametrize("name", [*MADE, *IMPORTED])
def test_estimates_a_picture_and_a_clip(name: str) -> None:
    model = load_model(name)
    images = [Image(width=1024, height=1024)] if model.vision else []
    loads = [Workload(images=images, text_tokens=64, output_tokens=16)]
    if model.preprocessing is not None and model.preprocessing.video is not None:
        loads.append(Workload(videos=[Video(frames=16, width=448, height=448)], text_tokens=64, output_tokens=16))
    for load in loads:
        found = estimate(Scenario(model=name, hardware="h100-sxm", workload=load))
        used = ["prefill", "decode", *(["encode", "project"] if model.vision else [])]
        for stage in (found.stages[part] for part in used):
            assert 0.0 < stage.seconds_floor <= stage.seconds_lower <= stage.seconds <= stage.seconds_upper < math.inf
            assert stage.matmul_flops > 0.0
        assert found.memory.weight_bytes == pytest.approx(2.0 * parameters(model)["total"], rel=1e-2)
        assert float(found.visual_tokens) > 0.0 or model.vision is None


@pytest.mark.parametrize("name", [*MADE, *IMPORTED])
def test_totals(name: str) -> None:
    """Within 1 % of a stated total, or equal to it after rounding to the digits that are stated."""
    model = load_model(name)
    total, stated, decimals = parameters(model)["total"], model.published_parameters, 1
    if name in STATED:
        figure, decimals = STATED[name]
        stated = round(figure * 1e9)
    if stated is None:
        pytest.skip(f"no total of {name} is known")
    assert abs(total / stated - 1.0) < 1e-2 or round(total / 1e9, decimals) == round(stated / 1e9, decimals)


@pytest.mark.parametrize(("name", "size", "tokens"), TOKENS)
def test_visual_tokens(name: str, size: tuple[int, ...], tokens: int) -> None:
    pictures = [Picture(float(size[0]), float(size[1]))] if len(size) == 2 else []
    clips = [Clip(float(size[1]), float(size[2]), float(size[0]))] if len(size) == 3 else []
    assert float(evaluated.seen(load_model(name), pictures, clips).tokens) == tokens


def test_deepseek_ocr_crops() -> None:
    """256 tokens of the view of 1024 x 1024, 100 of every tile of 640 x 640 (16 patches of 16 pixels each)."""
    view = evaluated.seen(load_model("deepseek-ocr"), [Picture(1280.0, 1920.0)])
    assert {(float(grid.pixels) ** 0.5, float(grid.tokens)) for grid in view.grids} == {(1024.0, 256.0), (640.0, 100.0)}


@pytest.mark.parametrize(
    ("name", "active"), [("deepseek-vl2-tiny", 1.0e9), ("deepseek-vl2-small", 2.8e9), ("deepseek-vl2", 4.5e9)]
)
def test_active_parameters(name: str, active: float) -> None:
    """Embeddings are looked up, not multiplied."""
    counts = parameters(load_model(name))
    assert counts["active"] - counts["embedding"] == pytest.approx(active, rel=0.05)


# ------------------------------------------------------------------------------------- against the classes of transformers


def _on_meta(cls: Any, config: Any, attention: str = "probe") -> Any:
    with torch.device("meta"):
        return cls._from_config(config, attn_implementation=attention).eval()


def _size(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


OPT = {"model_type": "opt", "hidden_size": 2560, "ffn_dim": 10240, "num_hidden_layers": 32, "num_attention_heads": 32,
       "word_embed_proj_dim": 2560, "vocab_size": 50304}  # fmt: skip
VICUNA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "vocab_size": 32001,
}
QWEN2 = {"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
         "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064}  # fmt: skip
SIGLIP = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}
CLIP_STEM = 3 * 14 * 14 * 1024  # CLIP's patch embedding: in the checkpoint, not in the class


def _blip() -> Any:
    return _on_meta(transformers.Blip2ForConditionalGeneration, transformers.Blip2Config(text_config=OPT))


def _instruct_blip() -> Any:
    former = {"vocab_size": 30523, "encoder_hidden_size": 1408}
    config = transformers.InstructBlipConfig(text_config=VICUNA, qformer_config=former)
    return _on_meta(transformers.InstructBlipForConditionalGeneration, config)


def _videollama() -> Any:
    config = transformers.VideoLlama3Config(text_config=QWEN2, vision_config=SIGLIP, tie_word_embeddings=False)
    return _on_meta(transformers.VideoLlama3ForConditionalGeneration, config)


def _ocr() -> Any:
    return _on_meta(transformers.UnlimitedOcrForConditionalGeneration, transformers.UnlimitedOcrConfig(), "eager")


MIXTURE: dict[str, Any] = {"n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1, "kv_lora_rank": 512,
                           "q_lora_rank": None, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}  # fmt: skip


def _mixture(hidden: int, layers: int, heads: int, dense: int, width: int, routed: int, vocabulary: int) -> Any:
    config = transformers.DeepseekV2Config(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
        intermediate_size=dense, moe_intermediate_size=width, n_routed_experts=routed, vocab_size=vocabulary, **MIXTURE,
    )  # fmt: skip
    return _on_meta(transformers.DeepseekV2ForCausalLM, config)


def _mamba() -> Any:
    sizes = {"hidden_size": 2560, "state_size": 16, "num_hidden_layers": 64, "time_step_rank": 160, "vocab_size": 50280}
    with torch.device("meta"):
        return transformers.MambaForCausalLM(transformers.MambaConfig(**sizes))


def _convnext() -> Any:
    widths = [192, 384, 768, 1536, 3072]
    with torch.device("meta"):
        return transformers.ConvNextModel(
            transformers.ConvNextConfig(depths=[3, 3, 27, 3, 6], hidden_sizes=widths, num_stages=5)
        ).eval()


LANGUAGE = ("language", "embedding", "lm_head")
ALL = ("total",)
WHOLE: dict[str, tuple[Callable[[], Any], tuple[str, ...], int]] = {
    "blip-2-opt-2.7b": (_blip, ALL, 0),
    "instructblip-vicuna-7b": (_instruct_blip, ALL, 0),
    "videollama3-7b": (_videollama, ALL, 0),
    "deepseek-ocr": (_ocr, ALL, CLIP_STEM),
    "deepseek-vl2-small": (lambda: _mixture(2048, 27, 16, 10944, 1408, 64, 102400), LANGUAGE, 0),
    "deepseek-vl2": (lambda: _mixture(2560, 30, 32, 12288, 1536, 72, 129280), LANGUAGE, 0),
    "cobra-3b": (_mamba, LANGUAGE, 0),
    "convllava-7b": (_convnext, ("vision",), 0),
}


@pytest.mark.parametrize("name", WHOLE)
def test_parameters_equal_the_class(name: str) -> None:
    build, parts, beyond = WHOLE[name]
    counts = parameters(load_model(name))
    assert sum(counts[part] for part in parts) == _size(build()) + beyond


def test_parts_of_the_q_former_models() -> None:
    for name, model in (("blip-2-opt-2.7b", _blip()), ("instructblip-vicuna-7b", _instruct_blip())):
        counts = parameters(load_model(name))
        assert counts["vision"] == _size(model.vision_model)
        bridge = _size(model.qformer) + _size(model.language_projection) + model.query_tokens.numel()
        assert counts["projector"] == bridge


def _encoded(model: Lvlm, side: float, patch: float, tokens: float) -> float:
    """FLOPs of tower and projector for one square crop."""
    grid = Grid(1.0, side // patch, side // patch, tokens, side * side)
    view = evaluated.seen(load_model("blip-2-opt-2.7b"), [Picture(224.0, 224.0)])
    return evaluated.encode(model, type(view)((grid,), 0.0, 1.0, side * side, side * side, 1.0))


def _theirs(run: Callable[[], Any]) -> float:
    _, flops, calls, _ = counting._counted(run)
    return flops + counting._square(calls)


def test_encode_of_blip_2() -> None:
    model = _blip()

    def run() -> None:
        seen = model.vision_model(meta(1, 3, 224, 224)).last_hidden_state
        asked = model.qformer(query_embeds=model.query_tokens, encoder_hidden_states=seen).last_hidden_state
        model.language_projection(asked)

    assert _encoded(load_model("blip-2-opt-2.7b"), 224.0, 14.0, 32.0) == pytest.approx(_theirs(run), rel=1e-4)


def test_encode_of_convllava() -> None:
    tower = _convnext()
    projector = 2.0 * 576 * (3072 * 4096 + 4096 * 4096)
    theirs = _theirs(lambda: tower.encoder(tower.embeddings(meta(1, 3, 1536, 1536)))) + projector
    assert _encoded(load_model("convllava-7b"), 1536.0, 64.0, 576.0) == theirs


def test_encode_of_fastvlm() -> None:
    """FLOPs that `FlopCounterMode` counts on timm 1.0.22's fastvit_mci3 with fused branches."""
    tower = 486_707_822_592
    for name, hidden in (("fastvlm-0.5b", 896), ("fastvlm-7b", 3584)):
        theirs = tower + 2.0 * 256 * (3072 * hidden + hidden * hidden)
        assert _encoded(load_model(name), 1024.0, 64.0, 256.0) == theirs
    assert parameters(load_model("fastvlm-0.5b"))["vision"] == 122_714_208


def test_tower_of_fastvlm_has_the_size_of_the_paper() -> None:
    """125.1 M with the head of 3072 x 768 that a language model does not need."""
    tower = parameters(load_model("fastvlm-0.5b"))["vision"] + 3072 * 768
    assert tower / 1e6 == pytest.approx(125.1, abs=0.05)


@pytest.mark.parametrize(("side", "tokens"), [(1024, 256), (640, 100)])
def test_encode_of_deepseek_ocr(side: int, tokens: int) -> None:
    """Products of queries with the tables of relative positions (two axes) are left out: the difference is exactly theirs."""
    model = _ocr().model

    def run() -> None:
        model.vision_tower(meta(1, 3, side, side))
        model.multi_modal_projector(meta(1, tokens, 2048))

    patches = side // 16
    filled = math.ceil(patches / 14) ** 2 * 14 * 14
    relative = 2.0 * 768 * (8 * filled * (14 + 14) + 4 * patches**2 * 2 * patches)
    assert _encoded(load_model("deepseek-ocr"), float(side), 16.0, float(tokens)) + relative == _theirs(run)


def test_prefill_and_decode_of_latent_attention_with_experts() -> None:
    """DeepSeek-VL2-small: FLOPs and bytes of cache as the class has them (absorbed in decode, top-k experts)."""
    config = {"hidden_size": 2048, "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16,
              "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 64, "vocab_size": 102400, **MIXTURE}  # fmt: skip
    entry = {"cls": "DeepseekV2ForCausalLM", "family": "text", "config": config}
    model = load_model("deepseek-vl2-small")
    prefill, decode, cached = counting.generate(counting.build(entry), entry, 421, 64, 1)
    assert evaluated.generate(model, 421, 64, 1) == (prefill, decode)
    assert kv_bytes_per_token(model) == cached


def test_states_of_hybrids_do_not_grow() -> None:
    """Cobra keeps no key or value; of Qwen3-Next's 48 layers 12 do (2 heads of 256, two bytes, K and V)."""
    assert kv_bytes_per_token(load_model("cobra-3b")) == 0.0
    assert kv_bytes_per_token(load_model("qwen3-next-80b-a3b")) == 12 * 2 * 256 * 2 * 2
