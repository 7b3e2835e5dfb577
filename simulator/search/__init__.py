"""The design space: sweeps, fronts, optimisation, interactions, migration and inverse questions. From "what does this cost" to
"what should I do".

- `Space(base, axes, constraints=(), when=None)`, `read_space(yaml)`: what to look through.
- `sweep(space, metrics=None, executor=None, progress=False, advance=None)` -> DataFrame; `stream` yields frames; `store(space,
  folder)` writes Parquet and resumes. Columns: one per axis path, then `METRICS`, then `deployable` and `refused`.
- `pareto(frame, objectives, constraints=(), epsilon=0, ready=None)` -> the winners, what they gave up, what binds them.
- `evaluate(space, points)` -> DataFrame of chosen points; `space.pick(frame, row)` -> Scenario.
"""

from __future__ import annotations

from simulator.search.columns import METRICS as METRICS
from simulator.search.front import hypervolume as hypervolume
from simulator.search.front import nondominated as nondominated
from simulator.search.front import pareto as pareto
from simulator.search.pick import evaluate as evaluate
from simulator.search.space import Space as Space
from simulator.search.space import read_space as read_space
from simulator.search.sweeps import Stored as Stored
from simulator.search.sweeps import store as store
from simulator.search.sweeps import stream as stream
from simulator.search.sweeps import sweep as sweep
