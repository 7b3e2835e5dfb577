"""The decoder: prefill with its techniques, and cached steps of one or more rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .cache import LayerCache, evict_layer, layer_budget
from .choose import similarity, top
from .config import TextConfig, kept
from .meter import Meter
from .report import Report
from .techniques import (
    InLlmPrune,
    KvEvict,
    KvQuant,
    LayerSkip,
    SparseAttention,
    Technique,
    find,
    frozen_layers,
)  # fmt: skip
from .vision import mlp
from .weights import Moe, TextLayer, TextWeights


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight


Angles = tuple[Tensor, Tensor]


def angles(positions: Tensor, dim: int) -> Angles:
    """Cosine and sine [m, dim / 2] of the rotary angles at positions [m] (base 10000)."""
    half = dim // 2
    inverse = 10000.0 ** (-torch.arange(half, device=positions.device) / half)
    angle = positions.float().unsqueeze(-1) * inverse
    return angle.cos(), angle.sin()


def rotary(x: Tensor, turn: Angles) -> Tensor:
    """Rotate x [heads, m, head_dim] by its angles (halves paired)."""
    (cos, sin), (a, b) = turn, x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def moe(x: Tensor, w: Moe, top_k: int) -> Tensor:
    """Top-k experts, weights softmaxed over the chosen; every expert multiplies only the rows sent to it."""
    gate, chosen = F.linear(x, w.router).topk(top_k, dim=-1)
    gate = gate.softmax(-1)
    out = torch.zeros_like(x) if w.shared is None else mlp(x, w.shared)
    for e, expert in enumerate(w.experts):
        row, slot = (chosen == e).nonzero(as_tuple=True)
        if len(row):
            out = out.index_add(0, row, mlp(x[row], expert) * gate[row, slot].unsqueeze(-1))
    return out


def feed_forward(x: Tensor, w: TextLayer, c: TextConfig) -> Tensor:
    return mlp(x, w.mlp) if w.mlp is not None else moe(x, w.moe, c.num_experts_per_tok)  # type: ignore[arg-type]


def heads_of(x: Tensor, weight: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    """Project rows [m, d] to heads [heads, m, dim]."""
    return F.linear(x, weight, bias).view(x.shape[0], -1, dim).transpose(0, 1)


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, meter: Meter) -> tuple[Tensor, Tensor]:
    """GQA of q [heads, m, dim] over k, v [kv_heads, n, dim]: (output [heads, m, dim], probabilities of the last row).

    Both products run as rectangles; those of pairs outside ``allowed`` [m, n] are taken out of the count.
    """
    heads, m, dim = q.shape
    kv_heads, n, _ = k.shape
    grouped = q.reshape(kv_heads, -1, dim)
    scores = (grouped @ k.transpose(1, 2) * dim**-0.5).view(heads, m, n)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
        if not meter.clock:
            meter.uncount(4 * heads * dim * (m * n - int(allowed.sum())))
    p = scores.softmax(-1)
    return (p.view(kv_heads, -1, n) @ v).view(heads, m, dim), p[:, -1]


def causal(query_at: Tensor, n: int, window: int) -> Tensor:
    """Allowed pairs [m, n] of queries at the given indices; a window counts the query itself."""
    ages = query_at.unsqueeze(1) - torch.arange(n, device=query_at.device)
    return (ages >= 0) & (ages < window) if window else ages >= 0


def block_sparse(
    q: Tensor, k: Tensor, v: Tensor, query_at: Tensor, sparse: SparseAttention, meter: Meter
) -> tuple[Tensor, int]:
    """Causal attention in which each query block gathers and multiplies only its chosen key blocks.

    Block b of queries keeps kept(density, b + 1) of the b + 1 causal blocks: its own, and the best by the
    product of block means (overhead). Returns the output and the pairs attended.
    """
    n, size, dim = k.shape[1], sparse.block, q.shape[-1]
    blocks = -(-n // size)
    with meter.overhead():
        padded = F.pad(k, (0, 0, 0, blocks * size - n)).view(k.shape[0], blocks, size, dim).mean(2)
    out = torch.empty_like(q)
    pairs = 0
    for b in range(blocks):
        row = ((query_at // size) == b).nonzero()[:, 0]
        if not len(row):
            continue
        count = kept(sparse.density, b + 1)
        with meter.overhead():
            mean = q[:, row].mean(1).view(k.shape[0], -1, dim).mean(1, keepdim=True)
            score = (mean @ padded[:, : b + 1].transpose(1, 2)).mean((0, 1))
        score[b] = torch.inf
        chosen = top(score, count)
        at = (chosen.unsqueeze(1) * size + torch.arange(size, device=q.device)).reshape(-1)
        at = at[at < n]
        allowed = at <= query_at[row].unsqueeze(1)
        out[:, row], _ = attend(q[:, row], k[:, at], v[:, at], allowed, meter)
        pairs += int(allowed.sum())
    return out, pairs


class Decoder:
    """One sequence's decoder state: its cache, how far it has come, and which layers run."""

    def __init__(
        self, w: TextWeights, config: TextConfig, kv_dtype: str, device: str, mix: Sequence[Technique], meter: Meter,
        report: Report | None,
    ) -> None:  # fmt: skip
        self.w, self.c, self.meter, self.report, self.mix = w, config, meter, report, mix
        quant, skip = find(mix, KvQuant), find(mix, LayerSkip)
        layers = config.num_hidden_layers
        dtype: torch.dtype = getattr(torch, kv_dtype)
        self.residual = quant.residual if quant else 0
        self.cache = [LayerCache(config, config.window(i), quant, dtype, device) for i in range(layers)]
        skipped = skip.skipped(layers) if skip else frozenset()
        self.skip_prefill = skipped if skip and skip.stage != "decode" else frozenset()
        self.skip_decode = skipped if skip and skip.stage != "prefill" else frozenset()
        self.before = 0
        self.position = 0
        self.written = 0
        self.peak = 0

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.cache)

    def _note_peak(self) -> None:
        self.peak = max(self.peak, self.nbytes)

    def logits(self, x: Tensor) -> Tensor:
        return F.linear(rms_norm(x, self.w.norm), self.w.head)

    def prefill(self, x: Tensor, before: int, visual: int) -> Tensor:
        """Run the prompt x [n, d] with its visual tokens at before..before+visual; hidden state of the last token."""
        prune, sparse, evict = find(self.mix, InLlmPrune), find(self.mix, SparseAttention), find(self.mix, KvEvict)
        frozen, first = frozen_layers(self.mix), visual
        self.before, self.position = before, x.shape[0]
        turn = angles(torch.arange(x.shape[0], device=x.device), self.c.head_dim)
        last_row: Tensor | None = None
        queries: dict[int, Tensor] = {}
        stages: list[list[int]] = []
        for i, w in enumerate(self.w.layers):
            if prune and i in prune.layer:
                target = kept(prune.keep[prune.layer.index(i)], first)
                stay = self._choose(x, turn, w, before, visual, target, prune.score, last_row)
                x, turn, visual = x[stay], (turn[0][stay], turn[1][stay]), target
                stages.append([target, first])
            if self.report:
                self.report.visual_per_layer.append(visual)
                self.report.tokens_per_layer.append(x.shape[0])
            if i in self.skip_prefill:
                self._note(0, 0, 0)
                continue
            x, last_row, queries[i] = self._prefill_layer(x, turn, i, w, (before, visual), i in frozen, sparse)
        if stages and self.report:
            self.report.resolve("in_llm_prune", keep=stages)
        if evict:
            self._evict(evict, queries)
        for layer in self.cache:
            layer.settle()
        self._note_peak()
        return x[-1:]

    def _note(self, written: int, pairs: int, dense: int) -> None:
        if self.report:
            self.report.kv_tokens_written.append(written)
            self.report.pairs_per_layer.append(pairs)
            self.report.pairs_dense_per_layer.append(dense)

    def _prefill_layer(
        self, x: Tensor, turn: Angles, i: int, w: TextLayer, at: tuple[int, int], frozen: bool,
        sparse: SparseAttention | None,
    ) -> tuple[Tensor, Tensor | None, Tensor]:  # fmt: skip
        dim, n, window, cache = self.c.head_dim, x.shape[0], self.c.window(i), self.cache[i]
        rows = torch.arange(n, device=x.device)
        if frozen:
            rows = torch.cat([rows[: at[0]], rows[at[0] + at[1] :]])
        h = rms_norm(x, w.norm1)
        k = rotary(heads_of(h, w.k, w.k_bias, dim), turn)
        v = heads_of(h, w.v, w.v_bias, dim)
        mine = (turn[0][rows], turn[1][rows]) if frozen else turn
        q = rotary(heads_of(h[rows] if frozen else h, w.q, w.q_bias, dim), mine)
        cache.append(k, v)
        cache.groups[0].visual = at[1]
        cache.settle()
        self.written += cache.nbytes
        self._note_peak()
        cache.slide()
        allowed = causal(rows, n, window)
        dense = pairs = 0 if self.meter.clock else int(allowed.sum())
        last: Tensor | None = None
        if sparse and not window:
            out, pairs = block_sparse(q, k, v, rows, sparse, self.meter)
        else:
            out, last = attend(q, k, v, allowed, self.meter)
        self._note(n, pairs, dense)
        y = (x[rows] if frozen else x) + F.linear(out.transpose(0, 1).reshape(len(rows), -1), w.o)
        y = y + feed_forward(rms_norm(y, w.norm2), w, self.c)
        return (x.index_copy(0, rows, y) if frozen else y), last, q[:, -1]

    def _choose(
        self, x: Tensor, turn: Angles, w: TextLayer, before: int, visual: int, target: int, score: str,
        last_row: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """Indices of the rows that go on: all text and the ``target`` best visual tokens."""
        span, dim = slice(before, before + visual), self.c.head_dim
        with self.meter.overhead():
            if score == "map":
                if last_row is None:
                    raise ValueError("in_llm_prune.score='map': the layer before left no attention map")
                values = last_row.mean(0)[span]
            elif score == "rows":
                h = rms_norm(x, w.norm1)
                k = rotary(heads_of(h, w.k, w.k_bias, dim), turn)
                q = rotary(heads_of(h[-1:], w.q, w.q_bias, dim), (turn[0][-1:], turn[1][-1:])).reshape(
                    k.shape[0], -1, dim
                )
                values = (q @ k.transpose(1, 2) * dim**-0.5).softmax(-1).mean((0, 1))[span]
            else:
                values = -similarity(x[span]).mean(-1)
            keep = top(values, target) + before
        every = torch.arange(x.shape[0], device=x.device)
        return torch.cat([every[:before], keep, every[before + visual :]])

    def _evict(self, evict: KvEvict, queries: dict[int, Tensor]) -> None:
        budgets: list[list[list[int]] | None] = []
        for i, layer in enumerate(self.cache):
            if layer.window or i not in queries:
                budgets.append(None)
                continue
            budget = layer_budget(evict, i, len(self.cache))
            budgets.append(evict_layer(layer, evict, budget, queries[i], self.before, self.residual, self.meter))
        if self.report:
            self.report.resolve("kv_evict", budget=budgets)

    def step(self, tokens: Tensor, layers: int | None = None, visual_rows: float = 1.0) -> Tensor:
        """Run rows for tokens [m] over the cache: logits [m, vocabulary]. Call ``commit`` or ``rollback`` next.

        ``layers`` stops early (self drafting); ``visual_rows`` reads only that share of the visual rows.
        """
        x, m, dim = self.w.embedding[tokens], len(tokens), self.c.head_dim
        turn = angles(torch.arange(self.position, self.position + m, device=x.device), dim)
        for i, w in enumerate(self.w.layers[:layers]):
            if i in self.skip_decode:
                continue
            cache = self.cache[i]
            h = rms_norm(x, w.norm1)
            k = rotary(heads_of(h, w.k, w.k_bias, dim), turn)
            q = rotary(heads_of(h, w.q, w.q_bias, dim), turn)
            cache.append(k, heads_of(h, w.v, w.v_bias, dim))
            share = q.shape[0] // k.shape[0]
            out: list[Tensor] = []
            for g in cache.groups:
                keys, values = g.k.read(), g.v.read()
                if visual_rows < 1:
                    at = strided(g.visual, visual_rows, self.before, keys.shape[1]).to(x.device)
                    keys, values = keys[:, at], values[:, at]
                n = keys.shape[1]
                allowed = None
                if m > 1 or cache.window:
                    allowed = causal(torch.arange(n - m, n, device=x.device), n, cache.window)
                mine = q[g.heads.start * share : g.heads.stop * share]
                out.append(attend(mine, keys, values, allowed, self.meter)[0])
            x = x + F.linear(torch.cat(out).transpose(0, 1).reshape(m, -1), w.o)
            x = x + feed_forward(rms_norm(x, w.norm2), w, self.c)
        self.position += m
        self._note_peak()
        return self.logits(x)

    def rollback(self, m: int, layers: int | None = None) -> None:
        """Forget the last m rows."""
        self.position -= m
        for i, cache in enumerate(self.cache[:layers]):
            if i not in self.skip_decode:
                cache.drop_last(m)

    def commit(self) -> None:
        """Make the rows permanent: quantise what left the residual window, slide the windows."""
        for cache in self.cache:
            cache.settle()
            cache.slide()

    def nbytes_read(self, new: int, layers: int | None = None, visual_rows: float = 1.0) -> tuple[int, int]:
        """KV bytes that a step of ``new`` rows reads: (past rows, past and new rows)."""
        past = total = 0
        for i, cache in enumerate(self.cache[:layers]):
            if i in self.skip_decode:
                continue
            old, both = cache.nbytes_read(new)
            if visual_rows < 1:
                at = [(g, strided(g.visual, visual_rows, self.before, g.k.n)) for g in cache.groups]
                fewer = sum(g.k.nbytes_at(index) + g.v.nbytes_at(index) for g, index in at)
                old, both = fewer, both - old + fewer
            past, total = past + old, total + both
        return past, total


def strided(visual: int, share: float, before: int, n: int) -> Tensor:
    """Row indices 0..n-1 with only ``kept(share, visual)`` evenly spaced ones of the visual span."""
    count = kept(share, visual)
    at = before + torch.arange(count) * visual // count
    return torch.cat([torch.arange(before), at, torch.arange(before + visual, n)])
