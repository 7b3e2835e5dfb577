"""Algorithms that choose which tokens stay. All work on real features; callers charge them as overhead."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def top(scores: Tensor, k: int) -> Tensor:
    """Indices of the k largest along the last axis, in their original order."""
    return scores.topk(k, dim=-1).indices.sort(dim=-1).values


def similarity(x: Tensor) -> Tensor:
    """Pairwise cosine similarity [..., n, n] of features [..., n, d]: one real matrix product."""
    unit = F.normalize(x, dim=-1)
    return unit @ unit.transpose(-1, -2)


def distinct(x: Tensor) -> Tensor:
    """Attention-agnostic score [..., n]: how little a token resembles the others."""
    return -similarity(x).mean(-1)


def greedy_max_min(x: Tensor, k: int) -> Tensor:
    """DivPrune-like: repeatedly take the token farthest from those taken; sequential, k steps."""
    distance = 1 - similarity(x)
    chosen = [int(distance.mean(-1).argmax())]
    nearest = distance[chosen[0]].clone()
    for _ in range(k - 1):
        nearest[chosen[-1]] = -1
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, distance[chosen[-1]])
    return torch.tensor(sorted(chosen), device=x.device)


def dpp(x: Tensor, k: int) -> Tensor:
    """Greedy MAP of a determinantal point process with incremental Cholesky rows; sequential, k steps."""
    n = x.shape[0]
    kernel = similarity(x) + 1e-3 * torch.eye(n, device=x.device)
    gain = kernel.diagonal().clone()
    rows = torch.zeros(k, n, device=x.device)
    chosen: list[int] = []
    for t in range(k):
        j = int(gain.argmax())
        chosen.append(j)
        if t + 1 < k:
            row = kernel[j] if t == 0 else kernel[j] - (rows[:t, j].unsqueeze(0) @ rows[:t]).squeeze(0)
            rows[t] = row / gain[j].clamp_min(1e-9).sqrt()
            gain = gain - rows[t] ** 2
            gain[chosen] = -torch.inf
    return torch.tensor(sorted(chosen), device=x.device)


def cluster(x: Tensor, k: int, neighbours: int = 5) -> tuple[Tensor, Tensor]:
    """Density-peak clustering: k centres, every token averaged into its nearest centre: (indices, features)."""
    n = x.shape[0]
    distance = (1 - similarity(x)).clamp_min(0)
    density = (-distance.topk(min(neighbours, n), largest=False).values.mean(-1)).exp()
    density = density + 1e-6 * torch.arange(n, device=x.device)
    denser = density.unsqueeze(0) > density.unsqueeze(1)
    to_denser = distance.masked_fill(~denser, torch.inf).min(-1).values
    to_denser = torch.where(to_denser.isinf(), distance.max(), to_denser)
    centres = top(density * to_denser, k)
    nearest = distance[:, centres].argmin(-1)
    nearest[centres] = torch.arange(k, device=x.device)
    total = torch.zeros(k, x.shape[1], device=x.device).index_add(0, nearest, x)
    count = torch.zeros(k, device=x.device).index_add(0, nearest, torch.ones(n, device=x.device))
    return centres, total / count.unsqueeze(-1)


def reduce(x: Tensor, k: int, method: str) -> tuple[Tensor, Tensor]:
    """Keep k of the n rows of x [n, d] by the method's rule: (indices, features)."""
    if method == "similarity":
        index = top(distinct(x), k)
    elif method == "greedy":
        index = greedy_max_min(x, k)
    elif method == "dpp":
        index = dpp(x, k)
    elif method == "clustering":
        return cluster(x, k)
    else:
        raise ValueError(f"method={method!r}: similarity, greedy, dpp or clustering")
    return index, x[index]


def bipartite_merge(x: Tensor, metric: Tensor, size: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """ToMe: pair even tokens with their most similar odd one and average the r best pairs.

    x [images, n, d], metric [images, n, m], size [images, n, 1] (how many patches a token stands for);
    returns x and size with n - r tokens.
    """
    if r == 0:
        return x, size
    unit = F.normalize(metric, dim=-1)
    score, partner = (unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)).max(-1)
    order = score.argsort(dim=-1, descending=True).unsqueeze(-1)
    gone, stay = order[:, :r], order[:, r:]
    target = partner.unsqueeze(-1).gather(1, gone)

    def halves(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        even, width = t[:, ::2], t.shape[-1]
        return even.gather(1, gone.expand(-1, -1, width)), even.gather(1, stay.expand(-1, -1, width)), t[:, 1::2]

    gone_x, stay_x, odd_x = halves(x * size)
    gone_s, stay_s, odd_s = halves(size)
    odd_x = odd_x.scatter_add(1, target.expand_as(gone_x), gone_x)
    odd_s = odd_s.scatter_add(1, target, gone_s)
    total, count = torch.cat([stay_x, odd_x], 1), torch.cat([stay_s, odd_s], 1)
    return total / count, count
