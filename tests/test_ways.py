"""What a request does not go through costs nothing, and what it goes through twice is counted twice."""

from __future__ import annotations

from typing import Any

import pytest

from simulator import Estimate, Image, Scenario, Workload, estimate
from simulator.program import STAGES


def _estimate(batch: int = 1, images: int = 1, model: str = "qwen2.5-vl-7b", **more: Any) -> Estimate:
    pictures = tuple(Image(width=1024, height=1024) for _ in range(images))
    workload = Workload(images=pictures, text_tokens=100, output_tokens=20, batch=batch)
    return estimate(Scenario(model=model, hardware="h100-sxm", workload=workload, preprocess=False, **more))


@pytest.mark.parametrize("engine", ["ideal", "vllm", "hf-eager"])
def test_without_a_picture_cross_attention_layers_are_left_out(engine: str) -> None:
    """Llama 3.2 Vision is Llama 3.1 with eight layers more, which its forward pass skips where there is nothing to see."""
    seen, text = (_estimate(images=0, model=name, engine=engine) for name in ("llama-3.2-11b-vision", "llama-3.1-8b"))
    for name in ("prefill", "decode"):
        assert seen.stages[name].matmul_flops == text.stages[name].matmul_flops
        assert seen.stages[name].seconds == pytest.approx(text.stages[name].seconds, rel=1e-3)


def test_the_overhead_of_a_second_try_is_reported() -> None:
    result = _estimate(techniques=["visionthink"])
    first = sum(result.stages[name].seconds for name in STAGES if name != "decode")
    assert result.ttft_s == pytest.approx(first + result.overhead_s)
