"""Seeded random weights, made once per configuration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .config import ModelConfig, TextConfig


class _Source:
    def __init__(self, seed: int, device: str) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.device = device

    def normal(self, *shape: int, fan_in: int) -> Tensor:
        return (torch.randn(*shape, generator=self.generator) * fan_in**-0.5).to(self.device)

    def linear(self, out_width: int, in_width: int) -> Tensor:
        return self.normal(out_width, in_width, fan_in=in_width)

    def bias(self, width: int) -> Tensor:
        return self.normal(width, fan_in=2500)


@dataclass(frozen=True, eq=False)
class Mlp:
    """Gated when ``gate`` is there. Weights are [out, in]."""

    up: Tensor
    down: Tensor
    gate: Tensor | None = None


@dataclass(frozen=True, eq=False)
class VisionLayer:
    norm1: Tensor
    norm2: Tensor
    qkv: Tensor
    qkv_bias: Tensor
    out: Tensor
    mlp: Mlp


@dataclass(frozen=True, eq=False)
class Moe:
    router: Tensor
    experts: tuple[Mlp, ...]
    shared: Mlp | None


@dataclass(frozen=True, eq=False)
class TextLayer:
    norm1: Tensor
    norm2: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    q_bias: Tensor | None
    k_bias: Tensor | None
    v_bias: Tensor | None
    o: Tensor
    mlp: Mlp | None
    moe: Moe | None


@dataclass(frozen=True, eq=False)
class TextWeights:
    embedding: Tensor
    layers: tuple[TextLayer, ...]
    norm: Tensor
    head: Tensor


@dataclass(frozen=True, eq=False)
class Weights:
    patch: Tensor
    layers: tuple[VisionLayer, ...]
    vision_norm: Tensor
    project_in: Tensor
    project_out: Tensor
    text: TextWeights


def _mlp(source: _Source, width: int, inner: int, gated: bool) -> Mlp:
    gate = source.linear(inner, width) if gated else None
    return Mlp(source.linear(inner, width), source.linear(width, inner), gate)


def _norm(source: _Source, width: int) -> Tensor:
    return 1 + source.normal(width, fan_in=100)


def _text_layer(source: _Source, c: TextConfig) -> TextLayer:
    d, q, kv = c.hidden_size, c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    mlp, moe = None, None
    if c.num_experts:
        experts = tuple(_mlp(source, d, c.moe_intermediate_size, True) for _ in range(c.num_experts))
        shared = _mlp(source, d, c.shared_expert_intermediate_size, True) if c.shared_expert_intermediate_size else None
        moe = Moe(source.linear(c.num_experts, d), experts, shared)
    else:
        mlp = _mlp(source, d, c.intermediate_size, True)
    return TextLayer(
        norm1=_norm(source, d),
        norm2=_norm(source, d),
        q=source.linear(q, d),
        k=source.linear(kv, d),
        v=source.linear(kv, d),
        q_bias=source.bias(q) if c.attention_bias else None,
        k_bias=source.bias(kv) if c.attention_bias else None,
        v_bias=source.bias(kv) if c.attention_bias else None,
        o=source.linear(d, q),
        mlp=mlp,
        moe=moe,
    )


@lru_cache(maxsize=8)
def text_weights(config: TextConfig, seed: int, device: str = "cpu") -> TextWeights:
    """A decoder's weights (also the separate drafter's)."""
    source = _Source(seed, device)
    embedding = source.normal(config.vocab_size, config.hidden_size, fan_in=1)
    layers = tuple(_text_layer(source, config) for _ in range(config.num_hidden_layers))
    head = embedding if config.tie_word_embeddings else source.linear(config.vocab_size, config.hidden_size)
    return TextWeights(embedding, layers, _norm(source, config.hidden_size), head)


@lru_cache(maxsize=8)
def weights(config: ModelConfig, device: str = "cpu") -> Weights:
    """The whole model's weights, float32, from ``config.seed``."""
    source = _Source(config.seed + 1, device)
    v = config.vision
    d = v.hidden_size
    layers = tuple(
        VisionLayer(
            _norm(source, d),
            _norm(source, d),
            source.linear(3 * d, d),
            source.bias(3 * d),
            source.linear(d, d),
            _mlp(source, d, v.intermediate_size, v.gated_mlp),
        )
        for _ in range(v.num_hidden_layers)
    )
    joined = d * config.projector.spatial_merge_size**2
    return Weights(
        patch=source.normal(d, 3, v.patch_size, v.patch_size, fan_in=3 * v.patch_size**2),
        layers=layers,
        vision_norm=_norm(source, d),
        project_in=source.linear(config.projector.hidden_size, joined),
        project_out=source.linear(config.text.hidden_size, config.projector.hidden_size),
        text=text_weights(config.text, config.seed, device),
    )
