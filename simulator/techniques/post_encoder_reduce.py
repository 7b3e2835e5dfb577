"""Fewer visual tokens after the encoder, before the projector (VisionZip, PruMerge, VisPruner, TRIM, ...).

The encoder itself does its full work. Budgets: `keep`; `tokens` of the whole request; or `dominant` + `contextual` tokens of
each crop (Yang et al., VisionZip, 2025: 54 + 10 of 576). Scores: the attention `map` of encoder block `layer`, which must then
be written out; the class token's attention recomputed (`rows`: Shang et al., LLaVA-PruMerge, 2025); each token's `similarity`
to the question (TRIM); or pairwise similarity (`agnostic`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.program import Extra, Program
from simulator.quantity import Numeric
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

_NAME = "post_encoder_reduce"


@final
@dataclass(frozen=True, slots=True)
class PostEncoderReduce(AbstractTechnique):
    """A given budget goes before `keep`."""

    about: ClassVar[About] = About(
        title="Visual tokens reduced after the encoder",
        site=Site.PROJECTOR,
        family="post_encoder_reduce",
        entry="visionzip",
        axis="visual_tokens",
        needs_scores=True,
        engines={
            "hf-eager": ("patch", "the authors' code of VisionZip and PruMerge replaces the encoder of transformers"),
            "hf-sdpa": ("patch", "as hf-eager; the scored block runs eagerly"),
            "hf-flash": ("patch", "as hf-eager; the scored block runs eagerly"),
            "vllm": ("patch", "pull request 38888 (2026, not in 0.33.0): --image-pruning-rate for Qwen models by scores of an encoder layer"),
        },
    )
    keep: Numeric = parameter(64 / 576, "visual tokens kept", unit="fraction", low=1e-6, high=1)
    tokens: Numeric = parameter(0.0, "kept of the whole request; 0: use keep", unit="tokens", low=0, high=1e9)
    dominant: Numeric = parameter(0.0, "kept of each crop by score; 0 with contextual 0: use keep", unit="tokens", low=0, high=1e6)
    contextual: Numeric = parameter(0.0, "merged tokens of each crop besides", unit="tokens", low=0, high=1e6)
    score: str = parameter("map", "where scores come from", choices=("map", "rows", "similarity", "agnostic"))
    layer: int = parameter(-2, "encoder block whose attention scores; negative: from the last", low=-512, high=511, kind="integer")
    merge: bool = parameter(False, "dropped tokens are averaged into their nearest kept one, one after the other", kind="flag")

    @classmethod
    def neutral(cls) -> PostEncoderReduce:
        return cls(keep=1.0, score="agnostic")

    def kept(self, program: Program) -> Numeric:
        share = reduction.budget(self.tokens, program.visual, self.keep)
        return reduction.budget(self.dominant + self.contextual, reduction.crop_tokens(program), share)

    def apply(self, program: Program, context: Context) -> Program:
        tower = reduction.main_tower(program)
        if tower is None:
            return program
        keep = self.kept(program)
        on = cost.active(keep)
        at = cost.layer_index(f"{_NAME}.layer", self.layer, reduction.blocks(tower))
        wide = reduction.width(reduction.block_at(tower, at))
        attention = cost.attention_of(reduction.block_at(tower, at))
        extras: list[Extra] = []
        for (batch, patches, _), grid in zip(reduction.crops(program, tower), tower.grids, strict=True):
            batch, alive = batch * on, patches * reduction.block_at(tower, at).keep
            if self.score == "map" and attention is not None:
                keys = reduction.keys_seen(attention, grid, alive)
                extras.append(cost.read_map(_NAME, "encode", batch, alive, keys, attention.heads))
            else:
                left = alive if self.score == "agnostic" else 1.0
                extras.append(cost.similarity(_NAME, "encode", batch, left, alive, wide))
            extras.append(cost.topk(_NAME, "encode", batch, alive))
            extras.append(cost.gather(_NAME, "encode", batch, alive * keep, wide))
            if cost.occurs(self.contextual):
                merged = self.contextual / reduction.crop_tokens(program) * alive
                extras.append(cost.similarity(f"{_NAME} merge", "encode", batch, merged, alive * (1.0 - keep), wide))
            if self.merge:
                extras.append(cost.similarity(f"{_NAME} merge", "encode", batch, alive * keep, alive, wide))
                extras.append(cost.sequential(f"{_NAME} merge", "encode", batch, alive * keep, alive, wide))
        if self.score == "map" and attention is not None:
            tower = reduction.write_encoder_map(tower, at)
        return reduction.with_extras(reduction.after_encoder(program, tower, keep), extras, self.score == "similarity")
