"""Sequence-parallel encoding: the rows of every crop are spread over devices that exchange keys and values or heads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator.attention import Attention
from simulator.encoder_parallel import degree_of, unsharded
from simulator.ops import AbstractOp, Collective
from simulator.overheads import rows
from simulator.program import Extra, Layer, Program, Tower
from simulator.quantity import Numeric
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True)
class SequenceParallelEncoder(AbstractTechnique):
    """Sequence parallelism of LongVILA (arXiv 2408.10188), here for the encoder alone: all-to-all within a node, ring across nodes.

    all_to_all: queries, keys and values change from rows to heads and the output changes back (DeepSpeed-Ulysses, arXiv
    2309.14509). ring: keys and values go round, degree - 1 times (arXiv 2310.01889).
    """

    about: ClassVar[About] = About(
        title="Sequence-parallel encoder",
        site=Site.SYSTEM,
        family="sequence_parallel_encoder",
        entry="longvila",
        lossless=True,
        conflicts={"encoder_data_parallel": "both place the encoder on the same devices"},
        engines={
            "hf-flash": ("patch", "LongVILA repository (VILA, MM-SP)"),
            "vllm": ("hypothetical", "source of 0.33.0: encoders run tensor- or data-parallel"),
        },
    )

    degree: int = parameter(0, "devices (0: as many as --tp)", unit="devices", kind="integer", low=0, high=1024)
    scheme: str = parameter("all_to_all", "what is exchanged", choices=("all_to_all", "ring"))

    def apply(self, program: Program, context: Context) -> Program:
        degree = degree_of("sequence_parallel_encoder", self.degree, context.parallel.tp)
        if degree == 1.0:
            return program
        towers = tuple(self._spread(tower, context, degree) for tower in program.towers)
        gather = Collective("sequence_parallel_encoder gather", "all_gather", program.decoder.hidden, degree)
        shape = rows(program.batch, program.visual, "project")
        return replace(program, towers=towers, extras=(*program.extras, Extra("sequence_parallel_encoder gather", "project", gather, shape)))

    def _spread(self, tower: Tower, context: Context, degree: float) -> Tower:
        def exchange(op: AbstractOp) -> tuple[AbstractOp, ...]:
            if not isinstance(op, Attention):
                return (op,)
            queries, keys = op.heads * op.head_dim, op.kv_heads * (op.head_dim + op.value_dim)
            if self.scheme == "ring":
                return op, Collective("ring", "send", keys * (degree - 1.0), 2.0, visual=op.visual)
            moved = queries + keys + op.heads * op.value_dim
            return op, Collective("all_to_all", "all_to_all", moved, degree, visual=op.visual)

        def change(layer: Layer) -> Layer:
            return replace(layer, prefill=tuple(item for op in layer.prefill for item in exchange(op)))

        if context.parallel.encoder == "data":
            return tower
        whole = unsharded(tower, context.model)
        return replace(whole, layers=tuple(map(change, whole.layers)), split=tower.split / degree, copies=degree)

    @classmethod
    def neutral(cls) -> SequenceParallelEncoder:
        return cls(degree=1)

    def kept(self, program: Program) -> Numeric:
        return 1.0
