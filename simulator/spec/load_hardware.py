"""Hardware profiles by name or by path."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from simulator.spec.folders import data_folder
from simulator.spec.hardware import Device
from simulator.spec.source import SpecError
from simulator.spec.validated import nearest, shown, validated
from simulator.spec.yaml import read_yaml

_NOT_DEVICES = frozenset({"host"})  # host.yaml times the host's share of preprocessing; it is not a device


def hardware_names() -> list[str]:
    """Names of the shipped profiles, sorted."""
    return list(_names(data_folder("hardware_profiles")))


def load_hardware(name_or_path: str | Path) -> Device:
    """The profile of a device, by shipped name (`h100-sxm`) or by path (anything with a `/` or ending in `.yaml`)."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        try:
            stamp = path.stat().st_mtime_ns
        except (OSError, ValueError):
            raise SpecError(f"hardware: {text!r} is no file that can be read; give a path or a name") from None
        return _read(path, stamp)
    return _named(text, data_folder("hardware_profiles"))


@lru_cache(maxsize=256)
def _named(name: str, folder: Path) -> Device:
    names = _names(folder)
    if name not in names:
        close = nearest(name, names)
        near = f"nearest: {', '.join(close)}; " if close else ""
        every = f"`lvlm-sim hardware` lists all {len(names)}"
        raise SpecError(f"hardware: {shown(name)} is not known; {near}{every}; or give a path to a .yaml profile")
    device = _read(folder / f"{name}.yaml", 0)
    if device.name != name:
        raise SpecError(f"{folder / name}.yaml: name: {device.name!r} is not accepted: the file is called {name!r}")
    return device


@lru_cache(maxsize=8)
def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.yaml") if path.stem not in _NOT_DEVICES))


@lru_cache(maxsize=256)
def _read(path: Path, stamp: int) -> Device:
    """`stamp` makes an edited file a new one."""
    device = validated(Device, read_yaml(path), str(path))
    if not device.fits:
        return device
    return device.model_copy(update={"fits": str((path.parent / device.fits).resolve())})
