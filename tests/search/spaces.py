"""Spaces on which the optimiser is held against everything: `python -m tests.search.spaces [SEEDS] [SHARE]` prints how much it finds."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from simulator import Image, Scenario, Space, Video, Workload, pareto, sweep
from simulator.search import hypervolume, optimise
from simulator.search.lattice import Lattice
from simulator.search.objectives import costs_of, signs_of

BASE = Scenario(
    model="qwen2.5-vl-7b", hardware="l40s", workload=Workload(images=(Image(width=1280, height=720),), text_tokens=64, output_tokens=128)
)
CLIP = BASE.model_copy(
    update={"workload": Workload(videos=(Video(width=640, height=480, frames=32),), text_tokens=64, output_tokens=128)}
)


def spread(low: float, high: float, count: int) -> list[float]:
    return [float(x) for x in np.round(np.geomspace(low, high, count), 3)]


def tenths(first: int = 1, last: int = 10) -> list[float]:
    return [round(0.1 * k, 1) for k in range(first, last + 1)]


@dataclass(eq=False)
class Trial:
    """A space with objectives and conditions, and everything in it."""

    base: Scenario
    axes: dict[str, Any]
    aims: dict[str, str]
    rules: tuple[str, ...] = ()
    when: Mapping[str, str] | None = None

    @cached_property
    def space(self) -> Space:
        return Space(self.base, self.axes, when=self.when)

    @cached_property
    def everything(self) -> pd.DataFrame:
        return sweep(self.space)

    @cached_property
    def where(self) -> dict[tuple[Any, ...], int]:
        """Row of each point: the sweep counts in the order of the lattice."""
        lattice = Lattice(self.space)
        return {tuple(lattice.point(row).values()): at for at, row in enumerate(lattice.every())}

    def looked_up(self, space: Space, points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """What `evaluate` gives, from the sweep."""
        return self.everything.iloc[[self.where[tuple(point[axis.path] for axis in space.axes)] for point in points]].reset_index(drop=True)

    def evaluations(self, share: float = 0.02) -> int:
        return int(self.space.size * share)

    def found(self, seed: int, share: float = 0.02, method: Any = "nsga2") -> float:
        """Share of the hypervolume of everything that `share` of the evaluations find, up to a tenth beyond the worst of the true front."""
        found = optimise(
            self.space, self.aims, evaluations=self.evaluations(share), constraints=self.rules, seed=seed, method=method,
            evaluate_with=self.looked_up, together=64,
        )  # fmt: skip
        assert found.evaluations <= self.evaluations(share)
        signs = signs_of(self.aims)
        truth, got = costs_of(pareto(self.everything, self.aims, self.rules), signs), costs_of(found.front, signs)
        low, extent = truth.min(axis=0), np.ptp(truth, axis=0)
        extent = np.where(extent > 0, extent, 1.0)
        reference = np.full(len(signs), 1.1)
        return hypervolume((got - low) / extent, reference) / hypervolume((truth - low) / extent, reference)


DEVICES = ["l4", "l40s", "rtx-4090", "a100-sxm-80gb", "h100-sxm", "h200-sxm"]
MODELS = ["qwen2.5-vl-3b", "qwen2.5-vl-7b", "qwen2.5-vl-32b", "qwen2.5-vl-72b"]
SIZED = {
    "hardware": DEVICES[:5], "model": MODELS, "parallel.tp": [1, 2, 4], "workload.batch": [1, 2, 4, 8, 16, 32, 64, 128],
    "workload.images.scale": spread(0.25, 2, 12), "techniques.weight_quant": [True, False], "techniques.kv_evict": [True, False],
    "techniques.kv_evict.budget": [0.1, 0.2, 0.4, 0.6, 0.8],
}  # fmt: skip

SPACES: dict[str, Trial] = {
    "four techniques, three objectives": Trial(BASE, {
        "hardware": ["l40s", "h100-sxm", "a100-sxm-80gb"], "techniques.visionzip": [True, False], "techniques.weight_quant": [True, False],
        "techniques.in_llm_prune": [True, False], "techniques.kv_quant": [True, False], "techniques.in_llm_prune.keep": tenths(),
        "workload.batch": [1, 2, 4, 8, 16, 32, 64], "workload.images.scale": spread(0.25, 1, 24),
    }, {"ttft_s": "min", "output_tokens_per_s": "max", "fidelity_low": "max"}),
    "two objectives": Trial(BASE, {
        "hardware": DEVICES, "parallel.tp": [1, 2, 4, 8], "workload.batch": [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256],
        "techniques.weight_quant": [True, False], "techniques.kv_quant": [True, False], "techniques.kv_quant.bits": [2, 4, 8],
        "techniques.fastv": [True, False], "techniques.fastv.keep": tenths(),
    }, {"latency_s": "min", "cost_usd": "min"}),
    "one point in six allowed": Trial(
        BASE, SIZED, {"ttft_s": "min", "cost_usd": "min", "visual_tokens": "max"}, ("ttft_s <= 0.25", "tpot_s <= 0.012")),
    "three points in a thousand allowed": Trial(
        BASE, SIZED, {"ttft_s": "min", "cost_usd": "min", "visual_tokens": "max"},
        ("ttft_s <= 0.15 and tpot_s <= 0.008", "visual_tokens >= 1000", "cost_usd <= 0.0004")),
    "mixes, four objectives": Trial(BASE, {
        "hardware": ["l40s", "a100-sxm-80gb", "h100-sxm"], "workload.batch": [1, 2, 4, 8, 16, 32, 64, 128],
        "techniques": ["none", "visionzip", "fastv", "kv_quant:bits=8", "visionzip + kv_quant:bits=8", "fastv + kv_quant:bits=8",
                       "fastv + weight_quant", "visionzip + weight_quant"],
        "techniques.fastv.keep": tenths(), "techniques.visionzip.dominant": [20, 40, 60, 80, 120, 160, 200],
        "workload.images.scale": spread(0.3, 1.5, 16),
    }, {"ttft_s": "min", "cost_usd": "min", "energy_j": "min", "fidelity_low": "max"}),
    "engines and switches": Trial(BASE, {
        "hardware": DEVICES, "engine": ["vllm", "sglang", "hf-sdpa"], "workload.batch": [1, 2, 4, 8, 16, 32, 64, 128],
        "techniques.weight_quant": [True, False], "techniques.kv_quant": [True, False], "techniques.kv_quant.bits": [2, 4, 8],
        "techniques.speculative": [True, False], "techniques.in_llm_prune": [True, False], "techniques.in_llm_prune.keep": tenths(1, 9),
    }, {"latency_s": "min", "energy_j": "min", "peak_bytes": "min"}),
    "conditional axes, four objectives": Trial(BASE, {
        "engine": ["vllm", "sglang", "hf-sdpa", "ideal"], "hardware": ["l40s", "h100-sxm", "a100-sxm-80gb"], "parallel.tp": [1, 2, 4, 8],
        "techniques": ["none", "fastv", "kv_quant", "fastv + kv_quant", "weight_quant", "speculative"],
        "techniques.fastv.layer": [2, 3, 4, 6, 8, 12], "techniques.fastv.keep": tenths(1, 9), "techniques.kv_quant.bits": [2, 3, 4, 6, 8],
        "workload.batch": [1, 2, 4, 8, 16, 32, 64],
    }, {"latency_s": "min", "output_tokens_per_s": "max", "peak_bytes": "min", "fidelity": "max"},
        when={"parallel.tp": "engine == 'vllm' or engine == 'sglang'"}),
    "video, four objectives": Trial(CLIP, {
        "hardware": ["l40s", "h100-sxm", "a100-sxm-80gb"], "workload.videos.frames": [8, 16, 24, 32, 48, 64, 96, 128, 192, 256],
        "workload.videos.scale": spread(0.4, 1.2, 8), "techniques.keyframes": [True, False], "techniques.temporal_merge": [True, False],
        "techniques.kv_evict": [True, False], "techniques.kv_evict.budget": [0.1, 0.2, 0.3, 0.5, 0.7, 0.9],
        "techniques.weight_quant": [True, False], "workload.batch": [1, 2, 4, 8, 16],
    }, {"ttft_s": "min", "cost_usd": "min", "fidelity_low": "max", "visual_tokens": "max"}, ("ttft_s <= 5",)),
    "numbers only": Trial(BASE, {
        "workload.batch": list(range(1, 65)), "workload.images.scale": spread(0.2, 1.5, 40), "scale.bandwidth": [0.5, 0.75, 1, 1.5, 2, 3, 4],
        "scale.flops": [0.5, 0.75, 1, 1.5, 2, 3, 4],
    }, {"ttft_s": "min", "output_tokens_per_s": "max", "visual_tokens": "max"}),
}  # fmt: skip


def main(seeds: int = 10, share: float = 0.02) -> None:
    """Print the table."""
    print(f"share of the hypervolume of everything, {seeds} seeds, {share:.0%} of the evaluations")
    print(f"{'space':<36}{'points':>9}{'evaluated':>11}{'mean':>9}{'least':>9}{'s':>7}")
    for name, trial in SPACES.items():
        _ = trial.everything, trial.where
        start = time.process_time()
        found = [trial.found(seed, share) for seed in range(seeds)]
        took = (time.process_time() - start) / seeds
        print(f"{name:<36}{trial.space.size:>9,}{trial.evaluations(share):>11,}{np.mean(found):>9.2%}{min(found):>9.2%}{took:>7.1f}", flush=True)


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False)))
