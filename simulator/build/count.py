"""What a model owns, counted from the very operators that are timed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from simulator.build.language import build_decoder
from simulator.build.vision import build_tower
from simulator.ops import Experts, Matmul
from simulator.program import Layer
from simulator.spec.model import Lvlm


@lru_cache(maxsize=512)
def _parameters(model: Lvlm) -> tuple[tuple[str, int], ...]:
    decoder = build_decoder(model)
    vision = projector = 0.0
    if model.vision is not None:
        tower = build_tower(model, ())
        vision = _owned(tower.layers) + tower.other_parameters
        projector = _owned(tower.projector) + tower.projector_other_parameters
    embedding = _owned((decoder.embedding,))
    lm_head = 0.0
    language = _owned(decoder.layers) + float(decoder.other_parameters)
    for op in decoder.head.prefill:
        if isinstance(op, Matmul) and op.name == "lm_head":
            lm_head = float(op.n if op.bias else 0.0) if op.shared else float(op.parameters)
        else:
            language += float(op.parameters)
    total = vision + projector + language + embedding + lm_head
    counts = {
        "total": total,
        "vision": vision,
        "projector": projector,
        "language": language,
        "embedding": embedding,
        "lm_head": lm_head,
        "active": total - _idle(decoder.layers),
    }
    return tuple((name, round(value)) for name, value in counts.items())


def parameters(model: Lvlm) -> dict[str, int]:
    """Weights: total, vision, projector, language (decoder body alone), embedding, lm_head (0 if tied), active (per token)."""
    return dict(_parameters(model))


@lru_cache(maxsize=512)
def kv_bytes_per_token(model: Lvlm, bits: float = 16.0) -> float:
    """Bytes that one more token of a sequence adds, all layers together, below any window [byte]. Cross-attention layers keep
    pictures only and add nothing; latent attention keeps its latent."""
    total = 0.0
    for layer in build_decoder(model).layers:
        if layer.cache is not None and layer.cache.grows:
            total += layer.count * float(layer.cache.key_width + layer.cache.value_width) * bits / 8.0
    return total


def _owned(layers: Iterable[Layer]) -> float:
    return sum(layer.count * float(sum(op.parameters for op in layer.prefill)) for layer in layers)


def _idle(layers: Iterable[Layer]) -> float:
    """Parameters of routed experts that a token does not visit."""
    idle = 0.0
    for layer in layers:
        for op in layer.prefill:
            if isinstance(op, Experts):
                visited = op.active / op.total if float(op.text) else 0.0
                idle += layer.count * float(op.parameters) * (1.0 - visited)
    return idle
