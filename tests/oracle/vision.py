"""The vision side: patch convolution, ViT blocks with merging and pruning, post-encoder reduction, projector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .choose import bipartite_merge, distinct, top
from .config import ModelConfig, OracleWorkload, kept
from .meter import Meter
from .report import Report
from .techniques import EncoderMerge, EncoderPrune, PostEncoderReduce, Technique, find, merge_steps
from .weights import Mlp, VisionLayer, Weights


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    return F.layer_norm(x, weight.shape, weight)


def mlp(x: Tensor, w: Mlp) -> Tensor:
    """Gated SiLU with a gate, plain GELU without."""
    inner = F.linear(x, w.up)
    inner = F.gelu(inner) if w.gate is None else inner * F.silu(F.linear(x, w.gate))
    return F.linear(inner, w.down)


def patch_order(rows: int, columns: int, model: ModelConfig) -> Tensor:
    """Order of the patches in which windows, and merge neighbours inside them, lie one after the other."""
    u = model.projector.spatial_merge_size
    s = model.vision.window or u
    grid = torch.arange(rows * columns).view(rows // s, s // u, u, columns // s, s // u, u)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(-1)


def _attention(x: Tensor, w: VisionLayer, heads: int, window: int, scored: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Bidirectional attention of x [images, n, d] within windows of ``window`` tokens (0: all).

    Returns the output, the mean attention each token receives [images, n] (zeros unless ``scored``: a pass over the
    whole map), and the keys averaged over heads.
    """
    images, n, d = x.shape
    size = window or n
    q, k, v = (
        F.linear(x, w.qkv, w.qkv_bias)
        .view(images * n // size, size, 3, heads, d // heads)
        .permute(2, 0, 3, 1, 4)
        .unbind(0)
    )
    scores = (q @ k.transpose(-1, -2) * (d // heads) ** -0.5).softmax(-1)
    out = (scores @ v).transpose(1, 2).reshape(images, n, d)
    received = scores.mean((1, 2)).reshape(images, n) if scored else torch.zeros(images, n, device=x.device)
    return F.linear(out, w.out), received, k.mean(1).reshape(images, n, -1)


def _keep_units(x: Tensor, score: Tensor, keep: float, unit: int) -> tuple[Tensor, int, int]:
    """Keep the best units (a unit is the neighbours that the projector joins): tokens, units kept, units before."""
    images, n, d = x.shape
    units = n // unit
    k = kept(keep, units)
    index = top(score.view(images, units, unit).mean(-1), k)
    chosen = x.view(images, units, unit * d).gather(1, index.unsqueeze(-1).expand(-1, -1, unit * d))
    return chosen.reshape(images, k * unit, d), k, units


def _scored(layer: int, prune: EncoderPrune | None, post: PostEncoderReduce | None, layers: int) -> bool:
    """Whether a technique reads the map of a block: that before a pruning one, or the last."""
    before = prune is not None and prune.score == "map" and layer == prune.layer - 1
    return before or (post is not None and post.score == "map" and layer == layers - 1)


def encode(
    w: Weights, model: ModelConfig, workload: OracleWorkload, pixels: Tensor, mix: Sequence[Technique], meter: Meter,
    report: Report,
) -> Tensor:  # fmt: skip
    """Pixels [images, 3, height, width] -> tokens [images, n, d] as the encoder and its techniques leave them."""
    v, unit = model.vision, model.projector.spatial_merge_size**2
    merge, prune, post = find(mix, EncoderMerge), find(mix, EncoderPrune), find(mix, PostEncoderReduce)
    rows, columns = workload.grid(model)
    with meter.stage("encode"):
        x = F.conv2d(pixels, w.patch, stride=v.patch_size).flatten(2).transpose(1, 2)
        x = x[:, patch_order(rows, columns, model).to(x.device)]
        size = torch.ones(*x.shape[:2], 1, device=x.device)
        steps: list[int] = []
        received = torch.zeros(x.shape[:2], device=x.device)
        for i, layer in enumerate(w.layers):
            if prune and prune.layer == i:
                with meter.overhead():
                    score = received if prune.score == "map" else distinct(x)
                both, k, n = _keep_units(torch.cat([x, size], -1), score, prune.keep, unit)
                x, size = both[..., :-1], both[..., -1:]
                report.resolve("encoder_prune", keep=[k, n])
            if merge and merge.start == i:
                steps = merge_steps(merge, x.shape[1])
                report.resolve("encoder_merge", keep=[x.shape[1] - sum(steps), x.shape[1]], merged_per_block=steps)
            window = v.window**2 if v.windowed(i) else 0
            attended = x.shape[1]
            heads, scored = v.num_attention_heads, _scored(i, prune, post, len(w.layers))
            out, received, keys = _attention(_norm(x, layer.norm1), layer, heads, window, scored)
            x = x + out
            if merge and merge.start <= i < merge.stop:
                with meter.overhead():
                    both = torch.cat([x, received.unsqueeze(-1)], -1)
                    both, size = bipartite_merge(both, keys, size, steps[i - merge.start])
                x, received = both[..., :-1], both[..., -1]
            report.encoder_tokens.append((attended, x.shape[1]))
            x = x + mlp(_norm(x, layer.norm2), layer.mlp)
        x = _norm(x, w.vision_norm)
        if post:
            with meter.overhead():
                score = received if post.score == "map" else distinct(x)
            x, k, n = _keep_units(x, score, post.keep, unit)
            report.resolve("post_encoder_reduce", keep=[k, n])
        report.encoder_out = x.shape[1]
    return x


def project(w: Weights, model: ModelConfig, x: Tensor, meter: Meter) -> Tensor:
    """Tokens [images, n, d] -> visual tokens [images * n / side**2, text width], images one after the other."""
    with meter.stage("project"):
        joined = x.reshape(-1, x.shape[-1] * model.projector.spatial_merge_size**2)
        return F.linear(F.gelu(F.linear(joined, w.project_in)), w.project_out)
