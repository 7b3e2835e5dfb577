"""Patches dropped inside the encoder: block `layer` and later see `keep` of them, and so does everything behind.

Scores come from the attention `map` of the block before, which must then be written out (HIVTP-like), or from the pairwise
similarity of the patches (`agnostic`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.program import Extra, Program
from simulator.quantity import Numeric
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

_NAME = "encoder_prune"


@final
@dataclass(frozen=True, slots=True)
class EncoderPrune(AbstractTechnique):
    """Class tokens are kept; a projector that joins neighbours keeps or drops them together."""

    about: ClassVar[About] = About(
        title="Patches pruned inside the encoder",
        site=Site.ENCODER,
        family="encoder_prune",
        entry="hivtp",
        axis="visual_tokens",
        needs_scores=True,
        engines={"hf-eager": ("patch", "the encoder of transformers keeps all its patches")},
        repeatable=True,
    )
    layer: int = parameter(12, "first block with fewer patches; negative: from the last", low=-512, high=511, kind="integer")
    keep: Numeric = parameter(1 / 3, "patches kept from there on", unit="fraction", low=1e-6, high=1)
    score: str = parameter("map", "where scores come from", choices=("map", "agnostic"))

    @classmethod
    def neutral(cls) -> EncoderPrune:
        return cls(layer=-1, keep=1.0, score="agnostic")

    def kept(self, program: Program) -> Numeric:
        return self.keep

    def apply(self, program: Program, context: Context) -> Program:
        tower = reduction.main_tower(program)
        if tower is None:
            return program
        at = cost.layer_index(f"{_NAME}.layer", self.layer, reduction.blocks(tower), 1 if self.score == "map" else 0)
        here = reduction.block_at(tower, max(at - 1, 0) if self.score == "map" else at)
        wide, attention = reduction.width(here), cost.attention_of(here)
        extras: list[Extra] = []
        for (batch, patches, _), grid in zip(reduction.crops(program, tower), tower.grids, strict=True):
            batch, alive = batch * cost.active(self.keep), patches * here.keep
            if self.score == "map" and attention is not None:
                keys = reduction.keys_seen(attention, grid, alive)
                extras.append(cost.read_map(_NAME, "encode", batch, alive, keys, attention.heads))
            else:
                extras.append(cost.similarity(_NAME, "encode", batch, alive, alive, wide))
            extras.append(cost.topk(_NAME, "encode", batch, alive))
            extras.append(cost.gather(_NAME, "encode", batch, alive * self.keep, wide))
        if self.score == "map":
            tower = reduction.write_encoder_map(tower, at - 1)
        return reduction.with_extras(reduction.from_block(program, tower, at, self.keep), extras)
