"""Random valid configurations of further vision-language families."""

from __future__ import annotations

from collections.abc import Callable

from drawn import Config, Draw
from drawn_wrapped import _native, _text, _top, _turned


def _molmo2(draw: Draw) -> Config:
    text = draw.sizes() | draw.flags("attention_bias") | {"model_type": "molmo2_text"}
    text |= {"qk_norm_type": draw.of(["qwen3", "olmo"]), "additional_vocab_size": draw.of([0, 12])}
    text["tie_word_embeddings"] = False
    vision = draw.tower(model_type="molmo2_vision") | draw.flags("attention_bias")
    vision["image_size"] = [vision["patch_size"] * draw.of([12, 15])] * 2
    vision |= {"head_dim": draw.of([16, 24]), "num_key_value_heads": vision["num_attention_heads"]}
    part = {"hidden_size": vision["hidden_size"], "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16,
            "intermediate_size": draw.of([48, 64]), "text_hidden_size": text["hidden_size"], "model_type": "molmo2_adapter",
            "vision_feature_layer": draw.of([[-1], [0, -1]])}  # fmt: skip
    return _top(text, vision, adapter_config=part | draw.flags("attention_bias", "mlp_bias"))


def _aria(draw: Draw) -> Config:
    text = draw.sizes(False) | draw.flags("attention_bias", "mlp_bias") | {"model_type": "aria_text"}
    text |= {"moe_num_experts": draw.of([4, 8]), "moe_topk": draw.of([1, 2]), "moe_num_shared_experts": draw.of([1, 2])}
    vision = draw.tower(model_type="idefics3_vision", patch_size=14, image_size=490)
    return _top(text, vision, projector_patch_to_query_dict={"1225": 16, "4900": draw.of([24, 32])})


def _glm_ocr(draw: Draw) -> Config:
    text = _turned(draw.sizes(), "glm_ocr_text")
    return _native(draw, text, "glm_ocr_vision", **draw.flags("attention_bias"))


def _paddle(draw: Draw) -> Config:
    text = _turned(draw.sizes() | draw.flags("use_bias"), "paddleocr_vl_text")
    vision = draw.tower(model_type="paddleocr_vl_vision", spatial_merge_size=draw.of([1, 2]))
    return _top(text, vision)


def _ernie(draw: Draw) -> Config:
    text = draw.sizes(False) | draw.flags("use_bias") | {"model_type": "ernie4_5_vl_moe_text"}
    width = text["hidden_size"] // text["num_attention_heads"] // 2
    text |= {"moe_num_experts": draw.of([4, 8]), "moe_k": draw.of([1, 2]), "moe_num_shared_experts": draw.of([0, 2])}
    text |= {"moe_intermediate_size": [48, 32], "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [width // 2 - width // 4, width // 4, width - width // 2]}}
    if draw.flag():
        text["mlp_layer_types"] = [draw.of(["dense", "sparse"]) for _ in range(text["num_hidden_layers"])]
    config = _native(draw, text, "ernie4_5_vl_moe_vision")
    del config["vision_config"]["temporal_patch_size"], config["vision_config"]["out_hidden_size"]
    return config


def _exaone(draw: Draw) -> Config:
    text = _text(draw, "exaone4")
    vision = {"num_key_value_heads": draw.of([1, 2]), "fullatt_block_indexes": draw.of([[], [0]])}
    config = _native(draw, text, "exaone4_5_vision", **vision)
    config["vision_config"]["window_size"] = config["vision_config"]["patch_size"] * draw.of([4, 8])
    return config


def _janus(draw: Draw) -> Config:
    text = _text(draw, "llama", "qwen2")
    vision = draw.tower(model_type="janus_vision_model") | draw.flags("attention_bias", "use_qk_norm")
    vision |= {"depth": draw.of([1, 2, 3]), "projection_dim": text["hidden_size"], "mlp_ratio": draw.of([2.0, 3.7])}
    del vision["intermediate_size"]
    words = {"embed_dim": 8, "num_embeddings": 16, "latent_channels": 32, "base_channels": 32, "channel_multiplier": [1, 1],
             "num_res_blocks": 1, "projection_dim": 16, "image_token_embed_dim": 16}  # fmt: skip
    return _top(text, vision, vq_config=words)


def _qianfan(draw: Draw) -> Config:
    names = ("attention_bias", "use_qk_norm", "use_mean_pooling", "use_mask_token", "use_absolute_position_embeddings")
    vision = draw.tower(model_type="qianfan_ocr_vision") | draw.flags(*names)
    return _top(_text(draw, "qwen3"), vision | {"norm_type": draw.of(["layer_norm", "rms_norm"])}, downsample_ratio=0.5)


def _hunyuan(draw: Draw) -> Config:
    text = draw.sizes() | draw.flags("attention_bias") | {"model_type": "hunyuan_vl_text"}
    vision = draw.tower(model_type="hunyuan_vl_vision", max_image_size=512, spatial_merge_size=2)
    del vision["image_size"]
    return _top(text, vision)


NEWER: dict[str, Callable[[Draw], Config]] = {
    "molmo2": _molmo2,
    "aria": _aria,
    "glm_ocr": _glm_ocr,
    "paddleocr_vl": _paddle,
    "ernie4_5_vl_moe": _ernie,
    "exaone4_5": _exaone,
    "janus": _janus,
    "hunyuan_vl": _hunyuan,
    "qianfan_ocr": _qianfan,
}
