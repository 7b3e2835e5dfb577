"""A few real mixes against their dense baseline: one decoder stack in plain torch, the technique written into it.

The stack is that of a published language model, cut to a few layers: RMSNorm, rotary attention with grouped heads, gated
MLP. Every variant runs the same weights, so that a ratio of two rows of one shape is the technique's speed-up.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from calibrate.measure.attention import repeat_heads
from calibrate.measure.case import Case, Prepared, Unsupported
from calibrate.measure.device import Device, item_bytes
from calibrate.measure.elementwise import rms_norm, rotate, unpack_int4
from calibrate.measure.gemm import fused
from calibrate.measure.runner import Plan
from calibrate.measure.suites import ordered

BLOCK = 64


@dataclass(frozen=True)
class Decoder:
    """Sizes of a decoder stack."""

    name: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int

    def layer_parameters(self) -> int:
        """Weights of one layer."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.ffn


GPU_DECODERS = (
    Decoder("qwen2.5-7b-cut", 8, 3584, 18944, 28, 4, 128),
    Decoder("llama-2-7b-cut", 8, 4096, 11008, 32, 32, 128),
)
CPU_DECODERS = (Decoder("smollm-135m-cut", 6, 576, 1536, 9, 3, 64), Decoder("qwen2-0.5b-cut", 4, 896, 4864, 14, 2, 64))


@dataclass(frozen=True)
class Layer:
    """Weights of one layer; names as in the papers."""

    norm1: torch.Tensor
    qkv: torch.Tensor
    out: torch.Tensor
    norm2: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


def layers_of(decoder: Decoder, format: str, device: Device) -> list[Layer]:
    """Random weights, each layer in memory of its own."""
    d = decoder
    width = d.head_dim * (d.heads + 2 * d.kv_heads)
    shapes = ((d.hidden,), (width, d.hidden), (d.hidden, d.heads * d.head_dim), (d.hidden,), (2 * d.ffn, d.hidden))
    return [
        Layer(*(device.take(shape, format).clone() * 0.05 for shape in (*shapes, (d.hidden, d.ffn))))
        for _ in range(d.layers)
    ]


def project(decoder: Decoder, layer: Layer, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x [batch, tokens, hidden] -> q, k, v [batch, heads, tokens, head_dim], rotated."""
    d = decoder
    batch, tokens, _ = x.shape
    parts = functional.linear(rms_norm(x, layer.norm1), layer.qkv).view(batch, tokens, -1, d.head_dim).transpose(1, 2)
    q, k, v = parts.split([d.heads, d.kv_heads, d.kv_heads], dim=1)
    angle = torch.ones(1, 1, 1, d.head_dim, device=x.device, dtype=x.dtype)
    return rotate(q, angle, angle), rotate(k, angle, angle), v


def finish(layer: Layer, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
    """Output projection, MLP and both residuals; attended [batch, heads, tokens, head_dim]."""
    x = x + functional.linear(attended.transpose(1, 2).flatten(2), layer.out)
    gate, up = functional.linear(rms_norm(x, layer.norm2), layer.gate_up).chunk(2, dim=-1)
    return x + functional.linear(functional.silu(gate) * up, layer.down)


def causal(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Fused causal attention over as many keys as queries."""
    groups = q.shape[1] // k.shape[1]
    return functional.scaled_dot_product_attention(q, repeat_heads(k, groups), repeat_heads(v, groups), is_causal=True)


def scores_of(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Softmax of causal scores in float32 [batch, heads, query, context], materialised."""
    k = repeat_heads(k, q.shape[1] // k.shape[1])
    scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(q.shape[-1])
    query, context = scores.shape[-2:]
    future = torch.ones(query, context, dtype=torch.bool, device=q.device).triu(context - query + 1)
    return functional.softmax(scores.masked_fill(future, float("-inf")), dim=-1, dtype=torch.float32)


def block_sparse(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, density: float) -> torch.Tensor:
    """Every block of 64 queries attends to a share of the blocks of keys, chosen by mean-pooled scores, gathered, fused."""
    groups = q.shape[1] // k.shape[1]
    k, v = repeat_heads(k, groups), repeat_heads(v, groups)
    batch, heads, tokens, width = q.shape
    blocks = tokens // BLOCK
    kept = max(1, round(density * blocks))
    qb, kb, vb = (x.view(batch, heads, blocks, BLOCK, width) for x in (q, k, v))
    pooled = torch.matmul(qb.mean(3), kb.mean(3).transpose(2, 3))
    chosen = pooled.topk(kept, dim=-1).indices[..., None, None]
    index = chosen.expand(-1, -1, -1, -1, BLOCK, width).flatten(2, 3)
    picked = (x.gather(2, index).view(batch, heads * blocks, kept * BLOCK, width) for x in (kb, vb))
    out = functional.scaled_dot_product_attention(qb.reshape(batch, heads * blocks, BLOCK, width), *picked)
    return out.view(batch, heads, tokens, width)


def flex_sparse(density: float, tokens: int, device: Device) -> Callable[..., torch.Tensor]:
    """Causal sliding window of ``density`` of the tokens through flex_attention."""
    try:
        module = importlib.import_module("torch.nn.attention.flex_attention")
    except ImportError as error:
        raise Unsupported("this torch has no flex_attention") from error
    if not device.is_cuda:
        raise Unsupported("flex_attention is compiled for GPUs here")
    window = max(1, round(density * tokens))

    def allowed(b: Any, h: Any, row: Any, column: Any) -> Any:
        return (column <= row) & (row - column < window)

    mask = module.create_block_mask(allowed, None, None, tokens, tokens, device="cuda")
    compiled = torch.compile(module.flex_attention)
    return lambda q, k, v: compiled(q, k, v, block_mask=mask, enable_gqa=q.shape[1] != k.shape[1])


def prefill(
    decoder: Decoder, layers: list[Layer], x: torch.Tensor, technique: str, at: int, keep: float, sparse: Any
) -> torch.Tensor:
    """The stack over x. ``fastv_map`` takes the ranking from a materialised map at layer ``at`` (which then is not fused);
    ``fastv_row`` keeps the fused kernel and recomputes the last row only. Both then gather the kept tokens."""
    for index, layer in enumerate(layers):
        q, k, v = project(decoder, layer, x)
        if technique == "sparse_blocks":
            attended = block_sparse(q, k, v, keep)
        elif technique == "sparse_flex":
            attended = sparse(q, k, v)
        elif technique == "fastv_map" and index == at:
            weights = scores_of(q, k)
            attended = torch.matmul(weights.to(v.dtype), repeat_heads(v, q.shape[1] // v.shape[1]))
            ranking = weights.mean(1)[:, -1]
        else:
            attended = causal(q, k, v)
            if technique == "fastv_row" and index == at:
                ranking = scores_of(q[:, :, -1:], k).mean(1)[:, -1]
        x = finish(layer, x, attended)
        if technique.startswith("fastv") and index == at:
            kept = ranking.topk(max(1, round(keep * x.shape[1])), dim=-1).indices.sort(dim=-1).values
            x = x.gather(1, kept[..., None].expand(-1, -1, x.shape[2]))
    return x


def decode_reader(
    technique: str, decoder: Decoder, batch: int, context: int, keep: float, format: str, device: Device
) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
    """What a layer does to get K and V of its cache: read it, read the part that was kept, or de-quantise it."""
    resident = max(1, round(keep * context)) if technique == "kv_evict" else context
    shape = (batch, decoder.kv_heads, resident, decoder.head_dim)
    if technique in ("dense", "kv_evict"):
        k, v = device.take(shape, format), device.take(shape, format)
        return lambda: (k, v)
    scale = device.take((*shape[:-1], 1), format).abs() * 0.01
    if technique == "kv_int8":
        k8, v8 = device.take(shape, "int8"), device.take(shape, "int8")
        return lambda: (k8.to(scale.dtype) * scale, v8.to(scale.dtype) * scale)
    packed = (*shape[:-1], decoder.head_dim // 2)
    k4, v4 = (device.take(packed, "int8").view(torch.uint8) for _ in range(2))
    unpack = fused(unpack_int4, device.is_cuda)
    return lambda: (unpack(k4, scale, scale.dtype), unpack(v4, scale, scale.dtype))  # type: ignore[return-value]


def decode(
    decoder: Decoder,
    layers: list[Layer],
    readers: list[Callable[[], tuple[torch.Tensor, torch.Tensor]]],
    x: torch.Tensor,
) -> torch.Tensor:
    """One step of the stack for x [batch, 1, hidden] over the caches."""
    for layer, reader in zip(layers, readers, strict=True):
        q, k, v = project(decoder, layer, x)
        old_k, old_v = reader()
        k, v = torch.cat((old_k, k), dim=2), torch.cat((old_v, v), dim=2)
        groups = q.shape[1] // k.shape[1]
        grouped = q.reshape(q.shape[0], k.shape[1], groups, q.shape[3])
        x = finish(layer, x, functional.scaled_dot_product_attention(grouped, k, v).reshape(q.shape))
    return x


def technique_case(
    decoder: Decoder, stage: str, technique: str, format: str, batch: int, tokens: int, at: int = 0, keep: float = 1.0
) -> Case:
    """``tokens`` are the query of a prefill or the context of a decode; ``keep`` is kept tokens, density or kept
    cache; ``at`` is the layer whose map ranks the tokens (0 where there is none)."""
    key = {
        "model": decoder.name, "stage": stage, "technique": technique, "format": format, "batch": batch,
        "tokens": tokens, "layers": decoder.layers, "at_layer": at, "keep": keep,
    }  # fmt: skip
    size = item_bytes(format)
    maps = batch * decoder.heads * tokens * tokens * 10 if technique == "fastv_map" else 0
    needed = size * decoder.layers * decoder.layer_parameters() + maps

    def prepare(device: Device) -> Prepared:
        layers = stack(decoder, format, device)
        sparse = flex_sparse(keep, tokens, device) if technique == "sparse_flex" else None
        footprint = size * decoder.layers * decoder.layer_parameters()
        if stage == "prefill":
            x = device.take((batch, tokens, decoder.hidden), format)
            return Prepared(
                (functools.partial(prefill, decoder, layers, x, technique, at, keep, sparse),), footprint, single=True
            )
        readers = [decode_reader(technique, decoder, batch, tokens, keep, format, device) for _ in layers]
        x = device.take((batch, 1, decoder.hidden), format)
        return Prepared((functools.partial(decode, decoder, layers, readers, x),), footprint, single=True)

    return Case("techniques", {**key}, prepare, needed)


@functools.lru_cache(maxsize=4)
def stack(decoder: Decoder, format: str, device: Device) -> list[Layer]:
    """The weights of a decoder, made once."""
    return layers_of(decoder, format, device)


def plans(device_kind: str) -> list[Plan]:
    """The techniques suite; dense baselines come with every shape."""
    cuda = device_kind == "cuda"
    cases: list[Case] = []
    for decoder in GPU_DECODERS if cuda else CPU_DECODERS:
        for format in ("bf16",) if cuda else ("f32",):
            for tokens in (1024, 2048, 4096, 8192) if cuda else (256, 640, 1024):
                for batch in (1, 4) if cuda else (1,):
                    shape = (format, batch, tokens)
                    cases.append(technique_case(decoder, "prefill", "dense", *shape))
                    for keep in (0.25, 0.5):
                        for technique in ("fastv_map", "fastv_row"):
                            cases.append(technique_case(decoder, "prefill", technique, *shape, 1, keep))
                        cases.append(technique_case(decoder, "prefill", "sparse_blocks", *shape, 0, keep))
                        if cuda:
                            cases.append(technique_case(decoder, "prefill", "sparse_flex", *shape, 0, keep))
            for tokens in (2048, 8192, 32768) if cuda else (512, 2048, 4096):
                for batch in (1, 16) if cuda else (1, 4):
                    shape = (format, batch, tokens)
                    cases += [
                        technique_case(decoder, "decode", name, *shape) for name in ("dense", "kv_int8", "kv_int4")
                    ]
                    cases += [
                        technique_case(decoder, "decode", "kv_evict", *shape, 0, keep) for keep in (0.1, 0.25, 0.5)
                    ]
    return [Plan("techniques", tuple(ordered(cases, ("stage",))), 1.0, 12, 0.4)]
