"""Encoder data parallelism beside a tensor-parallel language model: every device holds the tower and encodes its share of crops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator.encoder_parallel import by_crops, degree_of, unsharded
from simulator.ops import Collective
from simulator.overheads import rows
from simulator.program import Extra, Program, Tower
from simulator.quantity import Numeric
from simulator.technique import About, AbstractTechnique, Context, Site, parameter


@final
@dataclass(frozen=True)
class EncoderDataParallel(AbstractTechnique):
    """Whole crops per device, so a single picture of one crop gains nothing; the visual tokens are gathered afterwards."""

    about: ClassVar[About] = About(
        title="Encoder data parallelism with a tensor-parallel language model",
        site=Site.SYSTEM,
        family="encoder_data_parallel",
        entry="efficient-lvlm-survey",
        lossless=True,
        conflicts={"sequence_parallel_encoder": "both place the encoder on the same devices"},
        engines={
            "vllm": ("runs", "API docs of 0.11: --mm-encoder-tp-mode data, for the models that support it"),
            "sglang": ("runs", "source of 0.5.6: --mm-enable-dp-encoder (not in 0.5.5); docs, read 2026: Qwen2.5-VL, Qwen3-VL, InternVL"),
        },
    )

    degree: int = parameter(0, "devices (0: as many as --tp)", unit="devices", kind="integer", low=0, high=1024)

    def apply(self, program: Program, context: Context) -> Program:
        degree = degree_of("encoder_data_parallel", self.degree, context.parallel.tp)
        if degree == 1.0:
            return program
        towers = tuple(self._spread(program, tower, context, degree) for tower in program.towers)
        gather = Collective("encoder_data_parallel gather", "all_gather", program.decoder.hidden, degree)
        shape = rows(program.batch, program.visual, "project")
        return replace(program, towers=towers, extras=(*program.extras, Extra("encoder_data_parallel gather", "project", gather, shape)))

    def _spread(self, program: Program, tower: Tower, context: Context, degree: float) -> Tower:
        if context.parallel.encoder == "data":
            return tower
        return by_crops(unsharded(tower, context.model), program.batch, degree)

    @classmethod
    def neutral(cls) -> EncoderDataParallel:
        return cls(degree=1)

    def kept(self, program: Program) -> Numeric:
        return 1.0
