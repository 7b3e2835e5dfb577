"""Published FLOPs, each by the convention of its paper, within 1 %."""

from __future__ import annotations

import pytest

from simulator import Image, Scenario, Workload
from simulator.assemble import case_of
from simulator.conventions import convention_flops
from simulator.spec.source import SpecError


def flops(model: str, side: int, text: int, name: str, *mix: str) -> float:
    workload = Workload(images=(Image(width=side, height=side),), text_tokens=text, output_tokens=1)
    scenario = Scenario(model=model, hardware="a100-sxm-80gb", workload=workload, techniques=mix, preprocess=False)
    return convention_flops(case_of(scenario), name)["prefill"]


def test_pyramiddrop_llava_1_5() -> None:
    """arXiv 2410.17247 Table 1: 3.82 T before, 1.78 T after, picture tokens only."""
    schedule = "in_llm_prune:layer=8|16|24,keep=0.5|0.25|0.125"
    assert flops("llava-1.5-7b", 336, 0, "c1") == pytest.approx(3.82e12, rel=0.01)
    assert flops("llava-1.5-7b", 336, 0, "c1", schedule) == pytest.approx(1.78e12, rel=0.01)


def test_fastv_ratio() -> None:
    """FastV README, K=3 R=50 %: 57 % of the FLOPs (56.93 % with 40 text tokens, two-matrix feed-forward part)."""
    dense = flops("llava-1.5-7b", 336, 40, "c3")
    assert flops("llava-1.5-7b", 336, 40, "c3", "fastv:layer=3,keep=0.5") / dense == pytest.approx(0.5693, rel=0.002)


def test_sparsevlm_dense_figure() -> None:
    """arXiv 2410.04417: 4.62 T for LLaVA-1.5-7B (c1 with 118 text tokens)."""
    assert flops("llava-1.5-7b", 336, 118, "c7") == pytest.approx(4.62e12, rel=0.01)


def test_prumerge_by_llm_viewer() -> None:
    """arXiv 2403.15388 Table 2: 9.3 T at 698 tokens, 18.2 T for 13B."""
    assert flops("llava-1.5-7b", 336, 698 - 576, "c6") == pytest.approx(9.3e12, rel=0.01)
    assert flops("llava-1.5-13b", 336, 698 - 576, "c6") == pytest.approx(18.2e12, rel=0.01)


def test_unknown_convention() -> None:
    with pytest.raises(SpecError, match="c9"):
        flops("llava-1.5-7b", 336, 40, "c9")
