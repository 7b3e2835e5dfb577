"""Fewer visual tokens between projector and decoder, chosen for diversity (DivPrune, CDPruner, FastVID, HoliTom, ...).

Every token is compared with the `window` it lies in (0: with all). `greedy` max-min selection takes one token per dependent
pass (Alvar et al., DivPrune, 2025); `dpp` adds the incremental Cholesky rows of a determinantal point process conditioned on
the question (CDPruner); `clustering` finds density peaks and averages members. None of them needs attention maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from simulator import overheads as cost
from simulator import reduction
from simulator.program import Extra, Program
from simulator.quantity import Numeric, maximum, minimum, where
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

_NAME = "pre_llm_reduce"


@final
@dataclass(frozen=True, slots=True)
class PreLlmReduce(AbstractTechnique):
    """A given number of `tokens` goes before `keep`."""

    about: ClassVar[About] = About(
        title="Visual tokens reduced before the decoder",
        site=Site.PRE_LLM,
        family="pre_llm_reduce",
        entry="divprune",
        axis="visual_tokens",
        engines={
            "hf-eager": ("patch", "the authors' code of DivPrune and CDPruner prunes before the decoder of transformers"),
            "hf-sdpa": ("patch", "as hf-eager"),
            "hf-flash": ("patch", "as hf-eager; no attention map needed"),
            "vllm": ("patch", "none for pictures in the source of 0.33.0; of video, VidCom2 runs (0.28.0: --video-pruning-method vidcom2)"),
        },
    )
    keep: Numeric = parameter(0.098, "visual tokens kept", unit="fraction", low=1e-6, high=1)
    tokens: Numeric = parameter(0.0, "kept of the whole request; 0: use keep", unit="tokens", low=0, high=1e9)
    method: str = parameter("greedy", "how tokens are chosen", choices=("similarity", "greedy", "dpp", "clustering"))
    window: Numeric = parameter(0.0, "tokens compared with each other; 0: all", unit="tokens", low=0, high=1e9)

    @classmethod
    def neutral(cls) -> PreLlmReduce:
        return cls(keep=1.0)

    def kept(self, program: Program) -> Numeric:
        return reduction.budget(self.tokens, program.visual, self.keep)

    def apply(self, program: Program, context: Context) -> Program:
        keep, visual, hidden = self.kept(program), program.visual, program.decoder.hidden
        batch = program.batch * cost.active(keep)
        seen = where(self.window > 0.0, minimum(self.window, visual), visual)
        windows = visual / maximum(seen, 1e-9)
        extras: list[Extra] = [cost.similarity(_NAME, "prefill", batch * windows, seen, seen, hidden)]
        if self.method in ("greedy", "dpp"):
            extras.append(cost.sequential(_NAME, "prefill", batch * windows, seen * keep, seen))
        if self.method == "dpp":  # row t of the factor costs t products for each of the tokens: k^2 N / 2 in all
            extras.append(cost.similarity(f"{_NAME} dpp", "prefill", batch * windows, seen * keep, seen, seen * keep / 2.0))
        if self.method == "clustering":
            extras.append(cost.topk(f"{_NAME} neighbours", "prefill", batch * windows, seen * seen))
            extras.append(cost.gather(f"{_NAME} average", "prefill", batch, visual, hidden))
        extras.append(cost.topk(_NAME, "prefill", batch, visual))
        extras.append(cost.gather(_NAME, "prefill", batch, visual * keep, hidden))
        return reduction.with_extras(reduction.after_projector(program, keep), extras, self.method == "dpp")
