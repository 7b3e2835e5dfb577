"""Neighbouring visual tokens of a crop averaged, factor x factor into one, after the projector (LongVA: 576 to 144)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.program import Program
from simulator.quantity import Numeric
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True, slots=True)
class SpatialPooling(AbstractTechnique):
    """Nothing is ranked: one pass over the tokens."""

    about: ClassVar[About] = About(
        title="Spatial pooling of visual tokens",
        site=Site.PROJECTED,
        family="spatial_pooling",
        entry="longva",
        axis="visual_tokens",
        engines={"vllm": ("runs", "built into models that have it (LLaVA-OneVision, LLaVA-NeXT-Video)")},
    )
    factor: Numeric = parameter(2.0, "tokens per side that become one", unit="tokens", low=1, high=64)

    @classmethod
    def neutral(cls) -> SpatialPooling:
        return cls(factor=1.0)

    def kept(self, program: Program) -> Numeric:
        return 1.0 / self.factor**2

    def apply(self, program: Program, context: Context) -> Program:
        keep = self.kept(program)
        batch = program.batch * cost.active(keep)
        pool = cost.gather("spatial_pooling", "project", batch, program.visual, program.decoder.hidden * (1.0 + keep) / 2.0)
        return reduction.with_extras(reduction.after_projector(program, keep), [pool])
