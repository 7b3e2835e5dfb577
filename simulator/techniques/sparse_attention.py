"""Fewer pairs of tokens attended in prefill, found at run time without training (XAttention, SpargeAttn, MMInference, ...).

`density` of the causal pairs is computed, in blocks of `block` keys of which a row always sees its own. Linear layers, the
cache and decoding do not change. Estimating what matters costs block means (`block`), sums along antidiagonals with a stride
(`antidiagonal`: Xu et al., XAttention, 2025), some probe rows (`probe`: MInference), or nothing (`none`: a fixed pattern).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.attention import Attention
from simulator.ops import Matmul, Shape
from simulator.program import Extra, Program
from simulator.quantity import Numeric, maximum, minimum
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

_NAME = "sparse_attention"


@final
@dataclass(frozen=True, slots=True)
class SparseAttention(AbstractTechnique):
    """heads: share of the heads that are sparse; the others attend to everything."""

    about: ClassVar[About] = About(
        title="Block-sparse prefill attention",
        site=Site.ATTENTION,
        family="sparse_attention",
        entry="xattention",
        axis="attention",
        conflicts={
            "native_sparse_attention": "both decide which pairs of a layer are attended; give one of them",
            "chunk_attention": "both decide which pairs of a layer are attended; give one of them",
        },
        engines={
            "hf-flash": ("patch", "the authors' kernels take the place of FlashAttention"),
            "vllm": ("patch", "MInference ships a patch for its attention; the others do not"),
            "trtllm": ("runs", "docs of 1.3: sparse_attention_config with skip_softmax (BLASST) in prefill; other patterns need a patch"),
        },
    )
    density: Numeric = parameter(0.2, "pairs computed, of the causal ones", unit="fraction", low=1e-4, high=1)
    block: Numeric = parameter(128.0, "keys that are chosen together", unit="tokens", low=1, high=65536)
    heads: Numeric = parameter(1.0, "heads that are sparse", unit="fraction", low=0, high=1)
    start: int = parameter(0, "first sparse layer", unit="layer", low=0, high=4095, kind="integer")
    score: str = parameter("antidiagonal", "how blocks are estimated", choices=("block", "antidiagonal", "probe", "none"))
    stride: Numeric = parameter(16.0, "step along antidiagonals", unit="tokens", low=1, high=1024)
    probes: Numeric = parameter(64.0, "rows that score where score=probe", unit="tokens", low=1, high=65536)
    permute: bool = parameter(False, "tokens are reordered by modality first (MMInference)", kind="flag")

    @classmethod
    def neutral(cls) -> SparseAttention:
        return cls(density=1.0)

    def kept(self, program: Program) -> Numeric:
        return 1.0 - self.heads * (1.0 - self.density)

    def apply(self, program: Program, context: Context) -> Program:
        cost.layer_index(f"{_NAME}.start", self.start, program.decoder.layers[-1].stop)
        extras: list[Extra] = []
        for layer, attention in reduction.causal_runs(program, self.start):
            extras += self._estimate(attention, reduction.prompt_shape(program, layer), float(layer.count))
        layers = reduction.thin_attention(program, self._share, self.start, _NAME)
        if context.engine.prefill == "materialised" and cost.reduces(self.kept(program)):
            note = f"{_NAME}: {context.engine.name} multiplies every pair, so no time is saved without a kernel of its own"
            program = replace(program, warnings=(*program.warnings, note))
        return reduction.with_extras(replace(program, decoder=replace(program.decoder, layers=layers)), extras)

    def _share(self, attention: Attention, shape: Shape) -> Numeric:
        """The density, but at least every row's own block."""
        own = reduction.chunk_pairs(attention, shape, self.block)
        least = minimum(own / maximum(attention.pairs(shape), 1e-9), 1.0)
        return 1.0 - self.heads * (1.0 - maximum(self.density, least))

    def _estimate(self, attention: Attention, shape: Shape, count: float) -> list[Extra]:
        tokens, on = shape.query.total, shape.batch * cost.active(1.0 - self.heads * (1.0 - self.density))
        blocks, heads = tokens / self.block, attention.heads * self.heads
        extras: list[Extra] = []
        if self.score == "probe":
            extras.append(cost.attention_rows(_NAME, "prefill", on, minimum(self.probes, tokens), tokens, attention, count))
        elif self.score != "none":
            step = self.stride if self.score == "antidiagonal" else self.block
            inner = attention.head_dim * (self.stride if self.score == "antidiagonal" else 1.0)
            op = Matmul(f"{_NAME} estimate", n=maximum(tokens / step, 1.0), k=inner)
            extras.append(cost.charged(f"{_NAME} estimate", "prefill", op, on * heads, tokens / step, count))
            extras.append(cost.gather(f"{_NAME} pool", "prefill", on, tokens, (heads + attention.kv_heads) * attention.head_dim, count))
        extras.append(cost.topk(_NAME, "prefill", on, blocks * blocks * heads, count))
        if self.permute:
            wide = (attention.heads + 2.0 * attention.kv_heads) * attention.head_dim
            extras.append(cost.gather(f"{_NAME} permute", "prefill", on, tokens, wide, count))
        return extras
