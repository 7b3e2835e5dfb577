"""Files of InternVL's, Kimi's and Phi's own code."""

from __future__ import annotations

from simulator.interop.hf.remote.parts import Config, flat_text, named_tower, part, renamed
from simulator.spec.source import SpecError
from simulator.spec.validated import shown


def internvl_chat(config: Config) -> Config:
    """OpenGVLab's InternVL: `llm_config`, and an encoder with its own names."""
    eyes = renamed(part(config, "vision_config"), {"qkv_bias": "attention_bias", "qk_normalization": "use_qk_norm"})
    eyes["model_type"] = "internvl_vision"
    text = renamed(part(config, "llm_config"), {})
    text = text or part(config, "text_config")
    if not text or not part(config, "vision_config"):
        raise SpecError(
            f"{'vision_config' if text else 'llm_config'} is missing; an InternVL file has vision_config and llm_config"
        )
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    changed = {"model_type": "internvl", "vision_config": eyes, "text_config": text, "tie_word_embeddings": tied}
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
    """NVIDIA's Eagle 2.5: SigLIP and the projector of InternVL."""
    eyes = part(config, "vision_config")
    if eyes.get("model_type") not in ("siglip_vision_model", "siglip"):
        kind = shown(eyes.get("model_type"))
        raise SpecError(f"vision_config.model_type: {kind} is not accepted: siglip_vision_model")
    text = part(config, "text_config")
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    ratio = config.get("downsample_ratio", 0.5)
    return {**config, "model_type": "internvl", "downsample_ratio": ratio, "tie_word_embeddings": tied}
