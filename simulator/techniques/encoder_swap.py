"""Another vision encoder in front of the same language model (FastVLM, ConvLLaVA, FastViT, or that of any model).

`model` names whose towers and preprocessing to take; its projector gets this language model's width. Without one, `factor`
stands for a hierarchical encoder of that many pixels per token side, with the stages of FastViTHD (Vasu et al., 2025) and an MLP.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import companions
from simulator.ops import AbstractOp, Matmul
from simulator.overheads import occurs
from simulator.program import Grid, Layer, Program
from simulator.quantity import Numeric, minimum, sqrt, where
from simulator.reduction import main_tower
from simulator.spec.source import SpecError
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

_NOTE = "encoder_swap: a hierarchical encoder with the stages of FastViTHD stands for the encoder of {} pixels per token"


@final
@dataclass(frozen=True, slots=True)
class EncoderSwap(AbstractTechnique):
    """`model` goes before `factor`; neither: the encoder stays."""

    about: ClassVar[About] = About(
        title="Another vision encoder",
        site=Site.ENCODER,
        family="encoder_swap",
        entry="fastvlm",
        axis="visual_tokens",
        needs_training=True,
        conflicts={
            "encoder_merge": "merging is stated in blocks of the encoder that was swapped out",
            "encoder_prune": "pruning is stated in blocks of the encoder that was swapped out",
            "adaptive_resolution": "the other encoder has its own sizes; state the picture's size in the workload",
        },
    )
    factor: str = parameter("64", "pixels per token side; 0: the encoder stays", unit="pixel", choices=("0", "16", "32", "64"))
    size: Numeric = parameter(0.0, "side of the square it sees of every picture or frame; 0: the crops there are", unit="pixel", low=0, high=16384)
    model: str = parameter("", "model whose encoder, projector and preprocessing are taken", kind="text")

    @classmethod
    def neutral(cls) -> EncoderSwap:
        return cls(factor="0")

    def kept(self, program: Program) -> Numeric:
        """Visual tokens after over before, at most 1; without pixels at hand (`model`) 1."""
        if self.model or self.factor == "0" or not program.visual_input.grids:
            return 1.0
        tokens = sum((grid.crops * grid.tokens for grid in self._grids(program)), start=program.visual * 0.0)
        return minimum(tokens / program.visual_input.tokens, 1.0)

    def _grids(self, program: Program) -> tuple[Grid, ...]:
        """What the hierarchical encoder sees: squares of `size`, or the crops there are, at `factor` pixels per token side."""
        factor, seen = float(self.factor), program.visual_input
        on = where(self.size > 0.0, 1.0, 0.0)
        grids: list[Grid] = []
        if occurs(1.0 - on):
            grids += [_coarser(replace(grid, crops=grid.crops * (1.0 - on)), grid.pixels, factor) for grid in seen.grids]
        if occurs(on):
            pixels = where(self.size > 0.0, self.size, factor) ** 2
            grids.append(_coarser(Grid(seen.images * on, 1.0, 1.0, 0.0, pixels), pixels, factor))
        return tuple(grids)

    def apply(self, program: Program, context: Context) -> Program:
        tower = main_tower(program)
        if tower is None or (not self.model and self.factor == "0"):
            return program
        if self.model:
            return self._donated(program, context)
        seen, grids = program.visual_input, self._grids(program)
        swapped, width = companions.hierarchical(int(self.factor), grids)
        swapped = replace(swapped, projector=companions.perceptron(width, program.decoder.hidden), split=tower.split, copies=tower.copies)
        note = _NOTE.format(self.factor)
        return replace(
            program, visual_input=replace(seen, grids=grids, separators=seen.separators * 0.0),
            towers=(*program.towers[:-1], swapped), assumptions=(*program.assumptions, note),
        )  # fmt: skip

    def _donated(self, program: Program, context: Context) -> Program:
        donor = context.load(self.model)
        if donor.vision is None:
            raise SpecError(f"techniques.encoder_swap.model: {self.model!r} is not accepted; it has no vision encoder")
        other, plain = context.rebuild(donor, 1.0), context.rebuild(context.model, 1.0)
        share = _crops(program) / _crops(plain)  # frames chosen before
        grids = tuple(replace(grid, crops=grid.crops * share) for grid in other.visual_input.grids)
        tower = other.towers[-1]
        fitted = tuple(_fitted(layer, float(donor.language.hidden), program.decoder.hidden) for layer in tower.projector)
        return replace(
            program, visual_input=replace(other.visual_input, grids=grids, separators=other.visual_input.separators * share),
            towers=(*program.towers[:-1], replace(tower, grids=grids, projector=fitted)),
        )  # fmt: skip


def _coarser(grid: Grid, pixels: Numeric, factor: float) -> Grid:
    """The crop in patches of factor x factor pixels, one visual token each."""
    side = sqrt(pixels / (grid.height * grid.width)) / factor
    return replace(grid, height=grid.height * side, width=grid.width * side, tokens=pixels / factor**2)


def _crops(program: Program) -> Numeric:
    return sum((grid.crops for grid in program.visual_input.grids), start=program.visual * 0.0)


def _fitted(layer: Layer, theirs: float, ours: float) -> Layer:
    """A projector layer with the donor's language width replaced by this one's."""

    def change(op: AbstractOp) -> AbstractOp:
        if not isinstance(op, Matmul):
            return op
        return replace(op, n=ours if op.n == theirs else op.n, k=ours if op.k == theirs else op.k)

    return replace(layer, prefill=tuple(map(change, layer.prefill)))
