"""How far the evidence reaches: every preset on the anchor models, graded."""

from __future__ import annotations

from typing import Any

import pandas as pd

from simulator.fidelity import LOSSLESS, Use, retained
from simulator.literature.presets import Preset, Step, load_presets

ANCHORS = ("llava-1.5-7b", "llava-next-7b", "llava-onevision-7b", "internvl3-8b", "qwen2.5-vl-7b")

AXIS = {
    "keyframes": "frames",
    "kv_evict": "kv_tokens",
    "kv_retrieve": "kv_tokens",
    "kv_quant": "bits",
    "weight_quant": "weights",
    "width_prune": "weights",
    "layer_skip": "weights",
    "sparse_attention": "attention",
    "native_sparse_attention": "attention",
    "chunk_attention": "attention",
    "speculative": "draft",
    "output_length": "output",
}
"""Axis of a general technique; visual_tokens where not named."""

_PATCHES = 576
_LAYERS = 32


def uses_of(preset: Preset) -> tuple[Use, ...]:
    """The preset's steps at its defaults, on a 576-token picture and a 32-layer decoder."""
    return tuple(
        Use(preset.name, step.technique, _kept(step), AXIS.get(step.technique, "visual_tokens"))
        for step in preset.steps
        if step.technique not in LOSSLESS
    )


def _kept(step: Step) -> float:
    """Fraction kept; a half where the step says nothing of the kind."""
    values = dict(step.parameters)

    def number(*names: str) -> float | None:
        found = next((values[name] for name in names if isinstance(values.get(name), int | float)), None)
        return None if found is None else float(found)  # pyright: ignore[reportArgumentType]

    if step.technique == "speculative":
        return 1.0 - (number("relax") or 0.0)
    if step.technique == "in_llm_prune":
        return _mean_over_depth(values.get("layer"), values.get("keep"))
    bits = number("bits", "k_bits")
    tokens = number("tokens", "dominant")
    share = number("keep", "budget", "density", "ratio")
    if bits is not None:
        return bits / 16
    if share is not None:
        return min(share, 1.0)
    if tokens is not None:
        return min((tokens + (number("contextual") or 0.0)) / _PATCHES, 1.0)
    return 0.5


def _mean_over_depth(layers: object, keeps: object) -> float:
    starts = [int(value) for value in (layers if isinstance(layers, tuple) else (layers,))]  # pyright: ignore
    shares = [float(value) for value in (keeps if isinstance(keeps, tuple) else (keeps,))]  # pyright: ignore
    ends = [*starts[1:], _LAYERS]
    carried = starts[0] + sum(share * (end - start) for share, start, end in zip(shares, starts, ends, strict=True))
    return carried / _LAYERS


def grade_table(task_class: str = "general_vqa") -> pd.DataFrame:
    """One row per preset and anchor model: preset, model, grade (`lossless` where nothing lossy is left), retained."""
    rows = [
        {
            "preset": preset.name,
            "model": model,
            "grade": found.grade if used else "lossless",
            "retained": found.retained,
        }
        for preset in load_presets().values()
        for model in ANCHORS
        for used in [[use for use in uses_of(preset) if use.kept < 1.0]]
        for found in [retained(used, model, "", task_class)]
    ]
    return pd.DataFrame(rows)


def grade_shares(task_class: str = "general_vqa") -> pd.DataFrame:
    """Share [fraction] of presets per anchor model (and over all five) in each grade."""
    table = grade_table(task_class)
    shares: Any = pd.crosstab(  # pyright: ignore[reportUnknownMemberType]
        table["model"], table["grade"], normalize="index", margins=True, margins_name="all"
    )
    return shares.reindex(columns=["direct", "pooled", "none", "lossless"], fill_value=0.0)
