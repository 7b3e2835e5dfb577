"""The vision-language classes that are known: the parts of each where its configuration names none, and its projector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from simulator.interop.hf import aria, composer, documents, gemma, mobilenet, molmo, shuffled
from simulator.interop.hf import projector as bridge
from simulator.interop.hf import resampler as own
from simulator.interop.hf.families import FAMILIES
from simulator.interop.hf.fields import Fields
from simulator.interop.hf.other import OTHERS
from simulator.interop.hf.q_former import q_former
from simulator.spec.model import Projector


@dataclass(frozen=True)
class Wrapper:
    """A vision-language class. vision, text: types of the parts where the configuration names none. tied: the class's own rule
    where the text part decides (`text`), the top level (`top`), one of them suffices (`either`), or nothing (`never`: the class ties
    nothing)."""

    vision: str
    text: str
    project: Callable[[Fields, Fields, Fields], Projector]
    bidirectional: Literal["none", "images", "prompt"] = "none"
    tied: Literal["top", "text", "either", "never"] = "top"
    excluded: tuple[str, ...] = ()


WRAPPERS: dict[str, Wrapper] = {
    "llava": Wrapper("clip_vision_model", "llama", bridge.llava),
    "llava_next": Wrapper("clip_vision_model", "llama", bridge.llava),
    "llava_next_video": Wrapper("clip_vision_model", "llama", bridge.llava),
    "vipllava": Wrapper("clip_vision_model", "llama", bridge.vipllava),
    "aya_vision": Wrapper("siglip_vision_model", "cohere2", bridge.cohere),
    "cohere2_vision": Wrapper("siglip_vision_model", "cohere2", bridge.cohere),
    "deepseek_vl": Wrapper("siglip_vision_model", "llama", bridge.deepseek_vl),
    "llava_onevision": Wrapper("siglip_vision_model", "qwen2", bridge.llava),
    "internvl": Wrapper("internvl_vision", "qwen2", bridge.internvl),
    "mistral3": Wrapper("pixtral", "mistral", bridge.mistral3),
    "idefics3": Wrapper("idefics3_vision", "llama", bridge.idefics),
    "smolvlm": Wrapper("smolvlm_vision", "llama", bridge.idefics),
    "gemma3": Wrapper("siglip_vision_model", "gemma3_text", bridge.gemma, "images"),
    "paligemma": Wrapper("siglip_vision_model", "gemma", bridge.paligemma, "prompt"),
    "mllama": Wrapper("mllama_vision_model", "mllama_text_model", bridge.mllama, tied="never"),
    "llama4": Wrapper("llama4_vision_model", "llama4_text", bridge.llama4, tied="text"),
    "qwen2_vl": Wrapper("qwen2_vl_vision", "qwen2_vl_text", bridge.qwen),
    "qwen2_5_vl": Wrapper("qwen2_5_vl_vision", "qwen2_5_vl_text", bridge.qwen),
    "qwen3_vl": Wrapper("qwen3_vl_vision", "qwen3_vl_text", bridge.qwen),
    "qwen3_vl_moe": Wrapper("qwen3_vl_vision", "qwen3_vl_moe_text", bridge.qwen),
    "glm4v": Wrapper("glm4v_vision", "glm4v_text", bridge.glm),
    "glm46v": Wrapper("glm4v_vision", "glm4v_text", bridge.glm),
    "glm4v_moe": Wrapper("glm4v_moe_vision", "glm4v_moe_text", bridge.glm),
    "qwen3_5": Wrapper("qwen3_5_vision", "qwen3_5_text", bridge.qwen),
    "qwen3_5_moe": Wrapper("qwen3_5_vision", "qwen3_5_moe_text", bridge.qwen),
    "lighton_ocr": Wrapper("pixtral", "qwen3", bridge.mistral3),
    "blip-2": Wrapper("blip_2_vision_model", "opt", q_former, tied="text"),
    "instructblip": Wrapper("instructblip_vision_model", "opt", q_former, tied="text"),
    "kimi_k25": Wrapper("kimi_k25_vision", "deepseek_v3", bridge.kimi),
    "kimi_vl": Wrapper("kimi_k25_vision", "deepseek_v3", bridge.kimi),
    "llava_original": Wrapper("clip_vision_model", "llama", own.llava_original, tied="text"),
    "vila": Wrapper("siglip_vision_model", "qwen2", own.vila, tied="text"),
    "fast_vlm": Wrapper("fastvithd", "qwen2", bridge.llava, tied="either"),
    "video_llava": Wrapper("clip_vision_model", "llama", bridge.llava),
    "minicpmv": Wrapper(
        "siglip_vision_model", "qwen2", own.minicpm_v, tied="text", excluded=("audio encoder and speech synthesis",)
    ),
    "deepseek_vl_v2": Wrapper("siglip_vision_model", "deepseek_v2", own.deepseek_vl_v2, tied="text"),
    "deepseek_ocr": Wrapper("deep_encoder", "deepseek_v2", own.deepseek_ocr, tied="text"),
    "qwen_vl": Wrapper("open_clip", "qwen", own.qwen_vl, tied="text"),
    "phi3_v": Wrapper("clip_vision_model", "phi3", own.phi3_v, tied="text"),
    "ovis2": Wrapper("ovis2_vision", "qwen2", own.ovis2),
    "lfm2_vl": Wrapper("siglip2_vision_model", "lfm2", own.lfm2_vl),
    "gemma3n": Wrapper(
        "gemma3n_vision", "gemma3n_text", mobilenet.gemma3n, excluded=("audio encoder and its projection",)
    ),
    "gemma4": Wrapper("gemma4_vision", "gemma4_text", gemma.gemma4, excluded=("audio encoder and its projection",)),
    "video_llama_3": Wrapper("video_llama_3_vision", "qwen2", own.video_llama_3, tied="either"),
    "perception_lm": Wrapper("perception_encoder", "llama", own.perception_lm, tied="either"),
    "got_ocr2": Wrapper("got_ocr2_vision", "qwen2", own.got_ocr2),
    "glm_4v": Wrapper("eva2_clip", "chatglm", own.glm_4v, tied="text"),
    "cogvlm2": Wrapper("eva2_clip", "llama", own.glm_4v, tied="text"),
    "ovis2_5": Wrapper("ovis2_5_vision", "qwen3", own.ovis2),
    "idefics2": Wrapper("idefics2_vision", "mistral", own.idefics2),
    "nvlm_d": Wrapper("internvl_vision", "qwen2", shuffled.nvlm),
    "nemotron_nano_vl": Wrapper("radio", "llama", shuffled.nemotron_vl),
    "nemotron_nano_vl_2": Wrapper("radio", "nemotron_h", shuffled.nemotron_vl_2),
    "qianfan_ocr": Wrapper("qianfan_ocr_vision", "qwen3", bridge.internvl),
    "janus": Wrapper("janus_vision_model", "llama", shuffled.janus, excluded=("making pictures",)),
    "xcomposer2": Wrapper("clip_vision_model", "xcomposer2_text", composer.projector, tied="text"),
    "llava_onevision_1_5": Wrapper("rice_vit", "qwen3", documents.paddle_merger),
    "moondream": Wrapper("siglip_vision_model", "phi", molmo.moondream, "images", excluded=("pointing and boxes",)),
    "molmo": Wrapper("molmo_clip", "molmo_text", molmo.molmo, tied="text"),
    "molmo2": Wrapper("molmo2_vision", "molmo2_text", molmo.molmo2),
    "aria": Wrapper("idefics3_vision", "aria_text", aria.aria),
    "glm_ocr": Wrapper("glm_ocr_vision", "glm_ocr_text", documents.glm_ocr_merger),
    "paddleocr_vl": Wrapper("paddleocr_vl_vision", "paddleocr_vl_text", documents.paddle_merger),
    "keye": Wrapper("paddleocr_vl_vision", "qwen3", documents.paddle_merger),
    "hunyuan_vl": Wrapper("hunyuan_vl_vision", "hunyuan_vl_text", documents.hunyuan_merger, tied="either"),
    "dots_ocr": Wrapper("dots_vision", "qwen2", documents.paddle_merger),
    "ernie4_5_vl_moe": Wrapper("ernie4_5_vl_moe_vision", "ernie4_5_vl_moe_text", documents.ernie_resampler),
    "exaone4_5": Wrapper("exaone4_5_vision", "exaone4", bridge.qwen),
    "phi4_multimodal": Wrapper(
        "phi4_multimodal_vision",
        "phi4_multimodal",
        bridge.phi4,
        excluded=("audio encoder and its projections", "LoRA adapters"),
    ),
}
TEXTS = (*FAMILIES, *OTHERS)
# Types that nested parts carry in published files, and the class that reads them.
ALIASES = {
    "qwen2_vl": "qwen2_vl_vision",
    "qwen2_5_vl": "qwen2_5_vl_vision",
    "qwen3_vl": "qwen3_vl_vision",
    "qwen3_vl_moe": "qwen3_vl_vision",
    "qwen3_vl_moe_vision": "qwen3_vl_vision",
    "qwen3_5": "qwen3_5_vision",
    "qwen3_5_moe": "qwen3_5_vision",
    "qwen3_5_moe_vision": "qwen3_5_vision",
    "glm4v_moe": "glm4v_moe_vision",
    "moonvit": "kimi_k25_vision",
    "intern_vit_6b": "internvl_vision",
    "idefics2": "idefics2_vision",
    "siglip2": "siglip2_vision_model",
    "idefics3": "idefics3_vision",
    "smolvlm": "smolvlm_vision",
    "glm4v": "glm4v_vision",
    "siglip": "siglip_vision_model",
    "phi4mm": "phi4_multimodal",
    "vicuna": "llama",
    "kimi_k2": "deepseek_v3",
    "glm4v_vl_text": "glm4v_text",
    "qwen2_5_omni_vision_encoder": "qwen2_5_vl_vision",
    "qwen2_5_omni_text": "qwen2_5_vl_text",
    "qwen3_omni_moe_vision_encoder": "qwen3_vl_vision",
    "qwen3_omni_moe_text": "qwen3_vl_moe_text",
    "minicpm": "llama",
    "baichuan": "llama",
    "stablelm_epoch": "stablelm",
    "deepseek": "deepseek_v2",
    "glm_ocr": "glm_ocr_vision",
    "hunyuan_vl": "hunyuan_vl_vision",
    "paddleocr_vl": "paddleocr_vl_vision",
    "aria_moe_lm": "aria_text",
    "aria_text_model": "aria_text",
    "aria_vision_model": "idefics3_vision",
    "molmo2": "molmo2_vision",
    "exaone4_5_text": "exaone4",
}
