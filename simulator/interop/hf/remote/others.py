"""Files of MiniCPM-V's, DeepSeek's, Qwen-VL's and Ovis' own code."""

from __future__ import annotations

from simulator.interop.hf.remote.parts import Config, flat_text, named_tower, part, renamed, tied
from simulator.spec.source import SpecError
from simulator.spec.validated import shown

MINICPM = {"2.0": "llama", "2.5": "llama", "2.6": "qwen2", "4": "llama", "4.0": "llama", "4.5": "qwen3"}


def minicpm_v(config: Config) -> Config:
    """MiniCPM-V 2 and newer, MiniCPM-o: the version says which language model the fields at the top level are of; where there is none and
    the encoder is named, it is 2.0."""
    oldest = "2.0" if config.get("vision_encoder") is not None else ""
    version = str(config.get("version", "2.6" if config.get("model_type") == "minicpmo" else oldest))
    if version not in MINICPM:
        raise SpecError(f"version: {shown(config.get('version'))} is not accepted: one of {', '.join(MINICPM)}")
    eyes = dict(part(config, "vision_config")) or named_tower("vision_config", "siglip-so400m-patch14-384") | (
        {} if version == "2.0" else {"image_size": 980}
    )
    eyes |= {"model_type": "siglip_vision_model", "vision_use_head": False}
    if config.get("drop_vision_last_layer") and isinstance(eyes.get("num_hidden_layers"), int):
        eyes["num_hidden_layers"] -= 1
    return {
        **config,
        "model_type": "minicpmv",
        "vision_config": eyes,
        "text_config": flat_text(config, MINICPM[version]),
    }


# What the class that ships with the checkpoints fills in for fields a file leaves out.
_DEEPSEEK = {
    "vocab_size": 102400, "hidden_size": 4096, "intermediate_size": 11008, "moe_intermediate_size": 1407, "num_hidden_layers": 30,
    "num_attention_heads": 32, "n_shared_experts": None, "n_routed_experts": None, "kv_lora_rank": 512, "q_lora_rank": 1536,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 128, "num_experts_per_tok": None, "first_k_dense_replace": 0,
    "max_position_embeddings": 2048, "tie_word_embeddings": False, "attention_bias": False, "use_mla": True, "mlp_bias": False,
}  # fmt: skip


def _deepseek_text(config: Config) -> Config:
    text = _DEEPSEEK | part(config, "language_config") | {"model_type": "deepseek_v2"}
    text.setdefault("num_key_value_heads", text["num_attention_heads"])
    if (
        text["use_mla"] is False
        and isinstance(text["hidden_size"], int)
        and isinstance(text["num_attention_heads"], int)
    ):
        text["head_dim"] = text["hidden_size"] // max(1, text["num_attention_heads"])
    return text


def deepseek_vl_v2(config: Config) -> Config:
    """DeepSeek-VL2, and DeepSeek-OCR, which goes by the same type: its encoder is two of them."""
    eyes = part(config, "vision_config")
    if isinstance(eyes.get("width"), dict):
        vision = {"model_type": "deep_encoder", "image_size": eyes.get("image_size", 1024), "patch_size": 16}
        return {**config, "model_type": "deepseek_ocr", "vision_config": vision, "text_config": _deepseek_text(config)}
    names = {"width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads"}
    default = {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 16,
        "image_size": 384,
    }
    vision = default | renamed(eyes, names)
    ratio = vision.get("mlp_ratio", 4)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not isinstance(vision["hidden_size"], int):
        raise SpecError(f"vision_config.mlp_ratio: {shown(ratio)} is not accepted: a number")
    vision["intermediate_size"] = int(vision["hidden_size"] * ratio)
    vision |= {"model_type": "siglip_vision_model", "vision_use_head": False, "idle_head": True, "num_channels": 3}
    return {**config, "vision_config": vision, "text_config": _deepseek_text(config)}


def deepseek_vl(config: Config) -> Config:
    """DeepSeek-VL and Janus: encoder and aligner by class names with `params`. Making pictures is left out."""
    eyes, aligner = part(part(config, "vision_config"), "params"), part(part(config, "aligner_config"), "params")
    named = eyes.get("model_name", "")
    if not isinstance(named, str) or not named:
        kind = part(config, "vision_config").get("cls")
        raise SpecError(f"vision_config.cls: {shown(kind)} is not accepted: CLIPVisionTower with params.model_name")
    vision = named_tower("vision_config.params.model_name", named.replace("_", "-"))
    vision["idle_head"] = vision["model_type"] == "siglip_vision_model"
    depth = aligner.get("depth", 2)
    if depth != 2 or aligner.get("projector_type", "mlp_gelu") != "mlp_gelu":
        raise SpecError(f"aligner_config.params: {shown(aligner)} is not accepted: projector_type mlp_gelu of depth 2")
    text = {"model_type": "llama"} | part(config, "language_config")
    tie = tied({}, text)
    return {
        **config,
        "model_type": "deepseek_vl",
        "vision_config": vision,
        "text_config": text,
        "tie_word_embeddings": tie,
    }


def qwen_vl(config: Config) -> Config:
    """Qwen-VL: Qwen-1 with a `visual` part."""
    eyes = renamed(
        part(config, "visual"), {"width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads"}
    )
    eyes["model_type"] = "open_clip"
    return {**config, "model_type": "qwen_vl", "vision_config": eyes, "text_config": flat_text(config, "qwen")}


def ovis(config: Config) -> Config:
    """Ovis 1.6 and Ovis2: a visual tokenizer around SigLIP or AIMv2."""
    tokenizer = part(config, "visual_tokenizer_config")
    eyes, own = dict(part(tokenizer, "backbone_config")), str(tokenizer.get("model_type"))
    if own == "siglip_visual_tokenizer":
        eyes["model_type"] = "siglip_vision_model"
        eyes.setdefault("vision_use_head", True)
    elif own == "aimv2_visual_tokenizer":
        eyes["model_type"] = "ovis2_vision"
        eyes["qkv_bias"] = eyes["mlp_bias"] = bool(eyes.pop("use_bias", False))
    else:
        raise SpecError(
            f"visual_tokenizer_config.model_type: {shown(own)} is not accepted: siglip_visual_tokenizer or aimv2_visual_tokenizer"
        )
    kept = {"vocab_size": 16384, "hidden_stride": 1, "num_visual_indicator_tokens": 5} | {
        key: tokenizer[key] for key in ("vocab_size", "hidden_stride") if key in tokenizer
    }
    text = part(config, "llm_config")
    tie = tied({}, text)
    return {
        **config,
        "model_type": "ovis2",
        "vision_config": eyes | kept,
        "text_config": text,
        "tie_word_embeddings": tie,
    }


def ovis2_5(config: Config) -> Config:
    """Ovis2.5: SigLIP 2 at the picture's own ratio with rotary positions beside stored ones, Qwen3."""
    eyes = dict(part(config, "vit_config"))
    size, patch = eyes.get("image_size", 512), eyes.get("patch_size", 16)
    stored = eyes.get("num_patches", -1)
    if isinstance(size, int) and isinstance(patch, int) and patch > 0 and not (isinstance(stored, int) and stored > 0):
        stored = (size // patch) ** 2
    words = {"vocab_size": config.get("visual_vocab_size", 65536), "num_visual_indicator_tokens": 4}
    words |= {
        "num_patches": stored,
        "vision_use_head": False,
        "model_type": "ovis2_5_vision",
        "num_channels": eyes.get("num_channels", 3),
    }
    eyes["hidden_stride"] = eyes.get("hidden_stride", 2)
    text = part(config, "llm_config")
    tie = tied({}, text)
    return {**config, "vision_config": eyes | words, "text_config": text, "tie_word_embeddings": tie}


def omni(config: Config) -> Config:
    """Qwen2.5-Omni and Qwen3-Omni: the thinker's pictures and text; hearing and speaking are left out."""
    thinker = part(config, "thinker_config") or config
    kind = "qwen2_5_vl" if str(config.get("model_type")).startswith("qwen2_5") else "qwen3_vl_moe"
    parts = {name: part(thinker, name) for name in ("vision_config", "text_config")}
    tie = tied(thinker, parts["text_config"])
    return {**parts, "model_type": kind, "tie_word_embeddings": tie, "_name_or_path": config.get("_name_or_path")}


def perception_lm(config: Config) -> Config:
    """PerceptionLM: an encoder of timm that is named, with arguments for its builder."""
    known: dict[str, Config] = {
        "vit_pe_core_large_patch14_336": {"hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096, "class_token": True},
        "vit_pe_core_gigantic_patch14_448": {"hidden_size": 1536, "num_hidden_layers": 50, "intermediate_size": 8960,
                                             "class_token": False},
    }  # fmt: skip
    given = part(config, "vision_config")
    name = str(given.get("architecture"))
    if name not in known:
        raise SpecError(
            f"vision_config.architecture: {shown(given.get('architecture'))} is not accepted: one of {', '.join(known)}"
        )
    asked = part(given, "model_args")
    names = {"embed_dim": "hidden_size", "depth": "num_hidden_layers", "img_size": "image_size"}
    stated = {new: asked[old] for old, new in names.items() if asked.get(old) is not None}
    eyes = {"num_attention_heads": 16, "patch_size": 14, "image_size": int(name[-3:])} | known[name] | stated
    eyes |= {"model_type": "perception_encoder", "layer_scale": bool(asked.get("init_values"))}
    eyes["post_norm"] = bool(asked.get("use_post_transformer_norm", True))
    return {**config, "vision_config": eyes}


def chatglm(config: Config) -> Config:
    """GLM-4V-9B: ChatGLM with a `vision_config` of its own names; ChatGLM alone stays as it is."""
    eyes = part(config, "vision_config")
    if not eyes:
        return config
    eyes = renamed(eyes, {"num_heads": "num_attention_heads"}) | {"model_type": "eva2_clip"}
    return {**config, "model_type": "glm_4v", "vision_config": eyes, "text_config": flat_text(config, "chatglm")}


def cogvlm2(config: Config) -> Config:
    """CogVLM2, whose files name a class and no type: every layer has matrices of its own for visual tokens."""
    eyes = renamed(part(config, "vision_config"), {"num_heads": "num_attention_heads"}) | {"model_type": "eva2_clip"}
    text = renamed(flat_text(config, "llama"), {"num_multi_query_heads": "num_key_value_heads"})
    joined = eyes.get("hidden_size")
    return {**config, "model_type": "cogvlm2", "joined_size": joined, "vision_config": eyes, "text_config": text}


def flat(config: Config) -> Config:
    """Language models in their own code that are another's under other names: EXAONE 3, DeepSeek-MoE."""
    type = str(config.get("model_type"))
    if type == "exaone":
        return renamed(config, {"num_layers": "num_hidden_layers"}) | {"model_type": "llama"}
    return _deepseek_text({"language_config": {**config, "use_mla": False}})
