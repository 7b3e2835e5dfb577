"""What a checkpoint's two files say about its pictures, and what had to be assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, final

from simulator.spec.source import SpecError


@final
class Given:
    """Looks values up in both files and keeps account of what was missing."""

    def __init__(self, config: Mapping[str, Any], processor: Mapping[str, Any]) -> None:
        self.config = config
        self.processor = processor
        vision: Any = config.get("vision_config") or {}
        if not isinstance(vision, Mapping):
            raise SpecError(f"vision_config: {str(vision)[:60]!r} is not a mapping")
        self.vision: Mapping[str, Any] = cast(Mapping[str, Any], vision)
        self.assumptions: list[str] = []

    def size(self, default: int, *keys: str, field: str = "size") -> int:
        """One side of a size setting: a number, or a mapping with one of `keys`."""
        value: Any = self.processor.get(field)
        if isinstance(value, Mapping):
            sides: Mapping[str, Any] = cast(Mapping[str, Any], value)
            value = next((sides[key] for key in keys if sides.get(key)), None)
        return self._whole(field, value, default)

    def tile(self, default: int, *keys: str, field: str = "size") -> int:
        """Side of what the encoder sees: as `size`; where the preprocessor does not say, the encoder's own `image_size`."""
        own = self.vision.get("image_size")
        if isinstance(own, list | tuple):
            own = max(cast(Sequence[Any], own), default=None)
        if own is None:
            return self.size(default, *keys, field=field)
        return self.size(self._whole("vision_config.image_size", own, default), *keys, field=field)

    def number(self, name: str, default: int) -> int:
        """A setting of the preprocessor."""
        value: Any = self.processor.get(name)
        if isinstance(value, Mapping):
            value = next(iter(cast(Mapping[str, Any], value).values()), None)
        return self._whole(name, value, default)

    def encoder(self, name: str, default: int) -> int:
        """A setting of the vision encoder; the first of a pair."""
        value: Any = self.vision.get(name)
        if isinstance(value, list | tuple):
            value = cast(Sequence[Any], value)[0]
        return self._whole(f"vision_config.{name}", value, default)

    def top(self, name: str, default: float) -> float:
        """A number at the top level of the configuration."""
        value = self.config.get(name)
        if value is None:
            self.assumptions.append(f"{name} {default:g}: default of transformers 5.23.0")
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpecError(f"{name}: {value!r} is not a number")
        return float(value)

    def whole(self, name: str, value: object, default: int) -> int:
        """A whole number found elsewhere; `default`, noted, where there is none."""
        return self._whole(name, value, default)

    def _whole(self, name: str, value: object, default: int) -> int:
        if value is None:
            self.assumptions.append(f"{name} {default}: default of transformers 5.23.0 or of the checkpoint's own code")
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 1:
            raise SpecError(f"{name}: {value!r} is not a positive whole number")
        return int(value)
