"""Another projector: an MLP, pixel shuffle, a resampler with learned queries, or a convolutional abstractor.

Queries fix the visual tokens of a crop whatever its size (BLIP-2, Qwen-VL): encoding still grows with resolution, prefill does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import companions, reduction
from simulator.program import Grid, Program
from simulator.quantity import Numeric, maximum, minimum, where
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True, slots=True)
class AdapterSwap(AbstractTechnique):
    """tokens per crop go before ratio. What techniques in the encoder left counts as patches."""

    about: ClassVar[About] = About(
        title="Another projector",
        site=Site.PROJECTOR,
        family="adapter_swap",
        entry="blip-2",
        axis="visual_tokens",
        needs_training=True,
    )
    kind: str = parameter("resampler", "what it is", choices=("none", "mlp", "pixel-shuffle", "resampler", "abstractor"))
    tokens: Numeric = parameter(32.0, "visual tokens of a crop; 0: use ratio", unit="tokens", low=0, high=1e6)
    ratio: Numeric = parameter(0.25, "visual tokens per patch", unit="fraction", low=1e-4, high=1)
    depth: int = parameter(2, "layers", low=1, high=64, kind="integer")

    @classmethod
    def neutral(cls) -> AdapterSwap:
        return cls(kind="none")

    def kept(self, program: Program) -> Numeric:
        if self.kind == "none" or not program.towers:
            return 1.0
        new = self._handed_on(program)
        old = sum((grid.crops * grid.tokens for grid in program.visual_input.grids), start=program.visual * 0.0)
        return minimum(sum((grid.crops * grid.tokens for grid in new), start=program.visual * 0.0) / maximum(old, 1e-9), 1.0)

    def _handed_on(self, program: Program) -> tuple[Grid, ...]:
        def tokens(grid: Grid) -> Numeric:
            patches = grid.height * grid.width
            if self.kind == "mlp":
                return patches
            return where(self.tokens > 0.0, minimum(self.tokens, patches), patches * self.ratio)

        return tuple(replace(grid, tokens=tokens(grid)) for grid in program.visual_input.grids)

    def apply(self, program: Program, context: Context) -> Program:
        tower = reduction.main_tower(program)
        if tower is None or self.kind == "none":
            return program
        width = float(reduction.width(reduction.block_at(tower, reduction.blocks(tower) - 1)))
        hidden, left = program.decoder.hidden, tower.projector[0].keep if tower.projector else 1.0
        grids = self._handed_on(program)
        if self.kind == "resampler":
            layers = companions.resampler(width, hidden, self.depth)
        elif self.kind == "abstractor":
            layers = companions.abstractor(width, hidden, self.depth)
        else:
            shuffled = width if self.kind == "mlp" else width * grids[0].height * grids[0].width / grids[0].tokens
            layers = companions.perceptron(shuffled, hidden, self.depth)
        swapped = replace(tower, projector=layers, grids=grids, projector_other_parameters=0.0)
        seen = replace(program.visual_input, grids=grids, separators=program.visual_input.separators * 0.0)
        program = reduction.with_tower(replace(program, visual_input=seen), swapped)
        if reduction.fixed_queries(tower):  # the old queries hid what the encoder had dropped
            left = 1.0
        restored = replace(program, visual_keep=program.visual_keep / left)
        return reduction.after_encoder(restored, swapped, left)
