"""Weight quantisation of the language model's linear layers: fewer bytes per step; weight-only formats multiply in bf16."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np

from simulator.budgets import prefill_passes
from simulator.build.format import LINEAR, requantised
from simulator.ops import AbstractOp, Elementwise, Experts, Matmul
from simulator.overheads import rows
from simulator.program import Extra, Program, map_ops
from simulator.quantity import Numeric, is_array, maximum, minimum, where
from simulator.spec.source import SpecError
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

# format -> (format of the products, own bits of a weight, bits of an activation, bits of a group's metadata)
FORMATS: dict[str, tuple[str, float, float, float]] = {
    "w4a16": ("bf16", 4.0, 16.0, 20.0),  # a scale of 16 bits and a zero point of 4 (AWQ)
    "weight_only": ("bf16", 4.0, 16.0, 20.0),
    "w8a8": ("int8", 8.0, 16.0, 0.0),
    "fp8": ("fp8", 8.0, 16.0, 0.0),
    "fp4": ("fp4", 4.0, 16.0, 8.0),
    "nf4": ("bf16", 4.0, 16.0, 8.125),  # bitsandbytes: blocks of 64, whose constants have 8 bits and one of 32 for 256 of them
}
BLOCK = {"fp4": 16.0, "nf4": 64.0}
"""Weights that share a constant, where the format fixes it."""
STARTS = {"nf4": 4.0, "4 bits": 2.0, "8 bits": 5.0}
"""Kernel starts (and Python in the same unit) of a product of packed weights under transformers beyond those of a plain one. bitsandbytes:
48 to 51 us a product at 12 us a start, from the decode rates of three models in 16 bits and in NF4 on an RTX 5090 (github bitsandbytes
issue 1851). Read in code, 4 bits: AutoAWQ adds up eight partial sums and adds the bias, AutoGPTQ's ExLlama kernel clears its output and
adds the bias. 8 bits have no ExLlama kernel: AutoGPTQ's own clears its output, casts input, scales and output, and adds the bias. Of
authors' kernels for fewer bits none was read: no more starts than a plain product's."""


@final
@dataclass(frozen=True)
class WeightQuant(AbstractTechnique):
    """Bits of a weight. The defaults are AWQ's (arXiv 2306.00978): 4 bits in groups of 128, activations in 16."""

    about: ClassVar[About] = About(
        title="Weight quantisation",
        site=Site.WEIGHTS,
        family="weight_quant",
        entry="awq",
        axis="weights",
        engines={
            "vllm": ("runs", "docs of 0.14: AWQ and GPTQ through Marlin, INT8 and FP8 W8A8, NVFP4 through Model Optimizer"),
            "sglang": ("runs", "source of 0.5.1: AWQ, GPTQ, FP8, W8A8 INT8, ModelOpt FP4"),
            "trtllm": ("runs", "docs of 1.0: W4A16 AWQ and GPTQ, FP8, NVFP4; SmoothQuant in the older TensorRT backend only"),
            "hf-flash": ("runs", "source of transformers 4.35.2: AWQ, GPTQ, bitsandbytes"),
            "hf-sdpa": ("runs", "source of transformers 4.35.2: AWQ, GPTQ, bitsandbytes"),
            "hf-eager": ("runs", "source of transformers 4.35.2: AWQ, GPTQ, bitsandbytes"),
        },
    )

    format: str = parameter("auto", "auto: w8a8 for 8 bits, else weight-only", choices=("auto", *FORMATS))
    bits: Numeric = parameter(0.0, "width of a weight without metadata (0: the format's own)", unit="bit", low=0.0, high=16.0)
    group: Numeric = parameter(128.0, "weights that share a scale (0: a whole row)", unit="weights", low=0.0)

    def apply(self, program: Program, context: Context) -> Program:
        format = self._format()
        compute, own, activation, metadata = FORMATS[format]
        bits = where(self.bits > 0.0, self.bits, own)
        if compute != "bf16" and np.any(np.asarray(bits) != own):
            raise SpecError(f"techniques.weight_quant.bits: {self.bits!r} is not accepted with {format}; {own:g}, or leave it out")
        if compute not in context.engine.formats:
            known = ", ".join(context.engine.formats)
            raise SpecError(f"techniques.weight_quant.format: {format!r} is not accepted: {context.engine.name} multiplies in {known}")
        try:
            executed = context.chip.executed_format(compute)
        except ValueError as error:
            raise SpecError(f"techniques.weight_quant.format: {format!r} is not accepted: {error}") from None
        group = where(self.group > 0.0, minimum(maximum(self.group, 1.0), BLOCK.get(format, 1e9)), 1e9)
        stored = where(bits < 16.0, bits + metadata / group, 16.0)

        def narrow(op: AbstractOp) -> AbstractOp:
            return requantised(op, compute, stored, activation)

        decoder = program.decoder
        matrices: dict[str, tuple[Numeric, Numeric]] = {}
        for layer in decoder.layers:
            for op in layer.prefill:
                if isinstance(op, Matmul | Experts) and op.name in LINEAR:
                    weights, count = matrices.get(op.name, (0.0, 0))
                    matrices[op.name] = (weights + op.parameters * layer.count, count + layer.count)
        decoder = replace(decoder, layers=map_ops(decoder.layers, narrow))
        notes: tuple[str, ...] = ()
        extras = program.extras
        if executed != compute:
            notes = (f"weight_quant: {context.chip.name} has no {compute}; weights of {own:g} bits are multiplied in {executed}",)
        unfused = context.engine.passes > 1.0  # serving engines unpack inside the product (Marlin, TinyChat, TensorRT-LLM)
        if (unfused or format == "nf4") and executed in ("bf16", "fp16", "fp32"):  # a large product expands each weight once per pass
            widen = Elementwise("weight_quant dequantise", "expand" if format == "nf4" else "quantise", read=stored / 16.0, write=1.0)
            passes, on = prefill_passes(program, context.engine), where(stored < 16.0, 1.0, 0.0)
            extras += tuple(
                Extra("weight_quant dequantise", "prefill", widen, rows(1.0, weights / count * on, "prefill"), count * passes)
                for weights, count in matrices.values()
            )
            starts = where(bits >= 8.0, STARTS["8 bits"], where(bits >= 4.0, STARTS["4 bits"], 0.0)) if format != "nf4" else STARTS["nf4"]
            extras += _beside(matrices, starts * on, passes, context.engine.kernels)
            if format == "nf4":
                extras += _expanded(matrices, widen, program.batch)
        return replace(program, decoder=decoder, extras=extras, assumptions=program.assumptions + notes)

    def _format(self) -> str:
        if self.format != "auto":
            return self.format
        return "w8a8" if not is_array(self.bits) and self.bits == 8.0 else "weight_only"

    @classmethod
    def neutral(cls) -> WeightQuant:
        return cls(format="weight_only", bits=16.0)

    def kept(self, program: Program) -> Numeric:
        return where(self.bits > 0.0, maximum(self.bits, 1.0), FORMATS[self._format()][1]) / 16.0


def _beside(matrices: dict[str, tuple[Numeric, Numeric]], starts: Numeric, passes: Numeric, kernels: dict[str, float]) -> tuple[Extra, ...]:
    """What products of packed weights start besides, in every pass."""
    products = sum(count * kernels.get(name, 1.0) for name, (_, count) in matrices.items())
    beside = Elementwise("weight_quant starts", "copy", 1.0, 1.0, launches=starts * products)
    return (
        Extra("weight_quant starts", "prefill", beside, rows(1.0, 1.0, "prefill"), passes),
        Extra("weight_quant starts", "decode", beside, rows(1.0, 1.0, "decode"), per_step=True),
    )


def _expanded(matrices: dict[str, tuple[Numeric, Numeric]], widen: Elementwise, batch: Numeric) -> tuple[Extra, ...]:
    """bitsandbytes' expansion of every weight in each decode step of more than one row: a single row alone has a kernel that multiplies
    by packed weights (matmul_4bit in bitsandbytes/autograd/_functions.py)."""
    many = where(batch > 1.0, 1.0, 0.0)
    return tuple(
        Extra("weight_quant dequantise", "decode", widen, rows(1.0, weights / count, "decode"), count * many, per_step=True)
        for weights, count in matrices.values()
    )
