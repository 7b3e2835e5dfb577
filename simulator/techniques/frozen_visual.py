"""Visual tokens frozen in the layers that hardly change them (Yuan et al., ShortV, 2025).

In a frozen layer visual rows keep their hidden state: keys and values are made of it, queries, output projection and
feed-forward part are not. `layers` names them; otherwise `ratio` of all layers is frozen, spread evenly in the cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.program import Program, edit, unless
from simulator.quantity import Numeric
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True, slots=True)
class FrozenVisual(AbstractTechnique):
    """`layers` go before `ratio`."""

    about: ClassVar[About] = About(
        title="Visual tokens frozen in ineffective layers",
        site=Site.IN_LLM,
        family="frozen_visual",
        entry="shortv",
        axis="none",
        conflicts={"visual_bypass": "both leave the visual rows of a layer as they are; give one of them"},
        engines={"hf-sdpa": ("patch", "the authors' code replaces the decoder layers of transformers")},
    )
    ratio: Numeric = parameter(0.6, "layers frozen", unit="fraction", low=0, high=1)
    layers: tuple[int, ...] = parameter((), "layers frozen, by number", unit="layer", low=0, high=4095, kind="integers")

    @classmethod
    def neutral(cls) -> FrozenVisual:
        return cls(ratio=0.0)

    def kept(self, program: Program) -> Numeric:
        """Share of the layers that still update visual tokens, counting the embedding as one."""
        depth = program.decoder.layers[-1].stop
        frozen = float(len(set(self.layers))) if self.layers else self.ratio * depth
        return 1.0 - frozen / (depth + 1.0)

    def apply(self, program: Program, context: Context) -> Program:
        layers = program.decoder.layers
        if self.layers:
            for index in set(self.layers):
                at = cost.layer_index("frozen_visual.layers", index, layers[-1].stop)
                layers = edit(layers, lambda layer: reduction.bypass(program, layer, 1.0), at, at + 1)
            return replace(program, decoder=replace(program.decoder, layers=layers))
        if not cost.occurs(self.ratio):  # with nothing frozen the projections stay fused
            return program
        layers = edit(layers, lambda layer: reduction.bypass(program, layer, self.ratio))
        return unless(self.ratio <= 0.0, program, replace(program, decoder=replace(program.decoder, layers=layers)))
