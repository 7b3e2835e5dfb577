"""Files of LLaVA's own code and its many descendants (LLaVA-NeXT, LLaVA-OneVision, LLaVA-Video, FastVLM, Bunny, MobileVLM), and of
VILA and NVILA: the language model's fields at the top level or in parts, the encoder by its name."""

from __future__ import annotations

from simulator.interop.hf.remote.parts import Config, architecture, flat_text, named_tower, part
from simulator.spec.source import SpecError
from simulator.spec.validated import shown

# In the order in which a class name is searched for them: `qwen` of this code is Qwen2.
TEXTS = {
    "mixtral": "mixtral", "mistral": "mistral", "qwen3": "qwen3", "qwen2": "qwen2", "qwen": "qwen2", "gemma2": "gemma2",
    "gemma": "gemma", "phi3": "phi3", "phi": "phi", "stablelm": "stablelm", "llama": "llama", "vicuna": "llama",
}  # fmt: skip


def is_original(config: Config) -> bool:
    """Whether a file is one of LLaVA's code rather than of transformers' classes."""
    return config.get("mm_vision_tower") is not None and not isinstance(config.get("vision_config"), dict)


def original(config: Config) -> Config:
    """LLaVA's own format."""
    vision = named_tower("mm_vision_tower", config["mm_vision_tower"])
    if vision["model_type"] == "siglip_vision_model":
        vision["num_hidden_layers"] -= 1  # this code deletes the last layer before it runs
    wide = config.get("mm_hidden_size")
    if wide is not None and wide != vision["hidden_size"]:
        raise SpecError(f"mm_hidden_size: {shown(wide)} is not accepted: the encoder's is {vision['hidden_size']}")
    return {**config, "model_type": "llava_original", "vision_config": vision, "text_config": _text(config)}


def _text(config: Config) -> Config:
    for where in (architecture(config), str(config.get("model_type"))):
        for word, type in TEXTS.items():
            if word in where:
                return flat_text(config, type)
    if config.get("model_type") in ("llava", "mobilevlm"):
        return flat_text(config, "llama")
    kind = config.get("model_type")
    raise SpecError(f"model_type: {shown(kind)} names no language model that is known: one of {', '.join(TEXTS)} in it")


def is_vila(config: Config) -> bool:
    """Whether a file is one of VILA's."""
    return config.get("llm_cfg") is not None and config.get("vision_tower_cfg") is not None


def vila(config: Config) -> Config:
    """VILA and NVILA: three parts, each with its own file; several scales side by side with `s2`."""
    vision, text = part(config, "vision_tower_cfg"), part(config, "llm_cfg")
    kind = part(config, "mm_projector_cfg").get("mm_projector_type") or config.get("mm_projector_type")
    names = {"vision_config": vision, "text_config": text, "mm_projector_type": kind}
    if vision.get("model_type") == "siglip_vision_model":
        vision.setdefault("vision_use_head", False)
    return {**config, "model_type": "vila", **names}


def fast_vlm(config: Config) -> Config:
    """FastVLM of transformers: its encoder is a model of timm, named and not described."""
    vision = part(config, "vision_config")
    named = vision.get("architecture", "fastvit_mci3")
    if named != "fastvit_mci3":
        raise SpecError(f"vision_config.architecture: {shown(named)} is not accepted: fastvit_mci3")
    return {**config, "vision_config": named_tower("vision_config", "mobileclip_l_1024")}


def tinyllava(config: Config) -> Config:
    """TinyLLaVA: the parts of transformers under LLaVA's words for what joins them."""
    aspect = config.get("image_aspect_ratio") or "square"
    changed = {"model_type": "llava_original", "mm_projector_type": config.get("connector_type"), "image_aspect_ratio": aspect}
    vision = dict(part(config, "vision_config"))
    if str(vision.get("model_type", "")).startswith("siglip"):
        vision.setdefault("vision_use_head", False)
    if not vision:
        raise SpecError("vision_config is missing; a TinyLLaVA file has vision_config and text_config")
    return {**config, **changed, "vision_config": vision, "text_config": part(config, "text_config")}
