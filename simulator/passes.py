"""What of a stack runs alike: equal operators on equal rows are one pass with a count, so that they are timed once.

Layers differ mostly in their attention; the matrices around it are the same in a windowed and in a full layer. Nor does it matter to
its cost what an operator is called or which of two equal norms it is. Whatever holds an array stays by itself and is not remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, final

from simulator.attention import Attention
from simulator.ops import AbstractOp
from simulator.program import Cache, Layer
from simulator.quantity import Numeric

Ops = tuple[AbstractOp, ...]
Distinct = tuple[tuple[AbstractOp, tuple[str, ...]], ...]

_LIMIT = 20_000
_KNOWN: dict[Ops, Ops] = {}
_PARTS: dict[int, tuple[Ops, Ops, Ops]] = {}
_DISTINCT: dict[int, tuple[Ops, Distinct]] = {}
_PASSES: dict[tuple[int, str], tuple[tuple[Layer, ...], tuple[Pass, ...], tuple[Pass, ...]]] = {}


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """`ops` run `times` while the stack runs once, on `keep` of its visual rows; `cache` is what attention reads."""

    ops: Ops
    keep: Numeric
    times: Numeric
    cache: Cache | None = None


def passes(layers: tuple[Layer, ...], phase: Literal["prefill", "decode"]) -> tuple[tuple[Pass, ...], tuple[Pass, ...]]:
    """(attention, everything else) of a stack in a phase; in decode every row is text, so only attention minds `keep`."""
    known = _PASSES.get((id(layers), phase))
    if known is not None and known[0] is layers:
        return known[1], known[2]
    decoding, plain = phase == "decode", True
    attention: dict[Hashable, Pass] = {}
    others: dict[Hashable, Pass] = {}
    for layer in layers:
        first, rest = parted(layer.decode if decoding else layer.prefill)
        times = layer.count * (layer.executed_decode if decoding else layer.executed_prefill)
        state: Hashable = (layer.keep, layer.cache if decoding else None)
        if not _hashes(state):
            state, plain = id(layer), False
        if first:
            _add(attention, (id(first), state), Pass(first, layer.keep, times, layer.cache))
        if rest:
            _add(others, (id(rest), None if decoding else state), Pass(rest, layer.keep, times))
    found = tuple(attention.values()), tuple(others.values())
    if plain:
        if len(_PASSES) > _LIMIT:
            _PASSES.clear()
        _PASSES[id(layers), phase] = (layers, *found)
    return found


def every(layers: tuple[Layer, ...]) -> tuple[Pass, ...]:
    """All passes of an encoder or projector, which has one phase."""
    attention, others = passes(layers, "prefill")
    return attention + others


def _add(found: dict[Hashable, Pass], key: Hashable, item: Pass) -> None:
    same = found.get(key)
    found[key] = item if same is None else replace(same, times=same.times + item.times)


def _hashes(value: object) -> bool:
    """False where an array is in it."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def parted(ops: Ops) -> tuple[Ops, Ops]:
    """(attention, the others) of a layer's operators; equal operators are the same tuple, whoever made them."""
    known = _PARTS.get(id(ops))
    if known is not None and known[0] is ops:
        return known[1], known[2]
    attention = tuple(op for op in ops if isinstance(op, Attention))
    others = tuple(op for op in ops if not isinstance(op, Attention))
    if not _hashes(ops):
        return attention, others
    for store in (_KNOWN, _PARTS):
        if len(store) > _LIMIT:
            store.clear()
    known = _PARTS[id(ops)] = (ops, _KNOWN.setdefault(attention, attention), _KNOWN.setdefault(others, others))
    return known[1], known[2]


def distinct(ops: Ops) -> Distinct:
    """Operators that cost differently, each with the names of all that cost the same."""
    known = _DISTINCT.get(id(ops))
    if known is not None and known[0] is ops:
        return known[1]
    plain = _hashes(ops)
    found: dict[Hashable, tuple[AbstractOp, tuple[str, ...]]] = {}
    for op in ops:
        key: Hashable = (type(op), _costs(type(op))(op))
        if not plain and not _hashes(key):
            key = id(op)
        name: str = op.name  # type: ignore[attr-defined]
        have = found.get(key)
        found[key] = (op, (name,)) if have is None else (have[0], (*have[1], name))
    values = tuple(found.values())
    if plain:
        if len(_DISTINCT) > _LIMIT:
            _DISTINCT.clear()
        _DISTINCT[id(ops)] = (ops, values)
    return values


@lru_cache(maxsize=64)
def _costs(kind: type[AbstractOp]) -> Callable[[Any], Any]:
    """The fields that the work of an operator depends on: all but its name and what it owns."""
    return attrgetter(*(item.name for item in fields(kind) if item.name not in ("name", "owned", "bias")))  # type: ignore[arg-type]
