"""The survey's closed form (arXiv 2604.05546, equations 2 to 6), for comparison with the operator-level model.

encode = FLOPs / peak; prefill = max(attention FLOPs / peak, KV / bandwidth); a decode step = (weights + KV) / bandwidth. It
leaves out the linear layers of prefill, every overhead and all communication, so it lies below the physical floor where those
rule; the floor is shown beside it and is not imposed on it.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.attention import Attention
from simulator.evaluate import Run
from simulator.memory import kv_state
from simulator.ops import Shape, Tokens
from simulator.program import Program
from simulator.quantity import Numeric, maximum
from simulator.spec.hardware import Chip
from simulator.stage import Total
from simulator.weights import decoder_bytes


def attention_flops(program: Program) -> Numeric:
    """FLOPs of the products QK^T and PV in prefill, over the devices [FLOP]."""
    total: Numeric = 0.0
    for layer in program.decoder.layers:
        shape = Shape("prefill", program.batch, Tokens(program.visual * layer.keep, program.text))
        for op in layer.prefill:
            if isinstance(op, Attention):
                total = total + op.work(shape).flops * layer.count
    return total


def closed_form(run: Run, chip: Chip) -> None:
    """Replaces the seconds of a run's stages by the closed form, without a band."""
    program, decoder = run.program, replace(run.program.decoder, pipeline=1.0)
    peak = chip.peak[chip.executed_format("bf16")]
    written = kv_state(program, decoder)[0] * program.batch
    encode = run.totals["encode"].flops / run.devices["encode"] / peak
    compute, memory = attention_flops(program) / peak, written / chip.bandwidth
    steps = run.steps["decode"]
    generated = program.batch * program.output / 2.0
    per_token = sum((layer.count * layer.cache.bytes_per_token for layer in decoder.layers if layer.cache is not None), 0.0)
    reading = (decoder_bytes(decoder) + written + generated * per_token) / chip.bandwidth * steps
    _set(run.totals["encode"], encode, 0.0)
    _set(run.totals["project"], run.totals["project"].flops / run.devices["project"] / peak, 0.0)
    _set(run.totals["prefill"], compute, memory)
    _set(run.totals["decode"], 0.0, reading)


def _set(total: Total, compute: Numeric, memory: Numeric) -> None:
    total.seconds = maximum(compute, memory)
    total.terms |= {"compute": compute, "memory": memory, "overhead": 0.0, "network": 0.0}
    total.low.clear()
    total.high.clear()
