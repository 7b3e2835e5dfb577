"""A smaller picture first; the full one where that does not do (Yang et al., VisionThink, 2025; ViCO).

With `retry` every request pays the small picture and, with `probability`, the full one on top: encoding, prefill and all.
Without it a router sends each request one way. `ratio` is that of the pixels, so sides shrink by its root.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator.program import Branch, Program
from simulator.quantity import Numeric, sqrt
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True, slots=True)
class AdaptiveResolution(AbstractTechnique):
    """Models that resize every picture to one size gain nothing."""

    about: ClassVar[About] = About(
        title="Adaptive resolution",
        site=Site.INPUT,
        family="adaptive_resolution",
        entry="visionthink",
        axis="visual_tokens",
        needs_training=True,
        engines={
            "vllm": ("runs", "outside the engine: two requests"),
            "sglang": ("runs", "outside the engine: two requests"),
            "trtllm": ("runs", "outside the engine: two requests"),
        },
    )
    ratio: Numeric = parameter(0.25, "pixels of the small picture", unit="fraction", low=1e-4, high=1)
    probability: Numeric = parameter(0.5, "requests that need the full picture", unit="fraction", low=0, high=1)
    retry: bool = parameter(True, "the small picture is tried first, else a router decides", kind="flag")

    @classmethod
    def neutral(cls) -> AdaptiveResolution:
        return cls(ratio=1.0, probability=0.0)

    def kept(self, program: Program) -> Numeric:
        """Mean share of the pixels that the answer rests on."""
        return self.ratio * (1.0 - self.probability) + self.probability

    def apply(self, program: Program, context: Context) -> Program:
        if not program.towers:
            return program
        small = context.rebuild(context.model, sqrt(self.ratio))
        full = Branch(self.probability, replace(program, branches=()), self.retry)
        return replace(program, visual_input=small.visual_input, towers=small.towers, branches=(*program.branches, full))
