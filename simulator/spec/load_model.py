"""Models by name or by path."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from simulator.spec.folders import data_folder
from simulator.spec.model import Lvlm
from simulator.spec.source import SpecError
from simulator.spec.validated import nearest, shown, validated
from simulator.spec.yaml import read_yaml


def model_names() -> list[str]:
    """Names of the shipped models, sorted."""
    return list(_names(data_folder("models")))


def load_model(name_or_path: str | Path) -> Lvlm:
    """A model, by shipped name (`qwen2.5-vl-7b`) or by path (anything with a `/` or ending in `.yaml`)."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        try:
            stamp = path.stat().st_mtime_ns
        except (OSError, ValueError):
            raise SpecError(
                f"model: {text!r} is no file that can be read; give a model file's path or a name"
            ) from None
        return _read(path, stamp)
    return _named(text, data_folder("models"))


@lru_cache(maxsize=512)
def _named(name: str, folder: Path) -> Lvlm:
    names = _names(folder)
    if name not in names:
        close = nearest(name, names)
        near = f"nearest: {', '.join(close)}; " if close else ""
        every = f"`lvlm-sim models` lists all {len(names)}"
        raise SpecError(f"model: {shown(name)} is not known; {near}{every}; or give a path to a .yaml file")
    model = _read(folder / f"{name}.yaml", 0)
    if model.name != name:
        raise SpecError(f"{folder / name}.yaml: name: {model.name!r} is not accepted: the file is called {name!r}")
    return model


@lru_cache(maxsize=8)
def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


@lru_cache(maxsize=512)
def _read(path: Path, stamp: int) -> Lvlm:
    """`stamp` makes an edited file a new one."""
    return validated(Lvlm, read_yaml(path), str(path))
