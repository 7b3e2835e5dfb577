"""Layer skip and early exit: some layers do not run, in prefill, in decode or in both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator.budgets import singly
from simulator.program import Layer, Program, split, total_layers
from simulator.quantity import Numeric, clip, floor, is_array, maximum, where
from simulator.spec.source import SpecError
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True)
class LayerSkip(AbstractTechnique):
    """Give `layers` (those left out), or the share of the first that run as `keep` or 1 - `ratio`. LayerSkip (arXiv 2404.16710) exits early.

    A layer left out in decoding only still gets its keys and values in prefill; one left out in prefill stores none of the prompt.
    Weights stay in memory.
    """

    about: ClassVar[About] = About(
        title="Layer skip and early exit",
        site=Site.DEPTH,
        family="layer_skip",
        entry="layerskip",
        axis="weights",
        needs_training=True,
        engines={
            "hf-flash": ("patch", "layers left out for good need an edited checkpoint; assistant_early_exit (source of transformers 4.47.1, not in 4.46.3) only drafts with fewer layers"),
            "vllm": ("hypothetical", "source of 0.33.0: no early exit"),
        },
    )

    layers: tuple[int, ...] = parameter((), "layers left out", kind="integers", low=0)
    keep: Numeric = parameter(0.75, "share of the layers that run, the first ones", unit="fraction", low=0.0, high=1.0)
    ratio: Numeric = parameter(-1.0, "share of the layers left out, the last ones (-1: by keep)", unit="fraction", low=-1.0, high=1.0)
    stage: str = parameter("decode", "where they are left out", choices=("prefill", "decode", "both"))

    def apply(self, program: Program, context: Context) -> Program:
        depth = total_layers(program.decoder.layers)
        if self.layers and max(self.layers) >= depth:
            raise SpecError(f"techniques.layer_skip.layers: {max(self.layers)} is not accepted; 0 to {depth - 1} in this stack")
        if len(set(self.layers)) >= depth:
            raise SpecError("techniques.layer_skip.layers: all layers are not accepted; at least one must run")
        stop = self._stop(depth)
        parts = program.decoder.layers
        for index in self.layers:
            parts = split(split(parts, index), index + 1)
        if not self.layers:
            parts = singly(parts, 0) if is_array(stop) else split(parts, int(stop))

        def change(layer: Layer) -> Layer:
            runs = (0.0 if layer.index in self.layers else 1.0) if self.layers else clip(stop - layer.index, 0.0, 1.0)
            if self.stage != "prefill":
                layer = replace(layer, executed_decode=layer.executed_decode * runs)
            if self.stage == "decode":
                return layer
            cache = layer.cache
            if cache is not None:
                cache = replace(cache, visual=cache.visual * runs, text=cache.text * runs,
                                resident_visual=cache.resident_visual * runs, resident_text=cache.resident_text * runs,
                                resident_extra=cache.resident_extra * runs)  # fmt: skip
            return replace(layer, executed_prefill=layer.executed_prefill * runs, cache=cache)

        return replace(program, decoder=replace(program.decoder, layers=tuple(map(change, parts))))

    def _stop(self, depth: int) -> Numeric:
        """Layers that run, rounded, at least one."""
        share = where(self.ratio < 0.0, self.keep, 1.0 - self.ratio)
        return maximum(floor(depth * share + 0.5), 1.0)

    @classmethod
    def neutral(cls) -> LayerSkip:
        return cls(keep=1.0)

    def kept(self, program: Program) -> Numeric:
        depth = total_layers(program.decoder.layers)
        return 1.0 - len(set(self.layers)) / depth if self.layers else self._stop(depth) / depth
