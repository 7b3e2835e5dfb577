"""Engines and parallelism: the kernels matter as much as the chip. An engine is data (`engines.yaml`)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.spec.source import Source, Spec, SpecError
from simulator.spec.validated import Asked, validated
from simulator.spec.yaml import read_yaml

Count = Annotated[float, Field(ge=0, le=1e6)]
AttentionKernel = Literal["flash", "materialised", "unsplit"]


class Overhead(Spec):
    """A time the engine adds, with its 80 % half-width in log and its source."""

    seconds: float = Field(ge=0, le=1e6)
    spread: float = Field(ge=0, le=3)
    source: Source


NOTHING = Overhead(seconds=0.0, spread=0.0, source=Source(kind="spec", reference="not counted apart from the step"))


class Engine(Spec):
    """How a serving stack runs a program.

    fits: framework whose kernel fits apply. encoder, prefill, decode: attention kernel per phase. repeats_kv: K and V
    are copied out to all query heads first. copies_cache: a decode step appends by copying the whole cache (torch.cat). softmax_bits: width of the score map while it is normalised.
    unsplit: fused attention in which one block of threads walks all keys of a head (PyTorch's memory-efficient kernel, taken
    whenever a mask tensor is passed); in decode only. logits: lm_head in prefill on the `last` token or on the whole `prompt`;
    logits_bytes: held per logit of the prompt (2; 6 with a float32 copy beside it).
    launch: host time per kernel start in stages that are not graph-captured. graph: stages replayed as one graph.
    layer: host time per layer and pass of a stage (`encode`, `prefill`, `decode`) besides, where it was measured.
    overlap: the host runs ahead of the device (False on a CPU, where they are the same cores and their times add).
    uniform: the whole model is in the compute format (tower, cache and element-wise passes too), not its linear layers alone.
    kernels: kernels started per operator, where a framework does not fuse, by kind or name (absent: one);
    `pass`: outside the layers (rotary tables, mask, positions; absent: none).
    passes: how many times element-wise operators touch memory compared with one fused pass; traffic: the same where it was counted, by kind.
    step: scheduler and sampling time per decode step; sequence: the same for each sequence in it. stage: fixed time per prefill or encode pass.
    request: hand-over and response time per request. memory_share: share of device memory the engine may use;
    reserve_bytes: context, workspace and graphs. chunk_tokens: rows one prefill pass holds at most (0: all).
    spread: 80 % half-width in log of what a whole stage takes over the sum of its kernels, common to all stages.
    workers: host processes that preprocess in parallel; preparations: how often each picture goes through the processor. queue_share: under constant load, share of the other requests' prefills
    that a new request waits for (the rest stalls running decodes). prefill_factor, decode_factor: device time over the
    model's, as anchored on this deployment (1: not anchored). formats: what its GEMMs can multiply in.
    """

    name: str
    title: str
    version: str
    fits: str
    encoder: AttentionKernel
    prefill: AttentionKernel
    decode: AttentionKernel
    repeats_kv: bool = False
    copies_cache: bool = False
    softmax_bits: int = 16
    logits: Literal["last", "prompt"] = "last"
    logits_bytes: float = Field(default=2.0, ge=0, le=1e3)
    launch: Overhead
    graph: tuple[str, ...] = ()
    layer: dict[str, Overhead] = {}
    overlap: bool = True
    uniform: bool = False
    kernels: dict[str, Count] = {}
    passes: float = Field(default=1.0, ge=1.0, le=1e6)
    traffic: dict[str, Count] = {}
    step: Overhead
    sequence: Overhead = NOTHING
    stage: Overhead
    request: Overhead
    memory_share: float = Field(gt=0, le=1)
    reserve_bytes: float = Field(ge=0, le=1e15)
    chunk_tokens: int = Field(default=0, ge=0, le=10**9)
    workers: int = Field(default=1, ge=1)
    preparations: float = Field(default=1.0, ge=1, le=100)
    spread: float = Field(default=0.0, ge=0, le=3)
    queue_share: float = Field(default=0.1, ge=0, le=1)
    prefill_factor: float = Field(default=1.0, gt=0, le=1e3)
    decode_factor: float = Field(default=1.0, gt=0, le=1e3)
    formats: tuple[str, ...]
    notes: str = ""

    @model_validator(mode="after")
    def _stages_have_layers(self) -> Engine:
        for stage in self.layer:
            if stage not in ("encode", "prefill", "decode"):
                raise ValueError(f"layer: {stage!r} has no layers; accepted: encode, prefill, decode")
        return self


class Parallelism(Asked):
    """Degrees of parallelism. ep: experts are split over so many of the devices; above tp it joins ep / tp of the dp replicas.
    encoder: how the vision tower uses the tensor-parallel group."""

    tp: int = Field(default=1, ge=1, le=1024)
    pp: int = Field(default=1, ge=1, le=1024)
    dp: int = Field(default=1, ge=1, le=4096)
    ep: int = Field(default=1, ge=1, le=1024)
    encoder: Literal["tensor", "data"] = "tensor"

    @property
    def devices(self) -> int:
        """Devices in use."""
        return self.tp * self.pp * self.dp


@lru_cache(maxsize=1)
def engines() -> dict[str, Engine]:
    """The engines that ship, by name."""
    path = Path(__file__).with_name("engines.yaml")
    return {name: validated(Engine, {"name": name, **data}, f"engine {name}") for name, data in read_yaml(path).items()}


def load_engine(name: str) -> Engine:
    """The engine of that name, or of a YAML file (an anchored deployment)."""
    known = engines()
    if name in known:
        return known[name]
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.exists():
        return validated(Engine, read_yaml(path), str(path))
    raise SpecError(f"engine: {name!r} is not known; accepted: {', '.join(known)}, or a YAML file")
