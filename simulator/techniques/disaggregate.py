"""Disaggregation: stages on machines of their own. What crosses each boundary, in bytes, and the time that takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import budgets
from simulator.ops import Transfer
from simulator.overheads import rows
from simulator.program import Extra, Program
from simulator.quantity import Numeric, minimum
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True)
class Disaggregate(AbstractTechnique):
    """Encode, prefill and decode apart (EPDServe, arXiv 2501.05460; prefill and decode alone: DistServe, arXiv 2401.09670).

    From encode to prefill: the visual tokens that are handed on, in the width of the language model. From prefill to decode:
    the KV that stays, at its stored width. Both belong to TTFT here, except the share that is sent while prefill goes on.
    """

    about: ClassVar[About] = About(
        title="Stage disaggregation",
        site=Site.SYSTEM,
        family="disaggregate",
        entry="distserve",
        lossless=True,
        engines={
            "vllm": ("runs", "docs, read 2026: disaggregated prefill through KV connectors, experimental; disaggregated encoder through EC connectors"),
            "sglang": ("runs", "docs, read 2026: prefill-decode disaggregation, and encoders apart by --encoder-only and --language-only (source of 0.5.7; not in 0.5.6)"),
            "trtllm": ("runs", "docs of 1.2: disaggregated serving; encoders apart by MultimodalEncoder (Dynamo docs: E/P/D)"),
        },
    )

    split: str = parameter("prefill_decode", "which boundaries are cut", choices=("encode_prefill", "prefill_decode", "both", "none"))
    link: str = parameter("scale_up", "link between the pools", choices=("scale_up", "pcie", "host"))
    overlap: Numeric = parameter(0.0, "share of the KV sent while prefill goes on", unit="fraction", low=0.0, high=1.0)

    def apply(self, program: Program, context: Context) -> Program:
        embedded = program.batch * program.visual * program.decoder.hidden * 2.0
        cached: Numeric = 0.0
        for layer in program.decoder.layers:
            if layer.cache is not None:
                tokens = budgets.resident(program, layer).total
                if not budgets.evictable(layer):
                    tokens = minimum(tokens, layer.cache.window)
                full = minimum(layer.cache.residual, tokens)
                stored = (tokens - full) * layer.cache.bytes_per_token + full * layer.cache.full_bytes_per_token
                cached = cached + program.batch * (stored + layer.cache.state_bytes) * layer.count
        cached = cached * program.decoder.devices
        # Every device of a pool sends its own share to its peer.
        lanes = program.decoder.devices * program.decoder.pipeline
        crossing = {"encode_to_prefill": (embedded, 1.0, 0.0), "prefill_to_decode": (cached, lanes, self.overlap)}
        if self.split in ("encode_prefill", "prefill_decode"):
            name = self.split.replace("_", "_to_")
            crossing = {name: crossing[name]}
        elif self.split == "none":
            crossing = {}
        extras = tuple(
            Extra(f"disaggregate {name}", "prefill", Transfer("disaggregate", self.link, moved / sent * (1.0 - hidden)),
                  rows(1.0, 1.0, "prefill"))
            for name, (moved, sent, hidden) in crossing.items()
        )  # fmt: skip
        bytes = program.boundary_bytes | {name: moved for name, (moved, _, _) in crossing.items()}
        notes = ("disaggregate: energy and rent are those of the pool at work; other requests keep the others busy",) if crossing else ()
        return replace(program, extras=program.extras + extras, boundary_bytes=bytes, assumptions=program.assumptions + notes)

    @classmethod
    def neutral(cls) -> Disaggregate:
        return cls(split="none")

    def kept(self, program: Program) -> Numeric:
        return 1.0
