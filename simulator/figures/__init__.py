"""Every plot: pure functions of estimates and frames that return Plotly figures, for the explorer and for notebooks.

    from simulator.figures import roofline, operators, stage_bars
    stage_bars({"baseline": estimate(a), "variant": estimate(b)}).show()
"""

from __future__ import annotations

from simulator.figures.anatomy import memory_parts as memory_parts
from simulator.figures.anatomy import operators as operators
from simulator.figures.anatomy import river as river
from simulator.figures.bars import stage_bars as stage_bars
from simulator.figures.evidence import fit_errors as fit_errors
from simulator.figures.evidence import kept_accuracy as kept_accuracy
from simulator.figures.evidence import parity as parity
from simulator.figures.flow import token_river as token_river
from simulator.figures.front import pareto_scatter as pareto_scatter
from simulator.figures.grid import METRICS as METRICS
from simulator.figures.grid import comparison as comparison
from simulator.figures.grid import heat as heat
from simulator.figures.grid import lines as lines
from simulator.figures.grid import needed as needed
from simulator.figures.grid import regimes as regimes
from simulator.figures.grid import words as words
from simulator.figures.mixes import migration_bars as migration_bars
from simulator.figures.mixes import shapley_bars as shapley_bars
from simulator.figures.mixes import synergy_matrix as synergy_matrix
from simulator.figures.roof import roofline as roofline
from simulator.figures.waterfall import memory_waterfall as memory_waterfall
