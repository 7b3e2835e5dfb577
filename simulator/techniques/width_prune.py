"""Structured pruning: narrower feed-forward parts, fewer heads, or both; dense kernels on smaller matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator.attention import Attention
from simulator.ops import AbstractOp, Elementwise, Experts, Matmul
from simulator.program import Layer, Program, edit
from simulator.quantity import Numeric
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

# name -> which side of the matrix is the pruned width
FEED_FORWARD = {name: "n" for name in ("gate_up", "up", "expert_gate_up", "expert_up", "shared_gate_up", "shared_up")} | {
    name: "k" for name in ("down", "expert_down", "shared_down")
}
HEADS = {"qkv": "n", "q": "n", "kv": "n", "q_b": "n", "kv_b": "n", "o": "k", "absorb_q": "copies", "absorb_o": "copies"}


@final
@dataclass(frozen=True)
class WidthPrune(AbstractTechnique):
    """Share of the width that stays. EfficientLLaVA (arXiv 2503.15369) searches such widths; half of them is its 1.8x setting."""

    about: ClassVar[About] = About(
        title="Structured width pruning",
        site=Site.WEIGHTS,
        family="width_prune",
        entry="efficientllava",
        axis="weights",
        needs_training=True,
        engines={
            "hf-flash": ("runs", "transformers 4.40+: a pruned checkpoint with its own config; equal widths in every layer"),
            "vllm": ("patch", "0.14-0.24: loads a pruned checkpoint where all layers have the same widths"),
        },
    )

    keep: Numeric = parameter(0.5, "share of the width that stays", unit="fraction", low=0.01, high=1.0)
    part: str = parameter("both", "what is pruned", choices=("ffn", "heads", "both"))
    layer: int = parameter(0, "first layer that is pruned", kind="integer", low=0)

    def apply(self, program: Program, context: Context) -> Program:
        sides = (FEED_FORWARD if self.part != "heads" else {}) | (HEADS if self.part != "ffn" else {})

        def narrow(op: AbstractOp) -> AbstractOp:
            if isinstance(op, Matmul | Experts) and op.name in sides:
                side = sides[op.name]
                return replace(op, **{side: getattr(op, side) * self.keep})
            if isinstance(op, Attention) and self.part != "ffn":
                latent = op.shared  # one latent per token whatever the heads
                return replace(op, heads=op.heads * self.keep, kv_heads=op.kv_heads * (1.0 if latent else self.keep))
            wide = ("activation",) if self.part == "ffn" else ("rope", "qk_norm", "gate")
            wide = ("activation", "rope", "qk_norm", "gate") if self.part == "both" else wide
            if isinstance(op, Elementwise) and op.name in wide:
                return replace(op, read=op.read * self.keep, write=op.write * self.keep)
            return op

        def change(layer: Layer) -> Layer:
            cache = layer.cache
            latent = any(isinstance(op, Attention) and op.shared for op in layer.decode)
            if cache is not None and self.part != "ffn" and not latent:
                cache = replace(cache, key_width=cache.key_width * self.keep, value_width=cache.value_width * self.keep)
            return replace(layer, cache=cache, prefill=tuple(map(narrow, layer.prefill)), decode=tuple(map(narrow, layer.decode)))

        return replace(program, decoder=replace(program.decoder, layers=edit(program.decoder.layers, change, self.layer)))

    @classmethod
    def neutral(cls) -> WidthPrune:
        return cls(keep=1.0)

    def kept(self, program: Program) -> Numeric:
        return self.keep
