"""Which untried points look best: a guess from the points tried so far, and which of the guessed ones add most to a front.

The guess interpolates by radial basis functions between points whose distance along an axis counts by how much the axis moves the
quantity (surrogate-assisted search as of Regis and Shoemaker, 2007; SciPy's `RBFInterpolator`). Candidates are mutated and crossed
winners; of these a batch is taken greedily by the volume that it adds to the front (Monte Carlo, as of Bader and Zitzler, 2011).
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from simulator.search.dominance import nondominated
from simulator.search.lattice import Lattice, Rows

CENTRES = 600
"""Tried points that a guess rests on at most: the winners first."""
POOL = 4_096
"""Candidates looked at for a batch."""
SAMPLES = 8_192
"""Places by which the volume added to a front is measured."""
CLOSEST = 1_024
"""Candidates whose volume is measured: those the furthest beyond the front."""

NEAREST = 16
"""Points to go on from where none is allowed yet: those that miss least."""

Values = NDArray[np.float64]


def promising(lattice: Lattice, rows: Rows, costs: Values, missed: Values, count: int, generator: np.random.Generator) -> Rows:
    """At most `count` untried points from those tried: rows, their costs [rows, objectives], and how far each is from being allowed."""
    allowed = np.flatnonzero(missed == 0.0)
    winners = allowed[nondominated(costs[allowed])] if allowed.size else np.argsort(missed, kind="stable")[:NEAREST]
    tried = set(map(tuple, rows.tolist()))
    pool = candidates(lattice, rows[winners], tried, generator)
    if not len(pool):
        pool = untried(lattice, lattice.random(POOL, generator), tried)
    if not len(pool):
        return pool
    others = np.setdiff1d(np.arange(len(rows)), winners)
    base = _centres(winners, others, generator)
    # Allowed points are told from others by a jump, and others from each other by how much they miss.
    doubt = Guess(lattice, rows[base], np.where(missed > 0, 1.0 + missed, -1.0)[base, None])(pool)[:, 0]
    pool = pool[np.argsort(doubt, kind="stable")[: max(int((doubt <= 0.0).sum()), count)]]
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(costs).all(axis=1))
    front = winners[finite[winners]]
    if not allowed.size or not front.size:
        return pool[:count]
    base = _centres(front, others[finite[others]], generator)
    return pool[chosen(costs[front], Guess(lattice, rows[base], costs[base])(pool), count, generator)]


@final
class Guess:
    """Quantities of points that were not tried. Positive or negative ones throughout are guessed by their logarithm."""

    def __init__(self, lattice: Lattice, rows: Rows, values: Values) -> None:
        self._lattice = lattice
        self._signs = np.where((values > 0).all(axis=0), 1.0, np.where((values < 0).all(axis=0), -1.0, 0.0))
        self._parts: list[tuple[Values, RBFInterpolator]] = []
        for sign, column in zip(self._signs, values.T, strict=True):
            known = sign * np.log(np.abs(column)) if sign else column
            weights = _weights(lattice, rows, known)
            places = lattice.places(rows, weights)
            self._parts.append((weights, RBFInterpolator(places, known, kernel="linear", degree=0, smoothing=1e-9)))

    def __call__(self, rows: Rows) -> Values:
        """Guesses [rows, quantities]."""
        columns = [part(self._lattice.places(rows, weights)) for weights, part in self._parts]
        return np.column_stack([sign * np.exp(sign * column) if sign else column for sign, column in zip(self._signs, columns, strict=True)])


def _weights(lattice: Lattice, rows: Rows, known: Values) -> Values:
    """How much each axis moves a quantity, as a share of its spread: effects of the axes' values alone, by ridge regression."""
    blocks = lattice.levels(rows)
    whole = np.hstack(blocks)
    effects = np.linalg.solve(whole.T @ whole + 0.1 * np.eye(whole.shape[1]), whole.T @ (known - known.mean()))
    ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
    moved: Values = np.array([float(np.std(block @ part)) for block, part in zip(blocks, np.split(effects, ends), strict=True)])
    return moved / max(float(np.std(known)), 1e-300) + 0.03


def _centres(winners: NDArray[np.intp], others: NDArray[np.intp], generator: np.random.Generator) -> NDArray[np.intp]:
    """Tried points for a guess, `CENTRES` at most: winners first, others at random."""
    return np.concatenate([generator.permutation(winners), generator.permutation(others)])[:CENTRES]


def candidates(lattice: Lattice, parents: Rows, known: set[tuple[int, ...]], generator: np.random.Generator) -> Rows:
    """Untried points near the parents: a quarter crossed, a quarter crossed and mutated, half mutated on about two axes."""
    shape = (POOL, len(lattice.lengths))
    number = np.arange(POOL)[:, None]
    anywhere = lattice.random(POOL, generator)
    first, second = (parents[generator.integers(len(parents), size=POOL)] for _ in range(2))
    rows = np.where((number < POOL // 2) & (generator.random(shape) < 0.5), second, first)
    rows = np.where(rows < 0, anywhere, rows)
    mutated = generator.random(shape) < 1.0 / shape[1]
    mutated[number[:, 0], generator.integers(shape[1], size=POOL)] = True
    mutated &= number >= POOL // 4
    steps = np.where(generator.random(shape) < 0.5, 1, -1) * generator.geometric(0.4, size=shape)
    near = np.clip(rows + steps, 0, lattice.lengths - 1)
    rows = np.where(mutated, np.where(lattice.ordered & (generator.random(shape) < 0.7), near, anywhere), rows)
    return untried(lattice, rows, known)


def untried(lattice: Lattice, rows: Rows, known: set[tuple[int, ...]]) -> Rows:
    """The distinct points among rows that are not known."""
    rows = np.unique(lattice.settled(rows), axis=0)
    return rows[[tuple(row) not in known for row in rows.tolist()]] if len(rows) else rows


def chosen(front: Values, guessed: Values, count: int, generator: np.random.Generator) -> list[int]:
    """Which guessed points to try: greedily those that add most volume to the front, then those the furthest beyond it.

    front, guessed: costs [rows, objectives]. The volume reaches a tenth of the front's extent beyond its worst.
    """
    low, high = front.min(axis=0), front.max(axis=0)
    extent = np.where(high > low, high - low, np.maximum(np.abs(high), 1e-300))
    front, guessed = (front - low) / extent, (guessed - low) / extent
    beyond = np.full(len(guessed), np.inf)
    for start in range(0, len(front), 128):
        beyond = np.minimum(beyond, (front[None, start : start + 128] - guessed[:, None]).max(axis=2).min(axis=1))
    best = np.argsort(-beyond, kind="stable")[:CLOSEST]
    guessed, beyond = guessed[best], beyond[best]
    samples = generator.uniform(-0.05, 1.1, (SAMPLES, front.shape[1]))
    for row in front:
        samples = samples[(samples < row).any(axis=1)]
    covers = np.ones((len(guessed), len(samples)), bool)
    for at in range(front.shape[1]):
        covers &= guessed[:, at, None] <= samples[None, :, at]
    volume = covers.sum(axis=1)
    found: list[int] = []
    for _ in range(min(count, len(guessed))):
        score = volume + beyond
        score[found] = -np.inf
        at = int(score.argmax())
        found.append(at)
        new = covers[at].copy()
        volume = volume - covers[:, new].sum(axis=1)
        covers[:, new] = False
        beyond = np.minimum(beyond, (guessed[at] - guessed).max(axis=1))
    return best[found].tolist()
