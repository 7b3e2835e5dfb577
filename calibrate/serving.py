"""Composed time per output token against measured serving: kernels alone, one overhead per engine, three anchored rows.

`python -m calibrate serving --measured FILE` prints and writes the table. Kernel fits know nothing of these runs. One overhead per
engine (its time per step and sequence, which engines.yaml holds) is fitted on every other row of all parallel degrees together, and
the other half is predicted; anchored means three rows of an (engine, TP) fit `calibrate anchor`, the rest is predicted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from calibrate.anchor import Row, anchor, predict, read_rows, spread_rows
from simulator.spec.deployment import Engine, load_engine

# The rows do not say in which width keys and values were kept. Those of TensorRT-LLM were in 8 bits: 64 requests of 4,224 tokens ran at
# once on one device (TTFT 1.6 s, no queue), whose 16-bit cache takes 71 GB beside 33 GB of fp8 weights; the checkpoints with fp8
# weights that its quantiser writes ask for an fp8 cache.
KEPT = {"trtllm": "fp8"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--measured", required=True, help="CSV of runs, as for anchor")
    parser.add_argument("--out", help="Markdown file to write")


def run(args: argparse.Namespace) -> int:
    """Print the table; write it with --out."""
    table = errors(read_rows(Path(args.measured), kept=KEPT))
    text = table.to_string(index=False, float_format=lambda value: f"{value:.1%}")
    print(text)
    if args.out:
        Path(args.out).write_text(markdown(table), encoding="utf-8")
    return 0


def plain(engine: Engine) -> dict[str, float]:
    """The engine as it ships."""
    return {
        "prefill_factor": engine.prefill_factor,
        "decode_factor": engine.decode_factor,
        "step_seconds": engine.step.seconds,
        "sequence_seconds": engine.sequence.seconds,
        "queue_share": engine.queue_share,
    }


def deviation(rows: Sequence[Row], values: dict[str, float]) -> np.ndarray:
    """|predicted / measured - 1| of TPOT."""
    return np.array([abs(predict(row, values)[1] / row.tpot - 1.0) for row in rows])


def sequence_of(rows: Sequence[Row], values: dict[str, float]) -> float:
    """The overhead per step and sequence [s] with the least median error on `rows`."""
    tried = np.geomspace(1e-6, 3e-4, 120)
    return float(tried[np.argmin([np.median(deviation(rows, values | {"sequence_seconds": float(each)})) for each in tried])])


def errors(rows: Sequence[Row]) -> pd.DataFrame:
    """One line per (engine, format, TP): median and mean error of TPOT, three ways."""
    out: list[dict[str, object]] = []
    kinds = sorted({(row.scenario.engine, row.scenario.format) for row in rows})
    for engine_name, format in kinds:
        engine = load_engine(engine_name)
        shipped = plain(engine)
        mine = [row for row in rows if (row.scenario.engine, row.scenario.format) == (engine_name, format)]
        bare = shipped | {"sequence_seconds": 0.0}
        tuned = shipped | {"sequence_seconds": sequence_of(mine[::2], shipped)}
        for tp in sorted({row.scenario.parallel.tp for row in mine}):
            some = [row for row in mine if row.scenario.parallel.tp == tp]
            if len(some) < 6:
                continue
            test = [row for row in mine[1::2] if row.scenario.parallel.tp == tp]
            chosen = spread_rows(some, 3)
            rest = [row for index, row in enumerate(some) if index not in chosen]
            fitted = anchor([some[index] for index in chosen], engine).values
            line: dict[str, object] = {"engine": engine_name, "format": format, "tp": tp, "rows": len(some)}
            for name, part, values in (("kernels", some, bare), ("one overhead", test, tuned), ("anchored", rest, fitted)):
                found = deviation(part, values)
                line |= {f"{name} median": float(np.median(found)), f"{name} mean": float(found.mean())}
            line["TTFT median"] = float(np.median([abs(predict(row, tuned)[0] / row.ttft - 1.0) for row in test]))
            line["us per sequence"] = round(tuned["sequence_seconds"] * 1e6)
            out.append(line)
    return pd.DataFrame(out)


def markdown(table: pd.DataFrame) -> str:
    """The table with a word on what it shows."""
    head = "| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns)
    rows = [
        "| " + " | ".join(f"{value:.1%}" if isinstance(value, float) else str(value) for value in row) + " |"
        for row in table.itertuples(index=False)
    ]
    return (
        "# Composed TPOT against measured serving\n\nText-only Qwen3-32B on H100 under load; errors of time per output token. "
        "`kernels`: nothing fitted on these runs but the queue policy of SGLang. `one overhead`: the engine's time per step and sequence "
        "(last column; what ships) from every other row, tested on the others, as is TTFT, most of which is queueing. `anchored`: three "
        "rows of the (engine, TP), tested on the rest. TensorRT-LLM's cache is taken to be in 8 bits, which its memory shows.\n\n"
        + head + "\n" + "\n".join(rows) + "\n"
    )  # fmt: skip
