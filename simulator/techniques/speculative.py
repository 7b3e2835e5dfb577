"""Speculative decoding: a drafter proposes, one pass of the target verifies; gains by cycles, pays by draft passes, rows and
the many small operators that choose, arrange and check drafts (top-k, masks, paths), which cost a kernel start each where the engine
captures no graph. They were counted in the public code of EAGLE's loop (ViSpec's `cnets_ours.py` and `spec_model_ours.py`, tree) and
of SpecVLM (chain)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator.acceptance import expected_accepted, relaxed
from simulator.attention import Attention
from simulator.ops import Elementwise, Matmul, Shape, Tokens
from simulator.overheads import charged, occurs
from simulator.program import DecodePlan, Decoder, Draft, Extra, Layer, Program, edit, split, total_layers, unless
from simulator.quantity import Numeric, ceil, maximum, where
from simulator.spec.source import SpecError
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

UNNAMED = {"self": 3, "separate": 4}  # the drafter has one in so many of the target's layers, where it is not said
LEVEL = {True: 14.0, False: 3.0}  # kernel starts per drafted level besides the drafter's own, of a tree and of a chain
CYCLE = {True: 120.0, False: 30.0}  # ... and per cycle: paths, mask, posterior, moving the accepted rows, host work in the same unit


@final
@dataclass(frozen=True)
class Speculative(AbstractTechnique):
    """drafter: a model's name; `head` (one layer of the target's width that shares its embedding and head); `heads` (one matrix of the
    target's width per drafted token on its last hidden state, no attention and no cache: Medusa, arXiv 2401.10774); `self` or
    `self:N` (the target's first N layers on the target's own cache; a third of them if not said); `separate` or `separate:N` (a
    decoder of its own of the target's widths and N layers; a quarter of the target's if not said)."""

    about: ClassVar[About] = About(
        title="Speculative decoding",
        site=Site.DECODING,
        family="speculative",
        entry="specvlm-ji",
        axis="draft",
        conflicts={"layer_skip": "the verifier would skip layers too; use drafter=self:N for early-exit drafting"},
        engines={
            "vllm": ("runs", "EAGLE and EAGLE-3 heads on pictures (pull requests 22872, 29594); source of 0.28.0 and 0.33.0: chains only, draft models see text only"),
            "sglang": ("runs", "source of 0.5.1: EAGLE trees; of 0.5.12: standalone draft models, n-gram"),
            "trtllm": ("runs", "docs of 1.0 to 1.4: draft model, EAGLE-3, n-gram, MTP of DeepSeek; chains only; on pictures not checked"),
            "hf-flash": ("runs", "source of transformers 4.35.2: assisted generation, chains; trees by the methods' repositories"),
            "hf-sdpa": ("runs", "source of transformers 4.35.2: assisted generation, chains; trees by the methods' repositories"),
        },
    )

    drafter: str = parameter("head", "model name, head, heads, self, self:N, separate or separate:N", kind="text")
    gamma: Numeric = parameter(10.0, "tokens drafted per cycle (depth of a tree)", unit="tokens", low=0.0, high=256.0)
    alpha: Numeric = parameter(0.79, "chance that a draft is accepted after those before it", unit="fraction", low=0.0, high=1.0)
    accepted: Numeric = parameter(-1.0, "accepted drafts per cycle, where measured (-1: from alpha)", unit="tokens", low=-1.0)
    relax: Numeric = parameter(0.0, "chance that a mismatch is let pass (lossy)", unit="fraction", low=0.0, high=1.0)
    draft_keep: Numeric = parameter(1.0, "share of the visual tokens the drafter sees", unit="fraction", low=0.0, high=1.0)
    adaptor_tokens: Numeric = parameter(0.0, "visual tokens of a learned adaptor instead (0: none)", unit="tokens", low=0.0)
    score: str = parameter("none", "how the target guides the drafter's pruning", choices=("none", "map"))
    tree: bool = parameter(False, "drafts form a tree", kind="flag")
    nodes: Numeric = parameter(60.0, "nodes of the tree that are verified", unit="tokens", low=1.0)
    tokens_per_step: Numeric = parameter(1.0, "tokens one draft pass emits", unit="tokens", low=1.0)
    own_encoder: bool = parameter(True, "a named drafter encodes the pictures itself", kind="flag")

    def apply(self, program: Program, context: Context) -> Program:
        if not occurs(self.gamma):
            return program
        return unless(self.gamma <= 0.0, program, self._applied(program, context))

    def _applied(self, program: Program, context: Context) -> Program:
        plan, draft = self._drafted(program, context)
        notes = (f"speculative: the unnamed drafter is taken to have 1/{UNNAMED['separate']} of the target's layers",)
        notes = notes if self.drafter == "separate" else ()
        starts = where(self.gamma > 0.0, CYCLE[self.tree] + LEVEL[self.tree] * self.gamma, 0.0)
        small = Elementwise("speculative bookkeeping", "copy", 1.0, 1.0, launches=starts)
        loop = replace(charged("speculative bookkeeping", "decode", small, program.batch, 1.0), per_step=True)
        program = replace(program, decode=plan, assumptions=program.assumptions + notes, extras=(*program.extras, loop))
        if self.score == "map":  # the target's last layer writes its attention map out (SpecVLM: output_attentions)
            depth = total_layers(program.decoder.layers)
            layers = edit(program.decoder.layers, _mapped, depth - 1)
            program = replace(program, decoder=replace(program.decoder, layers=layers))
        if not draft.own_cache:
            return program
        visual, drawn = program.visual * draft.keep, where(self.gamma > 0.0, 1.0, 0.0)
        extras = [
            Extra(f"speculative draft prefill {layer.kind}", "prefill", op,
                  Shape("prefill", program.batch, Tokens(visual * layer.keep, program.text)), layer.count * drawn)
            for layer in (draft.decoder.embedding, *draft.decoder.layers) for op in layer.prefill
        ]  # fmt: skip
        towers = program.towers
        if self._named and self.own_encoder and occurs(draft.keep):
            seen = where(draft.keep > 0.0, drawn, 0.0)
            own = context.rebuild(context.load(self.drafter), 1.0).towers
            towers = (*towers, *(replace(tower, split=tower.split * seen) for tower in own))
        return replace(program, towers=towers, extras=(*program.extras, *extras))

    @property
    def _named(self) -> bool:
        return self.drafter.partition(":")[0] not in ("head", "heads", *UNNAMED)

    def _drafted(self, program: Program, context: Context) -> tuple[DecodePlan, Draft]:
        tau = where(self.accepted < 0.0, expected_accepted(relaxed(self.alpha, self.relax), self.gamma), self.accepted)
        if occurs(self.accepted - self.gamma):
            raise SpecError(f"techniques.speculative.accepted: {self.accepted!r} is not accepted; at most gamma = {self.gamma!r}")
        keep = where(self.adaptor_tokens > 0.0, self.adaptor_tokens / maximum(program.visual, 1.0), self.draft_keep)
        shared = self.drafter.partition(":")[0] == "self"
        draft = Draft(
            decoder=self._decoder(program, context),
            steps=ceil(self.gamma / self.tokens_per_step),
            keep=keep,
            rows=maximum(self.nodes / maximum(self.gamma, 1.0), 1.0) if self.tree else self.tokens_per_step,
            prefills=False,  # its prompt pass is charged as extras of `prefill`
            own_weights=not shared,
            own_cache=not shared and self.drafter != "heads",
        )
        verified = where(self.gamma > 0.0, maximum(self.nodes, self.gamma), 0.0) if self.tree else self.gamma
        return DecodePlan(1.0 / (tau + 1.0), verified + 1.0, draft), draft

    def _decoder(self, program: Program, context: Context) -> Decoder:
        target = program.decoder
        if self._named:
            return context.rebuild(context.load(self.drafter), 1.0).decoder
        kind, _, count = self.drafter.partition(":")
        depth = total_layers(target.layers)
        plain = context.rebuild(context.model, 1.0).decoder
        if kind == "heads":
            return self._heads(plain)
        if kind != "head":
            layers = int(count) if count.isdigit() else max(depth // UNNAMED[kind], 1) if not count else 0
            if not 1 <= layers < depth:
                raise SpecError(f"techniques.speculative.drafter: {self.drafter!r} is not accepted; {kind}:1 to {kind}:{depth - 1}")
            whole = target if kind == "self" else plain
            parts = split(whole.layers, layers)
            return replace(whole, layers=tuple(layer for layer in parts if layer.index < layers))
        first = replace(plain.layers[0], count=1)
        fuse = Matmul("fuse", plain.hidden, 2.0 * plain.hidden)  # the target's last hidden state beside the embedding (EAGLE)
        layer = replace(first, prefill=(fuse, *first.prefill), decode=(fuse, *first.decode))
        ends = replace(plain.embedding, prefill=()), replace(plain.head, prefill=())  # used, not owned
        return replace(plain, embedding=ends[0], layers=(layer,), head=ends[1], other_parameters=0.0)

    def _heads(self, plain: Decoder) -> Decoder:
        """A residual block and the target's lm_head per drafted token; a pass stands for one of them, memory for all."""
        width = plain.hidden
        block = Matmul("head", width, width, bias=True), Elementwise("activation", "activation", width, width), Elementwise("add", "add", 2.0 * width, width)
        layer = Layer("heads", 0, 1, (), block)
        ends = replace(plain.embedding, prefill=(), decode=()), replace(plain.head, prefill=())
        others = maximum(self.gamma - 1.0, 0.0) * block[0].parameters
        return replace(plain, embedding=ends[0], layers=(layer,), head=ends[1], other_parameters=others)

    @classmethod
    def neutral(cls) -> Speculative:
        return cls(gamma=0.0)

    def kept(self, program: Program) -> Numeric:
        return 1.0 - self.relax


def _mapped(layer: Layer) -> Layer:
    ops = (replace(op, materialised=True) if isinstance(op, Attention) else op for op in layer.prefill)
    return replace(layer, prefill=tuple(ops))
