"""Efficiency tables from residuals: knots, kriging, monotone in the first axis, evaluated as the simulator will."""

from __future__ import annotations

import numpy as np

from calibrate.estimate import columns_of, residuals
from calibrate.problems import AXES, Array, Columns, axis, form_of, terms
from calibrate.samples import Samples
from calibrate.smooth import general_grid, monotone, product_grid
from simulator.efficiency.table import Table, table_of
from simulator.quantity import EVERYTHING
from simulator.spec.hardware import Chip

FEWEST_GROUPS = {"gemm": 100}
FEWEST_CELLS = {"collective": 30}
FEWEST_ELSE = 150
ROWS = (
    *(1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896),
    *(1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 8192, 16384, 32768),
)
STEP = {"query": 0.4, "sequences": 0.9, "context": 0.9, "pairs": 0.9, "shared": 0.9, "wire": 0.9, "devices": 0.9}  # [octaves] between knots
UNIT = 0.01  # a table stores whole multiples of this log correction


def knots_of(samples: Samples, columns: Columns, form: str) -> tuple[Array, ...]:
    """Knots [the axes' own units] that the rows support."""
    found: list[Array] = []
    for name in AXES[samples.family]:
        values = np.unique(axis(columns, name, form))
        if samples.family == "gemm" and name == "m":
            chosen = np.array([item for item in ROWS if values[0] <= item <= values[-1]], dtype=np.float64)
        elif samples.family == "gemm":
            chosen = values
        else:
            kept = [values[0]]
            for value in values[1:]:
                if np.log2(value / kept[-1]) >= STEP[name]:
                    kept.append(value)
            chosen = np.array(kept)
        found.append(chosen)
    return tuple(found)


def supported(samples: Samples) -> bool:
    """Whether there are enough rows for a table."""
    if samples.family not in AXES:
        return False
    groups = samples.rows["group"].nunique()
    return groups >= FEWEST_GROUPS.get(samples.family, 3) and len(samples.rows) >= FEWEST_CELLS.get(samples.family, FEWEST_ELSE)


def make_table(samples: Samples, form: str, values: tuple[float, ...], chip: Chip, where: Array | None = None) -> Table:
    """The table that corrects a fitted form on the rows at `where`."""
    c, seconds = columns_of(samples, where)
    e = np.clip(residuals(samples, form, values, chip, c, seconds), -1.0, 1.0)
    every, _ = columns_of(samples)
    knots = knots_of(samples, every, form)
    logs = tuple(np.log2(item) for item in knots)
    if samples.family == "gemm":
        grid = product_grid(c["m"], c["n"], c["k"], e, (logs[0], logs[1], logs[2]))
    else:
        points = np.stack([np.log2(axis(c, name, form)) for name in AXES[samples.family]], axis=1)
        grid = general_grid(points, e, logs)
    mesh = np.meshgrid(*knots, indexing="ij")
    found, _ = terms(samples.family, form, values, _at(samples, every, [item.ravel() for item in mesh]), chip, samples.format)
    log_time = np.log(np.broadcast_to(found.total, mesh[0].size)).reshape(mesh[0].shape)
    grid = monotone(log_time + grid) - log_time
    grid = np.round(np.clip(grid, -1.2, 1.2) / UNIT) * UNIT
    return table_of(AXES[samples.family], [item.tolist() for item in logs], grid)


def _at(samples: Samples, columns: Columns, mesh: list[Array]) -> Columns:
    """Shape columns that stand for the knots: cold, one sequence layout."""
    one = np.ones(mesh[0].size)
    if samples.family == "gemm":
        m, n, k = mesh
        return {"m": m, "n": n, "k": k, "bits": columns["bits"][0] * one, "footprint": 1e15 * one}
    if samples.family == "collective":
        return dict(zip(AXES[samples.family], mesh, strict=True))
    size, bits = columns["head_dim"][0] * one, columns["kv_bits"][0] * one
    if samples.family == "decode_attention":
        context, pairs, shared = mesh
        shape = {"batch": pairs, "heads": shared, "kv_heads": one, "query": one, "context": context, "window": EVERYTHING * one}
    else:
        query, sequences, shared = (*mesh, one)[:3]
        shape = {"batch": one, "heads": sequences, "kv_heads": sequences / shared, "query": query, "context": query}
    return {**shape, "head_dim": size, "kv_bits": bits}


def corrected(samples: Samples, table: Table | None, columns: Columns, form: str = "") -> Array:
    """log of the table's factor at measured shapes (of a fit with that form: the family's own)."""
    if table is None:
        return np.zeros(len(next(iter(columns.values()))))
    form = form or form_of(samples.family, samples.format, samples.kernel)
    return np.log(np.asarray(table.factor(*[axis(columns, name, form) for name in AXES[samples.family]])))
