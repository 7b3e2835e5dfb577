"""Published files of transformers' own classes, parts left out and old names included: exactly the parameters of their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.build.count import parameters
from simulator.build.vision import build_tower
from simulator.interop.hf_config import import_config
from simulator.ops import Shape, Tokens
from simulator.spec.source import SpecError
from simulator.spec.yaml import read_yaml

FILES: dict[str, Any] = read_yaml(Path(__file__).with_name("published.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_parameters(name: str) -> None:
    model = import_config(FILES[name]["config"], name)
    assert model.preprocessing is not None
    assert parameters(model)["total"] == FILES[name]["parameters"]


REFUSED = (
    ({"model_type": "internvl_chat", "vision_config": {"depth": 1}, "llm_config": {"architectures": ["InternLM2VEForCausalLM"], "model_type": "internlm2"}}, ("llm_config.architectures", "InternLM2VEForCausalLM")),
    ({"model_type": "qwen2", "architectures": ["AcmeVLForCausalLM"], "hidden_size": 8}, ("architectures", "AcmeVLForCausalLM", "vision part")),
    ({"model_type": "internlm2", "architectures": ["InternLMXComposer2ForCausalLM"], "img_size": 490}, ("hidden_size", "missing")),
    ({"model_type": ["llama"]}, ("model_type", "llama")),
    ({"model_type": "internvl_chat", "vision_config": {"hidden_size": 8}}, ("llm_config",)),
    ({"model_type": "llava", "text_config": {"model_type": "qwen2_vl"}}, ("text_config.model_type", "'qwen2_vl'")),
    ({"model_type": "nemotron_h", "hybrid_override_pattern": "MXM"}, ("hybrid_override_pattern", "MXM")),
    ({"model_type": "lfm2_vl", "vision_config": {"model_type": "siglip2_vision_model"}}, ("vision_config.vision_use_head",)),
    ({"model_type": "florence2"}, ("florence2", "encoder-decoder")),
    ({"model_type": "t5"}, ("t5", "encoder-decoder")),
    ({"architectures": ["AcmeForCausalLM"]}, ("model_type", "AcmeForCausalLM")),
    ({"model_type": "emu3", "hidden_size": 3584}, ("model_type", "emu3", "--types")),
    ({"model_type": "minicpmv", "version": "1.0"}, ("version", "1.0", "2.6")),
    ({"model_type": "llava_llama", "architectures": ["LlavaLlamaForCausalLM"], "mm_vision_tower": "acme/eyes"}, ("mm_vision_tower", "acme/eyes", "known")),
    ({"model_type": "llava_rwkv", "mm_vision_tower": "openai/clip-vit-large-patch14"}, ("model_type", "llava_rwkv", "llama")),
    ({"model_type": "llava_llama", "mm_vision_tower": "openai/clip-vit-large-patch14", "mm_hidden_size": 7}, ("mm_hidden_size", "7", "1024")),
    ({"model_type": "llava_llama", "mm_vision_tower": "openai/clip-vit-large-patch14", "mm_projector_type": "qformer"}, ("mm_projector_type", "qformer", "mlp2x_gelu")),
    ({"model_type": "fast_vlm", "vision_config": {"architecture": "resnet50"}}, ("vision_config.architecture", "resnet50", "fastvit_mci3")),
    ({"model_type": "multi_modality", "vision_config": {"cls": "HybridVisionTower"}}, ("vision_config.cls", "HybridVisionTower", "CLIPVisionTower")),
    ({"model_type": "ovis", "visual_tokenizer_config": {"model_type": "x"}}, ("visual_tokenizer_config.model_type", "'x'", "siglip_visual_tokenizer")),
    ({"model_type": "gemma3n", "vision_config": {"architecture": "resnet50"}}, ("vision_config.architecture", "resnet50", "mobilenetv5_300m_enc")),
)  # fmt: skip


@pytest.mark.parametrize(("config", "words"), REFUSED, ids=str)
def test_what_is_not_known_is_refused_in_one_line(config: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(SpecError) as caught:
        import_config(config, "it")
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    assert all(word in message for word in words), message


def test_mobilenet_of_gemma_3n() -> None:
    """timm states 294.13 million parameters and 435.74 billion multiply-accumulates at 768 x 768 for it."""
    text = {
        "model_type": "gemma3n_text",
        "num_hidden_layers": 30,
        "intermediate_size": 8192,
        "num_kv_shared_layers": 10,
    }
    model = import_config({"model_type": "gemma3n", "text_config": text, "vision_config": {}}, "gemma-3n-e2b")
    assert round(parameters(model)["vision"] / 1e6, 2) == 294.13
    tower = build_tower(model, ())
    shape = Shape("encode", 1.0, Tokens(256.0, 0.0), height=16.0, width=16.0)
    flops = sum(layer.count * float(op.work(shape).flops) for layer in tower.layers for op in layer.prefill)
    assert round(flops / 2e9, 2) == pytest.approx(435.74, abs=0.011)
