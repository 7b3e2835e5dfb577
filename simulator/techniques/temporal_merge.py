"""Visual tokens of neighbouring frames merged into one set (DyCoke, MovieChat, Qwen2-VL's two frames a step).

Acts on what leaves the projector. `factor` frames become one, or `keep` of all tokens stays (Tao et al., DyCoke, 2025: windows of
four frames, the first whole, 70 % of the others dropped). A request of one crop has nothing to merge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.program import Program
from simulator.quantity import Numeric, ceil, maximum, where
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

_NAME = "temporal_merge"


@final
@dataclass(frozen=True, slots=True)
class TemporalMerge(AbstractTechnique):
    """factor goes before keep."""

    about: ClassVar[About] = About(
        title="Tokens of neighbouring frames merged",
        site=Site.PROJECTED,
        family="temporal_merge",
        entry="dycoke",
        axis="visual_tokens",
        engines={
            "hf-sdpa": ("patch", "the authors' code of DyCoke changes LLaVA-OneVision in transformers"),
            "vllm": ("runs", "by EVS, --video-pruning-rate: source of 0.11.0 for Qwen2.5-VL, of 0.28.0 for Qwen3-VL, Qwen3.5 and Nemotron-Nano-VL too"),
            "sglang": ("runs", "by EVS, Nemotron-Nano-VL only (source of 0.5.6 and 0.5.23)"),
            "trtllm": ("runs", "by EVS, API docs of 1.3: MultimodalConfig.video_pruning_rate"),
        },
    )
    factor: Numeric = parameter(0.0, "frames that become one; 0: use keep", unit="frames", low=0, high=1e6)
    keep: Numeric = parameter(0.475, "visual tokens kept", unit="fraction", low=1e-6, high=1)

    @classmethod
    def neutral(cls) -> TemporalMerge:
        return cls(keep=1.0)

    def kept(self, program: Program) -> Numeric:
        frames = maximum(sum((grid.crops for grid in program.visual_input.grids), start=program.visual * 0.0), 1.0)
        merged = ceil(frames / maximum(self.factor, 1.0)) / frames
        return where(frames > 1.0, where(self.factor > 0.0, merged, maximum(self.keep, 1.0 / frames)), 1.0)  # the first stays whole

    def apply(self, program: Program, context: Context) -> Program:
        keep, hidden = self.kept(program), program.decoder.hidden
        batch = program.batch * cost.active(keep)
        extras = [
            cost.similarity(_NAME, "project", batch, program.visual, 1.0, hidden),
            cost.topk(_NAME, "project", batch, program.visual),
            cost.gather(_NAME, "project", batch, program.visual * keep, hidden),
        ]
        return reduction.with_extras(reduction.after_projector(program, keep), extras)
