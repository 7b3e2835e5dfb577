"""Files of Molmo's, Aria's, ERNIE's, Keye's and dots.ocr's own code."""

from __future__ import annotations

from typing import Any, cast

from simulator.interop.hf.remote.parts import Config, flat_text, named_tower, part, renamed, tied
from simulator.spec.source import SpecError
from simulator.spec.validated import shown


def molmo(config: Config) -> Config:
    """Molmo: one flat file, whose `intermediate_size` counts both halves of the gated MLP; the encoder is in the code."""
    text = flat_text(config, "molmo_text")
    eyes = named_tower("vision_config", "clip-vit-large-patch14-336") | {"model_type": "molmo_clip", "num_hidden_layers": 23}
    return {**config, "vision_config": eyes, "text_config": text}


def molmo2(config: Config) -> Config:
    """Molmo 2 as released: `vit_config` in its own words, with two layers more than the weights have."""
    text = renamed(part(config, "text_config"), {"qkv_bias": "attention_bias"})
    config = {**config, "text_config": text}
    eyes = config.get("vit_config")
    if not isinstance(eyes, dict):
        return config
    names = {"image_default_input_size": "image_size", "image_patch_size": "patch_size", "image_num_pos": "num_position_embeddings"}
    vision = renamed(cast("Config", eyes), names) | {"model_type": "molmo2_vision"}
    adapter = renamed(part(config, "adapter_config"), {"vit_layers": "vision_feature_layer"})
    layers, levels = vision.get("num_hidden_layers", 25), adapter.get("vision_feature_layer", [24, 18])
    if not isinstance(layers, int) or layers < 1 or not isinstance(levels, list) or not levels:
        raise SpecError(f"adapter_config.vit_layers: {shown(levels)} is not accepted: a list of layers")
    if any(isinstance(level, bool) or not isinstance(level, int) for level in cast("list[Any]", levels)):
        raise SpecError(f"adapter_config.vit_layers: {shown(cast('object', levels))} is not accepted: a list of layers")
    vision["num_hidden_layers"] = max(level % layers for level in cast("list[int]", levels)) + 1
    return {**config, "vision_config": vision, "adapter_config": adapter}


def aria(config: Config) -> Config:
    """Aria before it came to transformers: experts as wide as `moe_intermediate_size`."""
    text = dict(part(config, "text_config"))
    if text.get("moe_intermediate_size") is not None:
        text["intermediate_size"] = text["moe_intermediate_size"]
    return {**config, "text_config": text}


def ernie_vl(config: Config) -> Config:
    """ERNIE 4.5 VL as Baidu has it: a flat file with two values where text and pictures differ."""
    eyes = renamed(part(config, "vision_config"), {"embed_dim": "hidden_size"}) | {"model_type": "ernie4_5_vl_moe_vision"}
    ratio, hidden = eyes.pop("mlp_ratio", None), eyes.get("hidden_size")
    if "intermediate_size" not in eyes and isinstance(ratio, int | float) and isinstance(hidden, int):
        eyes["intermediate_size"] = int(ratio * hidden)
    text = flat_text(config, "ernie4_5_vl_moe_text")
    for name in ("moe_num_experts", "moe_layer_start_index"):
        pair: Any = text.get(name)
        if isinstance(pair, list):
            if len(set(map(str, cast("list[Any]", pair)))) != 1:
                raise SpecError(f"{name}: {shown(cast('object', pair))} is not accepted: two equal values")
            text[name] = pair[0]
    layers, start = text.get("num_hidden_layers"), text.get("moe_layer_start_index", 1)
    if isinstance(layers, int) and isinstance(start, int) and 0 < layers < 4096:
        text["mlp_layer_types"] = ["dense" if index < start else "sparse" for index in range(layers)]
    if "temporal_conv_size" in config:
        eyes["temporal_merge_size"] = config["temporal_conv_size"]
    return {**config, "model_type": "ernie4_5_vl_moe", "vision_config": eyes, "text_config": text}


def keye(config: Config) -> Config:
    """Keye-VL: Qwen3 with the encoder and projector of PaddleOCR-VL. A table of positions that only packing reads is left out."""
    eyes = part(config, "vision_config") | {"model_type": "paddleocr_vl_vision"}
    return {**config, "model_type": "keye", "vision_config": eyes, "text_config": flat_text(config, "qwen3")}


def dots_ocr(config: Config) -> Config:
    """dots.ocr: Qwen2 with an encoder of its own; `hidden_size` of the encoder is that of its output."""
    eyes = dict(part(config, "vision_config")) | {"model_type": "dots_vision"}
    eyes["hidden_size"] = eyes.pop("embed_dim", eyes.get("hidden_size"))
    return {**config, "vision_config": eyes, "text_config": flat_text(config, "qwen2")}


def llava_onevision_1_5(config: Config) -> Config:
    """LLaVA-OneVision 1.5: Qwen3 with RICE's encoder."""
    eyes = dict(part(config, "vision_config")) | {"model_type": "rice_vit"}
    text = dict(part(config, "text_config")) | {"model_type": "qwen3"}
    tie = tied(config, text)
    changed = {"model_type": "llava_onevision_1_5", "vision_config": eyes, "text_config": text, "tie_word_embeddings": tie}
    return {**config, **changed}


def moondream(config: Config) -> Config:
    """Moondream 2, whose sizes are in its code; `config` may have others. Pointing and boxes are left out."""
    given = part(config, "config")
    seen, read = part(given, "vision"), part(given, "text")
    eyes = {"enc_dim": 1152, "enc_ff_dim": 4304, "enc_n_layers": 27, "enc_n_heads": 16, "enc_patch_size": 14, "crop_size": 378}
    names = {"enc_dim": "hidden_size", "enc_ff_dim": "intermediate_size", "enc_n_layers": "num_hidden_layers",
             "enc_n_heads": "num_attention_heads", "enc_patch_size": "patch_size", "crop_size": "image_size"}  # fmt: skip
    vision = renamed(eyes | seen, names) | {"model_type": "siglip_vision_model", "vision_use_head": False}
    sizes = {"dim": 2048, "ff_dim": 8192, "n_layers": 24, "n_heads": 32, "n_kv_heads": 32, "vocab_size": 51200, "max_context": 2048}
    words = {"dim": "hidden_size", "ff_dim": "intermediate_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads",
             "n_kv_heads": "num_key_value_heads", "max_context": "max_position_embeddings"}  # fmt: skip
    text = renamed(sizes | read, words) | {"model_type": "phi", "tie_word_embeddings": False, "qk_layernorm": False}
    changed = {"model_type": "moondream", "vision_config": vision, "text_config": text, "tie_word_embeddings": False}
    return {**config, **changed, "proj_inner_dim": seen.get("proj_inner_dim", 8192)}


def hunyuan_vl(config: Config) -> Config:
    """HunyuanOCR as released: a flat file with names of its own."""
    names = {"attention_head_dim": "head_dim", "org_vocab_size": "vocab_size"}
    if isinstance(config.get("text_config"), dict):
        return {**config, "text_config": renamed(part(config, "text_config"), names)}
    return {**config, "text_config": renamed(flat_text(config, "hunyuan_vl_text"), names)}
