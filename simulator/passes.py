"""What of a stack runs alike: equal operators on equal rows are one pass with a count, so that they are timed once.

Layers differ mostly in their attention; the matrices around it are the same in a windowed and in a full layer. Nor does it matter to
its cost what an operator is called or which of two equal norms it is. Whatever holds an array stays by itself and is not remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, final

from simulator.attention import Attention
from simulator.ops import AbstractOp
from simulator.program import Cache, Extra, Layer
from simulator.quantity import Numeric
from simulator.remembered import LIMIT, Remembered, hashes

Ops = tuple[AbstractOp, ...]
Distinct = tuple[tuple[AbstractOp, tuple[str, ...]], ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """`ops` run `times` while the stack runs once, on `keep` of its visual rows; `cache` is what attention reads."""

    ops: Ops
    keep: Numeric
    times: Numeric
    cache: Cache | None = None


Passes = tuple[tuple[Pass, ...], tuple[Pass, ...]]

_EQUAL: dict[Ops, Ops] = {}
_PARTS: Remembered[Ops, tuple[Ops, Ops]] = Remembered()
_DISTINCT: Remembered[Ops, Distinct] = Remembered()
_PASSES: dict[str, Remembered[tuple[Layer, ...], Passes]] = {"prefill": Remembered(), "decode": Remembered()}


def passes(layers: tuple[Layer, ...], phase: Literal["prefill", "decode"]) -> Passes:
    """(attention, everything else) of a stack in a phase; in decode every row is text, so only attention minds `keep`."""
    known = _PASSES[phase].get(layers)
    if known is not None:
        return known
    decoding, plain = phase == "decode", True
    attention: dict[Hashable, Pass] = {}
    others: dict[Hashable, Pass] = {}
    for layer in layers:
        first, rest = parted(layer.decode if decoding else layer.prefill)
        times = layer.count * (layer.executed_decode if decoding else layer.executed_prefill)
        state: Hashable = (layer.keep, layer.cache if decoding else None)
        if not hashes(state):
            state, plain = id(layer), False
        if first:
            _add(attention, (id(first), state), Pass(first, layer.keep, times, layer.cache))
        if rest:
            _add(others, (id(rest), None if decoding else state), Pass(rest, layer.keep, times))
    found = tuple(attention.values()), tuple(others.values())
    return _PASSES[phase].put(layers, found) if plain else found


def every(layers: tuple[Layer, ...]) -> tuple[Pass, ...]:
    """All passes of an encoder or projector, which has one phase."""
    attention, others = passes(layers, "prefill")
    return attention + others


def _add(found: dict[Hashable, Pass], key: Hashable, item: Pass) -> None:
    same = found.get(key)
    found[key] = item if same is None else replace(same, times=same.times + item.times)


def summed(extras: Iterable[Extra]) -> Iterable[Extra]:
    """Equal overheads as one, their repeats added up."""
    found: dict[Hashable, Extra] = {}
    for extra in extras:
        key: Hashable = (extra.op, extra.shape, extra.stage, extra.per_step, extra.counted)
        if not hashes(key):
            key = id(extra)
        same = found.get(key)
        found[key] = extra if same is None else replace(same, repeats=same.repeats + extra.repeats)
    return found.values()


def parted(ops: Ops) -> tuple[Ops, Ops]:
    """(attention, the others) of a layer's operators; equal operators are the same tuple, whoever made them."""
    known = _PARTS.get(ops)
    if known is not None:
        return known
    attention = tuple(op for op in ops if isinstance(op, Attention))
    others = tuple(op for op in ops if not isinstance(op, Attention))
    return _PARTS.put(ops, (same(attention), same(others))) if hashes(ops) else (attention, others)


def same(ops: Ops) -> Ops:
    """The first tuple that was equal to this one."""
    if not hashes(ops):
        return ops
    if len(_EQUAL) > LIMIT:
        _EQUAL.clear()
    return _EQUAL.setdefault(ops, ops)


def distinct(ops: Ops) -> Distinct:
    """Operators that cost differently, each with the names of all that cost the same."""
    known = _DISTINCT.get(ops)
    if known is not None:
        return known
    plain = hashes(ops)
    found: dict[Hashable, tuple[AbstractOp, tuple[str, ...]]] = {}
    for op in ops:
        key: Hashable = (type(op), _costs(type(op))(op))
        if not plain and not hashes(key):
            key = id(op)
        name: str = op.name  # type: ignore[attr-defined]
        have = found.get(key)
        found[key] = (op, (name,)) if have is None else (have[0], (*have[1], name))
    values = tuple(found.values())
    return _DISTINCT.put(ops, values) if plain else values


@lru_cache(maxsize=64)
def _costs(kind: type[AbstractOp]) -> Callable[[Any], Any]:
    """The fields that the work of an operator depends on: all but its name and what it owns."""
    return attrgetter(*(item.name for item in fields(kind) if item.name not in ("name", "owned", "bias")))  # type: ignore[arg-type]
