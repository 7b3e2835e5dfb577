"""A Hugging Face configuration and its preprocessor settings to a `Preprocessing`.

What neither states comes from the image and video processor classes of transformers 5.23.0, or from the checkpoint's own
published code where that differs, and is listed as an assumption. Differences that matter:

- Qwen2-VL and Qwen2.5-VL videos: bounds of qwen-vl-utils, which the model cards use (a frame has 128..768 tokens and an even
  share of 115200 tokens). transformers alone would read the picture bounds of preprocessor_config.json for videos too.
- Pixtral: the Hugging Face processor rounds the shrunk side down, mistral-common to nearest; checkpoints in Hugging Face
  format use the former.
- InternVL2.5 and InternVL3: the original code and transformers' `GotOcr2ImageProcessor` choose the same grid; they may differ only
  where two grids of equally many tiles are equally near.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from simulator.interop.processor import documents, llava, native, own, tiles
from simulator.interop.processor.given import Given
from simulator.spec.preprocessing import Preprocessing, VideoSampling
from simulator.spec.source import SpecError
from simulator.spec.validated import nearest, shown


def preprocessing_for(
    model_type: str, config: Mapping[str, Any], processor: Mapping[str, Any] | None = None
) -> tuple[Preprocessing, list[str]]:
    """The scheme of a checkpoint and what had to be assumed.

    config: its config.json (nested). processor: its preprocessor_config.json, if there is one. Raises SpecError for a
    `model_type` that is not known, and for a size that makes no sense.
    """
    build = _FAMILIES.get(model_type)
    if build is None:
        close = nearest(model_type, sorted(_FAMILIES))
        near = f"nearest: {', '.join(close)}; " if close else ""
        raise SpecError(f"model_type: no preprocessing known for {shown(model_type)}; {near}`lvlm-sim import --types` lists the models that can be read")
    given = Given(config, processor or {})
    try:
        return build(given), given.assumptions
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f"{field} = {shown(first['input'])}: " if field else ""
        raise SpecError(f"preprocessing of {model_type}: {where}{first['msg']}") from None


_KIMI_VIDEO = VideoSampling(fps=2.0, max_frames=2048, temporal_patch=4, max_pixels=4096 * 14 * 14)

_FAMILIES: dict[str, Callable[[Given], Preprocessing]] = {
    "llava": tiles.llava,
    "mistral3": native.pixtral,
    "pixtral": native.pixtral,
    "llava_next": tiles.llava_next,
    "llava_next_video": tiles.llava_next_video,
    "vipllava": tiles.vipllava,
    "deepseek_vl": tiles.paligemma,
    "aya_vision": tiles.aya,
    "cohere2_vision": tiles.cohere2,
    "lighton_ocr": native.pixtral,
    "qwen3_5": native.qwen3_vl,
    "qwen3_5_moe": native.qwen3_vl,
    "glm46v": native.glm46v,
    "llava_onevision": tiles.llava_onevision,
    "internvl": tiles.internvl,
    "idefics3": tiles.idefics3,
    "smolvlm": tiles.smolvlm,
    "mllama": tiles.mllama,
    "llama4": tiles.llama4,
    "phi4_multimodal": tiles.phi4,
    "qwen2_vl": native.qwen2_vl,
    "qwen2_5_vl": native.qwen2_vl,
    "qwen3_vl": native.qwen3_vl,
    "qwen3_vl_moe": native.qwen3_vl,
    "glm4v": native.glm4v,
    "glm4v_moe": native.glm4v,
    "gemma3": tiles.gemma3,
    "paligemma": tiles.paligemma,
    "blip-2": tiles.queries,
    "instructblip": tiles.queries,
    **{
        build.__name__: build
        for build in (
            llava.llava_original,
            llava.vila,
            llava.fast_vlm,
            llava.video_llava,
            own.deepseek_vl_v2,
            own.deepseek_ocr,
            own.qwen_vl,
            own.phi3_v,
            own.perception_lm,
            own.got_ocr2,
            own.glm_4v,
            own.ovis2_5,
            own.ovis2,
            own.lfm2_vl,
            own.idefics2,
            own.gemma4,
            own.video_llama_3,
            own.gemma3n,
            documents.molmo,
            documents.molmo2,
            documents.moondream,
            documents.aria,
            documents.paddleocr_vl,
            documents.keye,
            documents.ernie4_5_vl_moe,
            documents.dots_ocr,
            documents.hunyuan_vl,
            documents.xcomposer2,
            documents.llava_onevision_1_5,
        )
    },
    **dict.fromkeys(("nvlm_d", "nemotron_nano_vl", "nemotron_nano_vl_2", "qianfan_ocr"), tiles.internvl),
    "janus": tiles.paligemma,
    "glm_ocr": native.glm46v,
    "exaone4_5": native.qwen2_vl,
    "cogvlm2": own.glm_4v,
    "minicpmv": own.minicpm_v,
    "kimi_vl": native.kimi(4096, None),
    "kimi_k25": native.kimi(16384, _KIMI_VIDEO),
}
