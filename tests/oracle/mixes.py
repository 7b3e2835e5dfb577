"""Seeded random cases: a tiny model, a workload and one to four techniques that do not contradict each other."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .config import ModelConfig, OracleWorkload, ProjectorConfig, TextConfig, VisionConfig
from .techniques import (
    METHODS,
    EncoderMerge,
    EncoderPrune,
    FrozenVisual,
    InLlmPrune,
    KvEvict,
    KvQuant,
    LayerSkip,
    PostEncoderReduce,
    PreLlmReduce,
    SparseAttention,
    Speculative,
    Technique,
    VisualBypass,
    find,
    technique_from_dict,
    validate,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One seeded case; ``to_dict`` is JSON-ready."""

    model: ModelConfig
    workload: OracleWorkload
    mix: tuple[Technique, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.to_dict(),
            "workload": self.workload.to_dict(),
            "techniques": [t.to_dict() for t in self.mix],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Case:
        mix = tuple(technique_from_dict(t) for t in data["techniques"])
        return cls(ModelConfig.from_dict(data["model"]), OracleWorkload.from_dict(data["workload"]), mix)


def _model(r: random.Random) -> ModelConfig:
    side = r.choice((1, 1, 1, 2))
    layers = r.randint(3, 5)
    window = r.choice((0, 0, 0, 4))
    vision = VisionConfig(
        hidden_size=r.choice((32, 64, 96)),
        num_hidden_layers=layers,
        num_attention_heads=r.choice((2, 4)),
        intermediate_size=r.choice((96, 128, 160)),
        patch_size=r.choice((4, 8)),
        gated_mlp=r.random() < 0.4,
        window=window,
        full_attention_layers=(layers - 1,) if window else (),
    )
    kv = r.choice((1, 2, 4))
    depth = r.randint(4, 6)
    text = TextConfig(
        vocab_size=r.choice((101, 199, 257)),
        hidden_size=r.choice((64, 96, 128)),
        num_hidden_layers=depth,
        num_attention_heads=kv * r.choice((1, 2)) if kv > 1 else 4,
        num_key_value_heads=kv,
        head_dim=r.choice((16, 32)),
        intermediate_size=r.choice((128, 192)),
        tie_word_embeddings=r.random() < 0.3,
        attention_bias=r.random() < 0.7,
    )
    if r.random() < 0.2:
        sliding = tuple(i for i in range(depth) if i % 3 != 2)
        text = replace(text, sliding_window=r.choice((24, 40)), sliding_layers=sliding)
    if r.random() < 0.2:
        shared = r.choice((0, 64))
        text = replace(
            text, num_experts=r.choice((4, 6)), num_experts_per_tok=2, moe_intermediate_size=r.choice((32, 48))
        )
        text = replace(text, shared_expert_intermediate_size=shared)
    return ModelConfig(vision, ProjectorConfig(r.choice((64, 96)), side), text, seed=r.randrange(8))


def _workload(r: random.Random, model: ModelConfig) -> OracleWorkload:
    unit = model.vision.patch_size * 4
    return OracleWorkload(
        images=r.choice((1, 1, 1, 2)),
        image_height=unit * r.choice((2, 3)),
        image_width=unit * r.choice((2, 3)),
        text_tokens=r.randint(8, 32),
        output_tokens=r.randint(2, 5),
        batch=r.choice((1, 1, 1, 1, 1, 1, 1, 2)),
        seed=r.randrange(1000),
    )


def _keep(r: random.Random) -> float:
    return round(r.uniform(0.15, 0.9), 2)


def _schedule(r: random.Random, m: ModelConfig) -> Technique:
    count = r.randint(1, 3)
    layers = tuple(sorted(r.sample(range(1, m.text.num_hidden_layers), count)))
    keeps = tuple(sorted((_keep(r) for _ in range(count)), reverse=True))
    return InLlmPrune(layers, keeps, r.choice(("map", "rows", "similarity")))


def _merge(r: random.Random, m: ModelConfig) -> Technique:
    start = r.randint(0, m.vision.num_hidden_layers - 2)
    return EncoderMerge(start, r.randint(start + 2, m.vision.num_hidden_layers), round(r.uniform(0.35, 0.9), 2))


def _bypass(r: random.Random, m: ModelConfig) -> Technique:
    start = r.randint(0, m.text.num_hidden_layers - 1)
    return VisualBypass(start, r.randint(start + 1, m.text.num_hidden_layers))


def _frozen(r: random.Random, m: ModelConfig) -> Technique:
    total = m.text.num_hidden_layers
    return FrozenVisual(tuple(sorted(r.sample(range(total), r.randint(1, total // 2)))))


def _evict(r: random.Random, _: ModelConfig) -> Technique:
    text_kept = r.random() < 0.8
    return KvEvict(
        _keep(r),
        r.choice(("uniform", "pyramid")),
        r.choice(("uniform", "varied")),
        text_kept,
        text_kept and r.random() < 0.3,
    )


def _skip(r: random.Random, m: ModelConfig) -> Technique:
    total = m.text.num_hidden_layers
    stage = r.choice(("decode", "both"))
    if r.random() < 0.3:
        return LayerSkip(keep=round(r.uniform(0.4, 0.9), 2), stage=stage)
    return LayerSkip(layers=tuple(sorted(r.sample(range(1, total), r.randint(1, total // 2)))), stage=stage)


def _quant(r: random.Random, m: ModelConfig) -> Technique:
    bits = (r.choice((1, 2, 4, 8)), r.choice((2, 4, 8, 16)))
    return KvQuant(*bits, group=r.choice((8, m.text.head_dim)), residual=r.choice((0, 0, 4, 8)))


def _speculative(r: random.Random, m: ModelConfig) -> Technique:
    gamma = r.randint(2, 4)
    drafter = r.choice(("model", "self"))
    keep = _keep(r) if drafter == "model" or not m.text.sliding_layers else 1.0
    return Speculative(gamma, drafter, r.randint(1, 2), keep, (r.randint(0, gamma - 1),))


MAKERS: tuple[Callable[[random.Random, ModelConfig], Technique], ...] = (
    _merge,
    lambda r, m: EncoderPrune(r.randint(1, m.vision.num_hidden_layers - 1), _keep(r), r.choice(("map", "agnostic"))),
    lambda r, _: PostEncoderReduce(_keep(r), r.choice(("map", "agnostic"))),
    lambda r, _: PreLlmReduce(_keep(r), r.choice(METHODS)),
    _schedule,
    _bypass,
    _frozen,
    lambda r, _: SparseAttention(round(r.uniform(0.2, 0.9), 2), r.choice((16, 32))),
    _evict,
    _quant,
    _skip,
    _speculative,
)


def _case(r: random.Random) -> Case | None:
    model = _model(r)
    workload = _workload(r, model)
    mix = tuple(make(r, model) for make in r.sample(MAKERS, r.randint(1, 4)))
    spec = find(mix, Speculative)
    if spec:
        cycles = r.randint(1, 3)
        workload = replace(workload, output_tokens=1 + cycles * (spec.accepted[0] + 1))
    try:
        validate(mix, model, workload)
    except ValueError:
        return None
    return Case(model, workload, mix)


def sample_mixes(seed: int, n: int = 500) -> list[Case]:
    """n cases, the same for the same seed; draws that contradict themselves are thrown away."""
    r = random.Random(seed)
    out: list[Case] = []
    while len(out) < n:
        case = _case(r)
        if case is not None:
            out.append(case)
    return out
