"""The loop on one machine: engine times from its floors, whole stages predicted, and whether the prediction holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
import yaml

from calibrate.device import hardware_of, meta_of
from calibrate.stages import ENGINES, compare, engines_of, stage_rows
from simulator.spec.hardware import Device
from simulator.spec.load_hardware import load_hardware

# Median error of a stage over models that were not fitted, or twice the noise of the measurement if that is more.
GOALS = {"cpu": {"encode": 0.15, "prefill": 0.15, "decode": 0.25}, "cuda": {"encode": 0.10, "prefill": 0.10, "decode": 0.10}}
FEWEST = 4  # rows before a stage is judged
STAGES = ("encode", "project", "prefill", "decode")


def setting(run: Path, hardware: str, fits: Path) -> tuple[dict[str, Any], str, Device]:
    """meta.yaml, kind of device (`cpu` or `cuda`) and profile of a run."""
    meta = meta_of(run)
    return meta, str(meta["identity"].get("kind", "cuda")), load_hardware(hardware or hardware_of(run, fits))


def what_of(meta: dict[str, Any]) -> str:
    """A run in words, for sources."""
    identity = meta["identity"]
    threads = f", {identity['threads']} threads" if identity.get("kind") == "cpu" else ""
    return f"{identity['device']}{threads}, torch {identity['torch']}, {str(meta.get('date', ''))[:10]}"


def write_engine(run: Path, hardware: str, fits: Path) -> list[str]:
    """`engine.yaml` (and `engine-eager.yaml`) beside the tables: the shipped engine with this machine's host times."""
    rows, _ = stage_rows(run)
    if not len(rows):
        return []
    meta, kind, device = setting(run, hardware, fits)
    engines = engines_of(rows, kind, device.chip, fits, what_of(meta))
    lines: list[str] = []
    for attention, name in (("sdpa", "engine.yaml"), ("eager", "engine-eager.yaml")):
        first = next((engines[attention, format] for format in _formats(kind) if (attention, format) in engines), None)
        if first is None:
            continue
        text = yaml.safe_dump(first.model_dump(mode="json"), sort_keys=False, width=120, default_flow_style=None)
        (run / name).write_text(text, encoding="utf-8")
        layers = ", ".join(f"{stage} {item.seconds * 1e6:.0f}" for stage, item in first.layer.items())
        lines.append(f"{run / name}: {ENGINES[kind, attention]} with host time per layer [us]: {layers}")
    return lines


def _formats(kind: str) -> tuple[str, ...]:
    return ("f32", "bf16", "fp16") if kind == "cpu" else ("bf16", "fp16", "f32")


@final
@dataclass(frozen=True)
class Checked:
    """The stages' part of a validation: report lines, a summary for the terminal, and the verdict."""

    lines: list[str]
    summary: list[str]
    exceeded: bool
    inconclusive: bool


def check(run: Path, hardware: str, fitted: Path, plot: Path | None) -> Checked:
    """Predicted against measured of every whole stage; a stage is judged by the median over models and shapes."""
    meta, kind, device = setting(run, hardware, fitted)
    frame = compare(run, kind, device.chip, fitted, what_of(meta))
    noisy = bool(meta.get("inconclusive"))
    lines = ["# Whole stages: predicted against measured", "", f"{what_of(meta)}. {_noise(meta)}", ""]
    if not len(frame):
        lines.append("No stage was measured: `python -m calibrate measure --suite stages` adds them.")
        summary = [f"inconclusive: {run} {'is too noisy' if noisy else 'has no whole stages'}"]
        return Checked(lines, summary, False, noisy)
    table = summarised(frame, kind)
    judged = table[table["goal"] > 0.0]
    bad = judged[judged["verdict"] == "exceeded"]
    primary = _formats(kind)[0]
    missing = [stage for stage in GOALS[kind] if not ((judged["stage"] == stage) & (judged["format"] == primary)).any()]
    inconclusive = noisy or bool(missing)
    reasons = (["the run calls itself inconclusive (noise)"] if noisy else []) + [f"fewer than {FEWEST} rows of {stage}" for stage in missing]
    verdict = f"INCONCLUSIVE: {'; '.join(reasons)}" if inconclusive else ("EXCEEDED" if len(bad) else "holds")
    lines += [
        f"**Verdict: {verdict}.** No parameter was fitted on a stage with work; the host's time per layer and pass comes from models",
        "without work at two depths. Error: predicted over measured less one. Noise: half of the distance between the 20th and the 80th",
        "percentile of a row's own samples. Goal: of the median error, or twice the noise if that is more.",
        "",
        "| stage | format | rows | models | median error | mean error | bias | inside 80 % band | noise | goal | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    summary: list[str] = []
    for row in table.to_dict("records"):
        goal = f"{row['goal']:.0%}" if row["goal"] else ""
        lines.append(
            f"| {row['stage']} | {row['format']} | {row['rows']} | {row['models']} | {row['median']:.1%} | {row['mean']:.1%} | {row['bias']:+.1%} | "
            f"{row['coverage']:.0%} | {row['noise']:.1%} | {goal} | {row['verdict']} |"
        )
        limit = f", goal {goal}: {row['verdict']}" if goal else ""
        summary.append(f"{row['stage']} {row['format']}: median error {row['median']:.1%} over {row['rows']} rows, noise {row['noise']:.1%}{limit}")
    lines += ["", "## By model and attention (median error, bias)", "", *_by(frame, ["stage", "format", "attention", "model"])]
    summary.append(f"whole stages: {verdict}")
    if plot is not None:
        parity(frame, plot.with_name(f"{plot.stem}-stages.html"))
    return Checked(lines, summary, bool(len(bad)), inconclusive)


def summarised(frame: pd.DataFrame, kind: str) -> pd.DataFrame:
    """One row per stage and format: errors, noise, goal and verdict."""
    out: list[dict[str, Any]] = []
    for stage in STAGES:
        for format, group in frame[frame["stage"] == stage].groupby("format"):
            noise = float(group["noise"].median())
            aim = GOALS[kind].get(stage, 0.0) if len(group) >= FEWEST else 0.0
            goal = max(aim, 2.0 * noise) if aim else 0.0
            median = float(group["error"].abs().median())
            inside = (group["seconds"] >= group["lower"]) & (group["seconds"] <= group["upper"])
            out.append(
                {
                    "stage": stage, "format": str(format), "rows": len(group), "models": group["model"].nunique(), "median": median,
                    "mean": float(group["error"].abs().mean()), "bias": float(group["error"].median()), "coverage": float(inside.mean()),
                    "noise": noise, "goal": goal, "verdict": "" if not goal else ("holds" if median <= goal else "exceeded"),
                }
            )  # fmt: skip
    return pd.DataFrame(out)


def _by(frame: pd.DataFrame, keys: list[str]) -> list[str]:
    lines = [f"| {' | '.join(keys)} | rows | median error | bias |", "|---|" + "---|" * (len(keys) + 2)]
    for key, group in frame.groupby(keys):
        names = " | ".join(str(item) for item in (key if isinstance(key, tuple) else (key,)))
        lines.append(f"| {names} | {len(group)} | {group['error'].abs().median():.1%} | {group['error'].median():+.1%} |")
    return lines


def _noise(meta: dict[str, Any]) -> str:
    shares = [float(run["noise"]["kept_share"]) for run in meta.get("runs", []) if "kept_share" in run.get("noise", {})]
    return f"Samples outside bursts of other work: {np.mean(shares):.0%}." if shares else ""


def parity(frame: pd.DataFrame, path: Path) -> None:
    """Predicted against measured stages as one HTML page."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for (stage, format), group in frame.groupby(["stage", "format"]):
        label = [f"{row['model']} {row['attention']}" for row in group.to_dict("records")]
        figure.add_trace(go.Scatter(x=group["seconds"], y=group["predicted"], mode="markers", name=f"{stage} {format}", text=label))
    ends = [float(frame["seconds"].min()), float(frame["seconds"].max())]
    figure.add_trace(go.Scatter(x=ends, y=ends, mode="lines", name="equal", line={"dash": "dot"}))
    figure.update_xaxes(type="log", title="measured [s]")
    figure.update_yaxes(type="log", title="predicted [s]")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(path, include_plotlyjs="cdn")
