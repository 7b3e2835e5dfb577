"""Random valid configurations of vision-language families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drawn import TEXTS, Config, Draw, _glm_moe, _hybrid, _latent, _llama4, _mrope


def _text(draw: Draw, *types: str) -> Config:
    type = draw.of(list(types))
    return TEXTS[type](draw) | {"model_type": type}


def _top(text: Config, vision: Config, **more: Any) -> Config:
    return {"text_config": text, "vision_config": vision, "tie_word_embeddings": text["tie_word_embeddings"]} | more


def _clip(draw: Draw) -> Config:
    return draw.tower(model_type="clip_vision_model", projection_dim=32)


def _siglip(draw: Draw, head: bool = False) -> Config:
    return draw.tower(model_type="siglip_vision_model", vision_use_head=head)


def _pixtral(draw: Draw) -> Config:
    tower = draw.tower(model_type="pixtral")
    return tower | {"head_dim": tower["hidden_size"] // tower["num_attention_heads"]}


def _llava(draw: Draw, *eyes: Callable[[Draw], Config], several: bool = False) -> Config:
    """several: features of several layers, and whether the class token is handed on."""
    vision = draw.of(list(eyes))(draw)
    layer = (
        draw.of([-2, -1, [-1, -2][: vision["num_hidden_layers"]]])
        if several and vision["model_type"] != "pixtral"
        else -1
    )
    side = vision["image_size"]
    grid = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side], [3 * side, side], [side, 3 * side]]
    bias = draw.flags("multimodal_projector_bias")
    text = _text(draw, "llama", "qwen2", "mistral", "qwen3", "gemma")
    return _top(text, vision, vision_feature_layer=layer, image_grid_pinpoints=grid, **bias)


def _plain_llava(draw: Draw) -> Config:
    config = _llava(draw, _clip, _siglip, _pixtral, several=True)
    del config["image_grid_pinpoints"]
    token = draw.of(["default", "full"]) if config["vision_config"]["model_type"] == "clip_vision_model" else "full"
    return config | {"vision_feature_select_strategy": token}


def _vipllava(draw: Draw) -> Config:
    config = _llava(draw, _clip, several=True)
    return {
        name: value
        for name, value in config.items()
        if name not in ("image_grid_pinpoints", "multimodal_projector_bias")
    }


def _internvl(draw: Draw) -> Config:
    names = ("attention_bias", "use_qk_norm", "use_mean_pooling", "use_mask_token", "use_absolute_position_embeddings")
    norm = {"norm_type": draw.of(["layer_norm", "rms_norm"])}
    vision = draw.tower(model_type="internvl_vision") | draw.flags(*names) | norm
    return _top(
        _text(draw, "qwen2", "qwen3", "qwen3_moe", "gpt_oss"), vision, downsample_ratio=0.5, vision_feature_layer=-1
    )


def _mistral3(draw: Draw) -> Config:
    merge = {"spatial_merge_size": draw.of([1, 2]), "vision_feature_layer": -1}
    return _top(
        _text(draw, "mistral", "ministral3"), _pixtral(draw), **merge, **draw.flags("multimodal_projector_bias")
    )


def _idefics(type: str) -> Callable[[Draw], Config]:
    return lambda draw: _top(
        _text(draw, "llama", "qwen2"), draw.tower(model_type=f"{type}_vision"), scale_factor=draw.of([1, 2, 4])
    )


def _gemma3(draw: Draw) -> Config:
    vision = _siglip(draw, draw.flag())
    side = vision["image_size"] // vision["patch_size"]
    pooled = draw.of([n for n in range(2, side + 1) if side % n == 0])
    return _top(_text(draw, "gemma3_text"), vision, mm_tokens_per_image=pooled**2)


def _paligemma(draw: Draw) -> Config:
    text = _text(draw, "gemma", "gemma2")
    width = {"projection_dim": text["hidden_size"]}
    return _top(text, _siglip(draw, draw.flag()) | width, **width)


def _mllama(draw: Draw) -> Config:
    text = draw.sizes(False) | {"model_type": "mllama_text_model", "num_hidden_layers": 5}
    text["cross_attention_layers"] = sorted(draw.random.sample(range(5), draw.of([1, 2])))
    vision = draw.tower(model_type="mllama_vision_model", num_global_layers=draw.of([1, 2]), num_hidden_layers=3)
    vision["attention_heads"] = vision.pop("num_attention_heads")
    layers = sorted(draw.random.sample(range(3), draw.of([1, 2])))
    vision |= {"intermediate_layers_indices": layers, "vision_output_dim": vision["hidden_size"] * (1 + len(layers))}
    return _top(text, vision)


def _llama4_vision(draw: Draw) -> Config:
    vision = draw.tower(model_type="llama4_vision_model", pixel_shuffle_ratio=0.5)
    wide = draw.of([48, 64])
    vision |= {"intermediate_size": 4 * vision["hidden_size"], "projector_input_dim": wide, "projector_output_dim": wide,
               "vision_output_dim": wide}  # fmt: skip
    return _top(_llama4(draw) | {"model_type": "llama4_text"}, vision)


def _native(draw: Draw, text: Config, type: str, **more: Any) -> Config:
    heads, depth = draw.of([2, 4]), draw.of([1, 2, 4])
    vision = {"model_type": type, "depth": depth, "num_heads": heads, "patch_size": draw.of([14, 16]), "in_channels": 3,
              "spatial_merge_size": draw.of([1, 2]), "temporal_patch_size": draw.of([1, 2]), "hidden_size": heads * 32,
              "intermediate_size": draw.of([96, 128]), "out_hidden_size": text["hidden_size"]} | more  # fmt: skip
    return _top(text, vision)


def _turned(text: Config, type: str, factor: float = 1.0) -> Config:
    width = int((text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]) * factor)
    return text | {"model_type": type, "rope_parameters": _mrope(width, factor)}


def _qwen2_vl(draw: Draw) -> Config:
    text = _turned(draw.switched(draw.sizes(False)), "qwen2_vl_text")
    config = _native(draw, text, "qwen2_vl_vision", mlp_ratio=draw.of([2, 4]))
    vision = config["vision_config"]
    vision["embed_dim"], vision["hidden_size"] = vision["hidden_size"], vision.pop("out_hidden_size")
    del vision["intermediate_size"]
    return config


def _qwen25_vl(draw: Draw) -> Config:
    text = _turned(draw.switched(draw.sizes(False)), "qwen2_5_vl_text")
    config = _native(draw, text, "qwen2_5_vl_vision", fullatt_block_indexes=draw.of([[], [0]]))
    config["vision_config"]["window_size"] = config["vision_config"]["patch_size"] * draw.of([4, 8])
    return config


def _qwen3_vl(draw: Draw, mixed: bool) -> Config:
    tail = "_moe" if mixed else ""
    text = _turned(draw.sizes() | draw.flags("attention_bias"), f"qwen3_vl{tail}_text")
    stack = {"num_position_embeddings": draw.of([16, 64]), "deepstack_visual_indexes": draw.of([[], [0]])}
    return _native(draw, draw.sparse(text) if mixed else text, f"qwen3_vl{tail}_vision", **stack)


def _qwen35(draw: Draw, mixed: bool) -> Config:
    tail = "_moe" if mixed else ""
    text = _hybrid(draw, draw.experts(draw.sizes()) if mixed else draw.sizes()) | {"model_type": f"qwen3_5{tail}_text"}
    return _native(draw, text, f"qwen3_5{tail}_vision", num_position_embeddings=draw.of([16, 64]))


def _glm4v(draw: Draw, mixed: bool) -> Config:
    text = _turned(_glm_moe(draw), "glm4v_moe_text", 0.5) if mixed else _turned(draw.sizes(False), "glm4v_text")
    vision = f"glm4v{'_moe' if mixed else ''}_vision"
    config = _native(draw, text, vision, **draw.flags("attention_bias"))
    config["vision_config"]["image_size"] = config["vision_config"]["patch_size"] * draw.of([8, 24])
    return config


def _kimi(draw: Draw) -> Config:
    vision = draw.tower(
        model_type="kimi_k25_vision", patch_size=14, pos_emb_height=8, pos_emb_width=16, merge_kernel_size=[2, 2]
    )
    del vision["image_size"], vision["num_channels"]
    return _top(_latent(draw) | {"model_type": "deepseek_v3"}, vision, projection_hidden_size=vision["hidden_size"])


def _cohere(draw: Draw) -> Config:
    more = {"downsample_factor": draw.of([1, 2]), "alignment_intermediate_size": draw.of([64, 96])}
    return _top(_text(draw, "cohere2", "cohere"), _siglip(draw, draw.flag()), **more)


def _blip(type: str) -> Callable[[Draw], Config]:
    def build(draw: Draw) -> Config:
        vision = draw.tower(model_type=f"{type}_vision_model", patch_size=14, image_size=112) | draw.flags("qkv_bias")
        del vision["num_channels"]
        heads = draw.of([2, 4])
        part = {"hidden_size": heads * 16, "num_hidden_layers": draw.of([1, 2, 3]), "num_attention_heads": heads, "vocab_size": 100,
                "cross_attention_frequency": draw.of([1, 2]), "encoder_hidden_size": vision["hidden_size"],
                "intermediate_size": 64, "max_position_embeddings": 50, "model_type": f"{type}_qformer"}  # fmt: skip
        text = _text(draw, "opt", "llama")
        return {
            "text_config": text,
            "vision_config": vision,
            "qformer_config": part,
            "num_query_tokens": draw.of([8, 32]),
        }

    return build


def _gemma4(draw: Draw) -> Config:
    vision = draw.tower(
        model_type="gemma4_vision",
        position_embedding_size=64,
        head_dim=draw.of([16, 32]),
        pooling_kernel_size=draw.of([1, 3]),
    )
    del vision["image_size"], vision["num_channels"]
    vision["num_key_value_heads"] = vision["num_attention_heads"]
    text = _text(draw, "gemma4_text") | {"use_bidirectional_attention": draw.of([None, "vision"])}
    return _top(text, vision, audio_config=None)


def _idefics2(draw: Draw) -> Config:
    text = _text(draw, "mistral", "llama")
    part = {"resampler_n_latents": draw.of([8, 12]), "resampler_depth": draw.of([1, 3]), "resampler_n_heads": draw.of([4, 8]),
            "resampler_head_dim": draw.of([16, 24]), "num_key_value_heads": 2, "hidden_size": text["hidden_size"]}  # fmt: skip
    return _top(text, draw.tower(model_type="idefics2_vision"), perceiver_config=part)


def _got_ocr2(draw: Draw) -> Config:
    vision = draw.tower(model_type="got_ocr2_vision", output_channels=draw.of([16, 32]), window_size=draw.of([3, 7]))
    vision |= {
        "image_size": 16 * draw.of([8, 16]),
        "patch_size": 16,
        "global_attn_indexes": draw.of([[], [0]]),
        "mlp_dim": 64,
    }
    del vision["intermediate_size"]
    return _top(_text(draw, "qwen2"), vision | draw.flags("qkv_bias", "use_abs_pos", "use_rel_pos"))


def _video_llama_3(draw: Draw) -> Config:
    vision = draw.tower(model_type="video_llama_3_vision")
    del vision["image_size"]
    return _top(_text(draw, "qwen2", "llama"), vision)


def _ovis2(draw: Draw) -> Config:
    text = _text(draw, "qwen2", "llama")
    words = {"vocab_size": draw.of([100, 300]), "hidden_stride": draw.of([1, 2]), "num_visual_indicator_tokens": 5}
    vision = draw.tower(model_type="ovis2_vision") | words | draw.flags("qkv_bias", "mlp_bias")
    return _top(text, vision, hidden_size=text["hidden_size"], vocab_size=text["vocab_size"])


def _lfm2_vl(draw: Draw) -> Config:
    vision = draw.tower(model_type="siglip2_vision_model", vision_use_head=False, num_patches=draw.of([64, 256]))
    del vision["image_size"]
    more = {"projector_hidden_size": draw.of([64, 96]), "downsample_factor": draw.of([1, 2])}
    return _top(_text(draw, "lfm2"), vision, **more, **draw.flags("projector_bias", "projector_use_layernorm"))


def _video_llava(draw: Draw) -> Config:
    config = _llava(draw, _clip)
    del config["image_grid_pinpoints"]
    return config | {"vision_feature_layer": -2}


WRAPPED: dict[str, Callable[[Draw], Config]] = {
    "llava": _plain_llava,
    "llava_next": lambda draw: _llava(draw, _clip, _siglip, several=True),
    "llava_next_video": lambda draw: _llava(draw, _clip, several=True),
    "llava_onevision": lambda draw: _llava(draw, _siglip),
    "vipllava": _vipllava,
    "internvl": _internvl,
    "mistral3": _mistral3,
    "lighton_ocr": lambda draw: _top(_text(draw, "qwen3"), _pixtral(draw), spatial_merge_size=draw.of([1, 2])),
    "idefics3": _idefics("idefics3"),
    "smolvlm": _idefics("smolvlm"),
    "gemma3": _gemma3,
    "paligemma": _paligemma,
    "mllama": _mllama,
    "llama4": _llama4_vision,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen25_vl,
    "qwen3_vl": lambda draw: _qwen3_vl(draw, False),
    "qwen3_vl_moe": lambda draw: _qwen3_vl(draw, True),
    "qwen3_5": lambda draw: _qwen35(draw, False),
    "qwen3_5_moe": lambda draw: _qwen35(draw, True),
    "glm4v": lambda draw: _glm4v(draw, False),
    "glm46v": lambda draw: _glm4v(draw, False),
    "glm4v_moe": lambda draw: _glm4v(draw, True),
    "kimi_k25": _kimi,
    "aya_vision": _cohere,
    "cohere2_vision": _cohere,
    "deepseek_vl": lambda draw: _top(_text(draw, "llama", "qwen2"), _siglip(draw)),
    "blip-2": _blip("blip_2"),
    "gemma4": _gemma4,
    "idefics2": _idefics2,
    "got_ocr2": _got_ocr2,
    "video_llama_3": _video_llama_3,
    "ovis2": _ovis2,
    "lfm2_vl": _lfm2_vl,
    "video_llava": _video_llava,
    "instructblip": _blip("instructblip"),
}
