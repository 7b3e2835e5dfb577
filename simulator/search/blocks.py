"""Points of a space in pieces that broadcast."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, final

from simulator.search.axes import Axis


@final
@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One choice on every axis that loops (None: inactive there), and the numeric axes that are active with it."""

    index: int
    choice: dict[str, Any]
    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each active numeric axis."""
        return tuple(len(axis.values) for axis in self.axes)

    @property
    def size(self) -> int:
        """Points."""
        return math.prod(self.shape)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive points of a group that broadcast: fixed indices of the slow axes, a run of one axis, all of the fast ones."""

    group: Group
    fixed: tuple[int, ...]
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each numeric axis; 1 where it is fixed."""
        at = len(self.fixed)
        run = (self.stop - self.start,) if at < len(self.group.axes) else ()
        return (*(1 for _ in self.fixed), *run, *self.group.shape[at + 1 :])

    @property
    def size(self) -> int:
        """Points."""
        return math.prod(self.shape)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """What one task evaluates: `index` from 0, and the blocks."""

    index: int
    blocks: tuple[Block, ...]

    @property
    def size(self) -> int:
        """Points."""
        return sum(block.size for block in self.blocks)


def blocks(groups: Iterable[Group], points: int) -> Iterator[Block]:
    """Every point once, in blocks of at most `points`."""
    for group in groups:
        shape = group.shape
        at = len(shape)
        inner = 1
        while at > 0 and inner * shape[at - 1] <= points:
            at -= 1
            inner *= shape[at]
        if at == 0:
            yield Block(group, (), 0, shape[0] if shape else 1)
            continue
        run = max(points // inner, 1)
        for flat in range(math.prod(shape[: at - 1])):
            fixed: list[int] = []
            for length in reversed(shape[: at - 1]):
                flat, index = divmod(flat, length)
                fixed.append(index)
            for start in range(0, shape[at - 1], run):
                yield Block(group, tuple(reversed(fixed)), start, min(start + run, shape[at - 1]))


def chunks(groups: Iterable[Group], points: int) -> Iterator[Chunk]:
    """Every point once, in tasks of about `points`: small blocks put together."""
    held: list[Block] = []
    count = index = 0
    for block in blocks(groups, points):
        if held and count + block.size > points:
            yield Chunk(index, tuple(held))
            held, count, index = [], 0, index + 1
        held.append(block)
        count += block.size
    if held:
        yield Chunk(index, tuple(held))
