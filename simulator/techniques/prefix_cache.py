"""Keys and values of a prefix seen before are reused (Zheng et al., SGLang's RadixAttention, 2024).

The visual share that hits is neither encoded nor prefilled again; the last token always runs. What depends on the question
(pruning by its attention, frames chosen for it) leaves a different prefix behind for every question, so it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.program import Program
from simulator.quantity import Numeric, maximum, minimum
from simulator.spec.source import SpecError
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True, slots=True)
class PrefixCache(AbstractTechnique):
    """Hits of one request, on average."""

    about: ClassVar[About] = About(
        title="Prefix cache hit",
        site=Site.REUSE,
        family="prefix_cache",
        entry="sglang",
        lossless=True,
        engines={
            "vllm": ("runs", "automatic prefix caching; pictures are part of the block hash"),
            "sglang": ("runs", "RadixAttention"),
            "trtllm": ("runs", "docs of 1.3: KV cache reuse, by the hashes of pictures too"),
        },
    )
    visual: Numeric = parameter(1.0, "visual tokens whose keys and values are there", unit="fraction", low=0, high=1)
    text: Numeric = parameter(0.0, "text tokens whose keys and values are there", unit="tokens", low=0, high=1e9)

    @classmethod
    def neutral(cls) -> PrefixCache:
        return cls(visual=0.0)

    def kept(self, program: Program) -> Numeric:
        return 1.0

    def apply(self, program: Program, context: Context) -> Program:
        if program.needs_query and cost.occurs(self.visual):
            raise SpecError(
                "techniques: prefix_cache cannot hit on visual tokens: which of them are kept depends on the question here"
            )
        visual = minimum(self.visual * program.visual, maximum(program.visual + program.text - 1.0, 0.0))
        text = minimum(self.text, maximum(program.text - 1.0, 0.0))
        plan = replace(program.prefill, cached_visual=visual, cached_text=text)
        reused = reduction.reuse_embeddings(program, self.visual, ("encode", "project", "prefill"))
        return replace(reused, prefill=plan)
