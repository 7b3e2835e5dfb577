"""A 7B-sized request made by hand, and what it costs: ground for the tests of decode and system techniques."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from simulator.attention import Attention
from simulator.efficiency import kernels_for
from simulator.evaluate import Run, evaluate
from simulator.memory import Memory, memory
from simulator.ops import Elementwise, Matmul
from simulator.program import Cache, DecodePlan, Decoder, Grid, Layer, Program, Tower, VisualInput
from simulator.spec.deployment import Parallelism, load_engine
from simulator.spec.load_hardware import load_hardware
from simulator.stage import Machine
from simulator.technique import AbstractTechnique, Context, compose

DEVICE = "a100-sxm-80gb"
MODELS: dict[str, dict[str, Any]] = {
    "large": {},
    "small": {"layers": 36, "hidden": 2048.0, "heads": 16.0, "kv_heads": 2.0, "width": 11008.0, "vocabulary": 151936.0},
}


def decoder(
    layers: int = 28, hidden: float = 3584.0, heads: float = 28.0, kv_heads: float = 4.0, width: float = 18944.0,
    vocabulary: float = 152064.0, devices: float = 1.0, window: float = 0.0,
) -> Decoder:  # fmt: skip
    """A dense decoder with grouped queries, on one of `devices`."""
    dim = 128.0
    query, keys = heads * dim / devices, kv_heads * dim / devices
    inner = width / devices
    ops = (
        Elementwise("norm", "norm", 2.0 * hidden, 2.0 * hidden, owned=2.0 * hidden),
        Matmul("qkv", query + 2.0 * keys, hidden),
        Elementwise("rope", "rope", query + keys, query + keys),
        Attention("attention", heads / devices, kv_heads / devices, dim, dim, "window" if window else "causal", window=window),
        Matmul("o", hidden, query),
        Elementwise("norm", "norm", 2.0 * hidden, 2.0 * hidden),
        Matmul("gate_up", 2.0 * inner, hidden),
        Elementwise("activation", "activation", 2.0 * inner, inner),
        Matmul("down", hidden, inner),
    )
    embedding = (Elementwise("embedding", "embedding", hidden, hidden, owned=vocabulary * hidden, visual=0.0),)
    head = (
        Elementwise("final_norm", "norm", 2.0 * hidden, hidden, owned=hidden),
        Matmul("lm_head", vocabulary / devices, hidden, rows="last"),
        Elementwise("sample", "sample", vocabulary, 1.0, bits=32.0, rows="last", launches=2.0),
    )
    return Decoder(
        name="plain",
        embedding=Layer("embedding", -1, 1, embedding, embedding),
        layers=(Layer("sliding" if window else "full", 0, layers, ops, ops, Cache(keys, keys, window=window)),),
        head=Layer("head", layers, 1, head, head),
        hidden=hidden,
        vocabulary=vocabulary,
        max_context=1.0e6,
        devices=devices,
    )


def tower() -> Tower:
    """A plain ViT of 12 blocks and a projector."""
    hidden = 1024.0
    block = (
        Elementwise("norm", "norm", 2.0 * hidden, 2.0 * hidden, owned=2.0 * hidden),
        Matmul("qkv", 3.0 * hidden, hidden),
        Attention("attention", 16.0, 16.0, 64.0, 64.0, "full"),
        Matmul("o", hidden, hidden),
        Matmul("up", 4.0 * hidden, hidden),
        Elementwise("activation", "activation", 4.0 * hidden, 4.0 * hidden),
        Matmul("down", hidden, 4.0 * hidden),
    )
    projector = (Matmul("proj", 3584.0, hidden, visual=0.0),)
    return Tower("vit", (), (Layer("block", 0, 12, block),), (Layer("projector", 0, 1, projector),))


def program(visual: Any = 2304.0, text: Any = 128.0, output: Any = 129.0, batch: Any = 1.0, **sizes: Any) -> Program:
    """One request whose pictures become `visual` tokens, 576 a crop."""
    grid = Grid(visual / 576.0, 24.0, 24.0, 576.0, 112896.0)
    seen = VisualInput((grid,), 0.0, 1.0, 1.0e6, 1.0e6, 1.0)
    towers = (replace(tower(), grids=(grid,)),)
    return Program(batch=batch, text=text, output=output, visual_input=seen, towers=towers, decoder=decoder(**sizes))


def context(base: Program, hardware: str = DEVICE, engine: str = "ideal", tp: int = 1) -> Context:
    """`large` and `small` load; `rebuild` puts the same request on them."""

    def load(name: str) -> Any:
        return SimpleNamespace(name=name)

    def rebuild(model: Any, size: Any) -> Program:
        return replace(base, decoder=decoder(**MODELS[model.name]), extras=(), decode=DecodePlan())

    chip = load_hardware(hardware).chip
    return Context(cast(Any, load("large")), chip, load_engine(engine), Parallelism(tp=tp), load, rebuild)


def machine(hardware: str = DEVICE, engine: str = "ideal") -> Machine:
    """A device under an engine."""
    device, found = load_hardware(hardware), load_engine(engine)
    return Machine(device.chip, kernels_for(device, found.fits), found)


def composed(base: Program, *techniques: AbstractTechnique, hardware: str = DEVICE, engine: str = "ideal", tp: int = 1) -> Program:
    """The program with the techniques in it."""
    named = [(type(item).__name__, item) for item in techniques]
    return compose(base, named, context(base, hardware, engine, tp))[0]


def run(base: Program, *techniques: AbstractTechnique, hardware: str = DEVICE, engine: str = "ideal", tp: int = 1) -> Run:
    """The same, timed."""
    done = composed(base, *techniques, hardware=hardware, engine=engine, tp=tp)
    return evaluate(done, machine(hardware, engine), None)


def bytes_of(done: Run) -> Memory:
    """Memory of a run."""
    at = done.totals["decode"].machine
    return memory(done, at.chip, at.engine)


def seconds(done: Run, stage: str) -> Any:
    """Seconds of one stage."""
    return done.totals[stage].seconds  # type: ignore[index]
