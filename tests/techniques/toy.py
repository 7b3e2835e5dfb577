"""A small model made by hand, its program, and what evaluating it gives: fast ground for technique tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.build.language import build_decoder
from simulator.build.vision import build_tower
from simulator.efficiency import kernels_for
from simulator.evaluate import Run, evaluate
from simulator.memory import Memory, memory
from simulator.program import Extra, Grid, Program, VisualInput
from simulator.quantity import Numeric
from simulator.spec.deployment import Parallelism, load_engine
from simulator.spec.load_hardware import load_hardware
from simulator.spec.model import Lvlm
from simulator.spec.preprocessing import Fixed
from simulator.spec.source import Source
from simulator.stage import Machine
from simulator.technique import AbstractTechnique, Context, compose

LAYERS, HIDDEN, BLOCKS = 32, 256, 24


def model(kind: str = "mlp", attention: str = "full", experts: int = 0) -> Lvlm:
    """A decoder of 32 layers over an encoder of 24 blocks with 144 patches, and an MLP or a resampler between."""
    mixer: dict[str, Any] = {"kind": "full", "heads": 8, "kv_heads": 2, "head_dim": 32}
    blocks: dict[str, Any] = {"full": {"attention": mixer, "feed_forward": {"width": 512}, "norm_parameters": 512}}
    order = [f"{LAYERS} full"]
    if attention == "mixed":
        blocks["local"] = {**blocks["full"], "attention": {**mixer, "kind": "sliding", "window": 48}}
        order = ["1 local", "1 full"] * (LAYERS // 2)
    if experts:
        blocks["full"]["feed_forward"] = {"width": 128, "experts": experts, "active": 2}
    sight = {"attention": {"kind": "full", "heads": 4, "kv_heads": 4, "head_dim": 32, "rope": False},
             "feed_forward": {"width": 512, "gated": False}, "norm_parameters": 512}  # fmt: skip
    linear = {"op": "linear", "rows": "tokens", "bias": False}
    steps: list[dict[str, Any]] = [
        {**linear, "name": "in", "inputs": 128, "outputs": HIDDEN},
        {**linear, "name": "out", "inputs": HIDDEN, "outputs": HIDDEN},
    ]
    tokens = 144
    if kind == "resampler":
        tokens = 32
        steps = [
            {"op": "linear", "name": "kv", "rows": "patches", "inputs": 128, "outputs": 512},
            {"op": "attention", "name": "resample", "rows": "tokens", "heads": 4, "head_dim": 64, "keys": "patches"},
            {**linear, "name": "out", "inputs": HIDDEN, "outputs": HIDDEN},
        ]
    return Lvlm.model_validate({
        "name": f"toy-{kind}-{attention}-{experts}", "title": "Toy", "sources": (Source(kind="assumed", reference="made up for tests", date="2026-01-01"),),
        "vision": {"name": "toy-vit", "hidden": 128, "patch": 14, "patch_kernel": 14, "extra_rows": 1,
                   "stack": {"blocks": {"block": sight}, "order": [f"{BLOCKS} block"]}},
        "projector": {"kind": "mlp" if kind == "mlp" else "resampler", "steps": steps},
        "preprocessing": Fixed(size=168, patch=14, tokens=tokens),
        "language": {"name": "toy-llm", "hidden": HIDDEN, "vocabulary": 1000, "tied_embeddings": False,
                     "stack": {"blocks": blocks, "order": order}, "final_norm_parameters": HIDDEN, "max_context": 100000},
    })  # fmt: skip


def program(lvlm: Lvlm | None = None, size: Numeric = 1.0, crops: Numeric = 2.0, text: Numeric = 20.0,
            output: Numeric = 9.0, batch: Numeric = 1.0) -> Program:  # fmt: skip
    """One request of `crops` pictures; sides times `size` (patches and tokens follow, as at native resolution)."""
    lvlm = lvlm or model()
    side = 12.0 * size
    resampler = lvlm.projector is not None and lvlm.projector.kind == "resampler"
    tokens = 32.0 if resampler else side * side
    grids = (Grid(crops, side, side, tokens, side * side * 196.0),)
    seen = VisualInput(grids, 0.0, crops, crops * side * side * 196.0, crops * side * side * 196.0, crops)
    return Program(batch, text, output, seen, (build_tower(lvlm, grids),), build_decoder(lvlm))


def machine(engine: str = "vllm", hardware: str = "h100-sxm") -> Machine:
    device = load_hardware(hardware)
    named = load_engine(engine)
    return Machine(device.chip, kernels_for(device, named.fits, folder=Path(__file__).parent / "no fits"), named)


def context(lvlm: Lvlm | None = None, engine: str = "vllm", **sizes: Numeric) -> Context:
    lvlm = lvlm or model()
    at = machine(engine)
    rest = {key: value for key, value in sizes.items() if key != "size"}
    base = sizes.get("size", 1.0)
    return Context(lvlm, at.chip, at.engine, Parallelism(), model, lambda other, size: program(other, base * size, **rest))


@dataclass(frozen=True)
class Result:
    """An evaluated program with short names for what tests look at."""

    program: Program
    run: Run
    memory: Memory

    def flops(self, stage: str) -> Numeric:
        """FLOPs of the stage without those of choosing."""
        chosen = sum(extra.op.work(extra.shape).flops * extra.repeats * self.program.decoder.devices
                     for extra in self.program.extras if extra.stage == stage and extra.counted)  # fmt: skip
        return self.run.totals[stage].flops - chosen  # type: ignore[index]

    def all_flops(self, stage: str) -> Numeric:
        return self.run.totals[stage].flops  # type: ignore[index]

    def seconds(self, stage: str) -> Numeric:
        return self.run.totals[stage].seconds  # type: ignore[index]

    def numbers(self) -> dict[str, Numeric]:
        """Everything that a technique could change."""
        out: dict[str, Numeric] = {}
        for name, total in self.run.totals.items():
            out |= {f"{name}.seconds": total.seconds, f"{name}.flops": total.flops, f"{name}.weights": total.weight_bytes,
                    f"{name}.kv": total.kv_bytes, f"{name}.activations": total.activation_bytes}  # fmt: skip
        for name in ("weight_bytes", "kv_bytes_written", "kv_bytes_resident", "kv_bytes_read_per_step", "peak_bytes", "activation_bytes"):
            out[name] = getattr(self.memory, name)
        return out


def measure(made: Program, engine: str = "vllm") -> Result:
    at = machine(engine)
    run = evaluate(made, at, None)
    return Result(made, run, memory(run, at.chip, at.engine))


def with_(*techniques: AbstractTechnique, base: Program | None = None, lvlm: Lvlm | None = None, engine: str = "vllm",
          **sizes: Numeric) -> Result:  # fmt: skip
    """The toy program with techniques composed into it, evaluated."""
    start = base if base is not None else program(lvlm, **sizes)
    named = [(type(item).__module__.rsplit(".", 1)[-1], item) for item in techniques]
    made, _ = compose(start, named, context(lvlm, engine, **sizes))
    return measure(made, engine)


def extras(made: Program, start: str) -> Sequence[Extra]:
    return [item for item in made.extras if item.label.startswith(start)]


def total_extra(made: Program, start: str) -> tuple[float, float]:
    """(FLOPs, bytes) of a technique's own operators."""
    works = [(item.op.work(item.shape), item.repeats) for item in extras(made, start)]
    return float(sum(work.flops * n for work, n in works)), float(sum(work.bytes * n for work, n in works))


def close(a: Numeric, b: Numeric, relative: float = 1e-9) -> bool:
    return bool(np.allclose(np.asarray(a, float), np.asarray(b, float), rtol=relative, atol=1e-12))
