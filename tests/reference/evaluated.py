"""The simulator's side of the reference tests: work of program pieces, added up without timing anything."""

from __future__ import annotations

from simulator.build.language import build_decoder
from simulator.build.pixels import visual_input
from simulator.build.vision import build_tower
from simulator.ops import Shape, Tokens
from simulator.program import Layer, VisualInput
from simulator.spec.model import Lvlm
from simulator.spec.workload import Clip, Picture


def seen(model: Lvlm, pictures: list[Picture], clips: list[Clip] | None = None) -> VisualInput:
    """What the model sees of pictures and clips."""
    assert model.preprocessing is not None
    return visual_input(model.preprocessing, pictures, clips or [])


def _flops(layers: tuple[Layer, ...], shape: Shape, decode: bool = False) -> float:
    return sum(
        layer.count * float(op.work(shape).flops)
        for layer in layers
        for op in (layer.decode if decode else layer.prefill)
    )


def encode(model: Lvlm, view: VisualInput) -> float:
    """FLOPs of tower and projector."""
    tower = build_tower(model, view.grids)
    total = 0.0
    for grid in tower.grids:
        patches = grid.height * grid.width
        rows = Tokens(patches, tower.extra_rows)
        total += _flops(tower.layers, Shape("encode", grid.crops, rows, height=grid.height, width=grid.width))
        total += _flops(tower.projector, Shape("project", grid.crops, Tokens(patches, grid.tokens)))
    return total


def generate(model: Lvlm, visual: float, text: float, images: float) -> tuple[float, float]:
    """FLOPs of prefill and of the decode step after it."""
    decoder = build_decoder(model)
    stack = (*decoder.layers, decoder.head)
    prompt = Tokens(float(visual), float(text))
    prefill = _flops(stack, Shape("prefill", 1.0, prompt, images=float(images)))
    return prefill, _flops(stack, Shape("decode", 1.0, Tokens(0.0, 1.0), prompt), decode=True)
