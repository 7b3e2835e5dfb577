"""Configurations of checkpoints that ship their own code, in the words of transformers' classes."""

from __future__ import annotations

from collections.abc import Callable

from simulator.interop.hf.remote import documents, intern, llava, others
from simulator.interop.hf.remote.parts import Config, architecture

_TRANSLATIONS: dict[str, Callable[[Config], Config]] = {
    "internvl_chat": intern.internvl_chat,
    "kimi_vl": intern.kimi,
    "kimi_k25": intern.kimi,
    "phi4mm": intern.phi4mm,
    "phi3_v": intern.phi3_v,
    "minicpmv": others.minicpm_v,
    "minicpmo": others.minicpm_v,
    "deepseek_vl_v2": others.deepseek_vl_v2,
    "multi_modality": others.deepseek_vl,
    "ovis": others.ovis,
    "ovis2_5": others.ovis2_5,
    "qwen2_5_omni": others.omni,
    "qwen3_omni_moe": others.omni,
    "perception_lm": others.perception_lm,
    "chatglm": others.chatglm,
    "cogvlm2": others.cogvlm2,
    "exaone": others.flat,
    "deepseek": others.flat,
    "eagle_2_5_vl": intern.eagle,
    "skywork_chat": intern.internvl_chat,
    "h2ovl_chat": intern.internvl_chat,
    "fast_vlm": llava.fast_vlm,
    "tinyllava": llava.tinyllava,
    "NVLM_D": intern.nvlm,
    "llavaonevision1_5": documents.llava_onevision_1_5,
    "eagle_chat": intern.eagle,
    "Llama_Nemotron_Nano_VL": intern.nemotron_vl,
    "NemotronH_Nano_VL_V2": intern.nemotron_vl,
    "qwen2_5_omni_thinker": others.omni,
    "qwen3_omni_moe_thinker": others.omni,
    "molmo": documents.molmo,
    "molmo2": documents.molmo2,
    "aria": documents.aria,
    "hunyuan_vl": documents.hunyuan_vl,
    "moondream1": documents.moondream,
    "ernie4_5_moe_vl": documents.ernie_vl,
    "Keye": documents.keye,
    "KeyeVL1_5": documents.keye,
    "dots_ocr": documents.dots_ocr,
}
REMOTE = (*_TRANSLATIONS, "internlmxcomposer2", "llava_llama", "llava_mistral", "llava_qwen", "llava_qwen2", "qwen_vl")


def translated(config: Config) -> Config:
    """`config`, in transformers' words where it is written in those of a checkpoint's own code."""
    if llava.is_vila(config):
        return llava.vila(config)
    if llava.is_original(config):
        return llava.original(config)
    type = str(config.get("model_type"))
    if architecture(config) == "internlmxcomposer2forcausallm" or type == "internlmxcomposer2":
        return intern.xcomposer(config)
    if type == "None" and architecture(config) == "cogvlmforcausallm":
        return others.cogvlm2(config)
    if (
        type in ("gemma4", "gemma3n")
        and config.get("vision_config") is None
        and isinstance(config.get("text_config"), dict)
    ):
        return {"tie_word_embeddings": True} | config["text_config"] | {"model_type": f"{type}_text"}
    if type == "qwen" and config.get("visual") is not None:
        return others.qwen_vl(config)
    change = _TRANSLATIONS.get(type)
    return config if change is None else change(config)
