"""Configurations of checkpoints that ship their own code, in the words of transformers' classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast


def _renamed(part: object, names: dict[str, str]) -> dict[str, Any]:
    """The mapping with keys renamed; stated new names win. Anything but a mapping becomes empty, for the reader to refuse."""
    data = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
    return {names[key]: value for key, value in data.items() if key in names} | {
        key: value for key, value in data.items() if key not in names
    }


def _internvl_chat(config: dict[str, Any]) -> dict[str, Any]:
    """OpenGVLab's InternVL: `llm_config`, and an encoder with its own names."""
    eyes = _renamed(config.get("vision_config"), {"qkv_bias": "attention_bias", "qk_normalization": "use_qk_norm"})
    eyes["model_type"] = "internvl_vision"
    text = _renamed(config.get("llm_config"), {})
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    changed = {"model_type": "internvl", "vision_config": eyes, "text_config": text, "tie_word_embeddings": tied}
    return {**config, **changed}


def _kimi(config: dict[str, Any]) -> dict[str, Any]:
    """Moonshot's Kimi-VL and Kimi-K2.5."""
    names = {
        "init_pos_emb_height": "pos_emb_height",
        "init_pos_emb_width": "pos_emb_width",
        "vt_hidden_size": "hidden_size",
        "vt_intermediate_size": "intermediate_size",
        "vt_num_attention_heads": "num_attention_heads",
        "vt_num_hidden_layers": "num_hidden_layers",
    }
    eyes = _renamed(config.get("vision_config"), names)
    eyes["model_type"] = "kimi_k25_vision"
    out = {**config, "vision_config": eyes}
    if "projection_hidden_size" not in config and eyes.get("hidden_size") is not None:
        out["projection_hidden_size"] = eyes["hidden_size"]
    out.setdefault("tie_word_embeddings", False)
    return out


def _phi4mm(config: dict[str, Any]) -> dict[str, Any]:
    """Microsoft's Phi-4-multimodal: the encoder's sizes are in its code."""
    return {**config, "model_type": "phi4_multimodal", "vision_config": config.get("vision_config") or {}}


_TRANSLATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "internvl_chat": _internvl_chat,
    "kimi_vl": _kimi,
    "kimi_k25": _kimi,
    "phi4mm": _phi4mm,
}


def translated(config: dict[str, Any]) -> dict[str, Any]:
    """`config`, in transformers' words where its type is one of a checkpoint's own code."""
    change = _TRANSLATIONS.get(str(config.get("model_type")))
    return config if change is None else change(config)
