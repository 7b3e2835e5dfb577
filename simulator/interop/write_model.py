"""A model spec as YAML text that people can read: defaults left out, small mappings on one line."""

from __future__ import annotations

from typing import Any, cast

import yaml

from simulator.spec.model import Lvlm

WIDTH = 116


def model_data(model: Lvlm) -> dict[str, Any]:
    """What is not default, and the kinds that tell the schemes apart: enough to read the same spec back."""
    data = model.model_dump(mode="json", exclude_defaults=True)
    preprocessing = data.get("preprocessing")
    if model.preprocessing is not None and isinstance(preprocessing, dict):
        data["preprocessing"] = {"kind": model.preprocessing.kind, **preprocessing}
    return data


def model_yaml(model: Lvlm, comment: str = "") -> str:
    """YAML that `load_model` reads back to the same spec."""
    data = model_data(model)
    lines = [f"# {comment}"] if comment else []
    for key, value in data.items():
        lines.extend(_lines(str(key), value, 0))
    return "\n".join(lines) + "\n"


def _lines(key: str, value: Any, depth: int) -> list[str]:
    pad = "  " * depth
    inline = f"{pad}{_key(key)}: {_inline(value)}"
    if len(inline) <= WIDTH or not isinstance(value, dict | list) or not value:
        return [inline]
    out = [f"{pad}{_key(key)}:"]
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            out.extend(_lines(str(name), item, depth + 1))
        return out
    items = cast("list[Any]", value)
    if key in ("order", "tail") or all(not isinstance(item, dict | str) for item in items):
        return [*out[:-1], *_wrapped(f"{pad}{_key(key)}: [", items, "  " * (depth + 1))]
    out.extend(f"{pad}  - {_inline(item)}" for item in items)
    return out


def _wrapped(start: str, items: list[Any], pad: str) -> list[str]:
    lines: list[str] = []
    line = start
    for index, item in enumerate(items):
        text = _inline(item) + ("," if index < len(items) - 1 else "]")
        if len(line) + len(text) + 1 > WIDTH and line.strip():
            lines.append(line.rstrip())
            line = pad
        line += text + " "
    return [*lines, line.rstrip()]


def _key(key: str) -> str:
    return _scalar(key)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return "{" + ", ".join(f"{_key(str(name))}: {_inline(item)}" for name, item in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(item) for item in cast("list[Any]", value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    text = str(value)
    plain = yaml.safe_dump([text], default_flow_style=True, width=10**6, allow_unicode=True).strip()
    return plain[1:-1]
