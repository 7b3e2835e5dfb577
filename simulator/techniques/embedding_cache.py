"""What the vision path hands to the language model is kept between requests on the same picture.

A hit saves encoding and projection, not prefill. Frames or tokens chosen for a question differ from question to question, so
what depends on one is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.program import Program
from simulator.quantity import Numeric
from simulator.spec.source import SpecError
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True, slots=True)
class EmbeddingCache(AbstractTechnique):
    """Hits of one request, on average."""

    about: ClassVar[About] = About(
        title="Visual embedding cache hit",
        site=Site.REUSE,
        family="embedding_cache",
        entry="epdserve",
        lossless=True,
        engines={
            "vllm": ("runs", "encoder cache of its V1 scheduler, by the hash of the picture (source of 0.11.0)"),
            "sglang": ("runs", "multimodal embedding cache, SGLANG_VLM_CACHE_SIZE_MB (source of 0.5.1)"),
            "trtllm": ("runs", "API docs of 1.3: MultimodalConfig.encoder_cache_max_bytes"),
        },
    )
    hit: Numeric = parameter(1.0, "crops whose embeddings are there", unit="fraction", low=0, high=1)

    @classmethod
    def neutral(cls) -> EmbeddingCache:
        return cls(hit=0.0)

    def kept(self, program: Program) -> Numeric:
        return 1.0

    def apply(self, program: Program, context: Context) -> Program:
        if program.needs_query and cost.occurs(self.hit):
            raise SpecError("techniques: embedding_cache cannot hit: what the vision path keeps depends on the question here")
        return reduction.reuse_embeddings(program, self.hit)
