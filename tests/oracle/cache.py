"""The KV cache: real tensors, varlen per head group, optionally packed into bytes; and eviction from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .choose import top
from .config import TextConfig, kept
from .meter import Meter
from .techniques import KvEvict, KvQuant


@dataclass(frozen=True, eq=False)
class Packed:
    """Asymmetric integers of ``bits`` per group along head_dim: codes uint8, scale and zero float16.

    codes [heads, n, head_dim * bits / 8], scale and zero [heads, n, head_dim / group].
    """

    codes: Tensor
    scale: Tensor
    zero: Tensor
    bits: int

    @classmethod
    def pack(cls, x: Tensor, bits: int, group: int) -> Packed:
        heads, n, dim = x.shape
        grouped = x.float().view(heads, n, dim // group, group)
        low, high = grouped.amin(-1), grouped.amax(-1)
        scale = ((high - low) / (2**bits - 1)).clamp_min(1e-4).half()
        zero = low.half()
        q = ((grouped - zero.float().unsqueeze(-1)) / scale.float().unsqueeze(-1)).round().clamp(0, 2**bits - 1)
        per_byte = 8 // bits
        shifts = torch.arange(per_byte, device=x.device) * bits
        lanes = q.to(torch.int32).view(heads, n, dim // per_byte, per_byte)
        return cls((lanes << shifts).sum(-1).to(torch.uint8), scale, zero, bits)

    def unpack(self) -> Tensor:
        heads, n, _ = self.codes.shape
        shifts = torch.arange(8 // self.bits, device=self.codes.device) * self.bits
        lanes = (self.codes.to(torch.int32).unsqueeze(-1) >> shifts) & (2**self.bits - 1)
        groups = self.scale.shape[-1]
        values = lanes.view(heads, n, groups, -1).float()
        return (values * self.scale.float().unsqueeze(-1) + self.zero.float().unsqueeze(-1)).view(heads, n, -1)

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.codes, self.scale, self.zero

    def rebuilt(self, codes: Tensor, scale: Tensor, zero: Tensor) -> Packed:
        return Packed(codes.contiguous(), scale.contiguous(), zero.contiguous(), self.bits)


class Rows:
    """K or V of some heads: [heads, n, head_dim]; old rows packed when bits < 16, recent ones in full precision."""

    def __init__(self, recent: Tensor, bits: int, group: int, residual: int) -> None:
        self.recent = recent
        self.packed: Packed | None = None
        self.bits, self.group, self.residual = bits, group, residual

    @property
    def n(self) -> int:
        return self.recent.shape[1] + (self.packed.codes.shape[1] if self.packed else 0)

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.recent, *(self.packed.tensors() if self.packed else ()))

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in self.tensors())

    def nbytes_of_last(self, m: int) -> int:
        """Bytes of the tensors that hold the last m rows."""
        fresh = min(m, self.recent.shape[1])
        total = self.recent[:, self.recent.shape[1] - fresh :].nbytes
        if self.packed:
            start = self.packed.codes.shape[1] - (m - fresh)
            total += sum(t[:, start:].nbytes for t in self.packed.tensors())
        return total

    def nbytes_at(self, index: Tensor) -> int:
        """Bytes of the tensors that hold the rows at index (on the CPU)."""
        old = self.packed.codes.shape[1] if self.packed else 0
        packed = int((index < old).sum())
        total = self.recent[:, : len(index) - packed].nbytes
        return total + (sum(t[:, :packed].nbytes for t in self.packed.tensors()) if self.packed else 0)

    def read(self) -> Tensor:
        recent = self.recent.float()
        return torch.cat([self.packed.unpack(), recent], 1) if self.packed else recent

    def append(self, x: Tensor) -> None:
        self.recent = torch.cat([self.recent, x.to(self.recent.dtype)], 1)

    def drop_last(self, m: int) -> None:
        self.recent = self.recent[:, : self.recent.shape[1] - m].contiguous()

    def drop_first(self, m: int) -> None:
        gone = min(m, self.packed.codes.shape[1]) if self.packed else 0
        if self.packed and gone:
            self.packed = self.packed.rebuilt(*(t[:, gone:] for t in self.packed.tensors()))
        self.recent = self.recent[:, m - gone :].contiguous()

    def settle(self) -> None:
        """Pack what has grown out of the residual window."""
        old = self.recent.shape[1] - self.residual
        if self.bits == 16 or old <= 0:
            return
        new = Packed.pack(self.recent[:, :old], self.bits, self.group)
        self.recent = self.recent[:, old:].contiguous()
        if self.packed is None:
            self.packed = new
        else:
            both = zip(self.packed.tensors(), new.tensors(), strict=True)
            self.packed = new.rebuilt(*(torch.cat(pair, 1) for pair in both))

    def select(self, index: Tensor, heads: slice) -> Rows:
        """Rows of some heads at index [heads, k] (increasing; the residual window is among them)."""
        out = Rows(self.recent, self.bits, self.group, self.residual)
        old = self.packed.codes.shape[1] if self.packed else 0

        def take(t: Tensor, at: Tensor) -> Tensor:
            return t[heads].gather(1, at.unsqueeze(-1).expand(-1, -1, t.shape[-1])).contiguous()

        k = index.shape[1] - (self.recent.shape[1] if self.packed else 0)
        if self.packed:
            out.packed = self.packed.rebuilt(*(take(t, index[:, :k]) for t in self.packed.tensors()))
            out.recent = self.recent[heads].contiguous()
        else:
            out.recent = take(self.recent, index - old)
        return out

    def replaced(self, values: Tensor) -> Rows:
        """The same layout with other values, packed anew."""
        out = Rows(values.to(self.recent.dtype), self.bits, self.group, self.residual)
        out.settle()
        return out


@dataclass
class HeadGroup:
    """KV heads that hold the same number of rows; ``visual`` rows start at ``text_before``."""

    heads: slice
    k: Rows
    v: Rows
    visual: int

    @property
    def nbytes(self) -> int:
        return self.k.nbytes + self.v.nbytes


class LayerCache:
    """KV of one layer as one group of all heads, or one per head when budgets differ (varlen, no padding)."""

    def __init__(self, c: TextConfig, window: int, quant: KvQuant | None, dtype: torch.dtype, device: str) -> None:
        self.window = window
        bits = (quant.k_bits, quant.v_bits) if quant else (16, 16)
        group, residual = (quant.group, quant.residual) if quant else (1, 0)
        empty = torch.zeros(c.num_key_value_heads, 0, c.head_dim, dtype=dtype, device=device)
        k, v = (Rows(empty, b, group, residual) for b in bits)
        self.groups = [HeadGroup(slice(0, c.num_key_value_heads), k, v, 0)]

    @property
    def nbytes(self) -> int:
        return sum(g.nbytes for g in self.groups)

    @property
    def rows_per_head(self) -> list[int]:
        return [g.k.n for g in self.groups for _ in range(g.heads.stop - g.heads.start)]

    def append(self, k: Tensor, v: Tensor) -> None:
        """k, v [kv_heads, m, head_dim]."""
        for g in self.groups:
            g.k.append(k[g.heads])
            g.v.append(v[g.heads])

    def drop_last(self, m: int) -> None:
        for g in self.groups:
            g.k.drop_last(m)
            g.v.drop_last(m)

    def settle(self) -> None:
        """Quantise what left the residual window."""
        for g in self.groups:
            g.k.settle()
            g.v.settle()

    def slide(self) -> None:
        """Drop what a sliding window no longer holds."""
        for g in self.groups:
            if self.window and g.k.n > self.window:
                over = g.k.n - self.window
                g.k.drop_first(over)
                g.v.drop_first(over)

    def nbytes_read(self, new: int) -> tuple[int, int]:
        """Bytes that the next ``new`` rows read: (of rows already there, the new rows' own included)."""
        past = fresh = 0
        for g in self.groups:
            m = min(g.k.n, self.window - 1) if self.window else g.k.n
            past += g.k.nbytes_of_last(m) + g.v.nbytes_of_last(m)
            row = g.k.recent.element_size() * g.k.recent.shape[0] * g.k.recent.shape[2]
            fresh += 2 * new * row
        return past, past + fresh


def layer_budget(evict: KvEvict, layer: int, layers: int) -> float:
    """Pyramid: a straight line from budget * (1 + s) at layer 0 to budget * (1 - s) at the last one."""
    if evict.layer_shape == "uniform" or layers == 1:
        return evict.budget
    slope = min(0.5, 1 / evict.budget - 1)
    return evict.budget * (1 + slope * (1 - 2 * layer / (layers - 1)))


def head_budget(evict: KvEvict, budget: float, head: int, heads: int) -> float:
    """Varied: a straight line over the KV heads in the same manner, with the same mean."""
    if evict.head_shape == "uniform" or heads == 1:
        return budget
    slope = min(0.5, 1 / budget - 1)
    return budget * (1 + slope * (1 - 2 * head / (heads - 1)))


def evict_layer(
    cache: LayerCache, evict: KvEvict, budget: float, query: Tensor, before: int, residual: int, meter: Meter
) -> list[list[int]]:
    """Evict from a layer that holds one group. query [heads, head_dim] is that of the last prompt token.

    Returns per KV head [rows kept, rows that were eligible].
    """
    (whole,) = cache.groups
    heads, n = whole.heads.stop, whole.k.n
    first, last = (before, before + whole.visual) if evict.text_kept else (0, n)
    counts = [kept(head_budget(evict, budget, h, heads), last - first) for h in range(heads)]
    if not evict.text_kept:
        counts = [max(c, min(n, max(1, residual))) for c in counts]
    with meter.overhead():
        keys = whole.k.read()
        scores = (query.view(heads, -1, query.shape[-1]) @ keys.transpose(1, 2)).softmax(-1).mean(1)
    scores = scores.clone()
    if evict.text_kept:
        scores[:, :first] = scores[:, last:] = torch.inf
    else:
        scores[:, n - max(1, residual) :] = torch.inf
    spare = 0 if not evict.text_kept else n - (last - first)
    same = len(set(counts)) == 1
    parts = [slice(0, heads)] if same else [slice(h, h + 1) for h in range(heads)]
    cache.groups = []
    for part in parts:
        count = counts[part.start]
        index = top(scores[part], count + spare)
        k, v = whole.k.select(index, part), whole.v.select(index, part)
        if evict.merge and count < last - first:
            k, v = _merge(whole, part, index, k, v, (first, count), meter)
        cache.groups.append(HeadGroup(part, k, v, count if evict.text_kept else 0))
    return [[c, last - first] for c in counts]


def _merge(
    whole: HeadGroup, part: slice, index: Tensor, k: Rows, v: Rows, visual: tuple[int, int], meter: Meter
) -> tuple[Rows, Rows]:
    """Average every evicted row into the kept visual row whose key is most similar."""
    start, count = visual
    keys, values = whole.k.read()[part], whole.v.read()[part]
    mask = torch.ones(keys.shape[:2], dtype=torch.bool, device=keys.device).scatter(1, index, False)
    gone = mask.nonzero()[:, 1].view(keys.shape[0], -1)

    def take(t: Tensor, at: Tensor) -> Tensor:
        return t.gather(1, at.unsqueeze(-1).expand(-1, -1, t.shape[-1]))

    with meter.overhead():
        kept_keys = F.normalize(k.read()[:, start : start + count], dim=-1)
        nearest = (F.normalize(take(keys, gone), dim=-1) @ kept_keys.transpose(1, 2)).argmax(-1) + start
    out: list[Rows] = []
    for rows, source in ((k, keys), (v, values)):
        now = rows.read()
        weight = torch.ones(now.shape[0], now.shape[1], 1, device=now.device)
        weight = weight.scatter_add(1, nearest.unsqueeze(-1), torch.ones_like(nearest, dtype=now.dtype).unsqueeze(-1))
        at = nearest.unsqueeze(-1).expand(-1, -1, now.shape[-1])
        out.append(rows.replaced(now.scatter_add(1, at, take(source, gone)) / weight))
    return out[0], out[1]
