"""Scenario to case to program: names become specs, specs become numbers, and the program is put together.

A `Case` is a scenario whose numbers may be arrays; `assemble` builds its program and composes the techniques into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import final

from simulator.build.format import in_format
from simulator.build.language import build_decoder, has_experts
from simulator.build.pixels import visual_input
from simulator.build.uniform import uniform, uniform_extras
from simulator.build.vision import build_tower
from simulator.efficiency import kernels_for
from simulator.encoder_parallel import by_crops
from simulator.presets import resolve
from simulator.program import Decoder, Program, VisualInput
from simulator.quantity import Numeric, ceil
from simulator.spec.deployment import Engine, Parallelism, load_engine
from simulator.spec.hardware import BITS, Chip, ChipLink, Device
from simulator.spec.load_hardware import load_hardware
from simulator.spec.load_model import load_model
from simulator.spec.model import Lvlm
from simulator.spec.scenario import HardwareScale, Scenario
from simulator.spec.source import SpecError
from simulator.spec.workload import Clip, Picture
from simulator.stage import Machine
from simulator.technique import AbstractTechnique, Context, compose


@final
@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A scenario in numbers; text, output, batch, sizes, hardware figures and technique knobs may be arrays."""

    model: Lvlm
    device: Device
    chip: Chip
    engine: Engine
    parallel: Parallelism
    format: str
    pictures: tuple[Picture, ...]
    clips: tuple[Clip, ...]
    text: Numeric
    output: Numeric
    batch: Numeric
    techniques: tuple[tuple[str, AbstractTechnique], ...]
    preprocess: bool
    processor: str
    task: str
    price: Numeric

    @property
    def uniform(self) -> bool:
        """Whether everything is in the format and not the linear layers alone: a model in 32 bits keeps nothing narrower."""
        return self.engine.uniform or BITS[self.format] > 16

    @property
    def machine(self) -> Machine:
        """What the operators run on."""
        if self.chip is self.device.chip:
            return machine_of(self.device, self.engine)
        return Machine(self.chip, kernels_for(self.device, self.engine.fits), self.engine)


_MACHINES: dict[tuple[int, int], Machine] = {}


def machine_of(device: Device, engine: Engine) -> Machine:
    """One machine for each (device, engine), so that what it remembers serves every case."""
    key = (id(device), id(engine))
    known = _MACHINES.get(key)
    if known is None or known.chip is not device.chip or known.engine is not engine:
        known = _MACHINES[key] = Machine(device.chip, kernels_for(device, engine.fits), engine)
    return known


@final
@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    """A program with what its techniques kept."""

    program: Program
    uses: list[tuple[str, AbstractTechnique, Numeric]]


def case_of(scenario: Scenario) -> Case:
    """Names looked up, techniques resolved; raises SpecError in one line."""
    device = load_hardware(scenario.hardware) if isinstance(scenario.hardware, str) else scenario.hardware
    model = load_model(scenario.model) if isinstance(scenario.model, str) else scenario.model
    engine = load_engine(scenario.engine)
    work = scenario.workload
    if scenario.format not in engine.formats:
        raise SpecError(f"format: {scenario.format!r} is not one {engine.name} multiplies in: {', '.join(engine.formats)}")
    if model.vision is None and (work.images or work.videos):
        raise SpecError(f"workload.images: {model.name} is a text-only model; leave pictures and videos out")
    _check_experts(model, scenario.parallel)
    return Case(
        model=model,
        device=device,
        chip=scaled(device.chip, scenario.scale),
        engine=engine,
        parallel=scenario.parallel,
        format=scenario.format,
        pictures=work.pictures(),
        clips=work.clips(),
        text=float(work.text_tokens),
        output=float(work.output_tokens),
        batch=float(work.batch),
        techniques=tuple(item for use in scenario.techniques for item in resolve(use.kind, use.parameters)),
        preprocess=scenario.preprocess,
        processor=work.processor,
        task=scenario.task,
        price=device.price_per_hour.value * scenario.scale.price,
    )


def _check_experts(model: Lvlm, parallel: Parallelism) -> None:
    """Raises SpecError where experts cannot be split as asked for; that there are none comes before how many devices would hold them."""
    tp, dp, ep = parallel.tp, parallel.dp, parallel.ep
    if ep > 1 and not has_experts(model):
        raise SpecError(f"parallel.ep: {ep} is not accepted: {model.name} has no experts to split; leave it out")
    if ep % tp and tp % ep:
        raise SpecError(f"parallel.ep: {ep} neither divides nor is a multiple of tp {tp}")
    joined = max(1, ep // tp)
    if dp % joined:
        raise SpecError(
            f"parallel.ep: {ep} over tp {tp} joins {joined} replicas, but dp is {dp}; accepted: dp a multiple of {joined}, or ep up to {tp}"
        )


def scaled(chip: Chip, scale: HardwareScale) -> Chip:
    """The chip with its figures multiplied."""
    if scale == HardwareScale():
        return chip
    return scale_chip(chip, scale.bandwidth, scale.flops, scale.capacity, scale.link)


def scale_chip(chip: Chip, bandwidth: Numeric, flops: Numeric, capacity: Numeric, link: Numeric) -> Chip:
    """Counterfactual hardware: main-memory bandwidth, FLOP rates, capacity and device links times a factor each."""

    def wider(item: ChipLink) -> ChipLink:
        return replace(item, bandwidth=item.bandwidth * link)

    return replace(
        chip,
        bandwidth=chip.bandwidth * bandwidth,
        peak={name: rate * flops for name, rate in chip.peak.items()},
        vector_flops=chip.vector_flops * flops,
        memory_bytes=chip.memory_bytes * capacity,
        scale_up=None if chip.scale_up is None else wider(chip.scale_up),
        pcie=wider(chip.pcie),
    )


def assemble(case: Case) -> Assembly:
    """The program of a case with its techniques composed into it."""
    base = plain(case, case.model, 1.0)
    if not case.techniques:
        return Assembly(base, [])
    context = Context(
        model=case.model,
        chip=case.chip,
        engine=case.engine,
        parallel=case.parallel,
        load=load_model,
        rebuild=lambda model, size: plain(case, model, size),
    )
    program, uses = compose(base, case.techniques, context)
    return Assembly(uniform_extras(program, case.format) if case.uniform else program, uses)


def plain(case: Case, model: Lvlm, size: Numeric) -> Program:
    """The program of `model` on the case's pictures, sides times `size`, without techniques."""
    pictures, clips = case.pictures, case.clips
    if not isinstance(size, float) or size != 1.0:
        pictures = tuple(replace(item, width=item.width * size, height=item.height * size) for item in pictures)
        clips = tuple(replace(item, width=item.width * size, height=item.height * size) for item in clips)
    seen = _seen(model, pictures, clips)
    parallel = case.parallel
    decoder = _decoder(model, parallel.tp, parallel.pp, parallel.ep, case.format, not seen.grids)
    busiest = ceil(case.batch / parallel.dp)  # requests are whole, so a replica without one idles
    towers = ()
    if model.vision is not None and seen.grids:
        data = parallel.encoder == "data"
        tower = build_tower(model, seen.grids, 1 if data else parallel.tp)
        towers = (by_crops(tower, busiest, float(parallel.tp)) if data else tower,)
    program = Program(
        batch=busiest,
        text=case.text,
        output=case.output,
        visual_input=seen,
        towers=towers,
        decoder=replace(decoder, replicas=float(parallel.dp), busy=case.batch / busiest) if parallel.dp > 1 else decoder,
        assumptions=_assumptions(case, model),
    )
    return uniform(program, case.format) if case.uniform else program


@lru_cache(maxsize=512)
def _decoder(model: Lvlm, tp: int, pp: int, ep: int, format: str, blind: bool) -> Decoder:
    """The decoder; with nothing to see, `blind`, a forward pass leaves the cross-attention layers out (transformers, Mllama)."""
    decoder = in_format(build_decoder(model, tp, pp, ep), format)
    if not (blind and model.language.cross_attention):
        return decoder
    layers = tuple(
        replace(layer, executed_prefill=0.0, executed_decode=0.0) if layer.kind == "cross" else layer for layer in decoder.layers
    )
    return replace(decoder, layers=layers)


_NOTHING = VisualInput((), 0.0, 0.0, 0.0, 0.0, 0.0)


def _seen(model: Lvlm, pictures: Sequence[Picture], clips: Sequence[Clip]) -> VisualInput:
    if (not pictures and not clips) or model.preprocessing is None:
        return _NOTHING
    return visual_input(model.preprocessing, pictures, clips)


def _assumptions(case: Case, model: Lvlm) -> tuple[str, ...]:
    notes: list[str] = [*model.assumptions, *(f"left out: {part}" for part in model.excluded)]
    if case.format not in case.chip.peak:
        runs = case.chip.executed_format(case.format)
        notes.append(f"{case.device.name} has no {case.format}: multiplications run in {runs}")
    if BITS[case.format] < 16 and not case.uniform:
        notes.append(f"{case.format}: linear layers of the language model; encoder, head, cache and activations stay in 16 bits")
    if any(block.feed_forward is not None and block.feed_forward.experts for _, block in model.language.stack.runs):
        notes.append("experts: every row is routed evenly at random, so that none of them, and no device, gets more than its share")
    return tuple(notes)
