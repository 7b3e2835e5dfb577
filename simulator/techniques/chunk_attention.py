"""Attention within a chunk and to a coarse history of the chunks before (Qin et al., Video-XL-2, 2025).

Prefill takes one chunk after the other, so activations are those of a chunk, and pairs grow with N (chunk + history) in place
of N squared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import reduction
from simulator.attention import Attention
from simulator.ops import Shape
from simulator.program import Program
from simulator.quantity import Numeric, maximum, minimum
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True, slots=True)
class ChunkAttention(AbstractTechnique):
    """A chunk longer than the prompt changes nothing."""

    about: ClassVar[About] = About(
        title="Chunk-local attention with a coarse history",
        site=Site.ATTENTION,
        family="chunk_attention",
        entry="video-xl-2",
        axis="attention",
        needs_training=True,
        conflicts={
            "sparse_attention": "both decide which pairs of a layer are attended; give one of them",
            "native_sparse_attention": "both decide which pairs of a layer are attended; give one of them",
        },
    )
    chunk: Numeric = parameter(2048.0, "tokens that attend to each other", unit="tokens", low=1, high=1e9)
    history: Numeric = parameter(512.0, "tokens that stand for the chunks before", unit="tokens", low=0, high=1e9)

    @classmethod
    def neutral(cls) -> ChunkAttention:
        return cls(chunk=1e9)

    def kept(self, program: Program) -> Numeric:
        tokens = maximum(program.visual + program.text, 1.0)
        return minimum((minimum(self.chunk, tokens) + 2.0 * self.history * maximum(tokens - self.chunk, 0.0) / tokens) / tokens, 1.0)

    def _share(self, attention: Attention, shape: Shape) -> Numeric:
        dense = maximum(attention.pairs(shape), 1e-9)
        local = reduction.chunk_pairs(attention, shape, self.chunk)
        rows = shape.query.visual * attention.visual + shape.query.text * attention.text
        new, start = (part.visual * attention.visible_visual + part.text * attention.visible_text for part in (shape.query, shape.cached))
        beyond = maximum(start + new - maximum(start, self.chunk), 0.0) / maximum(new, 1e-9)  # share of the rows behind the first chunk
        return minimum((local + self.history * rows * beyond) / dense, 1.0)

    def apply(self, program: Program, context: Context) -> Program:
        layers = reduction.thin_attention(program, self._share, 0, "chunk_attention")
        program = replace(program, decoder=replace(program.decoder, layers=layers))
        return reduction.bounded_chunks(program, self.chunk, context.engine.chunk_tokens)
