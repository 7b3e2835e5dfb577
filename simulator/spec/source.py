"""Where a number comes from. Every figure in a YAML file names its source."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["spec", "measured", "inferred", "assumed"]


class SpecError(ValueError):
    """Bad input: one line that names the field, the value and what would be accepted."""


class Spec(BaseModel):
    """Base of everything a user writes down: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Spec):
    """`kind` says how a figure came to be; `reference` names the document, page or run; `date` is ISO."""

    kind: Kind
    reference: str
    date: str | None = None
