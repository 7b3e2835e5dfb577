"""Presets: a paper's method said as general techniques with the paper's own parameters."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, final

Kind = Literal["repository", "paper", "reported", "assumed"]
Status = Literal["runs", "patch", "hypothetical"]
Scalar: TypeAlias = "bool | int | float | str"
Value: TypeAlias = "Scalar | tuple[Scalar, ...]"

GENERAL = frozenset(
    {
        "encoder_swap", "adapter_swap", "keyframes", "adaptive_resolution", "encoder_merge", "encoder_prune",
        "post_encoder_reduce", "temporal_merge", "spatial_pooling", "frame_budget", "pre_llm_reduce", "in_llm_prune",
        "visual_bypass", "frozen_visual", "sparse_attention", "native_sparse_attention", "chunk_attention",
        "chunked_prefill", "prefix_cache", "embedding_cache", "kv_evict", "kv_retrieve", "kv_quant", "weight_quant",
        "width_prune", "layer_skip", "speculative", "output_length", "sequence_parallel_encoder",
        "encoder_data_parallel", "offload", "disaggregate",
    }
)  # fmt: skip
"""The general techniques a preset may be made of."""

TABLE = Path(__file__).with_name("presets.csv")
DEPLOYABILITY = Path(__file__).with_name("deployability.csv")


@final
@dataclass(frozen=True)
class Step:
    """One general technique with the parameters it is given."""

    technique: str
    parameters: tuple[tuple[str, Value], ...]


@final
@dataclass(frozen=True)
class Preset:
    """A named mix of general techniques that stands for one paper's method."""

    name: str
    entry: str
    steps: tuple[Step, ...]
    default_kind: Kind
    """Where the numbers come from: the method's repository, its paper, a figure it reports, or an assumption."""
    source: str
    training_free: bool
    query_aware: bool
    notes: str

    @property
    def parts(self) -> tuple[tuple[str, tuple[tuple[str, Value], ...]], ...]:
        """(technique, parameters) of every step."""
        return tuple((step.technique, step.parameters) for step in self.steps)


def read_value(text: str) -> Value:
    """`0.5`, `true`, `map`, or `8|16|24` as Python values."""
    if "|" in text:
        return tuple(_read_scalar(part) for part in text.split("|"))
    return _read_scalar(text)


def _read_scalar(text: str) -> Scalar:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@cache
def load_presets(path: Path = TABLE) -> dict[str, Preset]:
    """Preset by name, in the order of the table. Techniques and their parameters are separated by `;` and stand in the same order."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [_read_row(row) for row in csv.DictReader(lines)]
    presets = {preset.name: preset for preset in rows}
    if len(presets) < len(rows):
        raise ValueError(f"preset: a name occurs twice in {path.name}; accepted: unique names")
    return presets


def _read_row(row: dict[str, str]) -> Preset:
    techniques, parameters = row["techniques"].split(";"), row["overrides"].split(";")
    if len(techniques) != len(parameters):
        raise ValueError(
            f"overrides: {row['overrides']!r} of preset {row['preset']} needs one part for each of {row['techniques']!r}"
        )
    unknown = sorted(set(techniques) - GENERAL)
    if unknown:
        raise ValueError(
            f"techniques: {', '.join(unknown)} of preset {row['preset']} unknown; accepted: {', '.join(sorted(GENERAL))}"
        )
    kind = row["default_kind"]
    if kind not in ("repository", "paper", "reported", "assumed"):
        raise ValueError(
            f"default_kind: {row['default_kind']!r} of preset {row['preset']}; accepted: repository, paper, reported, assumed"
        )
    return Preset(
        name=row["preset"],
        entry=row["entry"],
        steps=tuple(
            Step(technique, _read_parameters(text)) for technique, text in zip(techniques, parameters, strict=True)
        ),
        default_kind=kind,
        source=row["source"],
        training_free=row["training_free"] == "true",
        query_aware=row["query_aware"] == "true",
        notes=row["notes"],
    )


def _read_parameters(text: str) -> tuple[tuple[str, Value], ...]:
    pairs = (part.partition("=") for part in text.split(",") if part)
    return tuple((name, read_value(value)) for name, _, value in pairs)


@cache
def load_deployability(path: Path = DEPLOYABILITY) -> dict[tuple[str, str, str], tuple[Status, str]]:
    """What is known of a named method on an engine, by (preset, technique, engine): runs, patch or hypothetical, and the source."""
    out: dict[tuple[str, str, str], tuple[Status, str]] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            status = row["status"]
            if status not in ("runs", "patch", "hypothetical"):
                raise ValueError(f"status: {status!r} of {row['preset']} in {path.name}; accepted: runs, patch, hypothetical")
            for engine in row["engines"].split("|"):
                key = (row["preset"], row["technique"], engine)
                if key in out:
                    raise ValueError(f"engines: {engine} of {row['preset']}, {row['technique']} stands twice in {path.name}")
                out[key] = (status, row["source"])
    return out
