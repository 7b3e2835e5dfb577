"""Reading parts of a foreign configuration."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from simulator.interop.hf.fields import defaults
from simulator.spec.source import SpecError
from simulator.spec.validated import nearest, shown
from simulator.spec.yaml import read_yaml

Config = dict[str, Any]


@lru_cache(maxsize=1)
def towers() -> dict[str, Config]:
    """Known encoders by name."""
    return read_yaml(Path(__file__).with_name("towers.yaml"))


def named_tower(field: str, name: object) -> Config:
    """The configuration of an encoder that is named: the last part of a path decides."""
    text = name.rstrip("/").rsplit("/", 1)[-1].lower() if isinstance(name, str) else ""
    if text not in towers():
        close = nearest(text, tuple(towers()))
        known = f"nearest: {', '.join(close)}" if close else f"known: {', '.join(list(towers())[:6])}, ..."
        raise SpecError(
            f"{field}: the encoder {shown(name)} is not known; {known}; or give a vision_config in its place"
        )
    return _like(text)


def _like(name: str) -> Config:
    own = dict(towers()[name])
    model = own.pop("like", None)
    return own if model is None else _like(model) | own


def part(config: Config, field: str) -> Config:
    """A nested mapping; empty where there is none."""
    value = config.get(field)
    if value is not None and not isinstance(value, dict):
        raise SpecError(f"{field}: {shown(value)} is not accepted: a mapping is expected")
    return cast("Config", value or {})


def renamed(data: Config, names: dict[str, str]) -> Config:
    """The mapping with keys renamed; stated new names win."""
    return {names[key]: value for key, value in data.items() if key in names} | {
        key: value for key, value in data.items() if key not in names
    }


def flat_text(config: Config, type: str) -> Config:
    """The language model of a file that has its fields at the top level."""
    return {key: value for key, value in config.items() if not isinstance(value, dict)} | {"model_type": type}


def architecture(config: Config) -> str:
    """The class that the file names, in lower case."""
    listed: Any = config.get("architectures")
    return str(listed[0]).lower() if isinstance(listed, list) and listed else ""


def tied(config: Config, text: Config) -> bool:
    """Whether lm_head is the embedding, by the file, its language model's part, or the class of that part."""
    for stated in (config.get("tie_word_embeddings"), text.get("tie_word_embeddings")):
        if stated is not None:
            return bool(stated)
    return bool(defaults().get(str(text.get("model_type")), {}).get("tie_word_embeddings", False))
