"""Fewer visual tokens from a decoder layer on, in one step or several (FastV, PyramidDrop, SparseVLM, DART, ...).

`layer=2` means that layers 0 and 1 see every token and layers 2 and later see `keep` of them. Scores come from the attention
`map` of the layer before (which must then be written out: Chen et al., FastV, 2024), from `rows`: the projections of all
tokens made again for one row of attention (Xing et al., PyramidDrop, 2025), from a few `probe` rows (ZipVL), or from the
`similarity` of hidden states, which needs no attention. What is dropped is missing from the cache of those layers too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import overheads as cost
from simulator.program import Extra, Layer, Program, edit, split
from simulator.quantity import Numeric, minimum
from simulator.reduction import with_extras, write_map
from simulator.spec.source import SpecError
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

_NAME = "in_llm_prune"
_NO_REUSE = "what is pruned depends on the question, so the cached prefix of another question lacks other tokens"


@final
@dataclass(frozen=True, slots=True)
class InLlmPrune(AbstractTechnique):
    """keep: share of the visual tokens that reached the first of `layer`; one value per layer, never growing."""

    about: ClassVar[About] = About(
        title="Visual tokens pruned inside the decoder",
        site=Site.IN_LLM,
        family="in_llm_prune",
        entry="fastv",
        axis="visual_tokens",
        needs_query=True,
        needs_scores=True,
        conflicts={"chunked_prefill": "tokens are ranked at a layer once the whole prompt is there, chunks pass it one by one"},
        engines={
            "hf-eager": ("patch", "the authors' code of FastV and PyramidDrop replaces the decoder of transformers"),
            "hf-sdpa": ("patch", "needs an eager layer where scores are a map"),
            "hf-flash": ("patch", "needs an eager layer where scores are a map"),
            "vllm": ("hypothetical", "layers share one paged block table, so their lengths cannot differ; pruning pictures before the decoder is a request (issue 45098, 2026)"),
        },
    )
    layer: tuple[int, ...] = parameter((2,), "first layers that see fewer tokens", unit="layer", low=0, high=4095, kind="integers")
    keep: tuple[Numeric, ...] = parameter((0.5,), "visual tokens kept from there on", unit="fraction", low=1e-6, high=1, kind="numbers")
    score: str = parameter("map", "where scores come from", choices=("map", "rows", "probe", "similarity"))
    probes: Numeric = parameter(64.0, "rows that score where score=probe", unit="tokens", low=1, high=1e5)

    def __post_init__(self) -> None:
        if len(self.layer) != len(self.keep):
            raise SpecError(f"techniques.{_NAME}.keep: {len(self.keep)} values for {len(self.layer)} layers; one per layer")
        if list(self.layer) != sorted(set(self.layer)):
            raise SpecError(f"techniques.{_NAME}.layer: {self.layer} is not accepted; growing layer numbers")

    @classmethod
    def neutral(cls) -> InLlmPrune:
        return cls(layer=(), keep=())

    def kept(self, program: Program) -> Numeric:
        """Mean over the layers of the share of visual tokens that is there."""
        depth = program.decoder.layers[-1].stop
        share: Numeric = 1.0
        total: Numeric = 0.0
        for start, stop, keep in zip((0, *self.layer), (*self.layer, depth), (1.0, *self.keep), strict=True):
            share = minimum(share, keep)
            total = total + share * max(min(stop, depth) - min(start, depth), 0)
        return total / depth

    def apply(self, program: Program, context: Context) -> Program:
        if not self.layer:
            return program
        aware = self.score != "similarity"
        if aware and cost.occurs(program.prefill.cached_visual):
            raise SpecError(f"techniques: {_NAME} and prefix_cache exclude each other: {_NO_REUSE}")
        layers = program.decoder.layers
        extras: list[Extra] = []
        share: Numeric = 1.0
        for index, keep in zip(self.layer, self.keep, strict=True):
            at = cost.layer_index(f"{_NAME}.layer", index, layers[-1].stop, 1 if self.score == "map" else 0)
            now = minimum(share, keep)
            ratio = now / share
            if self.score == "map":
                layers = edit(layers, write_map, at - 1, at)
            extras += self._score(program, layers, at, ratio)
            layers = edit(layers, lambda layer, r=ratio: replace(layer, keep=layer.keep * r), at)
            share = now
        return with_extras(replace(program, decoder=replace(program.decoder, layers=layers)), extras, aware)

    def _score(self, program: Program, layers: tuple[Layer, ...], at: int, ratio: Numeric) -> list[Extra]:
        here = next(layer for layer in split(layers, at) if layer.index <= at < layer.stop)
        before = next(layer for layer in layers if layer.index <= max(at - 1, 0) < layer.stop)
        visual, hidden, batch = program.visual * here.keep, program.decoder.hidden, program.batch
        tokens = visual + program.text
        extras: list[Extra] = []
        attention = cost.attention_of(before if self.score == "map" else here)
        if self.score == "similarity":
            extras.append(cost.similarity(_NAME, "prefill", batch, visual, visual, hidden))
        elif attention is None:
            raise SpecError(f"techniques.{_NAME}.layer: {at} is not accepted with score={self.score}; no attention there to score with")
        elif self.score == "map":
            extras.append(cost.read_map(_NAME, "prefill", batch, tokens, tokens, attention.heads))
        else:
            if self.score == "rows":
                extras += cost.projections_again(_NAME, batch, tokens, here)
            queries = 1.0 if self.score == "rows" else minimum(self.probes, tokens)
            extras.append(cost.attention_rows(_NAME, "prefill", batch, queries, tokens, attention))
        extras.append(cost.topk(_NAME, "prefill", batch, visual))
        return [*extras, cost.gather(_NAME, "prefill", batch, visual * ratio + program.text, hidden)]
