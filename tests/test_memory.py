"""Bytes of weights and KV worked out by hand from the published configurations, one model for every kind of cache.

Numbers below are those of each config.json; everything is bfloat16 (2 bytes). A first decode step reads the rows that are there
before its own: a window of w tokens holds w - 1 of them, a chunk of w what the prompt left in it.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator import Image, Scenario, Workload, estimate
from simulator.spec.deployment import Parallelism
from simulator.spec.scenario import TechniqueUse

PICTURE = Image(width=600, height=400)
BATCH = 3
TEXTS = (50, 700, 2000, 9000, 20000)

# Weights [parameter]: the language model's matrices, then its norms; encoder and projector.
QWEN_LAYER = 3584 * 3584 + 3584 + 2 * (512 * 3584 + 512) + 3584 * 3584 + 3 * 3584 * 18944 + 2 * 3584
QWEN_VISION = 32 * (1280 * 3840 + 3840 + 1280 * 1280 + 1280 + 3 * 1280 * 3420 + 2 * 3420 + 1280 + 2 * 1280)
QWEN_MERGER = 1280 + 5120 * 5120 + 5120 + 5120 * 3584 + 3584
QWEN = 2 * 152064 * 3584 + 28 * QWEN_LAYER + 3584 + 3 * 2 * 14 * 14 * 1280 + QWEN_VISION + QWEN_MERGER

CLIP_LAYER = 4 * (1024 * 1024 + 1024) + 2 * 1024 * 4096 + 4096 + 1024 + 4 * 1024
CLIP = 3 * 14 * 14 * 1024 + 1024 + 577 * 1024 + 4 * 1024 + 24 * CLIP_LAYER
LLAVA_LAYER = 4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096
LLAVA = 2 * 32064 * 4096 + 32 * LLAVA_LAYER + 4096 + CLIP + 1024 * 4096 + 4096 + 4096 * 4096 + 4096

# 512 routed experts, one shared with its gate, and a router, in every layer; no encoder.
NEXT_EXPERTS = 513 * 3 * 2048 * 512 + 2048 + 512 * 2048 + 2 * 2048
NEXT_LINEAR = 2048 * (12288 + 64) + 4096 * 2048 + 8192 * 4 + 32 + 32 + 128
NEXT_FULL = 2048 * (2 * 4096 + 2 * 512) + 4096 * 2048 + 2 * 256
NEXT = 2 * 151936 * 2048 + 2048 + 48 * NEXT_EXPERTS + 36 * NEXT_LINEAR + 12 * NEXT_FULL


def memory(model: str, text: int, output: int = 20, **workload: Any) -> Any:
    given = Workload(text_tokens=text, output_tokens=output, batch=BATCH, **workload)
    return estimate(Scenario(model=model, hardware="mi300x", workload=given, preprocess=False)).memory


@pytest.mark.parametrize(
    ("model", "parameters", "images"),
    [("qwen2.5-vl-7b", QWEN, (PICTURE,)), ("llava-1.5-7b", LLAVA, (PICTURE,)), ("qwen3-next-80b-a3b", NEXT, ())],
)
def test_weights(model: str, parameters: int, images: tuple[Image, ...]) -> None:
    assert memory(model, 10, images=images).weight_bytes == 2 * parameters


@pytest.mark.parametrize(
    ("model", "visual", "each"),
    [
        ("qwen2.5-vl-7b", 21 * 14, 28 * 2 * 4 * 128 * 2),  # grouped queries: 4 heads of keys and values
        ("llava-1.5-7b", 576, 32 * 2 * 32 * 128 * 2),  # every head has its own
        ("kimi-vl-a3b", 22 * 15, 27 * (512 + 64) * 2),  # latent: rank and rotary part, once for keys and values
        ("deepseek-vl2", 1023, 30 * (512 + 64) * 2),
    ],
)
def test_every_row_is_kept_and_read(model: str, visual: int, each: int) -> None:
    for text in (50, 700, 2000):
        found = memory(model, text, images=(PICTURE,))
        assert found.kv_bytes_per_token == each
        assert found.kv_bytes_written == found.kv_bytes_resident == BATCH * (visual + text) * each
        assert found.kv_bytes_read_per_step == BATCH * (visual + text) * each


def test_sliding_window() -> None:
    """Gemma 3: 5 of 6 layers keep the last 1024 rows; 8 heads of 256."""
    row = 2 * 8 * 256 * 2
    for text in (50, 1023 - 256, 1024 - 256, 1025 - 256, *TEXTS):
        rows, found = 256 + text, memory("gemma-3-12b", text, images=(PICTURE,))
        assert found.kv_bytes_per_token == 48 * row
        assert found.kv_bytes_written == BATCH * 48 * rows * row
        assert found.kv_bytes_resident == BATCH * (8 * rows + 40 * min(rows, 1024)) * row
        assert found.kv_bytes_read_per_step == BATCH * (8 * rows + 40 * min(rows, 1023)) * row


def test_cross_attention() -> None:
    """Llama 3.2: 32 layers keep the text, 8 the 4 x 1601 rows of the picture; only the former grow."""
    row, visual = 2 * 8 * 128 * 2, 4 * 1601
    for text in TEXTS:
        found = memory("llama-3.2-11b-vision", text, images=(PICTURE,))
        assert found.kv_bytes_per_token == 32 * row
        assert found.kv_bytes_written == found.kv_bytes_resident == BATCH * (32 * text + 8 * visual) * row
        assert found.kv_bytes_read_per_step == BATCH * (32 * text + 8 * visual) * row


def test_chunks() -> None:
    """Llama 4: 36 of 48 layers attend within chunks of 8192; at a boundary a step finds its chunk empty. 600 x 400: 4 + 1 tiles."""
    row, visual = 2 * 8 * 128 * 2, 5 * 144
    for text in (*TEXTS, 8191 - visual, 8192 - visual, 8193 - visual):
        rows, found = visual + text, memory("llama-4-scout", text, images=(PICTURE,))
        assert found.kv_bytes_per_token == 48 * row
        assert found.kv_bytes_written == BATCH * 48 * rows * row
        assert found.kv_bytes_resident == BATCH * (12 * rows + 36 * min(rows, 8192)) * row
        assert found.kv_bytes_read_per_step == BATCH * (12 * rows + 36 * (rows % 8192)) * row


def test_linear_layers_keep_a_state() -> None:
    """Qwen3-Next: 36 of 48 layers keep 32 x 128 x 128 in float32 (transformers does) and a convolution's 4 columns; 12 keep 2 heads of 256."""
    state, row = 32 * 128 * 128 * 4 + 4 * (2 * 16 * 128 + 32 * 128) * 2, 2 * 2 * 256 * 2
    for text in TEXTS:
        found = memory("qwen3-next-80b-a3b", text)
        assert found.kv_bytes_per_token == 12 * row
        assert found.kv_bytes_written == found.kv_bytes_resident == BATCH * (12 * text * row + 36 * state)
        assert found.kv_bytes_read_per_step == BATCH * (12 * text * row + 36 * state)


def test_state_space_keeps_nothing_else() -> None:
    """Cobra: 64 layers of 5120 channels, each with 16 states in float32 and 4 columns of convolution."""
    for text in (50, 2000):
        found = memory("cobra-3b", text, images=(PICTURE,))
        assert found.kv_bytes_per_token == 0.0
        assert found.kv_bytes_written == found.kv_bytes_resident == BATCH * 64 * 5120 * (16 * 4 + 4 * 2)
        assert found.kv_bytes_read_per_step == BATCH * 64 * 5120 * (16 * 4 + 4 * 2)


MODELS = (
    "qwen2.5-vl-7b", "llava-1.5-7b", "internvl3-8b", "gemma-3-12b", "llama-3.2-11b-vision", "kimi-vl-a3b", "qwen2-vl-2b",
    "qwen3-vl-30b-a3b", "cobra-3b",
)  # fmt: skip


MIXES = (
    (),
    (TechniqueUse(kind="chunked_prefill", parameters={"chunk": 512}),),
    (TechniqueUse(kind="fastv"),),
    (TechniqueUse(kind="divprune"), TechniqueUse(kind="kv_evict", parameters={"budget": 0.3})),
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    model = draw(st.sampled_from(MODELS))
    return Scenario(
        model=model,
        hardware=draw(st.sampled_from(("h100-sxm", "l40s", "a100-sxm-80gb", "rtx-4090", "mi300x"))),
        engine=draw(st.sampled_from(("ideal", "vllm", "sglang", "trtllm", "hf-flash", "hf-sdpa", "hf-eager"))),
        workload=Workload(
            images=(Image(width=draw(st.integers(60, 2000)), height=draw(st.integers(60, 2000))),),
            text_tokens=draw(st.integers(1, 1500)),
            output_tokens=draw(st.integers(1, 500)),
            batch=draw(st.integers(1, 64)),
        ),
        preprocess=False,
        techniques=draw(st.sampled_from(MIXES[:2] if model == "cobra-3b" else MIXES)),  # a model without attention has no scores
        parallel=draw(st.sampled_from((Parallelism(), Parallelism(dp=2), Parallelism(pp=2)))),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_max_batch_fits_and_one_more_does_not(scenario: Scenario) -> None:
    """Whatever the batch asked about."""

    def at(batch: int) -> Any:
        return estimate(scenario.model_copy(update={"workload": scenario.workload.model_copy(update={"batch": batch})})).memory

    most = int(estimate(scenario).memory.max_batch)
    assert not at(most + 1).fits
    if most:
        assert at(most).fits
        assert at(most).max_batch == most


@pytest.mark.parametrize(("engine", "hardware"), [("torch-cpu", "cpu-generic"), ("hf-sdpa", "a100-sxm-80gb"), ("ideal", "h100-sxm")])
def test_a_model_in_32_bits_keeps_nothing_narrower(engine: str, hardware: str) -> None:
    """Embedding, norms, positions and cache too, whatever the engine."""
    given = Workload(text_tokens=50, output_tokens=20, images=(PICTURE,))
    found = estimate(Scenario(model="qwen2.5-vl-7b", hardware=hardware, engine=engine, format="fp32", workload=given, preprocess=False)).memory
    assert found.weight_bytes == 4 * QWEN
    assert found.kv_bytes_per_token == 28 * 2 * 4 * 128 * 4
