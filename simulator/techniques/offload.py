"""Offload: a share of the weights, of the KV cache, or of both lies in host memory and crosses the host link in every pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import budgets
from simulator.ops import Transfer
from simulator.overheads import rows
from simulator.program import Extra, Layer, Program, edit
from simulator.quantity import Numeric, maximum
from simulator.technique import About, AbstractTechnique, Context, Site, parameter
from simulator.weights import owned


@final
@dataclass(frozen=True)
class Offload(AbstractTechnique):
    """Shares in host memory; the default is FlexGen's (arXiv 2303.06865) for a model that does not fit: all weights, no KV.

    Copies run beside computation: `overlap` of a lower bound on a pass (a decode step's own reading,
    a prefill pass's own products) hides them.
    """

    about: ClassVar[About] = About(
        title="Offload to host memory",
        site=Site.SYSTEM,
        family="offload",
        entry="flexgen",
        lossless=True,
        engines={
            "vllm": ("runs", "docs of 0.5.3, source of 0.33.0: --cpu-offload-gb for weights, read over the link; --kv-offloading-size (0.28.0) reloads prefixes, not every step"),
            "sglang": ("runs", "source of 0.5.1 to 0.5.23: --cpu-offload-gb for weights; its cache tiers reload prefixes, not every step"),
            "hf-flash": ("runs", "source of transformers 4.45.2: device_map with CPU modules, OffloadedCache (not in 4.42.4; 5.24.0: DynamicCache with offloading)"),
            "hf-sdpa": ("runs", "source of transformers 4.45.2: device_map with CPU modules, OffloadedCache (not in 4.42.4; 5.24.0: DynamicCache with offloading)"),
        },
    )

    weights: Numeric = parameter(1.0, "share of the layers' weights in host memory", unit="fraction", low=0.0, high=1.0)
    kv: Numeric = parameter(0.0, "share of the KV cache in host memory", unit="fraction", low=0.0, high=1.0)
    overlap: Numeric = parameter(1.0, "share of a pass's own reading time that hides copies", unit="fraction", low=0.0, high=1.0)

    def apply(self, program: Program, context: Context) -> Program:
        decoder, batch = program.decoder, program.batch
        share = 1.0 / decoder.pipeline
        stored: Numeric = 0.0
        cached: Numeric = 0.0
        parameters: Numeric = 0.0
        for layer in decoder.layers:
            stored = stored + owned(layer.decode) * layer.count * share
            parameters = parameters + sum((op.parameters for op in layer.prefill), 0.0) * layer.count * share
            if layer.cache is not None:
                held = budgets.resident(program, layer).total + program.output / 2.0 * layer.cache.text
                cached = cached + batch * held * layer.cache.bytes_per_token * layer.cache.read * layer.count * share * (1.0 - layer.cache.off_device)
        speed = context.chip.host.bandwidth / context.chip.bandwidth * self.overlap
        moved = stored * self.weights + cached * self.kv
        # While `stored` and `cached` are read at main-memory speed, that much crosses the link unseen.
        late = maximum(moved - (stored + cached) * speed, 0.0)
        passes = budgets.prefill_passes(program, context.engine)
        rate = context.chip.peak[context.chip.executed_format("bf16")]
        busy = 2.0 * parameters * batch * (program.visual + program.text) / passes / rate
        first = maximum(stored * self.weights - self.overlap * context.chip.host.bandwidth * busy, 0.0)
        out = batch * self.kv * self._written(program)
        saved = -stored * self.weights * (1.0 - 1.0 / max(sum(layer.count for layer in decoder.layers), 1))
        extras = (
            Extra("offload weights", "prefill", Transfer("offload", "host", first), rows(1.0, 1.0, "prefill"), passes, memory_bytes=saved),
            Extra("offload KV out", "prefill", Transfer("offload", "host", out * (1.0 - self.overlap)), rows(1.0, 1.0, "prefill")),
            Extra("offload", "decode", Transfer("offload", "host", late), rows(1.0, 1.0, "decode"), per_step=True),
        )

        def change(layer: Layer) -> Layer:
            if layer.cache is None:
                return layer
            away = 1.0 - (1.0 - layer.cache.off_device) * (1.0 - self.kv)
            return replace(layer, cache=replace(layer.cache, off_device=away))

        prefill = replace(program.prefill, peak_resident=program.prefill.peak_resident * (1.0 - self.kv))
        decoder = replace(decoder, layers=edit(decoder.layers, change))
        return replace(program, decoder=decoder, prefill=prefill, extras=program.extras + extras)

    def _written(self, program: Program) -> Numeric:
        """KV bytes of one sequence that leave the device once, on one device."""
        total: Numeric = 0.0
        for layer in program.decoder.layers:
            if layer.cache is not None:
                total = total + budgets.resident(program, layer).total * layer.cache.bytes_per_token * layer.count
        return total / program.decoder.pipeline

    @classmethod
    def neutral(cls) -> Offload:
        return cls(weights=0.0)

    def kept(self, program: Program) -> Numeric:
        return 1.0
