"""Generation after prefill: one token a step, or draft and verify with a given number accepted per cycle."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .config import ModelConfig, kept
from .decoder import Decoder
from .meter import Meter
from .report import Report
from .techniques import Speculative
from .weights import text_weights


@dataclass
class Reads:
    """KV bytes that the first decode step (or first verification, first draft step) reads; None until it ran."""

    target: tuple[int, int] | None = None
    drafter: tuple[int, int] | None = None


def decode_plain(target: Decoder, token: Tensor, steps: int, meter: Meter, reads: Reads) -> list[int]:
    """Greedy decode of ``steps`` tokens, one row each."""
    out: list[int] = []
    with meter.stage("decode"):
        for _ in range(steps):
            if reads.target is None:
                reads.target = target.nbytes_read(1)
            token = target.step(token)[-1:].argmax(-1)
            target.commit()
            out.append(int(token))
    return out


class Drafter:
    """Proposes gamma tokens a cycle: the target's first layers over the target's cache, or a decoder of its own."""

    def __init__(self, spec: Speculative, target: Decoder, model: ModelConfig, device: str, meter: Meter) -> None:
        self.spec, self.target, self.meter = spec, target, meter
        self.own: Decoder | None = None
        self.pending: list[Tensor] = []
        if spec.drafter == "model":
            config = model.text.drafter(spec.draft_layers)
            w = text_weights(config, model.seed + 7, device)
            self.own = Decoder(w, config, model.kv_dtype, device, (), meter, None)

    def prefill(self, x: Tensor, before: int, visual: int, report: Report) -> None:
        """The drafter's own prompt pass, with draft_keep of the visual tokens; no head product."""
        report.drafter_visual_tokens = visual
        if self.own is None:
            return
        count = kept(self.spec.draft_keep, visual)
        at = before + torch.arange(count) * visual // count
        every = torch.arange(x.shape[0])
        index = torch.cat([every[:before], at, every[before + visual :]]).to(x.device)
        report.drafter_visual_tokens = count
        report.resolve("speculative", draft_keep=[count, visual])
        with self.meter.stage("prefill", "draft_prefill"):
            self.own.prefill(x[index], before, count)

    def nbytes_read(self) -> tuple[int, int]:
        if self.own is not None:
            return self.own.nbytes_read(1)
        return self.target.nbytes_read(1, self.spec.draft_layers, self.spec.draft_keep)

    def propose(self, token: Tensor) -> list[Tensor]:
        """gamma tokens, one row each (the first step has two after a fully accepted cycle)."""
        drafted: list[Tensor] = []
        rows = torch.cat([*self.pending, token])
        self.pending = []
        for _ in range(self.spec.gamma):
            if self.own is not None:
                logits = self.own.step(rows)[-1:]
            else:
                logits = self.target.step(rows, self.spec.draft_layers, self.spec.draft_keep)
            rows = logits.argmax(-1)
            drafted.append(rows)
        if self.own is None:
            self.target.rollback(self.spec.gamma, self.spec.draft_layers)
        return drafted

    def settle(self, accepted: int, drafted: list[Tensor]) -> None:
        """Keep the rows of what was accepted; the last draft's row is still missing when all were."""
        if self.own is None:
            return
        if accepted == self.spec.gamma:
            self.pending = [drafted[-1]]
        else:
            self.own.rollback(self.spec.gamma - 1 - accepted)
        self.own.commit()


def decode_speculative(
    target: Decoder, drafter: Drafter, token: Tensor, steps: int, meter: Meter, reads: Reads, report: Report
) -> list[int]:
    """Cycles of gamma draft steps and one verification of gamma + 1 rows, until ``steps`` tokens came out.

    Acceptance is forced: cycle c accepts accepted[c % len] drafts, fewer in the last cycle when fewer are needed,
    and the verifier's own choice after them is the bonus token.
    """
    spec = drafter.spec
    out: list[int] = []
    while len(out) < steps:
        with meter.stage("decode", "draft"):
            if reads.drafter is None:
                reads.drafter = drafter.nbytes_read()
            drafted = drafter.propose(token)
        with meter.stage("decode", "verify"):
            if reads.target is None:
                reads.target = target.nbytes_read(spec.gamma + 1)
            logits = target.step(torch.cat([token, *drafted]))
            accepted = min(spec.accepted[report.cycles % len(spec.accepted)], steps - len(out) - 1)
            target.rollback(spec.gamma - accepted)
            target.commit()
            token = logits[accepted : accepted + 1].argmax(-1)
        drafter.settle(accepted, drafted)
        report.cycles += 1
        report.accepted.append(accepted)
        out += [*(int(t) for t in drafted[:accepted]), int(token)]
    return out


def generate(
    target: Decoder, drafter: Drafter | None, token: Tensor, steps: int, meter: Meter, report: Report
) -> tuple[list[int], Reads]:
    """All tokens after the first one, and what the first step read."""
    reads = Reads()
    if drafter is None:
        return decode_plain(target, token, steps, meter, reads), reads
    return decode_speculative(target, drafter, token, steps, meter, reads, report), reads
