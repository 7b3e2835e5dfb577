"""Efficient reasoning: shorter answers, or a route between a short and a long one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np

from simulator.program import Branch, Program
from simulator.quantity import Numeric, maximum, minimum
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True)
class OutputLength(AbstractTechnique):
    """With `probability` the output is `ratio` times as long, else as long as stated. Every request pays `probe_tokens` first.

    The default is PixelThink's shape (arXiv 2505.23727): always shorter. CAR and FS-VisPR route: a short answer is always paid.
    """

    about: ClassVar[About] = About(
        title="Output length and routing",
        site=Site.OUTPUT,
        family="output_length",
        entry="pixelthink",
        axis="output",
        needs_training=True,
        needs_query=True,
        engines={
            "vllm": ("runs", "any version: a property of the checkpoint or of the client that routes"),
            "sglang": ("runs", "any version: a property of the checkpoint or of the client that routes"),
            "trtllm": ("runs", "any version: a property of the checkpoint or of the client that routes"),
            "hf-flash": ("runs", "any version: a property of the checkpoint or of the client that routes"),
        },
    )

    ratio: Numeric = parameter(0.5, "length of the other answer over the stated one", unit="ratio", low=0.0, high=100.0)
    probability: Numeric = parameter(1.0, "share of the requests that get the other answer", unit="fraction", low=0.0, high=1.0)
    probe_tokens: Numeric = parameter(0.0, "tokens of the probe that every request pays", unit="tokens", low=0.0)

    def apply(self, program: Program, context: Context) -> Program:
        stated = replace(program, output=program.output + self.probe_tokens)
        other = replace(program, output=program.output * self.ratio + self.probe_tokens)
        if np.all(np.asarray(self.probability) == 1.0):
            return other
        branch = Branch(self.probability, other, additional=False)
        return replace(stated, branches=(*program.branches, branch))

    @classmethod
    def neutral(cls) -> OutputLength:
        return cls(ratio=1.0)

    def kept(self, program: Program) -> Numeric:
        """Answers as long as stated, and the others by how far they are from it, longer or shorter."""
        return 1.0 - self.probability + self.probability * minimum(self.ratio, 1.0 / maximum(self.ratio, 1e-9))
