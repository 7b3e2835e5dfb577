"""Reading one configuration: a field, else the default of its class (noted), else an error that names the field."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from simulator.spec.model import MAX_LAYERS
from simulator.spec.source import SpecError
from simulator.spec.validated import shown
from simulator.spec.yaml import read_yaml

TRANSFORMERS = "5.23.0"
LIMIT = 10**9
_MISSING: Any = object()
# Further names that transformers' classes accept (their `attribute_map`) or write themselves.
ALSO = {
    "num_experts": ("num_local_experts",),
    "num_local_experts": ("num_experts",),
    "n_routed_experts": ("num_local_experts", "num_experts"),
    "moe_num_experts": ("num_experts",),
    "moe_k": ("num_experts_per_tok",),
    "num_experts_per_tok": ("num_experts_per_token",),
    "depth": ("num_hidden_layers",),
    "num_heads": ("num_attention_heads",),
    "attention_heads": ("num_attention_heads",),
    "qkv_bias": ("attention_bias",),
    "bias": ("mlp_bias",),
}


@lru_cache(maxsize=1)
def defaults() -> dict[str, dict[str, Any]]:
    """Class defaults by model_type."""
    return read_yaml(Path(__file__).with_name("defaults.yaml"))


class Fields:
    """One (sub-)configuration. `assumed` collects what was not stated; sub-configurations share it."""

    __slots__ = ("assumed", "data", "path", "type")

    def __init__(self, data: dict[str, Any], path: str, type: str, assumed: list[str]) -> None:
        self.data, self.path, self.type, self.assumed = data, path, type, assumed

    def name(self, field: str) -> str:
        """Full path of a field."""
        return f"{self.path}.{field}" if self.path else field

    def sub(self, field: str, type: str | None) -> Fields:
        """A nested configuration; `type` is used where it names none itself."""
        value = self.data.get(field)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise SpecError(f"{self.name(field)}: {shown(value)} is not accepted: a mapping is expected")
        nested = cast("dict[str, Any]", value)
        own = nested.get("model_type", type)
        if not isinstance(own, str):
            raise SpecError(f"{self.name(field)}.model_type is missing")
        return Fields(nested, self.name(field), own, self.assumed)

    def has(self, field: str) -> bool:
        """Whether the configuration states the field."""
        return self.data.get(field) is not None

    def value(self, field: str, otherwise: Any = _MISSING) -> Any:
        """The field as it stands; else the class default or `otherwise`, noted."""
        if field in self.data:
            return self.data[field]
        for other in ALSO.get(field, ()):
            if other in self.data:
                return self.data[other]
        table = defaults().get(self.type, {})
        if field in table:
            found = table[field]
        elif otherwise is not _MISSING:
            return otherwise
        else:
            raise SpecError(
                f"{self.name(field)} is missing, and transformers {TRANSFORMERS} has no default for {self.type}"
            )
        if found is not None:
            note = f"{self.name(field)} = {shown(found)}: default of transformers {TRANSFORMERS} for {self.type}"
            if note not in self.assumed:
                self.assumed.append(note)
        return found

    def size(self, field: str, otherwise: Any = _MISSING) -> int:
        """A whole number of at least 1."""
        return self._whole(field, self.value(field, otherwise), 1)

    def count(self, field: str, otherwise: Any = _MISSING) -> int:
        """A whole number of at least 0; null counts as 0."""
        value = self.value(field, otherwise)
        return 0 if value is None else self._whole(field, value, 0)

    def layers(self, field: str) -> int:
        """A number of layers."""
        return self._whole(field, self.value(field), 1, MAX_LAYERS)

    def derived(self, field: str, rule: int, why: str) -> int:
        """A field that its class computes from others where it is left out."""
        if self.has(field):
            return self.size(field)
        value = None if field in self.data else self.value(field, None)
        if value is not None:
            return self._whole(field, value, 1)
        note = f"{self.name(field)} = {rule}: {why}"
        if note not in self.assumed:
            self.assumed.append(note)
        return rule

    def flag(self, field: str, otherwise: Any = _MISSING) -> bool:
        """true or false; null counts as false."""
        value = self.value(field, otherwise)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise SpecError(f"{self.name(field)}: {shown(value)} is not accepted: true or false")
        return value

    def ratio(self, field: str, otherwise: Any = _MISSING) -> float:
        """A finite number above 0."""
        value = self.value(field, otherwise)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LIMIT:
            raise SpecError(f"{self.name(field)}: {shown(value)} is not accepted: a finite number above 0")
        return float(value)

    def word(self, field: str, accepted: tuple[str, ...], otherwise: Any = _MISSING) -> str:
        """One of the accepted words."""
        value = self.value(field, otherwise)
        if value not in accepted:
            raise SpecError(f"{self.name(field)}: {shown(value)} is not accepted: one of {', '.join(accepted)}")
        return value

    def sizes(self, field: str, otherwise: Any = _MISSING, least: int = 0) -> list[int]:
        """A list of whole numbers; null is empty."""
        value = self.value(field, otherwise)
        if value is None:
            return []
        items: list[Any] | None = cast("list[Any]", value) if isinstance(value, list) else None
        if items is None or len(items) > 4096:
            raise SpecError(
                f"{self.name(field)}: {shown(cast('object', value))} is not accepted: a list of whole numbers"
            )
        return [self._whole(field, item, least) for item in items]

    def side(self, field: str, otherwise: Any = _MISSING) -> int:
        """A square's side: a number, or a list of two equal ones."""
        value = self.value(field, otherwise)
        if isinstance(value, list):
            items = cast("list[Any]", value)
            if len(items) != 2 or items[0] != items[1]:
                raise SpecError(f"{self.name(field)}: {shown(items)} is not accepted: a square is expected")
            value = items[0]
        return self._whole(field, value, 1)

    def _whole(self, field: str, value: Any, least: int, most: int = LIMIT) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise SpecError(
                f"{self.name(field)}: {shown(value)} is not accepted: a whole number from {least} to {most:,}"
            )
        return value
