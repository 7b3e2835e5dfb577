"""`python -m calibrate anchor --measured runs.csv`: a few end-to-end rows of a deployment fit its engine's overheads.

Four numbers are fitted in log, each with a prior centred on the shipped engine: device time of prefill and of decode over the
model's, the fixed time of a step, and the queue share under load. With few rows most of them stay at their prior; the report says
for each how much narrower than the prior it became, which is what the rows could identify.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.assemble import case_of
from simulator.load import Parts, closed_loop, parts
from simulator.spec.deployment import Engine, load_engine
from simulator.spec.scenario import Scenario
from simulator.spec.source import Source, SpecError
from simulator.spec.validated import nearest, validated
from simulator.spec.workload import parse_image

ALIASES = {
    "model": ("model", "model_path"),
    "hardware": ("hardware", "system", "device"),
    "engine": ("engine", "backend"),
    "text": ("text_tokens", "isl", "input_tokens"),
    "output": ("output_tokens", "osl"),
    "batch": ("concurrency", "batch", "batch_size"),
    "tp": ("tp", "tp_size"),
    "pp": ("pp", "pp_size"),
    "image": ("image",),
    "format": ("format", "gemm_quant_mode"),
    "kv_format": ("kv_format", "kvcache_quant_mode"),
}
SECONDS = {"ttft": ("ttft_s", "ttft_ms", "silicon_ttft_ms"), "tpot": ("tpot_s", "tpot_ms", "silicon_tpot_ms")}
NAMES = ("prefill_factor", "decode_factor", "step_seconds", "queue_share")
PRIOR = {"prefill_factor": 0.2, "decode_factor": 0.15, "step_seconds": 0.8, "queue_share": 1.2}
EIGHT_BIT = ("kv_quant:bits=8,group=0,residual=0",)
KV_FORMATS: dict[str, tuple[str, ...]] = {"bf16": (), "bfloat16": (), "fp16": (), "float16": (), "fp8": EIGHT_BIT, "int8": EIGHT_BIT}
NOISE = {"ttft": 0.60, "tpot": 0.06}


@dataclass(frozen=True)
class Row:
    """One measured run. ttft, tpot [s]; NaN where not measured."""

    line: int
    scenario: Scenario
    made: Parts
    ttft: float
    tpot: float


@dataclass(frozen=True)
class Anchored:
    """Fitted values with their posterior width over the prior's (1: the rows said nothing)."""

    engine: Engine
    values: dict[str, float]
    width: dict[str, float]
    rows: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--measured", required=True, help="CSV of runs: model, hardware, engine, text_tokens, output_tokens, concurrency, tp, ttft_s, tpot_s")
    parser.add_argument("--engine", help="engine to start from (default: the rows' own)")
    parser.add_argument("--tp", type=int, help="only rows of this tensor-parallel degree")
    parser.add_argument("--rows", type=int, default=5, help="rows to fit on, spread over the file (default 5); the rest are predicted")
    parser.add_argument("--out", help="where to write the anchored engine (default ENGINE-anchored.yaml)")


def run(args: argparse.Namespace) -> int:
    """Fit, report, write the anchored engine."""
    import pandas as pd
    import yaml

    rows = read_rows(Path(args.measured), args.engine, args.tp)
    engines = sorted({row.scenario.engine for row in rows})
    if len(engines) > 1:
        raise SpecError(f"{args.measured}: rows of {', '.join(engines)}; choose one with --engine")
    chosen = spread_rows(rows, args.rows)
    fit = anchor([rows[index] for index in chosen], load_engine(engines[0]))
    print(f"{engines[0]}: fitted on {fit.rows} of {len(rows)} rows")
    for name in NAMES:
        said = "identified" if fit.width[name] < 0.5 else "partly identified" if fit.width[name] < 0.9 else "not identified: the prior stands"
        print(f"  {name:<15} {fit.values[name]:10.4g}   width {fit.width[name]:.2f} of the prior's: {said}")
    rest = [row for index, row in enumerate(rows) if index not in chosen]
    if rest:
        error = [abs(predict(row, fit.values)[1] / row.tpot - 1.0) for row in rest if row.tpot == row.tpot]
        first = [abs(predict(row, fit.values)[0] / row.ttft - 1.0) for row in rest if row.ttft == row.ttft]
        table = pd.DataFrame({"rows": [len(error), len(first)], "median error": [np.median(error), np.median(first)],
                              "mean error": [np.mean(error), np.mean(first)]}, index=["TPOT", "TTFT"])  # fmt: skip
        print("on the rows not fitted:\n" + table.to_string(float_format=lambda value: f"{value:.1%}"))
    path = Path(args.out or f"{engines[0]}-anchored.yaml")
    path.write_text(yaml.safe_dump(fit.engine.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    print(f"wrote {path}; use it with --engine {path}")
    return 0


def read_rows(path: Path, engine: str | None = None, tp: int | None = None, kept: Mapping[str, str] | None = None) -> list[Row]:
    """Rows of a CSV file as scenarios; a bad cell is named with its line. kept: by engine, the width of keys and values where the
    file does not say it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}; a CSV file is wanted") from None
    rows: list[Row] = []
    made: dict[str, Parts] = {}
    for line, cells in enumerate(csv.DictReader(text.splitlines()), start=2):
        row = _row(line, cells, made, engine, tp, kept or {})
        if row is not None:
            rows.append(row)
    if not rows:
        raise SpecError(f"{path}: no rows to anchor on")
    return rows


def _row(
    line: int, cells: dict[str, str], made: dict[str, Parts], engine: str | None, tp: int | None, kept: Mapping[str, str]
) -> Row | None:
    def cell(name: str, default: str | None = None) -> str:
        for alias in ALIASES[name]:
            value = cells.get(alias)
            if value not in (None, ""):
                return str(value)
        if default is None:
            raise SpecError(f"line {line}: {name} is missing; one of the columns {', '.join(ALIASES[name])}")
        return default

    def seconds(name: str) -> float:
        for alias in SECONDS[name]:
            value = cells.get(alias)
            if value not in (None, ""):
                number = _number(line, alias, str(value))
                if number <= 0:
                    raise SpecError(f"line {line}: {alias}: {value!r} is not accepted; a positive time")
                return number / 1e3 if alias.endswith("ms") else number
        return math.nan

    name = cell("engine", engine)
    degree = int(_number(line, "tp", cell("tp", "1")))
    if (engine is not None and name != engine) or (tp is not None and degree != tp):
        return None
    quantised, cache = cell("format", "bf16"), cell("kv_format", kept.get(name, "bf16"))
    if cache not in KV_FORMATS:
        raise SpecError(f"line {line}: kv_format: {cache!r} is not accepted; one of {', '.join(KV_FORMATS)}")
    image = cell("image", "-")
    data: dict[str, Any] = {
        "model": _known(cell("model"), "model"),
        "hardware": _known(cell("hardware"), "hardware"),
        "engine": name,
        "format": "fp8" if quantised.startswith("fp8") else quantised,
        "preprocess": image != "-",
        "techniques": KV_FORMATS[cache],
        "parallel": {"tp": degree, "pp": int(_number(line, "pp", cell("pp", "1")))},
        "workload": {
            "text_tokens": int(_number(line, "text_tokens", cell("text"))),
            "output_tokens": int(_number(line, "output_tokens", cell("output"))),
            "batch": int(_number(line, "batch", cell("batch", "1"))),
            "images": [] if image == "-" else [parse_image(image).model_dump()],
        },
    }
    scenario = validated(Scenario, data, f"line {line}")
    key = scenario.digest()
    if key not in made:
        made[key] = parts(case_of(scenario))
    row = Row(line, scenario, made[key], seconds("ttft"), seconds("tpot"))
    if row.ttft != row.ttft and row.tpot != row.tpot:
        raise SpecError(f"line {line}: neither a TTFT nor a TPOT; columns {', '.join(SECONDS['ttft'] + SECONDS['tpot'])}")
    return row


def _number(line: int, name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SpecError(f"line {line}: {name}: {value!r} is not a number")
    return number


def _known(name: str, kind: str) -> str:
    """`Qwen/Qwen3-32B` and `h100_sxm` as the names they have here."""
    from simulator.spec.load_hardware import hardware_names
    from simulator.spec.load_model import model_names

    plain = name.rsplit("/", 1)[-1].lower().replace("_", "-")
    names = model_names() if kind == "model" else hardware_names()
    if plain in names:
        return plain
    starts = [item for item in names if item.startswith(plain)]
    if len(starts) == 1:
        return starts[0]
    raise SpecError(f"{kind}: {name!r} is not known; nearest: {', '.join(nearest(plain, names)) or 'none'}")


def spread_rows(rows: Sequence[Row], count: int) -> list[int]:
    """Indices of `count` rows that lie far apart in load, prompt and output (farthest-point order from the lightest)."""
    points = np.array([[math.log(float(row.made.concurrency)), math.log(max(row.scenario.workload.text_tokens, 1)),
                        math.log(float(row.made.output))] for row in rows])  # fmt: skip
    chosen = [int(points.sum(1).argmin())]
    while len(chosen) < min(count, len(rows)):
        distance = np.min([np.abs(points - points[index]).sum(1) for index in chosen], axis=0)
        chosen.append(int(distance.argmax()))
    return chosen


def predict(row: Row, values: dict[str, float]) -> tuple[float, float]:
    """(TTFT, TPOT) of a row under the fitted values [s]."""
    made = row.made
    own = made.overhead + float(made.hosted)
    each = values.get("sequence_seconds")
    hosted = float(made.hosted) if each is None else each * float(made.admitted)
    step = (float(made.step) - own) * values["decode_factor"] + values["step_seconds"] + hosted
    slower = values["prefill_factor"]
    changed = replace(made, first=float(made.first) * slower, each=float(made.each) * slower, step=step)
    result = closed_loop(changed, values["queue_share"])
    return float(result.ttft_s), float(result.tpot_s)


def anchor(rows: Sequence[Row], engine: Engine) -> Anchored:
    """Maximum a posteriori in log; posterior widths from the Gauss-Newton Hessian."""
    from scipy.optimize import least_squares

    centre = np.log([engine.prefill_factor, engine.decode_factor, max(engine.step.seconds, 1e-5), max(engine.queue_share, 0.01)])
    prior = np.array([PRIOR[name] for name in NAMES])

    def values(theta: NDArray[np.float64]) -> dict[str, float]:
        made = dict(zip(NAMES, np.exp(theta).tolist(), strict=True))
        return made | {"queue_share": min(made["queue_share"], 1.0)}

    def residuals(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        out: list[float] = list((theta - centre) / prior)
        for row in rows:
            ttft, tpot = predict(row, values(theta))
            if row.ttft == row.ttft:
                out.append(math.log(ttft / row.ttft) / NOISE["ttft"])
            if row.tpot == row.tpot:
                out.append(math.log(tpot / row.tpot) / NOISE["tpot"])
        return np.array(out)

    solved = least_squares(residuals, centre, loss="soft_l1")
    covariance = np.linalg.inv(solved.jac.T @ solved.jac)
    best = values(solved.x)
    width = dict(zip(NAMES, (np.sqrt(np.diag(covariance)) / prior).tolist(), strict=True))
    source = Source(kind="measured", reference=f"anchored on {len(rows)} end-to-end rows")
    anchored = engine.model_copy(
        update={
            "name": f"{engine.name}-anchored",
            "title": f"{engine.title} (anchored)",
            "prefill_factor": best["prefill_factor"],
            "decode_factor": best["decode_factor"],
            "queue_share": best["queue_share"],
            "step": engine.step.model_copy(update={"seconds": best["step_seconds"], "source": source}),
        }
    )
    return Anchored(validated(Engine, anchored.model_dump(mode="json"), "anchored engine"), best, width, len(rows))
