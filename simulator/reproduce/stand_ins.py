"""Models that published tables name and that do not ship, put together from parts that do (`stand_ins.yaml`)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from simulator.build.language import build_decoder
from simulator.spec.load_model import load_model, model_names
from simulator.spec.model import LanguageModel, Lvlm
from simulator.spec.preprocessing import Fixed, Preprocessing, VideoSampling
from simulator.spec.yaml import read_yaml


@lru_cache(maxsize=1)
def _recipes() -> dict[str, Any]:
    return dict(read_yaml(Path(__file__).with_name("stand_ins.yaml")))


@lru_cache(maxsize=256)
def model_named(name: str) -> Lvlm | None:
    """The model, or None where neither it nor its parts ship. A path is read as a model file."""
    recipe = _recipes().get(name)
    if recipe is None:
        return load_model(name) if name in model_names() or "/" in name or name.endswith(".yaml") else None
    language = recipe["language"]
    base = load_model(recipe.get("vision") or (language if isinstance(language, str) else "llama-3-8b"))
    decoder = load_model(language).language if isinstance(language, str) else _language(name, language)
    changed: dict[str, Any] = {"language": decoder, "published_parameters": None}
    if "crop" in recipe or "frame" in recipe:
        changed["preprocessing"] = _cut(base, recipe)
    return base.model_copy(update={"name": name, "title": f"{name}, from the parts of {_said(recipe)}", **changed})


def _cut(base: Lvlm, recipe: dict[str, Any]) -> Preprocessing:
    """Its own crops (side in pixels and visual tokens) or tokens of a frame, with the patches of the tower it shares."""
    scheme = base.preprocessing
    assert base.vision is not None
    if "crop" in recipe:
        size, tokens = recipe["crop"]
        scheme = Fixed(size=size, patch=base.vision.patch, tokens=tokens)
    assert scheme is not None
    return scheme.model_copy(update={"video": VideoSampling(tokens=recipe["frame"])}) if "frame" in recipe else scheme


def is_stand_in(name: str) -> bool:
    """Whether the model is put together from parts of others."""
    return name in _recipes()


def _said(recipe: dict[str, Any]) -> str:
    parts = [recipe["language"] if isinstance(recipe["language"], str) else "its own decoder sizes", recipe.get("vision", "")]
    return " and ".join(filter(None, parts))


def _language(name: str, sizes: dict[str, Any]) -> LanguageModel:
    biased = bool(sizes.get("bias", False))
    latent = {"kind": "mla", "kv_rank": sizes["kv_rank"], "rope_dim": sizes["rope_dim"], "value_dim": 128} if "kv_rank" in sizes else {}
    attention = {"kind": "full", "heads": sizes["heads"], "kv_heads": sizes["kv_heads"], "head_dim": sizes["head_dim"],
                 "q_bias": biased, "kv_bias": biased, **latent}  # fmt: skip
    block = {"attention": attention, "feed_forward": {"width": sizes["width"]}, "norm_parameters": 2 * sizes["hidden"]}
    return LanguageModel.model_validate(
        {
            "name": name, "hidden": sizes["hidden"], "vocabulary": sizes["vocabulary"], "tied_embeddings": False,
            "stack": {"blocks": {"full": block}, "order": [f"{sizes['layers']} full"]},
            "final_norm_parameters": sizes["hidden"], "max_context": sizes["context"],
        }
    )  # fmt: skip


def bytes_per_token(model: Lvlm) -> float:
    """KV bytes of one token of one sequence, all layers, 2 bytes an element [B]."""
    layers = build_decoder(model).layers
    return sum(float(layer.count * layer.cache.bytes_per_token) for layer in layers if layer.cache is not None and layer.cache.grows)
