"""One question to the simulator: model, hardware, workload, deployment and techniques; everything else follows from it."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from simulator.spec.deployment import Parallelism
from simulator.spec.hardware import Device, Format
from simulator.spec.model import Lvlm
from simulator.spec.validated import Asked
from simulator.spec.workload import Workload

Task = Literal["grounding", "text_rich", "general_vqa", "reasoning", "captioning", "video"]


class TechniqueUse(Asked):
    """A technique or preset by name, with the parameters that differ from its defaults."""

    kind: str
    parameters: dict[str, Any] = {}


class HardwareScale(Asked):
    """Factors on datasheet figures, for counterfactual hardware (1: as it is)."""

    bandwidth: float = Field(default=1.0, gt=0, le=1e3, allow_inf_nan=False)
    flops: float = Field(default=1.0, gt=0, le=1e3, allow_inf_nan=False)
    capacity: float = Field(default=1.0, gt=0, le=1e3, allow_inf_nan=False)
    link: float = Field(default=1.0, gt=0, le=1e3, allow_inf_nan=False)
    price: float = Field(default=1.0, ge=0, le=1e3, allow_inf_nan=False)


class Scenario(Asked):
    """model, hardware: a name, a YAML file, or the spec itself. engine: a name or a YAML file. format: compute format of the language
    model's linear layers. preprocess: count the host's share. task: class of task for the evidence on fidelity."""

    model: str | Lvlm
    hardware: str | Device
    workload: Workload
    engine: str = "vllm"
    format: Format = "bf16"
    parallel: Parallelism = Parallelism()
    techniques: tuple[TechniqueUse, ...] = ()
    preprocess: bool = True
    scale: HardwareScale = HardwareScale()
    task: Task = "general_vqa"

    @field_validator("techniques", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(parse_technique(item) if isinstance(item, str) else item for item in value)
        return value

    @model_validator(mode="after")
    def _named(self) -> Scenario:
        for field in ("model", "hardware", "engine"):
            if getattr(self, field) == "":
                raise ValueError(f"{field}: is empty; give a name")
        return self

    def canonical(self) -> str:
        """The scenario as JSON with sorted keys; two scenarios are the same if these are."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """Content hash, 16 hexadecimal digits."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]


def parse_technique(text: str) -> TechniqueUse:
    """`kind:a=1,b=0.5,list=8|16|24` as a technique; a value keeps its text until the technique's declaration converts it."""
    kind, _, rest = text.partition(":")
    parameters: dict[str, str] = {}
    for item in filter(None, rest.split(",")):
        name, equals, value = item.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise ValueError(f"{text!r} is not accepted: {item!r} must be name=value")
        if name.strip() in parameters:
            raise ValueError(f"{text!r} is not accepted: {name.strip()!r} is given twice")
        parameters[name.strip()] = value.strip()
    return TechniqueUse(kind=kind.strip(), parameters=parameters)
