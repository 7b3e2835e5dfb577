"""A vision tower taken off tensor parallelism, so that its devices can share crops or rows instead of heads."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache

from simulator.build.vision import build_tower
from simulator.ops import AbstractOp, Collective
from simulator.program import Layer, Tower
from simulator.quantity import Numeric, ceil, maximum
from simulator.spec.model import Lvlm
from simulator.spec.source import SpecError


@lru_cache(maxsize=64)
def _ratios(model: Lvlm, tp: int) -> dict[tuple[str, str], float]:
    """(operator, field) -> its size on one device over its size on one of `tp`, read off the tower as it is built."""
    found: dict[tuple[str, str], float] = {}
    cut, whole = build_tower(model, (), tp), build_tower(model, (), 1)
    for parts, layer in zip(cut.layers, whole.layers, strict=True):
        full = {op.name: op for op in layer.prefill}  # type: ignore[attr-defined]
        for op in parts.prefill:
            name: str = op.name  # type: ignore[attr-defined]
            if name not in full:
                continue
            for item in fields(op):  # type: ignore[arg-type]
                here, there = getattr(op, item.name), getattr(full[name], item.name)
                if isinstance(here, float) and here and here != there:
                    found[name, item.name] = there / here
    return found


def unsharded(tower: Tower, model: Lvlm) -> Tower:
    """The tower with all heads and all widths on every device, and no sums over devices; other edits stay."""
    if tower.devices == 1.0:
        return tower
    ratios = _ratios(model, int(tower.devices))

    def widened(op: AbstractOp) -> AbstractOp:
        name: str = op.name  # type: ignore[attr-defined]
        scale = {field: getattr(op, field) * ratio for (owner, field), ratio in ratios.items() if owner == name}
        return replace(op, **scale) if scale else op  # type: ignore[type-var]

    def change(layer: Layer) -> Layer:
        kept = tuple(widened(op) for op in layer.prefill if not isinstance(op, Collective))
        return replace(layer, prefill=kept)

    return replace(tower, layers=tuple(map(change, tower.layers)), devices=1.0)


def by_crops(tower: Tower, batch: Numeric, degree: Numeric) -> Tower:
    """The tower with whole crops dealt out over `degree` devices: timed on the fullest, with those idle that get none."""
    crops: Numeric = 0.0
    for grid in tower.grids:
        crops = crops + batch * grid.crops
    used = maximum(crops, 1.0) / maximum(ceil(crops / degree), 1.0)
    return replace(tower, split=tower.split / used, copies=used)


def degree_of(name: str, wanted: float, tp: int) -> float:
    """Devices that share the encoder: as many as asked for, or those of the tensor-parallel group."""
    degree = float(wanted) or float(tp)
    if degree > tp:
        raise SpecError(f"techniques.{name}.degree: {wanted!r} is not accepted; at most the {tp} devices of --tp")
    return degree
