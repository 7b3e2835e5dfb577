"""Seconds and bytes of a question, for every draw at once, with what is needed to put a band on sums and on ratios."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import final

import numpy as np
from numpy.typing import NDArray

from simulator.assemble import machine_of, scale_chip
from simulator.build.language import build_decoder
from simulator.build.vision import build_tower
from simulator.evaluate import Run, evaluate
from simulator.host import load_host
from simulator.measure import floor_seconds
from simulator.memory import Memory, memory
from simulator.presets import resolve
from simulator.program import Program, StageName, VisualInput
from simulator.quantity import Numeric
from simulator.reproduce.pictures import seen, shown
from simulator.reproduce.prior import SERVERS, drafting_factor, draws, host_factor, loop_factor
from simulator.reproduce.question import Question
from simulator.reproduce.setting import NotComparableError
from simulator.reproduce.stand_ins import model_named
from simulator.spec.deployment import Engine, Parallelism, load_engine
from simulator.spec.load_hardware import load_hardware
from simulator.spec.model import Lvlm
from simulator.spec.scenario import parse_technique
from simulator.stage import Total
from simulator.technique import Context, compose
from simulator.techniques.speculative import CYCLE, LEVEL, Speculative

Array = NDArray[np.float64]

STAGES: dict[str, tuple[StageName, ...]] = {
    "ttft": ("preprocess", "encode", "project", "prefill"),
    "cuda_time": ("encode", "project", "prefill"),
    "encode_time": ("encode", "project"),
    "prefill_time": ("prefill",),
    "tpot": ("decode",),
    "latency": ("preprocess", "encode", "project", "prefill", "decode"),
    "answer_time": ("preprocess", "encode", "project", "prefill", "decode"),
}


@final
@dataclass(frozen=True, slots=True)
class Clock:
    """A time per draw [s]. low, high: seconds times log half-width of each fit, which add coherently within a fit. floor: physics."""

    seconds: Array
    low: dict[str, Array]
    high: dict[str, Array]
    floor: Array

    def shares(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Half-widths in log, fit by fit."""
        safe = np.maximum(self.seconds, 1e-12)
        return {fit: part / safe for fit, part in self.low.items()}, {fit: part / safe for fit, part in self.high.items()}


@final
@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A question run. scatter: how far two neighbouring shapes of one product lie apart on that device, log half-width."""

    run: Run
    memory: Memory
    engine: Engine
    output: Array
    scatter: float

    @property
    def fits(self) -> Array:
        """1 where it fits the device's memory."""
        return _array(self.memory.fits)


def _array(value: Numeric) -> Array:
    return np.broadcast_to(np.asarray(value, dtype=float), draws().text.shape)


def single(question: Question, draw: int) -> Question:
    """The question with one draw, as plain numbers."""
    return replace(
        question, visual=question.visual[draw : draw + 1], text=question.text[draw : draw + 1], output=question.output[draw : draw + 1]
    )  # fmt: skip


def _numeric(values: tuple[float, ...]) -> Numeric:
    """One number where all draws agree."""
    return values[0] if len(set(values)) == 1 else np.asarray(values)


@lru_cache(maxsize=1024)
def answer(question: Question) -> Answer:
    """Evaluate a question. Raises NotComparableError where the mix cannot run."""
    model = model_named(question.model)
    assert model is not None
    device, engine = load_hardware(question.hardware), load_engine(question.engine)
    chip = scale_chip(device.chip, 1.0, question.flops_scale, 1.0, 1.0) if question.flops_scale != 1.0 else device.chip
    machine = machine_of(device, _unhurried(question.engine))
    if chip is not device.chip:
        machine = replace(machine, chip=chip)
    tensor = not engine.name.startswith("hf")
    parallel = Parallelism(tp=question.devices) if tensor else Parallelism(pp=question.devices)
    program = _plain(model, question, parallel)
    context = Context(
        model=model, chip=chip, engine=engine, parallel=parallel, load=_needed, rebuild=lambda other, _: _plain(other, question, parallel)
    )  # fmt: skip
    uses = [item for text in question.techniques for use in (parse_technique(text),) for item in resolve(use.kind, use.parameters)]
    if uses:
        program, _ = compose(program, uses, context)
    if program.branches:
        raise NotComparableError("the method branches; its probability is not stated")
    host = load_host("slow") if program.visual_input.grids else None
    run = evaluate(program, machine, host)
    return Answer(run, memory(run, chip, engine), engine, np.asarray(question.output), machine.kernels.ratio_spread("gemm"))


@lru_cache(maxsize=32)
def _unhurried(name: str) -> Engine:
    """The engine with launches that cost nothing: what the device waits for is added per draw of the host's speed."""
    engine = load_engine(name)
    return engine.model_copy(update={"launch": engine.launch.model_copy(update={"seconds": 0.0})})


def bookkeeping(question: Question) -> float:
    """Kernel starts of a drafting cycle besides the models' own, as the technique counts them: the prior spreads them."""
    starts = 0.0
    for text in question.techniques:
        use = parse_technique(text)
        for _, item in resolve(use.kind, use.parameters):
            if isinstance(item, Speculative):
                starts += CYCLE[item.tree] + LEVEL[item.tree] * float(item.gamma)
    return starts


def waiting(total: Total, engine: Engine, passes: Numeric, overhead: float, starts: Array) -> Array:
    """Seconds that the device waits for kernel starts, beyond what it takes itself (see `Total.host`); `starts`: more of them."""
    if total.stage in engine.graph or engine.launch.seconds == 0.0:
        return np.zeros(draws().text.shape)
    factor = host_factor() if engine.name.startswith("hf") else 1.0
    feeding = (_array(total.launches) + starts) * engine.launch.seconds * factor
    return np.maximum(feeding - np.maximum(_array(total.seconds) - _array(passes) * overhead, 0.0), 0.0)


def _needed(name: str) -> Lvlm:
    model = model_named(name)
    if model is None:
        raise NotComparableError(f"drafter {name} is not among the models")
    return model


def _plain(model: Lvlm, question: Question, parallel: Parallelism) -> Program:
    visual = _numeric(question.visual)
    decoder = build_decoder(model, parallel.tp, parallel.pp)
    towers = ()
    view = VisualInput((), 0.0, 0.0, 0.0, 0.0, 0.0)
    if max(question.visual) > 0.0 and model.vision is not None:
        whole = None if question.picture is None else shown(model, question.picture)
        view = whole or seen(model, visual, question.video, question.frames, question.source)
        towers = (build_tower(model, view.grids, parallel.tp),)
    return Program(
        batch=question.batch, text=_numeric(question.text), output=_numeric(question.output), visual_input=view, towers=towers,
        decoder=decoder,
    )  # fmt: skip


def clock(question: Question, metric: str) -> Clock:
    """The time that `metric` means: a sum of stages, per output token for `tpot`."""
    found = answer(question)
    run, engine = found.run, found.engine
    seconds, floor = np.zeros(draws().text.shape), np.zeros(draws().text.shape)
    low: dict[str, Array] = {}
    high: dict[str, Array] = {}
    for name in STAGES[metric]:
        total = run.totals[name]
        share = _host_share(metric, engine) if name == "preprocess" else np.ones_like(seconds)
        seconds = seconds + _array(total.seconds) * share
        if name in ("encode", "project", "prefill", "decode"):
            fixed = engine.step.seconds if name == "decode" else 0.0 if name == "project" else engine.stage.seconds
            starts = _array(run.steps[name]) * bookkeeping(question) * (drafting_factor() - 1.0) if name == "decode" else np.zeros_like(seconds)
            wait = waiting(total, engine, run.steps[name], fixed, starts)
            seconds = seconds + wait
            if not engine.name.startswith("hf"):
                for store in (low, high):
                    store["launch"] = store.get("launch", np.zeros_like(seconds)) + wait * engine.launch.spread
        floor = floor + _array(floor_seconds(total, run.steps[name], run.devices[name])) * (name != "preprocess")
        for fit, (below, above) in total.uncertain().items():
            low[fit] = low.get(fit, np.zeros_like(seconds)) + _array(below) * share
            high[fit] = high.get(fit, np.zeros_like(seconds)) + _array(above) * share
    if metric in ("ttft", "latency", "answer_time"):
        seconds = seconds + engine.request.seconds
        for store in (low, high):
            store["request"] = np.full_like(seconds, engine.request.seconds * engine.request.spread)
    result = Clock(np.maximum(seconds, floor), low, high, floor)
    return result if metric != "tpot" else _per_token(result, np.maximum(found.output - 1.0, 1.0))


def _host_share(metric: str, engine: Engine) -> Array:
    """How often the modelled host work counts in that time, per draw: always, and more of it, in the loop of a script; always in a
    request to a server, which is sent the file."""
    if metric == "answer_time":
        return loop_factor()
    return np.ones_like(draws().preprocess) if engine.name in SERVERS else draws().preprocess


def _per_token(item: Clock, tokens: Array) -> Clock:
    parts = [{fit: value / tokens for fit, value in part.items()} for part in (item.low, item.high)]
    return replace(item, seconds=item.seconds / tokens, low=parts[0], high=parts[1], floor=item.floor / tokens)
