"""Files of the own code of InternVL and its descendants (NVLM-D, Eagle, Nemotron Nano VL), Kimi and Phi."""

from __future__ import annotations

from simulator.interop.hf.remote.parts import Config, flat_text, named_tower, part, renamed, tied
from simulator.spec.source import SpecError
from simulator.spec.validated import shown


def internvl_chat(config: Config) -> Config:
    """OpenGVLab's InternVL: `llm_config`, and an encoder with its own names."""
    eyes = renamed(part(config, "vision_config"), {"qkv_bias": "attention_bias", "qk_normalization": "use_qk_norm"})
    eyes["model_type"] = "internvl_vision"
    text = _language(config)
    if not text or not part(config, "vision_config"):
        raise SpecError(
            f"{'vision_config' if text else 'llm_config'} is missing; an InternVL file has vision_config and llm_config"
        )
    tie = tied(config, text)
    changed = {"model_type": "internvl", "vision_config": eyes, "text_config": text, "tie_word_embeddings": tie}
    return {**config, **changed}


CLASSES = {
    "Qwen2ForCausalLM": "qwen2", "LlamaForCausalLM": "llama", "InternLM2ForCausalLM": "internlm2", "Phi3ForCausalLM": "phi3",
    "MistralForCausalLM": "mistral", "Qwen3ForCausalLM": "qwen3", "Qwen3MoeForCausalLM": "qwen3_moe", "NemotronHForCausalLM": "nemotron_h",
}  # fmt: skip


def _language(config: Config) -> Config:
    """The language model's part. This code goes by its class; `model_type` beside it may be another's."""
    text = dict(part(config, "llm_config") or part(config, "text_config"))
    named = text.get("architectures")
    if isinstance(named, list) and named and "VEFor" in str(named[0]):
        raise SpecError(f"llm_config.architectures: {shown(named[0])} is not accepted: a language model without visual experts")
    known = CLASSES.get(str(named[0])) if isinstance(named, list) and named else None
    return text | ({"model_type": known} if known else {})


def nvlm(config: Config) -> Config:
    """NVIDIA's NVLM-D: InternVL's files."""
    return internvl_chat(config) | {"model_type": "nvlm_d"}


def nemotron_vl(config: Config) -> Config:
    """NVIDIA's Llama Nemotron Nano VL and Nemotron Nano VL 2: RADIO by the name of its builder in `args`."""
    eyes, text = part(config, "vision_config"), _language(config)
    args = part(eyes, "args")
    named = args.get("model", "vit_huge_patch16_224")
    if named not in ("vit_huge_patch16_224", "vit_huge_patch16_224_mlpnorm"):
        raise SpecError(f"vision_config.args.model: {shown(named)} is not accepted: vit_huge_patch16_224")
    second = config.get("model_type") != "Llama_Nemotron_Nano_VL"
    vision: Config = {"model_type": "radio", "patch_size": config.get("patch_size", 16), "image_size": config.get("force_image_size", 512)}
    for name, field in (("max_resolution", "max_img_size"), ("cpe_max_size", "max_img_size"), ("register_multiple", "")):
        if field and eyes.get(name, args.get(name)) is not None:
            vision[field] = eyes.get(name, args.get(name))
    if not text:
        raise SpecError("llm_config is missing; this file has vision_config and llm_config")
    tie = tied(config, text)
    type = "nemotron_nano_vl_2" if second else "nemotron_nano_vl"
    changed = {"model_type": type, "vision_config": vision, "text_config": text, "tie_word_embeddings": tie}
    return {**config, **changed}


def kimi(config: Config) -> Config:
    """Moonshot's Kimi-VL and Kimi-K2.5."""
    names = {
        "init_pos_emb_height": "pos_emb_height",
        "init_pos_emb_width": "pos_emb_width",
        "vt_hidden_size": "hidden_size",
        "vt_intermediate_size": "intermediate_size",
        "vt_num_attention_heads": "num_attention_heads",
        "vt_num_hidden_layers": "num_hidden_layers",
    }
    eyes = renamed(part(config, "vision_config"), names)
    eyes["model_type"] = "kimi_k25_vision"
    out = {**config, "vision_config": eyes}
    if "projection_hidden_size" not in config and eyes.get("hidden_size") is not None:
        out["projection_hidden_size"] = eyes["hidden_size"]
    out.setdefault("tie_word_embeddings", False)
    return out


def phi4mm(config: Config) -> Config:
    """Microsoft's Phi-4-multimodal: the encoder's sizes are in its code."""
    return {**config, "model_type": "phi4_multimodal", "vision_config": config.get("vision_config") or {}}


def phi3_v(config: Config) -> Config:
    """Microsoft's Phi-3-vision and Phi-3.5-vision: CLIP by its name."""
    eyes, layer = part(config, "img_processor"), part(config, "embd_layer")
    named = eyes.get("model_name", "openai/clip-vit-large-patch14-336")
    if layer.get("use_hd_transform") is False:
        raise SpecError(f"embd_layer.use_hd_transform: {shown(False)} is not accepted: true")
    return {
        **config,
        "vision_config": named_tower("img_processor.model_name", named),
        "text_config": flat_text(config, "phi3"),
    }


def eagle(config: Config) -> Config:
    """NVIDIA's Eagle 2 and 2.5: SigLIP and the projector of InternVL."""
    eyes = part(config, "vision_config")
    if eyes.get("model_type") not in ("siglip_vision_model", "siglip"):
        kind = shown(eyes.get("model_type"))
        raise SpecError(f"vision_config.model_type: {kind} is not accepted: siglip_vision_model")
    text = _language(config)
    tie = tied(config, text)
    ratio = config.get("downsample_ratio", 0.5)
    changed = {"model_type": "internvl", "downsample_ratio": ratio, "tie_word_embeddings": tie, "text_config": text}
    return {**config, **changed}


def xcomposer(config: Config) -> Config:
    """InternLM-XComposer 2 and 2.5, whose files say `internlm` or `internlm2` for their type: the class tells them. CLIP is in the code;
    without `img_size` it is version 2.5, with tiles of 560."""
    size = config.get("img_size", 560)
    eyes = named_tower("vision_tower", "clip-vit-large-patch14-336") | {"image_size": size}
    text = flat_text(config, "xcomposer2_text")
    return {**config, "model_type": "xcomposer2", "vision_config": eyes, "text_config": text}
