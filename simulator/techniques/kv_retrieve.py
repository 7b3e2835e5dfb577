"""KV retrieval: the whole cache stays somewhere, and only the chunks that matter are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import budgets
from simulator.attention import Attention
from simulator.ops import Elementwise, Transfer
from simulator.overheads import rows, topk
from simulator.program import Extra, Layer, Program, edit
from simulator.quantity import Numeric, maximum, minimum, where
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

GATHERS = 7.0  # kernel starts: chunks to tokens (3), rows of K and of V (2), what is newest behind them (2)


@final
@dataclass(frozen=True)
class KvRetrieve(AbstractTechnique):
    """Visual KV in chunks; a query reads the best. The defaults are ReKV's (arXiv 2503.00540): frames of 196 tokens, once a request."""

    # At the site of kv_quant and after it by name, so that what crosses the link is what is stored.
    about: ClassVar[About] = About(
        title="KV retrieval",
        site=Site.KV_BITS,
        family="kv_retrieve",
        entry="rekv",
        axis="kv_tokens",
        needs_query=True,
        engines={
            "hf-flash": ("patch", "ReKV repository, transformers 4.4x"),
            "hf-sdpa": ("patch", "ReKV repository, transformers 4.4x"),
            "vllm": ("hypothetical", "source of 0.33.0: whole blocks can be offloaded and reloaded, but a step reads all of them"),
        },
    )

    keep: Numeric = parameter(0.25, "share of the visual tokens read", unit="fraction", low=0.0, high=1.0)
    select: Numeric = parameter(0.0, "chunks read, instead of keep (0: keep)", unit="chunks", low=0.0)
    chunk: Numeric = parameter(196.0, "tokens that share one index key", unit="tokens", low=1.0)
    window: Numeric = parameter(0.0, "newest visual tokens that are always read and stay on the device", unit="tokens", low=0.0)
    tier: str = parameter("host", "where the rest lies", choices=("memory", "host", "disk"))
    per: str = parameter("request", "chosen once a request or in every step", choices=("request", "step"))
    resident: Numeric = parameter(0.0, "share of the cache that stays on the device besides", unit="fraction", low=0.0, high=1.0)
    overlap: Numeric = parameter(0.0, "share of the transfer hidden behind computation", unit="fraction", low=0.0, high=1.0)
    disk_bandwidth: Numeric = parameter(6.0e9, "read rate of the disk", unit="byte/s", low=1.0e6)

    def apply(self, program: Program, context: Context) -> Program:
        extras: list[Extra] = []

        def change(layer: Layer) -> Layer:
            if layer.cache is None or not budgets.evictable(layer):
                return layer
            seen = budgets.resident(program, layer)
            share, local = self._shares(seen.visual)
            total = maximum(seen.total, 1e-9)
            read = (share * seen.visual + seen.text) / total
            # Chunks fetched once stay for the whole answer; those fetched in every step pass through.
            held = read if self.per == "request" else (local * seen.visual + seen.text) / total
            away = where(share < 1.0, 1.0 - minimum(maximum(self.resident, held), 1.0), 0.0)
            cache = replace(layer.cache, read=layer.cache.read * read, off_device=0.0 if self.tier == "memory" else away)
            extras.extend(self._overheads(program, context, layer, maximum(share - local, 0.0) * seen.visual))
            ops = (replace(op, visible_visual=op.visible_visual * share) if isinstance(op, Attention) else op for op in layer.decode)
            return replace(layer, cache=cache, decode=tuple(ops))

        decoder = replace(program.decoder, layers=edit(program.decoder.layers, change))
        return replace(program, decoder=decoder, extras=(*program.extras, *extras))

    def _shares(self, visual: Numeric) -> tuple[Numeric, Numeric]:
        """Of the visual tokens: the share read, and the share that is newest."""
        safe = maximum(visual, 1.0)
        local = minimum(self.window / safe, 1.0)
        chosen = where(self.select > 0.0, minimum(self.select * self.chunk / safe, 1.0), self.keep)
        return minimum(chosen + local, 1.0), local

    def _overheads(self, program: Program, context: Context, layer: Layer, fetched: Numeric) -> tuple[Extra, ...]:
        """Scores against one mean key per chunk, their ranking, and the chunks over the link; the index stays on the device."""
        op, cache, batch = budgets.attention_of(layer), layer.cache, program.batch
        assert op is not None and cache is not None
        visual = budgets.resident(program, layer).visual
        chunks = visual / self.chunk
        times = where(fetched < visual, layer.count, 0.0)
        step = self.per == "step"
        stage = "decode" if step else "prefill"
        index, shape = budgets.key_scores("kv_retrieve", stage, batch, op, 1.0, chunks)
        kept = batch * chunks * cache.key_width * cache.full_bits / 8.0 * times
        rank = replace(topk("kv_retrieve", stage, batch, chunks * op.kv_heads, times), per_step=step)
        slower = maximum(context.chip.host.bandwidth / self.disk_bandwidth, 1.0) if self.tier == "disk" else 1.0
        away = 0.0 if self.tier == "memory" else 1.0 - self.resident
        moved = batch * fetched * cache.bytes_per_token * away * slower * (1.0 - self.overlap)
        # What was found on the device is put side by side in K and in V; what comes over a link arrives that way.
        here = maximum(fetched, 1e-9) if self.tier == "memory" else 1.0
        beside = Elementwise("kv_retrieve gather", "gather", cache.key_width + cache.value_width, cache.key_width + cache.value_width, launches=GATHERS)
        return (
            Extra("kv_retrieve gather", stage, beside, rows(batch, here, stage), times, per_step=step),
            Extra("kv_retrieve scores", stage, index, shape, times, per_step=step, memory_bytes=kept),
            rank,
            Extra("kv_retrieve fetch", stage, Transfer("kv_retrieve fetch", "host", moved), rows(batch, 1.0, stage), times, per_step=step),
        )

    @classmethod
    def neutral(cls) -> KvRetrieve:
        return cls(keep=1.0)

    def kept(self, program: Program) -> Numeric:
        return self._shares(program.visual)[0]
