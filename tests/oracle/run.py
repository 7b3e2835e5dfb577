"""Run one request (batch) through a tiny LVLM with a mix of techniques and measure it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from .choose import reduce
from .config import ModelConfig, OracleWorkload, kept
from .decoder import Decoder
from .meter import STAGES, Meter
from .report import Report
from .speculate import Drafter, generate
from .techniques import PreLlmReduce, SparseAttention, Speculative, Technique, find, validate
from .vision import encode, project
from .weights import weights


@dataclass
class Measured:
    """What happened. FLOPs and bytes are totals over the batch; ``report`` is that of one sequence.

    flops [FLOP]: per stage, by the conversion rule of the package; prefill holds the drafter's prefill too.
    phase_flops [FLOP]: the same split into ``stage.phase`` (target, draft_prefill, draft, verify).
    overhead_flops [FLOP]: products that only decide what to keep, per stage.
    kv_written: bytes stored by the prefill, layer by layer; kv_resident: bytes of the cache's tensors at the end of
    prefill; kv_read: bytes already there that the first decode step reads; kv_read_with_new: its own rows included;
    kv_peak: most bytes alive at once; kv_final: after the last step. All exclude the drafter's own cache, whose
    figures are in ``drafter``.
    """

    flops: dict[str, float]
    phase_flops: dict[str, float]
    overhead_flops: dict[str, float]
    kv_written: int = 0
    kv_resident: int = 0
    kv_read: int = 0
    kv_read_with_new: int = 0
    kv_peak: int = 0
    kv_final: int = 0
    drafter: dict[str, int] = field(default_factory=dict)
    tokens: list[list[int]] = field(default_factory=list)
    report: Report = field(default_factory=Report)
    first_logits: Tensor | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tensors, as plain data."""
        data = {k: v for k, v in vars(self).items() if k not in ("report", "first_logits")}
        return data | {"report": asdict(self.report)}


@dataclass(frozen=True, eq=False)
class Prompt:
    """Random inputs of one sequence."""

    pixels: Tensor
    before: Tensor
    after: Tensor


def prompt(model: ModelConfig, workload: OracleWorkload, index: int, device: str) -> Prompt:
    g = torch.Generator().manual_seed(1000 * workload.seed + index)
    pixels = torch.randn(workload.images, 3, workload.image_height, workload.image_width, generator=g)
    ids = torch.randint(model.text.vocab_size, (workload.text_before + workload.text_tokens,), generator=g).to(device)
    return Prompt(pixels.to(device), ids[: workload.text_before], ids[workload.text_before :])


def _sequence(
    model: ModelConfig, workload: OracleWorkload, mix: Sequence[Technique], inputs: Prompt, meter: Meter,
    measured: Measured, device: str,
) -> None:  # fmt: skip
    w = weights(model, device)
    report = Report()
    x = encode(w, model, workload, inputs.pixels, mix, meter, report)
    visual = project(w, model, x, meter)
    report.visual_tokens = visual.shape[0]
    pre, spec, sparse = find(mix, PreLlmReduce), find(mix, Speculative), find(mix, SparseAttention)
    target = Decoder(w.text, model.text, model.kv_dtype, device, mix, meter, report)
    with meter.stage("prefill"):
        if pre:
            n = visual.shape[0]
            count = kept(pre.keep, n)
            with meter.overhead():
                _, visual = reduce(visual, count, pre.method)
            report.resolve("pre_llm_reduce", keep=[count, n])
        embedding = w.text.embedding
        x = torch.cat([embedding[inputs.before], visual, embedding[inputs.after]])
        before, count = len(inputs.before), visual.shape[0]
        last = target.prefill(x, before, count)
        logits = target.logits(last)
        token = logits.argmax(-1)
    report.kv_tokens_resident = [layer.rows_per_head for layer in target.cache]
    if sparse:
        pairs = [sum(report.pairs_per_layer), sum(report.pairs_dense_per_layer)]
        report.resolve("sparse_attention", density=pairs)
    measured.kv_written += target.written
    measured.kv_resident += target.nbytes
    drafter = None
    if spec:
        drafter = Drafter(spec, target, model, device, meter)
        drafter.prefill(x, before, count, report)
        if drafter.own is not None:
            _add(measured.drafter, "kv_written", drafter.own.written)
            _add(measured.drafter, "kv_resident", drafter.own.nbytes)
    tokens, reads = generate(target, drafter, token, workload.output_tokens - 1, meter, report)
    measured.tokens.append([int(token), *tokens])
    if reads.target:
        measured.kv_read += reads.target[0]
        measured.kv_read_with_new += reads.target[1]
    if reads.drafter:
        _add(measured.drafter, "kv_read", reads.drafter[0])
        _add(measured.drafter, "kv_read_with_new", reads.drafter[1])
    measured.kv_final += target.nbytes
    measured.kv_peak += target.peak
    measured.report, measured.first_logits = report, logits[0]


def _add(totals: dict[str, int], name: str, value: int) -> None:
    totals[name] = totals.get(name, 0) + value


def execute(
    model: ModelConfig, workload: OracleWorkload, mix: Sequence[Technique], counter: str, device: str = "cpu"
) -> Measured:
    """One run, counted, or timed with counter ``clock``: then the ``flops`` fields hold seconds."""
    validate(mix, model, workload)
    measured = Measured({}, {}, {})
    inputs = [prompt(model, workload, i, device) for i in range(workload.batch)]
    weights(model, device)
    with torch.no_grad(), Meter(counter, device) as meter:
        for one in inputs:
            _sequence(model, workload, mix, one, meter, measured, device)
    measured.flops = meter.by_stage(overhead=False)
    measured.overhead_flops = meter.by_stage(overhead=True)
    measured.phase_flops = meter.by_phase()
    return measured


def run(
    model_config: ModelConfig, workload: OracleWorkload, mix: Sequence[Technique], counter: str = "registry"
) -> Measured:
    """Count FLOPs and KV bytes of one request batch. Raises ValueError for a mix that contradicts itself.

    counter ``torch`` counts with ``FlopCounterMode`` itself: the same figures, more slowly.
    """
    if counter == "clock":
        raise ValueError("counter='clock': run counts; time_mix times")
    return execute(model_config, workload, mix, counter)


def stage_seconds(
    model: ModelConfig, workload: OracleWorkload, mix: Sequence[Technique], device: str = "cpu"
) -> dict[str, float]:
    """Seconds per stage of one run, selection overheads included."""
    measured = execute(model, workload, mix, "clock", device)
    return {s: measured.flops[s] + measured.overhead_flops[s] for s in STAGES}
