"""At most so many visual tokens per frame or tile (PVC: 64, StreamingTOM: 50, LongVU, Dynamic-VLM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.program import Program
from simulator.quantity import Numeric
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

_NAME = "frame_budget"


@final
@dataclass(frozen=True, slots=True)
class FrameBudget(AbstractTechnique):
    """tokens go before keep. A crop is what the encoder sees at once: a tile, a frame, or a group of frames."""

    about: ClassVar[About] = About(
        title="Budget of visual tokens per frame",
        site=Site.PROJECTED,
        family="frame_budget",
        entry="pvc",
        axis="visual_tokens",
    )
    tokens: Numeric = parameter(0.0, "kept of each crop; 0: use keep", unit="tokens", low=0, high=1e6)
    keep: Numeric = parameter(0.25, "kept of each crop", unit="fraction", low=1e-6, high=1)

    @classmethod
    def neutral(cls) -> FrameBudget:
        return cls(keep=1.0)

    def kept(self, program: Program) -> Numeric:
        return reduction.budget(self.tokens, reduction.crop_tokens(program), self.keep)

    def apply(self, program: Program, context: Context) -> Program:
        keep, hidden = self.kept(program), program.decoder.hidden
        batch = program.batch * cost.active(keep)
        extras = [
            cost.topk(_NAME, "project", batch, program.visual),
            cost.gather(_NAME, "project", batch, program.visual * keep, hidden),
        ]
        return reduction.with_extras(reduction.after_projector(program, keep), extras)
