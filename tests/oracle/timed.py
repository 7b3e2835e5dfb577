"""Composition timed: what techniques and their pairs really gain over the dense model, beside what the simulator says.

    python -m calibrate measure --device cpu --threads 1 --suite kernels,stages --budget 300 --out RUN
    python -m calibrate fit --measured RUN
    python -m tests.oracle.timed --run RUN

On a CPU one thread works and its CPU time counts, so other processes disturb little; on a GPU it is wall time between
synchronisations. Every round runs the dense model between the mixes, and a mix is compared with the dense runs on both
sides of it. Goals: median error of the speed-ups at most 15 %, and the right sign of synergy, log S(ab) - log S(a) -
log S(b), in 90 % of the pairs whose measured synergy lies twice its own noise away from none. A run whose noise is too
large says so and fails nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calibrate.loop import setting, what_of
from calibrate.stages import engines_of, machine, stage_rows
from simulator.build.uniform import uniform, uniform_extras
from simulator.evaluate import evaluate
from simulator.spec.deployment import Engine, Parallelism, load_engine
from simulator.spec.hardware import Chip
from simulator.spec.load_hardware import load_hardware
from simulator.spec.model import Lvlm
from simulator.technique import Context, compose

from .config import ModelConfig, OracleWorkload, ProjectorConfig, TextConfig, VisionConfig
from .meter import STAGES
from .mixes import Case
from .run import execute, stage_seconds
from .techniques import (
    EncoderMerge,
    EncoderPrune,
    FrozenVisual,
    InLlmPrune,
    KvEvict,
    KvQuant,
    LayerSkip,
    PostEncoderReduce,
    PreLlmReduce,
    SparseAttention,
    Speculative,
    Technique,
    VisualBypass,
    validate,
)  # fmt: skip
from .translated import model_of, plain, techniques_of
from .verdict import Measured, judge, summary, table

EVERY = 4  # mixes between two dense runs

SINGLES: dict[str, Technique] = {
    "encoder_merge": EncoderMerge(0, 3, 0.4),
    "encoder_prune": EncoderPrune(1, 0.5, "map"),
    "post_encoder": PostEncoderReduce(0.5, "map"),
    "pre_llm": PreLlmReduce(0.4, "similarity"),
    "pre_llm_clusters": PreLlmReduce(0.4, "clustering"),
    "prune_map": InLlmPrune((2,), (0.5,), "map"),
    "prune_rows": InLlmPrune((1, 3), (0.6, 0.3), "rows"),
    "visual_bypass": VisualBypass(1, 4),
    "frozen_visual": FrozenVisual((2, 4)),
    "sparse": SparseAttention(0.3, 64),
    "kv_evict": KvEvict(0.2),
    "kv_quant": KvQuant(4, 4, 64, 0),
    "layer_skip": LayerSkip(layers=(2,), stage="both"),
    "speculative": Speculative(3, "model", 1, 0.2, (2,)),
}


def timed_model(width: int, layers: int) -> ModelConfig:
    """A model whose products, not their dispatch, take the time: heads of 64, as many keys as queries."""
    vision = VisionConfig(width, 3, width // 64, 4 * width, patch_size=14)
    text = TextConfig(
        vocab_size=4 * width, hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64,
        num_key_value_heads=width // 64, head_dim=64, intermediate_size=3 * width,
    )  # fmt: skip
    return ModelConfig(vision, ProjectorConfig(width), text, kv_dtype="float32")


def mixes_of(model: ModelConfig, work: OracleWorkload) -> dict[tuple[str, ...], tuple[Technique, ...]]:
    """Every single and every pair that the oracle accepts."""
    out: dict[tuple[str, ...], tuple[Technique, ...]] = {}
    for names in [(name,) for name in SINGLES] + list(itertools.combinations(SINGLES, 2)):
        mix = tuple(SINGLES[name] for name in names)
        try:
            validate(mix, model, work)
        except ValueError:
            continue
        out[names] = mix
    return out


def with_total(seconds: dict[str, float]) -> dict[str, float]:
    return seconds | {"total": sum(seconds[stage] for stage in STAGES)}


def collect(
    model: ModelConfig, work: OracleWorkload, mixes: Sequence[tuple[Technique, ...]], rounds: int, budget: float, device: str
) -> list[list[tuple[dict[str, float], dict[str, float]]]]:
    """Per mix and round: (seconds of the dense runs around it, its own seconds). At least three rounds, whatever the budget."""
    samples: list[list[tuple[dict[str, float], dict[str, float]]]] = [[] for _ in mixes]
    start = time.monotonic()
    for turn in range(rounds):
        if turn >= 3 and time.monotonic() - start > budget * turn / (turn + 1):
            break
        order = np.random.default_rng(turn).permutation(len(mixes))
        before = with_total(stage_seconds(model, work, (), device))
        for at in range(0, len(order), EVERY):
            here = [(index, with_total(stage_seconds(model, work, mixes[index], device))) for index in order[at : at + EVERY]]
            after = with_total(stage_seconds(model, work, (), device))
            dense = {name: math.sqrt(before[name] * after[name]) for name in before}
            for index, own in here:
                samples[index].append((dense, own))
            before = after
    return samples


def predicted(case: Case, run: Any, chip: Chip, engine: Engine, folder: Path | None) -> dict[str, float]:
    """Seconds per stage and in total of a case on a chip; `run` is what the oracle noted down when it counted the case."""
    model = model_of(case.model.to_dict())
    context = Context(
        model, chip, engine, Parallelism(), lambda name: _drafter(case, name),
        lambda other, size: uniform(plain(case, other), "fp32"),
    )  # fmt: skip
    base = uniform(plain(case, model), "fp32")
    program, _ = compose(base, techniques_of(case, run, timed=True), context)
    result = evaluate(uniform_extras(program, "fp32"), machine(chip, engine, folder), None)
    return with_total({stage: float(result.totals[stage].seconds) for stage in STAGES})


def _drafter(case: Case, name: str) -> Lvlm:
    text = case.model.text.drafter(int(name.rsplit("-", 1)[1]))
    return model_of(replace(case.model, text=text).to_dict(), name)


def machine_for(run: Path | None, hardware: str, device: str) -> tuple[Chip, Engine, Path | None, str]:
    """Chip, engine, fits and a name: those of a calibrated run, or a shipped profile."""
    if run is None:
        engine = load_engine("torch-cpu-eager" if device == "cpu" else "hf-eager")
        return load_hardware(hardware or "cpu-generic").chip, engine, None, hardware or "cpu-generic"
    fits = run / "fitted"
    if not fits.is_dir():
        raise SystemExit(f"{fits} is missing: write it by `python -m calibrate fit --measured {run} --out {fits}`")
    meta, kind, found = setting(run, hardware, fits)
    rows, _ = stage_rows(run)
    engines = engines_of(rows, kind, found.chip, fits, what_of(meta)) if len(rows) else {}
    engine = engines.get(("eager", "f32")) or load_engine("torch-cpu-eager" if kind == "cpu" else "hf-eager")
    return found.chip, engine, fits, what_of(meta)


def recorded(file: Path) -> tuple[dict[str, float], dict[tuple[str, ...], Measured]]:
    """Seconds of the dense stages and what was measured of every mix, as `--save` wrote them."""
    data = json.loads(file.read_text(encoding="utf-8"))
    return data["dense"], {tuple(row["mix"]): Measured(row["speedup"], row["error"], row["seconds"]) for row in data["mixes"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where the goals hold or nothing can be said, 1 where they are exceeded."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.timed", description="speed-ups executed, beside those predicted")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--run", type=Path, default=None, help="folder of a calibrated run (with fitted/)")
    parser.add_argument("--hardware", default="", help="profile, where there is no run or it is another one's")
    parser.add_argument("--width", type=int, default=512, help="width of the model")
    parser.add_argument("--side", type=int, default=36, help="patches along a side of the picture")
    parser.add_argument("--output", type=int, default=49, help="tokens of the answer")
    parser.add_argument("--rounds", type=int, default=5, help="samples of every mix")
    parser.add_argument("--budget", type=float, default=1500.0, help="seconds after which no further round is begun")
    parser.add_argument("--save", type=Path, default=None, help="JSON file for the figures")
    parser.add_argument("--recorded", type=Path, default=None, help="such a file: its times stand, only the predictions are made anew")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    chip, engine, folder, name = machine_for(given.run, given.hardware, given.device)
    model = timed_model(given.width, 5)
    size = 14 * given.side
    work = OracleWorkload(images=1, image_height=size, image_width=size, text_tokens=64, output_tokens=given.output)
    mixes = mixes_of(model, work)
    said: dict[tuple[str, ...], dict[str, float]] = {}
    dense = predicted(Case(model, work, ()), execute(model, work, (), "registry", given.device), chip, engine, folder)
    for names, mix in mixes.items():  # counts what was kept, and warms up
        counted = execute(model, work, mix, "registry", given.device)
        own = predicted(Case(model, work, mix), counted, chip, engine, folder)
        said[names] = {stage: math.log(dense[stage] / own[stage]) for stage in own}
    if given.recorded is None:
        samples = collect(model, work, list(mixes.values()), given.rounds, given.budget, given.device)
        measured = {names: summary(found) for names, found in zip(mixes, samples, strict=True)}
        real = with_total({stage: float(np.quantile([d[stage] for found in samples for d, _ in found], 0.2)) for stage in STAGES})
        rounds = f"{len(samples[0])} rounds"
    else:
        real, measured = recorded(given.recorded)
        rounds = f"times of {given.recorded.name}"
    verdict = judge(measured, said)
    print(f"{name}; engine {engine.name}; {work.visual_tokens(model)} visual tokens, width {given.width}, {rounds}")
    print("dense, seconds measured / predicted: " + ", ".join(f"{stage} {real[stage]:.3f} / {dense[stage]:.3f}" for stage in real))
    print(table(measured, said, verdict))
    if given.save is not None:
        rows = [{"mix": names, **vars(measured[names]), "predicted": said[names]} for names in mixes]
        given.save.write_text(json.dumps({"dense": real, "dense_predicted": dense, "mixes": rows}, indent=1), encoding="utf-8")
    return int(not verdict.inconclusive and not verdict.holds)


if __name__ == "__main__":
    sys.exit(main())
