"""Whole stages of models nobody fitted: what the simulator predicts for the rows of `stages.csv`, and how wrong it is.

Nothing is fitted on a stage. The one thing taken from this table is what a layer and a pass cost when they have no work
(models `floor-*` of two depths): a host's dispatch, which microbenchmarks of kernels cannot see. Where host and device
are the same cores, what the kernels of such a layer take by their fits is subtracted, so that nothing counts twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from calibrate.own_tables import good_rows
from simulator.build.language import build_decoder
from simulator.build.uniform import uniform
from simulator.build.vision import build_tower
from simulator.efficiency import kernels_for
from simulator.evaluate import evaluate
from simulator.interop.hf_config import import_config
from simulator.measure import floor_seconds
from simulator.program import Grid, Layer, Program, StageName, VisualInput
from simulator.spec.deployment import Engine, Overhead, load_engine
from simulator.spec.hardware import Chip
from simulator.spec.model import Lvlm
from simulator.spec.source import Source
from simulator.stage import Machine

ARCHITECTURES = Path(__file__).parent / "measure" / "architectures.json"
ENGINES = {("cpu", "sdpa"): "torch-cpu", ("cpu", "eager"): "torch-cpu-eager", ("cuda", "sdpa"): "hf-sdpa", ("cuda", "eager"): "hf-eager"}
FORMATS = {"f32": "fp32", "bf16": "bf16", "fp16": "fp16"}
DEPTH = {"encode": "vision_layers", "prefill": "language_layers", "decode": "language_layers"}
LEAST = 1e-7  # [s] a floor that the kernels' own starts leave nothing of
SPREAD = 0.35  # 80 % log half-width of a floor: two families of models differ by about that

Row = dict[str, Any]


@lru_cache(maxsize=64)
def architecture(name: str) -> dict[str, Any]:
    """The entry of one model of the stages suite."""
    listed = json.loads(ARCHITECTURES.read_text(encoding="utf-8"))
    if name not in listed:
        raise ValueError(f"model: {name!r} is not in {ARCHITECTURES.name}; known: {', '.join(listed)}")
    return dict(listed[name])


@lru_cache(maxsize=64)
def model_of(name: str) -> Lvlm:
    """The specification of one model of the stages suite, from its configuration."""
    return import_config(architecture(name)["config"], name)


def patches_of(name: str, width: int, height: int) -> tuple[float, float]:
    """Rows and columns of the patch grid of one picture."""
    patch = architecture(name)["config"]["vision_config"]["patch_size"]
    side = patch[0] if isinstance(patch, list) else patch
    return float(height // side), float(width // side)


def program_of(row: Row, format: str) -> Program:
    """What a row runs: pictures without a prompt, a prompt without pictures, or one token after a context. Embedding
    look-up and sampling are left out, as they are when measuring."""
    model = model_of(row["model"])
    decoder = build_decoder(model)
    head = tuple(op for op in decoder.head.prefill if getattr(op, "kind", "") != "sample")
    decoder = replace(decoder, embedding=Layer("embedding", -1, 1, (), ()), head=replace(decoder.head, prefill=head, decode=head))
    text, batch, seen, towers = 1.0, 1.0, VisualInput((), 0.0, 0.0, 0.0, 0.0, 0.0), ()
    if row["stage"] in ("encode", "project"):
        images = float(row["images"])
        height, width = patches_of(row["model"], int(row["image_width"]), int(row["image_height"]))
        pixels = float(row["image_width"]) * float(row["image_height"])
        grid = Grid(images, height, width, float(row["visual_tokens"]) / images, pixels)
        seen, towers = replace(seen, grids=(grid,)), (build_tower(model, (grid,)),)
    else:
        batch = float(row["batch"])
        text = float(row["query"] if row["stage"] == "prefill" else row["context"])
    output = 2.0 if row["stage"] == "decode" else 1.0
    program = Program(batch=batch, text=text, output=output, visual_input=seen, towers=towers, decoder=decoder)
    return uniform(program, format)


def engine_for(row: Row, kind: str, floors: dict[tuple[str, str], Engine]) -> Engine:
    """The engine that runs a row: with the floors of its format and attention, with or without a graph, a cache that is
    allocated once or copied on every step."""
    engine = floors.get((row["attention"], row["format"])) or load_engine(ENGINES[kind, row["attention"]])
    changed: dict[str, Any] = {}
    if row.get("cache") == "static":
        changed["copies_cache"] = False
    if row.get("execution") == "graph" and row.get("timer") == "graph":
        changed["graph"] = ("encode", "project", "prefill", "decode")
    return engine.model_copy(update=changed) if changed else engine


@final
@dataclass(frozen=True, slots=True)
class Predicted:
    """Seconds of a stage, and its 80 % interval."""

    seconds: float
    lower: float
    upper: float


def predict(row: Row, chip: Chip, engine: Engine, folder: Path | None) -> Predicted:
    """The stage of a row on a chip under an engine, with the fits of `folder`; device and host, no request overhead."""
    stage: StageName = row["stage"]
    run = evaluate(program_of(row, FORMATS[row["format"]]), machine(chip, engine, folder), None)
    total = run.totals[stage]
    floor = float(floor_seconds(total, run.steps[stage], run.devices[stage]))
    low, high = total.band()
    seconds = max(float(total.seconds), floor)
    return Predicted(seconds, max(seconds * float(np.exp(-low)), floor), seconds * float(np.exp(high)))


def machine(chip: Chip, engine: Engine, folder: Path | None) -> Machine:
    """A chip with the fits of `folder`, under an engine."""
    return Machine(chip, kernels_for(chip, engine.fits, folder=folder), engine)


def bare(engine: Engine) -> Engine:
    """The engine without any host time."""
    nothing = Overhead(seconds=0.0, spread=0.0, source=Source(kind="spec", reference="left out to see the kernels alone"))
    return engine.model_copy(update={"launch": nothing, "layer": {}, "step": nothing, "stage": nothing})


@final
@dataclass(frozen=True, slots=True)
class Floor:
    """What a layer, and a pass besides its layers, cost the host [s]; gross: before kernels were subtracted."""

    layer: float
    fixed: float
    gross: float
    families: int


def floor_of(rows: pd.DataFrame, stage: str, attention: str, format: str, kind: str, chip: Chip, folder: Path | None) -> Floor | None:
    """Slope and intercept over depth of the models without work; None where a depth is missing."""
    found = rows[(rows["stage"] == stage) & (rows["format"] == format) & (rows["attention"] == attention) & (rows["execution"] == "eager")]
    engine = bare(load_engine(ENGINES[kind, attention]))
    layers: list[float] = []
    fixed: list[float] = []
    gross: list[float] = []
    for _, group in found.assign(family=found["model"].str.rsplit("-", n=1).str[0]).groupby("family"):
        depth = group[DEPTH[stage]].to_numpy(np.float64)
        if len(depth) < 2 or depth.min() == depth.max():
            continue
        seconds = group["latency"].to_numpy(np.float64)
        known = np.zeros(len(depth))
        if not engine.overlap:
            known = np.array([predict(row, chip, engine, folder).seconds for row in records(group)])
        slope, start = np.polyfit(depth, seconds - known, 1)
        layers.append(max(float(slope), LEAST))
        fixed.append(max(float(start), LEAST))
        gross.append(float(np.polyfit(depth, seconds, 1)[0]))
    if not layers:
        return None
    return Floor(_middle(layers), _middle(fixed), _middle(gross), len(layers))


def _middle(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(np.maximum(values, LEAST)))))


def records(frame: pd.DataFrame) -> list[Row]:
    """Rows as mappings."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def engines_of(rows: pd.DataFrame, kind: str, chip: Chip, folder: Path | None, what: str) -> dict[tuple[str, str], Engine]:
    """(attention, format) -> the shipped engine with the host times of this machine, as far as its floors were measured.

    A stage that was measured with one attention only lends its floor to the other; `what` names the run in the sources.
    """
    floors = rows[rows["model"].str.startswith("floor-")]
    made: dict[tuple[str, str], Engine] = {}
    for attention, format in sorted({(row["attention"], row["format"]) for row in records(rows)}):
        if (kind, attention) not in ENGINES or format not in FORMATS:
            continue
        found = {
            stage: floor_of(floors, stage, attention, format, kind, chip, folder) or floor_of(floors, stage, "sdpa", format, kind, chip, folder)
            for stage in DEPTH
        }
        here = {stage: floor for stage, floor in found.items() if floor is not None}
        if not here:
            continue
        engine = load_engine(ENGINES[kind, attention])
        source = Source(kind="measured", reference=f"models with next to no work at two depths: {what}")

        def measured(seconds: float, source: Source = source) -> Overhead:
            return Overhead(seconds=float(f"{seconds:.4g}"), spread=SPREAD, source=source)

        changed: dict[str, Any] = {"layer": {**engine.layer, **{stage: measured(floor.layer) for stage, floor in here.items()}}}
        if engine.overlap:  # the floor is all that the host does: nothing per kernel on top
            changed["launch"] = measured(0.0)
        if "decode" in here:
            changed["step"] = measured(here["decode"].fixed)
        passes = [here[stage].fixed for stage in ("encode", "prefill") if stage in here]
        if passes:
            changed["stage"] = measured(_middle(passes))
        made[attention, format] = engine.model_copy(update=changed)
    return made


def stage_rows(run: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """The good rows of `stages.csv` in formats and attentions that an engine runs, and how many others there are."""
    frame, others = good_rows(run / "stages.csv")
    if len(frame):
        frame = frame[frame["format"].isin(list(FORMATS)) & frame["attention"].isin(["sdpa", "eager"])].reset_index(drop=True)
    return frame, others


def compare(run: Path, kind: str, chip: Chip, folder: Path | None, what: str) -> pd.DataFrame:
    """Every stage of every model with work: measured, predicted, interval, error, and the noise of the measurement.

    noise: half of the distance between the 20th and 80th percentile of its samples, as a fraction.
    """
    rows, _ = stage_rows(run)
    if not len(rows):
        return rows
    engines = engines_of(rows, kind, chip, folder, what)
    real = rows[~rows["model"].str.startswith("floor-")].reset_index(drop=True)
    predicted = [predict(row, chip, engine_for(row, kind, engines), folder) for row in records(real)]
    real = real.assign(
        seconds=real["latency"],
        predicted=[item.seconds for item in predicted],
        lower=[item.lower for item in predicted],
        upper=[item.upper for item in predicted],
        noise=0.5 * (real["p80_s"] - real["p20_s"]) / real["latency"],
    )
    return real.assign(error=real["predicted"] / real["seconds"] - 1.0)
