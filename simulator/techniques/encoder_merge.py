"""Patches merged inside the encoder, an equal number in every block of a schedule (Bolya et al., Token Merging, 2023).

In each of the blocks `layer` to `stop` half of the patches look for their most similar partner in the other half, and the best
pairs are averaged between attention and feed-forward part, so a block's attention runs on what the block before left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.attention import Attention
from simulator.ops import Collective, Matmul
from simulator.program import Extra, Layer, Program, edit
from simulator.quantity import Numeric, floor, minimum
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

_NAME = "encoder_merge"


@final
@dataclass(frozen=True, slots=True)
class EncoderMerge(AbstractTechnique):
    """keep: share of the patches that is left after the last of the blocks."""

    about: ClassVar[About] = About(
        title="Patches merged inside the encoder",
        site=Site.ENCODER,
        family="encoder_merge",
        entry="tome",
        axis="visual_tokens",
        within=True,
        engines={"hf-eager": ("patch", "the authors' code of Token Merging patches the blocks of timm")},
    )
    layer: int = parameter(0, "first block that merges; negative: from the last", low=-512, high=511, kind="integer")
    stop: int = parameter(0, "block after the last that merges; 0: through the last", low=0, high=512, kind="integer")
    keep: Numeric = parameter(0.5, "patches left at the end", unit="fraction", low=1e-6, high=1)

    @classmethod
    def neutral(cls) -> EncoderMerge:
        return cls(keep=1.0)

    def kept(self, program: Program) -> Numeric:
        return self.keep

    def apply(self, program: Program, context: Context) -> Program:
        tower = reduction.main_tower(program)
        if tower is None or not tower.grids:
            return program
        depth = reduction.blocks(tower)
        start = cost.layer_index(f"{_NAME}.layer", self.layer, depth)
        stop = depth if self.stop == 0 else cost.layer_index(f"{_NAME}.stop", self.stop - 1, depth, start) + 1
        entering = tower.grids[0].height * tower.grids[0].width * reduction.block_at(tower, start).keep
        gone = entering * (1.0 - self.keep)
        each = floor(gone / (stop - start))
        extras: list[Extra] = []
        layers, before = tower.layers, self.keep * 0.0 + 1.0
        for index in range(start, stop):
            done = index - start + 1.0
            after = 1.0 - (each * done + minimum(done, gone - each * (stop - start))) / entering
            here = reduction.block_at(tower, index)
            for batch, patches, _ in reduction.crops(program, tower):
                extras += _choose(here, batch * cost.active(self.keep), patches * here.keep * before)
            layers = edit(layers, lambda layer, a=before, b=after: _merged(layer, a, b), index, index + 1)
            before = after
        layers = edit(layers, lambda layer: replace(layer, keep=layer.keep * self.keep), stop)
        return reduction.with_extras(reduction.after_encoder(program, replace(tower, layers=layers), self.keep), extras)


def _merged(layer: Layer, before: Numeric, after: Numeric) -> Layer:
    """Up to the attention's output projection on what entered, behind it on what is left."""
    at = next((i for i, op in enumerate(layer.prefill) if isinstance(op, Attention)), -1) + 1
    while at < len(layer.prefill) and isinstance(layer.prefill[at], Matmul | Collective):
        at += 1
    rest = tuple(cost.acting_on(op, after / before) for op in layer.prefill[at:])
    return replace(layer, keep=layer.keep * before, prefill=(*layer.prefill[:at], *rest))


def _choose(layer: Layer, batch: Numeric, patches: Numeric) -> list[Extra]:
    """Similarity of the two halves on the keys' mean over heads, ranking, and the weighted average."""
    attention = cost.attention_of(layer)
    keys = reduction.width(layer) if attention is None else attention.head_dim
    half = patches / 2.0
    return [cost.similarity(_NAME, "encode", batch, half, half, keys), cost.topk(_NAME, "encode", batch, half),
            cost.gather(_NAME, "encode", batch, patches, reduction.width(layer))]  # fmt: skip
