"""Visual tokens give keys and values to decoder layers but are not updated by them (Zhang et al., HiMix, 2025).

In the layers `start` <= index < `stop` no visual row passes the query and output projections or the feed-forward part. What the
layers cache stays whole, so decoding gains only if the cache is cut as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.program import Program, edit
from simulator.quantity import Numeric
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True, slots=True)
class VisualBypass(AbstractTechnique):
    """stop -1: through the last layer; stop = start: none."""

    about: ClassVar[About] = About(
        title="Visual tokens bypass query, output and feed-forward",
        site=Site.IN_LLM,
        family="visual_bypass",
        entry="himix",
        axis="none",
        needs_training=True,
        conflicts={"frozen_visual": "both leave the visual rows of a layer as they are; give one of them"},
    )
    start: int = parameter(0, "first layer that visual tokens bypass", unit="layer", low=0, high=4095, kind="integer")
    stop: int = parameter(-1, "layer after the last; -1: through the last", unit="layer", low=-1, high=4096, kind="integer")

    @classmethod
    def neutral(cls) -> VisualBypass:
        return cls(start=0, stop=0)

    def _stop(self, program: Program) -> int:
        depth = program.decoder.layers[-1].stop
        return depth if self.stop == -1 else cost.layer_index("visual_bypass.stop", self.stop - 1, depth) + 1

    def kept(self, program: Program) -> Numeric:
        """Share of the layers that still update visual tokens, counting the embedding as one."""
        if self.stop == 0:
            return 1.0
        depth = program.decoder.layers[-1].stop
        return 1.0 - max(self._stop(program) - self.start, 0) / (depth + 1.0)

    def apply(self, program: Program, context: Context) -> Program:
        if self.stop == 0 or self._stop(program) <= self.start:
            return program
        layers = edit(program.decoder.layers, lambda layer: reduction.bypass(program, layer, 1.0), self.start, self._stop(program))
        return replace(program, decoder=replace(program.decoder, layers=layers))
