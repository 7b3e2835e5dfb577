"""Fewer frames reach the encoder; a scorer has looked at all of them first (AKS, Q-Frame, VideoTree, SeViLA, ...).

The frames of the workload are the candidates: all are decoded on the host and scored, `frames` of `candidates` (or `keep`) go
on. Scorers: CLIP, SigLIP or BLIP on every frame; `prompter`: features of the model's own encoder, which then sees every frame
(ViLA); `mllm`: a 1.5B language model over `scorer_tokens` per frame behind SigLIP; `llm`: a 7B one over captions of that length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import companions
from simulator import overheads as cost
from simulator.program import Program, Tower
from simulator.quantity import Numeric, maximum, minimum, where
from simulator.reduction import budget, main_tower, with_extras, with_tower
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

_NAME = "keyframes"


@final
@dataclass(frozen=True, slots=True)
class Keyframes(AbstractTechnique):
    """frames and candidates go before keep. A still picture is one frame and stays."""

    about: ClassVar[About] = About(
        title="Keyframe selection",
        site=Site.INPUT,
        family="keyframes",
        entry="aks",
        axis="frames",
        needs_query=True,
        engines={
            "vllm": ("runs", "outside the engine: the request carries the chosen frames"),
            "sglang": ("runs", "outside the engine: the request carries the chosen frames"),
            "trtllm": ("runs", "outside the engine: the request carries the chosen frames"),
        },
    )
    candidates: Numeric = parameter(0.0, "frames the share is stated for; 0: the workload's", unit="frames", low=0, high=1e7)
    frames: Numeric = parameter(0.0, "frames kept of the candidates; 0: use keep", unit="frames", low=0, high=1e7)
    keep: Numeric = parameter(0.25, "frames kept", unit="fraction", low=1e-6, high=1)
    scorer: str = parameter("clip", "what ranks frames", choices=("none", "clip", "siglip", "blip", "prompter", "mllm", "llm"))
    scorer_tokens: Numeric = parameter(16.0, "tokens per frame that a language model reads", unit="tokens", low=1, high=4096)

    @classmethod
    def neutral(cls) -> Keyframes:
        return cls(keep=1.0, scorer="none")

    def kept(self, program: Program) -> Numeric:
        given = where(self.candidates > 0.0, self.candidates, _crops(program))
        return budget(self.frames, given, self.keep)

    def apply(self, program: Program, context: Context) -> Program:
        tower, seen, share = main_tower(program), program.visual_input, self.kept(program)
        if tower is None:
            return program
        vision = context.model.vision
        frames = _crops(program) * float(vision.temporal_patch if vision else 1)
        grids = tuple(replace(grid, crops=maximum(grid.crops * share, minimum(grid.crops, 1.0))) for grid in seen.grids)
        left = sum((grid.crops for grid in grids), start=0.0 * share) / maximum(_crops(program), 1e-9)  # one of a kind stays
        chosen = replace(seen, grids=grids, separators=seen.separators * left, images=seen.images * left)
        program = with_tower(replace(program, visual_input=chosen), replace(tower, grids=grids))
        if self.scorer == "prompter":  # the encoder itself has seen all; the projector gets what is chosen
            fewer = tuple(replace(layer, keep=layer.keep * share) for layer in tower.projector)
            program = with_tower(program, replace(tower, projector=fewer))
        on = cost.active(share)
        companions_ = tuple(companions.runs(tower, on) for tower in self._scorers(frames))
        program = replace(program, towers=(*program.towers[:-1], *companions_, program.towers[-1]))
        extras = [cost.topk(_NAME, "encode", program.batch * on, frames)] if self.scorer != "none" else []
        if self.scorer == "llm":
            note = f"{_NAME}: captions are taken as given; the scorer is a 7B language model that reads them"
            program = replace(program, assumptions=(*program.assumptions, note))
        return with_extras(program, extras, self.scorer != "none" and cost.reduces(share))

    def _scorers(self, frames: Numeric) -> tuple[Tower, ...]:
        if self.scorer in ("none", "prompter"):
            return ()
        if self.scorer in ("mllm", "llm"):
            read = companions.reader(self.scorer, frames * self.scorer_tokens)
            return (companions.scorer("siglip", frames), read) if self.scorer == "mllm" else (read,)
        return (companions.scorer(self.scorer, frames),)


def _crops(program: Program) -> Numeric:
    """Encoder passes of one request: frames, or groups of frames."""
    total: Numeric = 0.0
    for grid in program.visual_input.grids:
        total = total + grid.crops
    return total
