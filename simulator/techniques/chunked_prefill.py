"""The prompt goes through the decoder in chunks (Agrawal et al., Sarathi-Serve, 2024).

Every pair is still attended. Weights are read once per chunk, and activations are those of a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from simulator import reduction
from simulator.program import Program
from simulator.quantity import Numeric
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True, slots=True)
class ChunkedPrefill(AbstractTechnique):
    """An engine's own smaller limit stays."""

    about: ClassVar[About] = About(
        title="Chunked prefill",
        site=Site.ATTENTION,
        family="chunked_prefill",
        entry="sarathi-serve",
        lossless=True,
        conflicts={"in_llm_prune": "tokens are ranked at a layer once the whole prompt is there, chunks pass it one by one"},
        engines={
            "vllm": ("runs", "docs of 0.9.1 to 0.17.1: always on in the V1 engine, sized by --max-num-batched-tokens"),
            "sglang": ("runs", "source of 0.5.1: --chunked-prefill-size, on by default"),
            "trtllm": ("runs", "LLM API docs of 1.0: enable_chunked_prefill"),
        },
    )
    chunk: Numeric = parameter(2048.0, "rows of one pass, all sequences together", unit="tokens", low=1, high=1e9)

    @classmethod
    def neutral(cls) -> ChunkedPrefill:
        return cls(chunk=1e9)

    def kept(self, program: Program) -> Numeric:
        return 1.0

    def apply(self, program: Program, context: Context) -> Program:
        return reduction.bounded_chunks(program, self.chunk, context.engine.chunk_tokens)
