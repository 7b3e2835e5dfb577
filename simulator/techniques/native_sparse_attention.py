"""Attention trained sparse: compressed, selected and window branches (Yuan et al., NSA, 2025; VideoNSA).

A row sees one compressed token per `stride` earlier ones, `select` blocks of `block` tokens that the compressed scores point to,
and the last `window` tokens. The same three branches are all that a decode step reads. Where they would exceed the dense
pairs (short prompts) the dense pairs are taken. Ranking happens inside the kernel and is not charged apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import budgets, reduction
from simulator import overheads as cost
from simulator.attention import Attention
from simulator.ops import Matmul, Shape, clipped_sum
from simulator.program import Extra, Layer, Program, edit
from simulator.quantity import Numeric, maximum, minimum, where
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

_NAME = "native_sparse_attention"


@final
@dataclass(frozen=True, slots=True)
class NativeSparseAttention(AbstractTechnique):
    """share: of the heads that are sparse; 0 leaves attention dense."""

    about: ClassVar[About] = About(
        title="Natively trained sparse attention",
        site=Site.ATTENTION,
        family="native_sparse_attention",
        entry="nsa",
        axis="attention",
        needs_training=True,
        conflicts={
            "sparse_attention": "both decide which pairs of a layer are attended; give one of them",
            "chunk_attention": "both decide which pairs of a layer are attended; give one of them",
        },
    )
    compress: Numeric = parameter(32.0, "tokens in a compressed block", unit="tokens", low=1, high=65536)
    stride: Numeric = parameter(16.0, "tokens between compressed blocks", unit="tokens", low=1, high=65536)
    block: Numeric = parameter(64.0, "tokens in a selected block", unit="tokens", low=1, high=65536)
    select: Numeric = parameter(16.0, "blocks selected per row", unit="blocks", low=0, high=65536)
    window: Numeric = parameter(512.0, "nearest tokens seen", unit="tokens", low=1, high=1e7)
    share: Numeric = parameter(1.0, "heads that are sparse", unit="fraction", low=0, high=1)

    @classmethod
    def neutral(cls) -> NativeSparseAttention:
        return cls(share=0.0)

    def _read(self, context: Numeric) -> Numeric:
        """Share of `context` tokens that one row at its end reads."""
        seen = context / self.stride + self.block * self.select + self.window
        return 1.0 - self.share * (1.0 - minimum(seen / maximum(context, 1.0), 1.0))

    def _mean_read(self, first: Numeric, more: Numeric) -> Numeric:
        """The same for a context that grows from `first` by `more` tokens: read over seen, both summed over the answer.

        Up to `few` tokens a row reads all it sees, then its blocks and window and one in `stride` tokens.
        """
        near, last = self.block * self.select + self.window, first + more
        few = near / maximum(1.0 - 1.0 / self.stride, 1e-9)
        turn = minimum(maximum(few, first), last)
        whole, part = (turn - first) * (turn + first) / 2.0, (last - turn) * ((last + turn) / 2.0 / self.stride + near)
        share = where(more > 0.0, (whole + part) / maximum(more * (first + last) / 2.0, 1e-9), minimum((first / self.stride + near) / first, 1.0))
        return 1.0 - self.share * (1.0 - minimum(share, 1.0))

    def kept(self, program: Program) -> Numeric:
        return self._read(program.visual + program.text)

    def _pairs(self, attention: Attention, shape: Shape) -> Numeric:
        query, cached, seen = shape.query, shape.cached, (attention.visible_visual, attention.visible_text)
        tokens, start = (part.visual * seen[0] + part.text * seen[1] for part in (query, cached))
        dense = attention.pairs(shape)
        near = clipped_sum(start, tokens, self.block * self.select) + clipped_sum(start, tokens, self.window)
        sparse = minimum((dense / self.stride + near) / maximum(dense, 1e-9), 1.0)
        return 1.0 - self.share * (1.0 - sparse)

    def apply(self, program: Program, context: Context) -> Program:
        layers = reduction.thin_attention(program, self._pairs, 0, _NAME)
        extras: list[Extra] = []
        for layer, attention in reduction.causal_runs(program):
            rows = reduction.prompt_shape(program, layer).query
            tokens = rows.visual * attention.visible_visual + rows.text * attention.visible_text
            on = program.batch * where(self.share > 0.0, 1.0, 0.0)
            heads = attention.kv_heads * self.share
            op = Matmul(f"{_NAME} compress", n=attention.head_dim, k=self.compress * attention.head_dim)
            stored = (0.0 if layer.cache is None else layer.cache.bytes_per_token) * on * self.share * tokens / self.stride
            extras.append(
                cost.charged(f"{_NAME} compress", "prefill", op, on * 2.0 * heads, tokens / self.stride, float(layer.count), stored * layer.count)
            )
        return reduction.with_extras(replace(program, decoder=replace(program.decoder, layers=layers)), extras)

    def settle(self, program: Program, context: Context) -> Program:
        """A step reads its blocks and its window of what is left of the prompt, whatever evicted or fetched the rest."""
        layers = edit(program.decoder.layers, lambda layer: self._decode(program, layer))
        return replace(program, decoder=replace(program.decoder, layers=layers))

    def _decode(self, program: Program, layer: Layer) -> Layer:
        step = budgets.attention_of(layer)
        if layer.cache is None or step is None or step.mask != "causal":
            return layer
        left = budgets.resident(program, layer)
        tokens = left.visual * step.visible_visual + left.text * step.visible_text
        first, read = self._read(tokens), self._mean_read(tokens + 1.0, maximum(program.output - 1.0, 0.0))  # a row sees itself
        ops = tuple(
            replace(op, density=op.density * read, reuse=op.reuse * read) if isinstance(op, Attention) else op for op in layer.decode
        )
        return replace(layer, decode=ops, cache=replace(layer.cache, read=layer.cache.read * first))
