"""Wall-clock comparison of a dense run with a mix, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .config import ModelConfig, OracleWorkload, ProjectorConfig, TextConfig, VisionConfig
from .meter import STAGES
from .run import stage_seconds
from .techniques import Technique


@dataclass(frozen=True)
class TimedMix:
    """p20 seconds per stage of the dense run and of the mix, their ratio, and the spread (p80 / p20) of each."""

    dense: dict[str, float]
    mix: dict[str, float]
    dense_spread: dict[str, float]
    mix_spread: dict[str, float]

    @property
    def speedup(self) -> dict[str, float]:
        """Dense over mix per stage, and ``total`` over all stages."""
        ratios = {s: self.dense[s] / self.mix[s] for s in STAGES if self.mix[s] > 0}
        return ratios | {"total": sum(self.dense.values()) / sum(self.mix.values())}


def timing_model(width: int = 512) -> ModelConfig:
    """A model wide enough that products, not dispatch, take the time (width 512 to 1024)."""
    vision = VisionConfig(width, 4, width // 64, 4 * width, patch_size=14)
    text = TextConfig(
        vocab_size=2000,
        hidden_size=width,
        num_hidden_layers=6,
        num_attention_heads=width // 64,
        num_key_value_heads=max(1, width // 128),
        head_dim=64,
        intermediate_size=3 * width,
    )
    return ModelConfig(vision, ProjectorConfig(width), text, kv_dtype="float32")


def timing_workload() -> OracleWorkload:
    """576 patches (24 x 24), 64 text tokens, 9 output tokens."""
    return OracleWorkload(images=1, image_height=336, image_width=336, text_tokens=64, output_tokens=9)


def time_mix(
    model: ModelConfig, workload: OracleWorkload, mix: Sequence[Technique], repeats: int = 5, device: str = "cpu"
) -> TimedMix:
    """Time dense and mix in turn on one thread, after one unclocked pass of each; p20 over the repeats.

    Selection work (scores, sorting, gathering) is part of the mix's time, at the stage where it runs.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows: dict[str, list[list[float]]] = {"dense": [], "mix": []}
        for i in range(repeats + 1):
            for name, chosen in (("dense", ()), ("mix", tuple(mix))):
                seconds = stage_seconds(model, workload, chosen, device)
                if i:
                    rows[name].append([seconds[s] for s in STAGES])
    finally:
        torch.set_num_threads(threads)

    def quantile(name: str, q: float) -> dict[str, float]:
        values = np.quantile(np.array(rows[name]), q, axis=0)
        return {s: float(v) for s, v in zip(STAGES, values, strict=True)}

    def spread(name: str) -> dict[str, float]:
        low, high = quantile(name, 0.2), quantile(name, 0.8)
        return {s: high[s] / low[s] if low[s] > 0 else 1.0 for s in STAGES}

    return TimedMix(quantile("dense", 0.2), quantile("mix", 0.2), spread("dense"), spread("mix"))
