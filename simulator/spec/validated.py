"""Plain data to a spec; whatever pydantic finds wrong comes out as one line."""

from __future__ import annotations

import difflib
import reprlib
import types
import typing
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from simulator.spec.source import Spec, SpecError

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 80, 80
Model = TypeVar("Model", bound=BaseModel)


if TYPE_CHECKING:
    Asked = Spec  # a checker loses the fields of a class behind a metaclass of our own
else:

    class _Made(type(Spec)):
        """Calling the class says what is wrong as `validated` does; pydantic's own ways in are as they were."""

        def __call__(cls, *args, **fields):
            try:
                return super().__call__(*args, **fields)
            except ValidationError as error:
                raise SpecError(one_line(error, cls, cls.__name__)) from None

    class Asked(Spec, metaclass=_Made):
        """Base of what users make in Python too: `Workload(batch=-1)` raises a `SpecError` of one line."""


def validated(model: type[Model], data: object, where: str) -> Model:
    """`data` as a `model`; a `SpecError` names `where` it is from, the field, the value and what is accepted."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise SpecError(one_line(error, model, where)) from None
    except RecursionError:
        raise SpecError(f"{where}: nested too deep") from None


def one_line(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """The first problem of a validation error as one line, and how many more there are."""
    problems = error.errors(include_url=False, include_context=True)
    # An unknown field goes first: a misspelt name is why another one "is missing".
    first = next((item for item in problems if item["type"] == "extra_forbidden"), problems[0])
    more = len(problems) - 1
    location = first["loc"]
    path = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        name, fields = str(location[-1]), _fields(model, location[:-1])
        deeper = [f"{field}.{name}" for field in fields if name in _fields(model, (*location[:-1], field))]
        text = f"unknown field; {_accepted(name, fields)}" if not deeper else f"unknown field; did you mean {' or '.join(deeper)}?"
    elif first["type"] == "missing":
        text = "is missing"
    else:
        text = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if not isinstance(first["input"], dict | BaseModel):
            text = f"{shown(first['input'])} is not accepted: {text[:1].lower()}{text[1:]}"
    tail = f" (and {more} more)" if more else ""
    return " ".join(f"{where}: {f'{path}: ' if path else ''}{text}{tail}".split())


def nearest(name: str, names: list[str] | tuple[str, ...]) -> list[str]:
    """Up to three names that look like `name`."""
    return difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)


def _accepted(name: str, fields: tuple[str, ...]) -> str:
    close = nearest(name, fields)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"accepted: {', '.join(fields)}" if fields else "none such is accepted here"


def shown(value: object) -> str:
    """A value for a message of one line: its two ends where it is long (the name of a file is at the end of its path)."""
    text = _REPR.repr(value)  # bounded in depth: aliases let a short YAML text hold a huge value
    return text if len(text) <= 80 else f"{text[:38]}...{text[-38:]}"


def _fields(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, ...]:
    """Field names of the spec at a place inside `model`; empty where a union leaves that open."""
    here: Any = model
    for part in location:
        if isinstance(here, type) and issubclass(here, BaseModel):
            found = here.model_fields.get(str(part))
            here = None if found is None else found.annotation
        else:
            here = next((item for item in reversed(typing.get_args(here)) if item is not type(None)), None)
        while typing.get_origin(here) in (typing.Union, types.UnionType, typing.Annotated):
            here = next((item for item in typing.get_args(here) if item is not type(None)), None)
    return tuple(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else ()
