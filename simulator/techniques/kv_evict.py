"""KV eviction after prefill: every layer keeps a budget of its prompt tokens; prefill itself stays as it was, and so does the peak."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import budgets
from simulator.attention import Attention
from simulator.program import Extra, Layer, Program, edit, total_layers
from simulator.quantity import Numeric, maximum, minimum, where
from simulator.spec.source import SpecError
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

STEEP = {"uniform": 0.0, "varied": budgets.STEEPEST, "skewed": 3.0}  # skewed: a few heads hold most (SparseMM, arXiv 2506.05344)


@final
@dataclass(frozen=True)
class KvEvict(AbstractTechnique):
    """Share of the prompt's KV that stays, per layer and head. The defaults are LOOK-M's (arXiv 2406.18139)."""

    about: ClassVar[About] = About(
        title="KV eviction and merging",
        site=Site.KV,
        family="kv_evict",
        entry="look-m",
        axis="kv_tokens",
        needs_query=True,
        needs_scores=True,
        engines={
            "hf-eager": ("patch", "transformers 4.3x-4.4x; LOOK-M, SparseMM and SnapKV repositories patch the attention classes"),
            "hf-flash": ("patch", "transformers 4.3x-4.4x; SnapKV, PyramidKV and SparseMM repositories"),
            "vllm": ("hypothetical", "paged blocks are shared by all layers and heads; no eviction inside a request (source of 0.33.0: no such cache)"),
        },
    )

    budget: Numeric = parameter(0.2, "share of the eligible tokens that stays, mean over layers", unit="fraction", low=0.001, high=1.0)
    tokens: Numeric = parameter(0.0, "at most so many visual tokens per layer (0: no cap)", unit="tokens", low=0.0)
    layer_budgets: tuple[Numeric, ...] = parameter((), "budget of every layer, instead", kind="numbers", low=0.001, high=1.0)
    layer: int = parameter(0, "first layer that evicts", kind="integer", low=0)
    layer_shape: str = parameter("uniform", "budgets over depth", choices=("uniform", "pyramid"))
    head_shape: str = parameter("uniform", "budgets over KV heads", choices=("uniform", "varied", "skewed"))
    layout: str = parameter("varlen", "padded: every layer and head stores the longest", choices=("varlen", "padded"))
    text_kept: bool = parameter(True, "only visual tokens are evicted", kind="flag")
    window: Numeric = parameter(0.0, "newest prompt tokens that stay whatever the budget", unit="tokens", low=0.0)
    observe: Numeric = parameter(32.0, "last prompt rows whose attention scores the keys", unit="tokens", low=0.0)
    merge: bool = parameter(False, "evicted tokens are averaged into their most similar neighbour", kind="flag")

    def apply(self, program: Program, context: Context) -> Program:
        decoder = program.decoder
        depth = total_layers(decoder.layers)
        if self.layer_budgets and len(self.layer_budgets) != depth:
            found = len(self.layer_budgets)
            raise SpecError(f"techniques.kv_evict.layer_budgets: {found} values are not accepted; {depth}, one for each layer")
        if self.layer >= depth:
            raise SpecError(f"techniques.kv_evict.layer: {self.layer} is not accepted; 0 to {depth - 1} in this stack")
        ragged = self.layer_budgets or (self.layer_shape == "pyramid" and self.layout == "varlen")
        layers = budgets.singly(decoder.layers, self.layer) if ragged else decoder.layers
        extras: list[Extra] = []

        def change(layer: Layer) -> Layer:
            if not budgets.evictable(layer):
                return layer
            changed = self._evicted(program, layer, depth)
            extras.extend(budgets.choosing("kv_evict", program, layer, changed, self.observe, self.merge))
            if self.head_shape == "uniform" or self.layout == "padded":
                return changed
            extras.append(budgets.ragged("kv_evict", program, layer))
            return replace(changed, decode=tuple(replace(op, varlen=True) if isinstance(op, Attention) else op for op in changed.decode))

        decoder = replace(decoder, layers=edit(layers, change, self.layer))
        return replace(program, decoder=decoder, extras=(*program.extras, *extras))

    def _evicted(self, program: Program, layer: Layer, depth: int) -> Layer:
        cache, seen, op = layer.cache, budgets.prompt(program, layer), budgets.attention_of(layer)
        assert cache is not None and op is not None
        share = self.budget
        if self.layer_budgets:
            share = self.layer_budgets[layer.index]
        elif self.layer_shape == "pyramid":  # a padded cache is as long in every layer as in the first
            share = budgets.on_line(self.budget, layer.index if self.layout == "varlen" else 0, depth)
        # Heads of one group (a device, or every head of a padded cache) are as slow as the fullest.
        group, heads = float(op.kv_heads), float(op.kv_heads) * program.decoder.devices
        kept = budgets.fullest_group(share, heads, group if self.layout == "varlen" else 1.0, STEEP[self.head_shape])
        visual = where(self.tokens > 0.0, minimum(kept, self.tokens / maximum(seen.visual, 1.0)), kept)
        text: Numeric = 1.0 if self.text_kept else kept
        newest = minimum(self.window, seen.text)  # the end of the prompt is text, and before it are pictures
        pictures = minimum((self.window - newest) / maximum(seen.visual, 1e-9), 1.0)
        return replace(layer, cache=replace(
            cache,
            resident_visual=cache.resident_visual * (visual + (1.0 - visual) * pictures),
            resident_text=cache.resident_text * (text + (1.0 - text) * newest / maximum(seen.text, 1e-9)),
        ))  # fmt: skip

    @classmethod
    def neutral(cls) -> KvEvict:
        return cls(budget=1.0)

    def kept(self, program: Program) -> Numeric:
        mean = self.budget
        if self.layer_budgets:
            mean = sum(self.layer_budgets, 0.0) / len(self.layer_budgets)
        return where(self.tokens > 0.0, minimum(mean, self.tokens / maximum(program.visual, 1.0)), mean)

