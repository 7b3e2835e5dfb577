"""YAML in, plain data out, and one line of text for whatever is wrong with it.

Two departures from YAML 1.1: `3.35e12` is a number (1.1 wants `3.35e+12`), and dates, `yes`/`no`, octal and base-60
numbers stay text, so that a date or a version is what its writer wrote. A key given twice is an error.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, cast

import yaml

from simulator.spec.source import SpecError

# libyaml where PyYAML was built with it (ten times faster), else the same loader in Python.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_DEPTH = 40

_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
)
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")


class _Loader(_Base):
    """Safe loader with the resolvers above; a repeated key is refused."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in getattr(node, "value", ()):
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        parent: Any = super()
        return parent.construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Safe dumper that quotes whatever text either YAML 1.1 or the loader above would take for something else."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", _BOOL, "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("null", _NULL, ["~", "n", "N", ""]),
    ("merge", re.compile(r"^<<$"), "<"),
):
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))


def _text(dumper: Any, text: str) -> Any:
    """Text with line breaks or control characters is escaped in double quotes: plain and single-quoted text folds them."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)


def write_yaml(data: dict[str, Any]) -> str:
    """Plain data as YAML that `parse_yaml` reads back as it was."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file; anything else is a `SpecError` of one line: file, line, problem."""
    return parse_yaml(_contents(path), str(path))


def read_rows(path: Path | str) -> list[dict[str, Any]]:
    """The mappings in a YAML file: one, or a list of them."""
    data = _parse(_contents(path), str(path))
    rows: list[Any] = (data or [None]) if isinstance(data, list) else [data]
    for row in rows:
        if not isinstance(row, dict):
            raise SpecError(f"{path}: holds {_kind(row)}; a mapping (`name: value` lines) or a list of them is expected")
    return rows


def _contents(path: Path | str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not a text file in UTF-8 (byte {error.start})") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError(f"{path}: cannot be read: {reason}") from None


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping in a YAML text; `where` names the text in error messages."""
    data = _parse(text, where)
    if not isinstance(data, dict):
        raise SpecError(f"{where}: holds {_kind(data)}; a mapping (`name: value` lines) is expected")
    return data  # pyright: ignore[reportUnknownVariableType]


def _parse(text: str, where: str) -> Any:
    try:
        _refuse_depth(text, where)
        return yaml.load(text, Loader=_Loader)  # a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SpecError(f"{where}{f':{mark.line + 1}' if mark else ''}: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise SpecError(f"{where}: character {error.position} is not allowed in YAML ({error.reason})") from None
    except RecursionError:
        raise SpecError(f"{where}: nested too deep") from None
    except ValueError as error:
        raise SpecError(f"{where}: {' '.join(str(error).split())}") from None


def _refuse_depth(text: str, where: str) -> None:
    """libyaml recurses per level in C and takes the process with it; so count levels first, without recursion."""
    if sum(text.count(opener) for opener in ("[", "{", "- ", "? ", ": ")) <= _DEPTH:
        return
    depth, untyped = 0, cast("Any", yaml)
    for event in untyped.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEPTH:
            raise SpecError(f"{where}:{event.start_mark.line + 1}: nested more than {_DEPTH} levels deep")


def _kind(data: object) -> str:
    if data is None:
        return "nothing"
    return "a list" if isinstance(data, list) else "plain text" if isinstance(data, str) else repr(data)[:40]
