"""The design space: sweeps, fronts, optimisation, interactions, migration and inverse questions. From "what does this cost" to
"what should I do".

- `Space(base, axes, constraints=(), when=None)`, `read_space(yaml)`: what to look through.
- `sweep(space, metrics=None, executor=None, progress=False, advance=None)` -> DataFrame; `stream` yields frames; `store(space,
  folder)` writes Parquet and resumes. Columns: one per axis path, then `METRICS`, then `deployable` and `refused`.
- `pareto(frame, objectives, constraints=(), epsilon=0, ready=None)` -> the winners, what they gave up, what binds them.
- `solve(scenario, path, metric, target)`, `largest(scenario, path, conditions)`, `break_even(scenario, path, technique, against)`,
  `cheapest(scenario, conditions)`: inverse questions; `elasticities(scenario)`: the bars of a tornado.
- `interaction(scenario, techniques)` (`.matrix()`, `.table()`), `shapley(scenario, techniques)`.
- `regimes(scenario, path, of)`, `migration(scenario, techniques, of)`: what binds, along a knob and as techniques are added.
- `optimise(space, objectives, ...)`: for spaces too large to enumerate; `evaluate_with=each(f)` for numbers of your own.
- `evaluate(space, points)` -> DataFrame of chosen points; `space.pick(frame, row)` -> Scenario.
"""

from __future__ import annotations

from simulator.search.bottleneck import Regime as Regime
from simulator.search.bottleneck import migration as migration
from simulator.search.bottleneck import regimes as regimes
from simulator.search.break_even import break_even as break_even
from simulator.search.columns import METRICS as METRICS
from simulator.search.dominance import hypervolume as hypervolume
from simulator.search.dominance import nondominated as nondominated
from simulator.search.elasticity import elasticities as elasticities
from simulator.search.front import pareto as pareto
from simulator.search.inverse import Root as Root
from simulator.search.inverse import Solution as Solution
from simulator.search.inverse import solve as solve
from simulator.search.limits import Largest as Largest
from simulator.search.limits import cheapest as cheapest
from simulator.search.limits import largest as largest
from simulator.search.optimiser import Found as Found
from simulator.search.optimiser import optimise as optimise
from simulator.search.pick import each as each
from simulator.search.pick import evaluate as evaluate
from simulator.search.space import Space as Space
from simulator.search.space_file import read_space as read_space
from simulator.search.sweeps import Stored as Stored
from simulator.search.sweeps import store as store
from simulator.search.sweeps import stream as stream
from simulator.search.sweeps import sweep as sweep
from simulator.search.synergy import Interaction as Interaction
from simulator.search.synergy import Pair as Pair
from simulator.search.synergy import Shares as Shares
from simulator.search.synergy import interaction as interaction
from simulator.search.synergy import shapley as shapley
