"""The techniques as data: names and parameters, and the refusal of mixes that contradict themselves.

What each of them does is in README.md; where it acts is in vision.py, decoder.py, cache.py and speculate.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

from .config import ModelConfig, OracleWorkload, kept

METHODS = ("similarity", "greedy", "dpp", "clustering")
BITS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Technique:
    """Base of all techniques; ``kind`` is the public name."""

    kind: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {"kind": self.kind, **values}


@dataclass(frozen=True)
class EncoderMerge(Technique):
    kind: ClassVar[str] = "encoder_merge"
    start: int
    stop: int
    keep: float


@dataclass(frozen=True)
class EncoderPrune(Technique):
    kind: ClassVar[str] = "encoder_prune"
    layer: int
    keep: float
    score: str = "map"


@dataclass(frozen=True)
class PostEncoderReduce(Technique):
    kind: ClassVar[str] = "post_encoder_reduce"
    keep: float
    score: str = "map"


@dataclass(frozen=True)
class PreLlmReduce(Technique):
    kind: ClassVar[str] = "pre_llm_reduce"
    keep: float
    method: str = "greedy"


@dataclass(frozen=True)
class InLlmPrune(Technique):
    kind: ClassVar[str] = "in_llm_prune"
    layer: tuple[int, ...]
    keep: tuple[float, ...]
    score: str = "map"


@dataclass(frozen=True)
class VisualBypass(Technique):
    kind: ClassVar[str] = "visual_bypass"
    start: int
    stop: int

    @property
    def frozen_layers(self) -> frozenset[int]:
        return frozenset(range(self.start, self.stop))


@dataclass(frozen=True)
class FrozenVisual(Technique):
    kind: ClassVar[str] = "frozen_visual"
    layers: tuple[int, ...]

    @property
    def frozen_layers(self) -> frozenset[int]:
        return frozenset(self.layers)


@dataclass(frozen=True)
class SparseAttention(Technique):
    kind: ClassVar[str] = "sparse_attention"
    density: float
    block: int = 16


@dataclass(frozen=True)
class KvEvict(Technique):
    kind: ClassVar[str] = "kv_evict"
    budget: float
    layer_shape: str = "uniform"
    head_shape: str = "uniform"
    text_kept: bool = True
    merge: bool = False


@dataclass(frozen=True)
class KvQuant(Technique):
    kind: ClassVar[str] = "kv_quant"
    k_bits: int = 4
    v_bits: int = 4
    group: int = 16
    residual: int = 0


@dataclass(frozen=True)
class LayerSkip(Technique):
    """Give ``layers`` (the skipped ones) or ``keep`` (fraction executed: the first ones), not both."""

    kind: ClassVar[str] = "layer_skip"
    layers: tuple[int, ...] = ()
    keep: float = 1.0
    stage: str = "decode"

    def skipped(self, total: int) -> frozenset[int]:
        return frozenset(self.layers) if self.layers else frozenset(range(kept(self.keep, total), total))


@dataclass(frozen=True)
class Speculative(Technique):
    """``accepted`` drafted tokens per cycle (cycled when shorter than the run); the bonus token is not in it."""

    kind: ClassVar[str] = "speculative"
    gamma: int = 3
    drafter: str = "model"
    draft_layers: int = 1
    draft_keep: float = 1.0
    accepted: tuple[int, ...] = (1,)


KINDS: dict[str, type[Technique]] = {
    t.kind: t
    for t in (
        EncoderMerge, EncoderPrune, PostEncoderReduce, PreLlmReduce, InLlmPrune, VisualBypass, FrozenVisual,
        SparseAttention, KvEvict, KvQuant, LayerSkip, Speculative,
    )
}  # fmt: skip

T = TypeVar("T", bound=Technique)


def technique_from_dict(data: dict[str, Any]) -> Technique:
    kind = data.get("kind")
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: one of {sorted(KINDS)}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "kind"}
    unknown = set(values) - {f.name for f in fields(KINDS[kind])}
    if unknown:
        raise ValueError(f"{kind}: unknown parameter {sorted(unknown)[0]!r}")
    return KINDS[kind](**values)


def find(mix: Iterable[Technique], kind: type[T]) -> T | None:
    """The one technique of this kind in the mix, or None."""
    return next((t for t in mix if isinstance(t, kind)), None)


def frozen_layers(mix: Iterable[Technique]) -> frozenset[int]:
    found: frozenset[int] = frozenset()
    for t in mix:
        if isinstance(t, VisualBypass | FrozenVisual):
            found |= t.frozen_layers
    return found


def merge_steps(merge: EncoderMerge, n: int) -> list[int]:
    """Tokens merged away in each block of the schedule; the remainder goes to the first blocks."""
    blocks = merge.stop - merge.start
    each, rest = divmod(n - kept(merge.keep, n), blocks)
    return [each + (i < rest) for i in range(blocks)]


def _require(good: bool, message: str) -> None:
    if not good:
        raise ValueError(message)


def _fraction(name: str, value: float) -> None:
    _require(0 < value <= 1, f"{name}={value}: a fraction in (0, 1] is needed")


def validate(mix: Sequence[Technique], model: ModelConfig, workload: OracleWorkload) -> None:
    """Raise ValueError, naming field and value, when a technique is out of range or two contradict each other."""
    kinds = [t.kind for t in mix]
    for kind in kinds:
        _require(kinds.count(kind) == 1, f"{kind}: given {kinds.count(kind)} times, once at most")
    for t in mix:
        for name in ("keep", "density", "budget", "draft_keep"):
            value = getattr(t, name, 1.0)
            for v in value if isinstance(value, tuple) else (value,):
                _fraction(f"{t.kind}.{name}", v)
    _validate_vision(mix, model, workload)
    _validate_text(mix, model)
    _validate_decode(mix, model, workload)


def _validate_vision(mix: Sequence[Technique], model: ModelConfig, workload: OracleWorkload) -> None:
    layers, side = model.vision.num_hidden_layers, model.projector.spatial_merge_size
    merge, prune = find(mix, EncoderMerge), find(mix, EncoderPrune)
    rows, columns = workload.grid(model)
    n = rows * columns
    if merge or prune:
        _require(model.vision.window == 0, "encoder_merge/encoder_prune: window attention needs the whole grid")
    if prune:
        _require(prune.score in ("map", "agnostic"), f"encoder_prune.score={prune.score!r}: map or agnostic")
        low = 1 if prune.score == "map" else 0
        _require(low <= prune.layer < layers, f"encoder_prune.layer={prune.layer}: {low}..{layers - 1}")
    if merge:
        _require(0 <= merge.start < merge.stop <= layers, f"encoder_merge.stop={merge.stop}: start+1..{layers}")
        _require(side == 1, "encoder_merge: a projector that merges neighbours needs the grid")
        inside = prune is not None and merge.start < prune.layer < merge.stop
        _require(not inside, "encoder_prune.layer: inside encoder_merge's schedule")
        if prune is not None and prune.layer <= merge.start:
            n = kept(prune.keep, n)
        for r in merge_steps(merge, n):
            _require(r <= n // 2, f"encoder_merge.keep={merge.keep}: a block can merge away half its tokens at most")
            n -= r
    post = find(mix, PostEncoderReduce)
    if post:
        _require(post.score in ("map", "agnostic"), f"post_encoder_reduce.score={post.score!r}: map or agnostic")
    pre = find(mix, PreLlmReduce)
    if pre:
        _require(pre.method in METHODS, f"pre_llm_reduce.method={pre.method!r}: one of {METHODS}")


def _validate_text(mix: Sequence[Technique], model: ModelConfig) -> None:
    layers = model.text.num_hidden_layers
    prune, sparse, skip = find(mix, InLlmPrune), find(mix, SparseAttention), find(mix, LayerSkip)
    if skip:
        _require(
            skip.stage in ("prefill", "decode", "both"), f"layer_skip.stage={skip.stage!r}: prefill, decode or both"
        )
        _require(not (skip.layers and skip.keep < 1), "layer_skip: layers or keep, not both")
        _require(all(0 <= i < layers for i in skip.layers), f"layer_skip.layers={skip.layers}: 0..{layers - 1}")
        _require(len(skip.skipped(layers)) < layers, "layer_skip: at least one layer must run")
    if prune:
        _require(
            prune.score in ("map", "rows", "similarity"), f"in_llm_prune.score={prune.score!r}: map, rows, similarity"
        )
        _require(len(prune.layer) == len(prune.keep) > 0, "in_llm_prune.keep: one entry for each layer")
        low = 1 if prune.score == "map" else 0
        good = all(low <= i < layers for i in prune.layer) and list(prune.layer) == sorted(set(prune.layer))
        _require(good, f"in_llm_prune.layer={prune.layer}: increasing, {low}..{layers - 1}")
        _require(list(prune.keep) == sorted(prune.keep, reverse=True), "in_llm_prune.keep: must not increase")
        _require(not (prune.score == "map" and sparse), "in_llm_prune.score='map': sparse_attention leaves no full map")
        if skip and skip.stage != "decode":
            near = {i for at in prune.layer for i in (at, at - 1)}
            _require(not near & skip.skipped(layers), "layer_skip.layers: touches a layer that in_llm_prune scores at")
    if sparse:
        _require(sparse.block >= 1, f"sparse_attention.block={sparse.block}: at least 1")
    for t in mix:
        if isinstance(t, VisualBypass | FrozenVisual):
            good = bool(t.frozen_layers) and all(0 <= i < layers for i in t.frozen_layers)
            _require(good, f"{t.kind}: layers within 0..{layers - 1}")
    both = find(mix, VisualBypass) and find(mix, FrozenVisual)
    _require(not both, "frozen_visual: the same operator as visual_bypass; give one of them")


def _validate_decode(mix: Sequence[Technique], model: ModelConfig, workload: OracleWorkload) -> None:
    evict, quant, skip, spec = find(mix, KvEvict), find(mix, KvQuant), find(mix, LayerSkip), find(mix, Speculative)
    if evict:
        _require(
            evict.layer_shape in ("uniform", "pyramid"), f"kv_evict.layer_shape={evict.layer_shape!r}: uniform, pyramid"
        )
        _require(
            evict.head_shape in ("uniform", "varied"), f"kv_evict.head_shape={evict.head_shape!r}: uniform, varied"
        )
        _require(not (evict.merge and not evict.text_kept), "kv_evict.merge: needs text_kept")
    if quant:
        _require(
            quant.k_bits in BITS and quant.v_bits in BITS,
            f"kv_quant.k_bits={quant.k_bits}, v_bits={quant.v_bits}: {BITS}",
        )
        dim = model.text.head_dim
        _require(
            quant.group > 0 and dim % quant.group == 0, f"kv_quant.group={quant.group}: must divide head_dim={dim}"
        )
        _require(dim % 8 == 0, f"text.head_dim={dim}: a multiple of 8 is needed to pack bits")
        _require(quant.residual >= 0, f"kv_quant.residual={quant.residual}: 0 or more")
        if evict:
            good = quant.residual <= workload.text_tokens
            _require(good, f"kv_quant.residual={quant.residual}: kv_evict must not reach into the residual window")
    if spec:
        _require(spec.gamma >= 1, f"speculative.gamma={spec.gamma}: at least 1")
        _require(spec.drafter in ("model", "self"), f"speculative.drafter={spec.drafter!r}: model or self")
        _require(
            bool(spec.accepted) and all(0 <= a <= spec.gamma for a in spec.accepted),
            f"speculative.accepted: 0..{spec.gamma}",
        )
        _require(spec.draft_layers >= 1, f"speculative.draft_layers={spec.draft_layers}: at least 1")
        _require(skip is None, "speculative: not with layer_skip, which would skip layers in the verifier")
        if spec.drafter == "self":
            total = model.text.num_hidden_layers
            _require(spec.draft_layers < total, f"speculative.draft_layers={spec.draft_layers}: below {total} for self")
            if spec.draft_keep < 1:
                _require(not model.text.sliding_layers, "speculative.draft_keep: self drafting over windows needs 1")
                _require(evict is None or evict.text_kept, "speculative.draft_keep: needs kv_evict.text_kept")
