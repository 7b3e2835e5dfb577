"""Vision towers: what each encoder class of transformers owns and runs."""

from __future__ import annotations

from collections.abc import Callable

from simulator.interop.hf import documents, further, gemma, mobilenet, molmo, native, shuffled, square, stages
from simulator.interop.hf.fields import Fields
from simulator.spec.model import VisionEncoder


def vision(fields: Fields) -> VisionEncoder:
    """The tower that a vision configuration describes."""
    return TOWERS[fields.type](fields)


TOWERS: dict[str, Callable[[Fields], VisionEncoder]] = {
    "clip_vision_model": square.clip,
    "siglip_vision_model": square.siglip,
    "phi4_multimodal_vision": square.siglip,
    "idefics3_vision": square.siglip,
    "smolvlm_vision": square.siglip,
    "gemma3n_vision": mobilenet.mobilenet_v5,
    "gemma4_vision": gemma.gemma4_vision,
    "idefics2_vision": square.siglip,
    "siglip2_vision_model": further.siglip2,
    "open_clip": further.open_clip,
    "ovis2_vision": further.aim,
    "video_llama_3_vision": further.video_llama_3,
    "perception_encoder": further.perception,
    "got_ocr2_vision": further.sam,
    "eva2_clip": further.eva_2,
    "ovis2_5_vision": further.siglip2,
    "fastvithd": lambda fields: stages.fastvit((2, 12, 24, 4, 2), (96, 192, 384, 768, 1536)),
    "deep_encoder": lambda fields: stages.deep_encoder(),
    "pixtral": native.pixtral,
    "internvl_vision": square.internvl,
    "qwen2_vl_vision": native.qwen,
    "qwen2_5_vl_vision": native.qwen,
    "qwen3_vl_vision": native.qwen,
    "qwen3_5_vision": native.qwen,
    "glm4v_vision": native.glm,
    "glm4v_moe_vision": native.glm,
    "kimi_k25_vision": native.kimi,
    "llama4_vision_model": square.llama4,
    "mllama_vision_model": square.mllama,
    "blip_2_vision_model": square.blip,
    "instructblip_vision_model": square.blip,
    "molmo2_vision": molmo.tower,
    "molmo_clip": molmo.first_tower,
    "glm_ocr_vision": documents.glm_ocr,
    "paddleocr_vl_vision": documents.paddle,
    "dots_vision": documents.dots,
    "ernie4_5_vl_moe_vision": documents.ernie,
    "exaone4_5_vision": native.qwen,
    "radio": shuffled.radio,
    "rice_vit": documents.rice,
    "hunyuan_vl_vision": documents.hunyuan,
    "janus_vision_model": shuffled.janus_tower,
    "qianfan_ocr_vision": square.internvl,
}
