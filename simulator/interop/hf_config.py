"""A Hugging Face `config.json` to a model spec: flat or nested, with `dtype` or `torch_dtype`, vision-language or text alone."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import ValidationError

from simulator.build.count import parameters
from simulator.interop.hf.fields import TRANSFORMERS, Fields, defaults
from simulator.interop.hf.other import OTHERS
from simulator.interop.hf.remote import REMOTE, translated
from simulator.interop.hf.text import language
from simulator.interop.hf.vision import TOWERS, vision
from simulator.interop.hf.wrappers import ALIASES, TEXTS, WRAPPERS, Wrapper
from simulator.interop.processor_defaults import preprocessing_for
from simulator.spec.model import LanguageModel, Lvlm, Projector
from simulator.spec.preprocessing import Preprocessing
from simulator.spec.source import Source, SpecError
from simulator.spec.validated import nearest, one_line, shown, validated

# Names that translations give, and no file has.
INTERNAL = ("llava_original", "vila", "keye", "nvlm_d", "nemotron_nano_vl", "nemotron_nano_vl_2", "xcomposer2", "llava_onevision_1_5", "moondream")
TWO_PARTS = (
    "bart",
    "florence2",
    "kosmos-2.5",
    "mbart",
    "nougat",
    "pix2struct",
    "t5",
    "t5gemma",
    "t5gemma2",
    "udop",
    "whisper",
)


def supported() -> tuple[str, ...]:
    """Every `model_type` that can be imported."""
    return tuple(
        sorted(
            {
                *REMOTE,
                *(name for name in WRAPPERS if name not in INTERNAL),
                *(name for name in TEXTS if not name.endswith(("_text", "_text_model"))),
            }
        )
    )


def import_config(config: dict[str, Any], name: str | None = None, processor: dict[str, Any] | None = None) -> Lvlm:
    """The spec of a checkpoint from its config.json (and preprocessor_config.json).

    A field that is needed and missing is a SpecError naming it, unless the class of transformers 5.23.0 has a default: then
    that value, listed in `assumptions`. name: of the spec (default: the last part of `_name_or_path`, else the type).
    """
    if not isinstance(config, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SpecError("config: a mapping is expected, as in config.json")
    stated: Any = config.get("model_type")
    if stated is not None and not isinstance(stated, str):
        raise SpecError(f"model_type: {shown(stated)} is not accepted: the name of an architecture")
    config = translated(config)
    if not config.get("model_type"):
        listed: Any = config.get("architectures")
        named = f", and the class {shown(listed[0])} says too little" if isinstance(listed, list) and listed else ""
        raise SpecError(f"model_type is missing{named}; it names the architecture in config.json")
    type = str(config["model_type"])
    if type not in WRAPPERS and type not in TEXTS and ALIASES.get(type) in TEXTS:
        type = ALIASES[type]
    assumed: list[str] = []
    top = Fields(config, "", type, assumed)
    _whole(config, type)
    if config.get("quantization_config"):
        assumed.append(
            "quantization_config is not part of the model: say how weights are stored with --with weight_quant:bits=N"
        )
    called = _called(config, name, type)
    source = Source(kind="spec", reference=f"config.json of {config.get('_name_or_path') or called}")
    try:
        parts = _parts(top, processor)
    except ValidationError as error:
        raise SpecError(one_line(error, Lvlm, f"config of {called}")) from None
    data = {"name": called, "title": called, "sources": (source,), "assumptions": tuple(assumed), **parts}
    model = validated(Lvlm, data, f"config of {called}")
    if type == "cogvlm2":
        return model.model_copy(update={"language": _with_experts(model.language)})
    return _twinned(model) if type == "video_llava" else model


def _with_experts(language: LanguageModel) -> LanguageModel:
    """CogVLM2 owns the matrices of a layer twice, for visual tokens and for text; a token passes one of them."""
    owned, hidden = language.other_parameters, language.hidden
    for count, block in language.stack.runs:
        attention, feed = block.attention, block.feed_forward
        assert attention is not None and feed is not None
        heads = 2 * attention.heads + 2 * attention.kv_heads
        owned += count * hidden * (heads * attention.head_dim + 3 * feed.width)
    return language.model_copy(update={"other_parameters": owned})


def _twinned(model: Lvlm) -> Lvlm:
    """Video-LLaVA owns two equal encoders, one for pictures and one for clips; a request runs one of them."""
    assert model.vision is not None
    owned = model.vision.other_parameters + parameters(model)["vision"]
    return model.model_copy(update={"vision": model.vision.model_copy(update={"other_parameters": owned})})


def _parts(top: Fields, processor: dict[str, Any] | None) -> dict[str, Any]:
    type = top.type
    if type in WRAPPERS and (top.has("vision_config") or not _is_text(type)):
        return _with_vision(top, WRAPPERS[type], processor)
    if type in TEXTS:
        return {"language": _decoder(top, top.flag("tie_word_embeddings", False), "none")}
    raise _unknown("model_type", type, supported())


def _unknown(field: str, type: str, accepted: tuple[str, ...]) -> SpecError:
    """One line: the nearest types that are known, how to list all, and what to do."""
    if type in TWO_PARTS:
        return SpecError(f"{field}: {shown(type)} is an encoder-decoder model; only decoders are simulated")
    close = nearest(type, accepted)
    near = f"nearest: {', '.join(close)}; " if close else ""
    return SpecError(
        f"{field}: {shown(type)} is not known; {near}`lvlm-sim import --types` lists all that are; what is not there can be "
        "written down as YAML (models/ has examples, CONTRIBUTING.md says how) and named by its path"
    )


SEEING = re.compile(r"llava|vision|composer|multimodal|vl(for|chat|model|$)")
"""What the class of a file says that has a vision part, in lower case."""


def _whole(config: dict[str, Any], type: str) -> None:
    """A language model's file with a vision part in words of its own is not taken for a language model alone."""
    listed: Any = config.get("architectures")
    named = str(listed[0]) if isinstance(listed, list) and listed else ""
    if type in TEXTS and type not in WRAPPERS and SEEING.search(named.lower()):
        raise SpecError(
            f"architectures: {shown(named)} has a vision part that a {type!r} file does not describe; name the language model's own class "
            "in its place to import that alone"
        )
    for field in ("visual", "vision_config", "mm_vision_tower", "vision_tower", "vision_encoder"):
        if type in TEXTS and type not in WRAPPERS and config.get(field) is not None:
            raise SpecError(
                f"{field}: the vision part of a {type!r} file is not known; remove it to import the language model alone, "
                "or see `lvlm-sim models` for what ships"
            )


def _decoder(text: Fields, tied: bool, bidirectional: Literal["none", "images", "prompt"]) -> LanguageModel:
    return OTHERS[text.type](text, tied) if text.type in OTHERS else language(text, tied, bidirectional)


def _is_text(type: str) -> bool:
    return type in TEXTS and type != "phi4_multimodal"


def _called(config: dict[str, Any], name: str | None, type: str) -> str:
    if name is None:
        path = config.get("_name_or_path")
        name = (path.rstrip("/").rsplit("/", 1)[-1] if isinstance(path, str) else "") or type
        name = name.lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", name):
        raise SpecError(f"name: {name[:60]!r} is not accepted: lower-case letters, digits, '.', '-' and '_'")
    return name


def _with_vision(top: Fields, wrapper: Wrapper, processor: dict[str, Any] | None) -> dict[str, Any]:
    eyes = _part(top, "vision_config", wrapper.vision, tuple(TOWERS))
    text = _text(top, wrapper)
    decoder = _decoder(text, _tied(top, text, wrapper), wrapper.bidirectional)
    tower = vision(eyes)
    projector = wrapper.project(top, eyes, text)
    _meets(projector, decoder)
    scheme = _scheme(top, processor)
    return {
        "vision": tower,
        "projector": projector,
        "language": decoder,
        "preprocessing": scheme,
        "excluded": wrapper.excluded,
    }


def _scheme(top: Fields, processor: dict[str, Any] | None) -> Preprocessing:
    """How pictures become crops; values that no scheme can be made of are refused."""
    data = dict(top.data)
    grid = "image_grid_pinpoints"
    if grid in defaults().get(top.type, {}) and not data.get(grid) and not (processor or {}).get(grid):
        data[grid] = top.value(grid) if grid not in top.data else defaults()[top.type][grid]
    try:
        scheme, assumed = preprocessing_for(top.type, data, processor)
    except (SpecError, ValidationError):
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise SpecError(f"preprocessing: sizes in config.json or the processor's file make no sense: {error}") from None
    top.assumed.extend(f"preprocessing: {note}" for note in assumed)
    return scheme


def _meets(projector: Projector, decoder: LanguageModel) -> None:
    """What the projector makes must be as wide as the language model."""
    wide = [step.outputs for step in projector.steps if step.op == "linear"][-1]
    if wide != decoder.hidden:
        raise SpecError(f"projector: its output of {wide} must equal the language model's hidden_size {decoder.hidden}")


def _part(top: Fields, field: str, otherwise: str, accepted: tuple[str, ...]) -> Fields:
    part = top.sub(field, otherwise)
    alias = ALIASES.get(part.type, part.type)
    part.type = alias if part.type not in accepted and alias in accepted else part.type
    if part.type not in accepted and otherwise in accepted and _letters(top.type) in _letters(part.type):
        top.assumed.append(f"{field}.model_type: {shown(part.type)} read as {otherwise}, the part that {top.type} has")
        part.type = otherwise
    if part.type not in accepted:
        raise _unknown(f"{field}.model_type", part.type, accepted)
    return part


def _letters(type: str) -> str:
    """A type without case and separators (`Glm4vMoe_text`)."""
    return re.sub(r"[^a-z0-9]", "", type.lower())


def _text(top: Fields, wrapper: Wrapper) -> Fields:
    """The text part: nested, or (older files, Phi-4) at the top level."""
    for field in ("text_config", "llm_config", "language_config"):
        if top.has(field):
            return _part(top, field, wrapper.text, TEXTS)
    if top.has("hidden_size") and top.has("num_hidden_layers"):
        return Fields(top.data, "", wrapper.text, top.assumed)
    if wrapper.text == "phi4_multimodal":
        return top
    return _part(top, "text_config", wrapper.text, TEXTS)


def _tied(top: Fields, text: Fields, wrapper: Wrapper) -> bool:
    """Whether lm_head is the embedding: the outer class decides, except where it has no such field."""
    if wrapper.tied == "never":
        return False
    if wrapper.tied == "text":
        return text.flag("tie_word_embeddings", False)
    if wrapper.tied == "either":
        return top.flag("tie_word_embeddings") or text.flag("tie_word_embeddings", False)
    if not top.has("tie_word_embeddings") and text.has("tie_word_embeddings") and text is not top:
        note = f"tie_word_embeddings taken from {text.path}: transformers {TRANSFORMERS} reads it at the top level"
        top.assumed.append(note)
        return text.flag("tie_word_embeddings")
    if not top.has("tie_word_embeddings") and text is not top and str(top.data.get("transformers_version")).startswith("4."):
        return text.flag("tie_word_embeddings", False)  # as transformers 4, which wrote the file, did: the part's own class decides
    return top.flag("tie_word_embeddings")
