"""Techniques in the decoder's prefill, against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.attention import Attention
from simulator.spec.source import SpecError
from simulator.techniques.chunk_attention import ChunkAttention
from simulator.techniques.chunked_prefill import ChunkedPrefill
from simulator.techniques.embedding_cache import EmbeddingCache
from simulator.techniques.frozen_visual import FrozenVisual
from simulator.techniques.in_llm_prune import InLlmPrune
from simulator.techniques.keyframes import Keyframes
from simulator.techniques.kv_evict import KvEvict
from simulator.techniques.native_sparse_attention import NativeSparseAttention
from simulator.techniques.pre_llm_reduce import PreLlmReduce
from simulator.techniques.prefix_cache import PrefixCache
from simulator.techniques.sparse_attention import SparseAttention
from simulator.techniques.visual_bypass import VisualBypass
from tests.techniques import toy

VISUAL, TEXT, D, HEADS, KV, SIZE, FEED, VOCABULARY = 288.0, 20.0, 256.0, 8.0, 2.0, 32.0, 512.0, 1000.0
HEAD = 2 * D * VOCABULARY


def layer_flops(rows: float, keys: float | None = None, pairs: float | None = None) -> float:
    """One decoder layer: `rows` through Q, O and the feed-forward part, `keys` through K and V."""
    keys = rows if keys is None else keys
    pairs = rows * (rows + 1) / 2 if pairs is None else pairs
    linear = 2 * rows * (2 * D * HEADS * SIZE + 3 * D * FEED) + 2 * keys * D * 2 * KV * SIZE
    return linear + 4 * pairs * HEADS * SIZE


def prefill(visual: list[float]) -> float:
    return HEAD + sum(layer_flops(each + TEXT) for each in visual)


def attention(result: toy.Result, index: int) -> Attention:
    layer = next(item for item in result.program.decoder.layers if item.index <= index < item.stop)
    return next(op for op in layer.prefill if isinstance(op, Attention))


def test_toy_decoder_is_what_the_counts_say() -> None:
    assert toy.measure(toy.program()).flops("prefill") == pytest.approx(prefill([VISUAL] * 32))


@pytest.mark.parametrize("score", ["map", "rows", "probe", "similarity"])
def test_schedule_counts_from_its_layers_on(score: str) -> None:
    result = toy.with_(InLlmPrune(layer=(8, 16, 24), keep=(0.5, 0.25, 0.125), score=score))
    per_layer = [VISUAL] * 8 + [VISUAL / 2] * 8 + [VISUAL / 4] * 8 + [VISUAL / 8] * 8
    assert result.flops("prefill") == pytest.approx(prefill(per_layer), rel=1e-12)
    cached = sum(each + TEXT for each in per_layer) * 2 * KV * SIZE * 2
    assert result.memory.kv_bytes_written == pytest.approx(cached) and result.memory.kv_bytes_resident == pytest.approx(cached)
    assert InLlmPrune(layer=(8, 16, 24), keep=(0.5, 0.25, 0.125)).kept(result.program) == pytest.approx(0.46875)


def test_schedule_is_relative_to_its_first_layer_and_never_grows() -> None:
    result = toy.with_(PreLlmReduce(keep=0.5), InLlmPrune(layer=(4, 9), keep=(0.25, 0.9), score="rows"))
    shares = {layer.index: float(layer.keep) for layer in result.program.decoder.layers}
    assert result.program.visual == 144 and shares[0] == 1.0 and shares[4] == 0.25 and shares[9] == 0.25


def test_rows_recompute_the_projections_of_every_token() -> None:
    flops, _ = toy.total_extra(toy.with_(InLlmPrune(layer=(8,), score="rows")).program, "in_llm_prune")
    tokens = VISUAL + TEXT
    assert flops == pytest.approx(2 * tokens * D * (HEADS + 2 * KV) * SIZE + 2 * tokens * HEADS * SIZE)


def test_similarity_needs_no_attention() -> None:
    result = toy.with_(InLlmPrune(layer=(0,), keep=(0.5,), score="similarity"))
    flops, _ = toy.total_extra(result.program, "in_llm_prune")
    assert flops == pytest.approx(2 * VISUAL**2 * D) and not result.program.needs_query
    assert not any(attention(result, index).materialised for index in range(32))


def test_bad_schedules_are_refused() -> None:
    with pytest.raises(SpecError, match="1 values for 2 layers"):
        InLlmPrune(layer=(2, 4), keep=(0.5,))
    with pytest.raises(SpecError, match="growing layer numbers"):
        InLlmPrune(layer=(4, 2), keep=(0.5, 0.4))
    with pytest.raises(SpecError, match=r"32 is not accepted; 1 to 31"):
        toy.with_(InLlmPrune(layer=(32,)))
    with pytest.raises(SpecError, match=r"0 is not accepted; 1 to 31"):
        toy.with_(InLlmPrune(layer=(0,)))


@pytest.mark.parametrize(("method", "flops"), [
    ("similarity", 2 * VISUAL**2 * D), ("greedy", 2 * VISUAL**2 * D),
    ("dpp", 2 * VISUAL**2 * D + (VISUAL / 4) ** 2 * VISUAL), ("clustering", 2 * VISUAL**2 * D),
])  # fmt: skip
def test_what_choosing_before_the_decoder_costs(method: str, flops: float) -> None:
    result = toy.with_(PreLlmReduce(keep=0.25, method=method))
    assert toy.total_extra(result.program, "pre_llm_reduce")[0] == pytest.approx(flops)
    assert result.flops("prefill") == pytest.approx(prefill([VISUAL / 4] * 32))
    windows = toy.with_(PreLlmReduce(keep=0.25, method=method, window=144.0))
    assert toy.total_extra(windows.program, "pre_llm_reduce")[0] < 0.51 * flops


def test_greedy_selection_is_bound_by_latency() -> None:
    once, many = (toy.with_(PreLlmReduce(keep=0.25, method=method)) for method in ("similarity", "greedy"))
    assert many.seconds("prefill") - once.seconds("prefill") > 72 * 1e-6


def test_bypass_leaves_keys_values_and_text() -> None:
    result = toy.with_(VisualBypass(start=4, stop=20))
    seen = sum(VISUAL + row for row in range(1, int(TEXT) + 1))
    expected = prefill([VISUAL] * 16) + 16 * layer_flops(TEXT, VISUAL + TEXT, seen)
    assert result.flops("prefill") == pytest.approx(expected, rel=1e-12)
    plain = toy.measure(toy.program())
    assert result.memory.weight_bytes == plain.memory.weight_bytes
    assert result.memory.kv_bytes_written == plain.memory.kv_bytes_written
    assert result.flops("decode") == plain.flops("decode")


def test_without_text_the_last_visual_token_still_runs() -> None:
    result = toy.with_(VisualBypass(), text=0.0)
    expected = HEAD + 32 * layer_flops(1, VISUAL, (VISUAL + 1) / 2)
    assert result.flops("prefill") == pytest.approx(expected) and np.isfinite(result.seconds("prefill"))


def test_bypass_and_frozen_layers_are_one_operator() -> None:
    assert toy.with_(VisualBypass(4, 20)).flops("prefill") == toy.with_(FrozenVisual(layers=tuple(range(4, 20)))).flops("prefill")
    ratio = toy.with_(FrozenVisual(ratio=0.5)).flops("prefill")
    assert ratio == pytest.approx(toy.with_(FrozenVisual(layers=tuple(range(0, 32, 2)))).flops("prefill"), rel=1e-12)
    with pytest.raises(SpecError, match="exclude each other: both leave the visual rows"):
        toy.with_(VisualBypass(), FrozenVisual())


def test_sparse_attention_thins_pairs_and_nothing_else() -> None:
    plain = toy.measure(toy.program(crops=40.0))
    result = toy.with_(SparseAttention(density=0.3, block=64.0), crops=40.0)
    tokens = 40 * 144 + TEXT
    pairs = 32 * 4 * (tokens * (tokens + 1) / 2) * HEADS * SIZE
    assert plain.flops("prefill") - result.flops("prefill") == pytest.approx(0.7 * pairs, rel=1e-9)
    assert result.memory.kv_bytes_written == plain.memory.kv_bytes_written and result.flops("decode") == plain.flops("decode")
    half = toy.with_(SparseAttention(density=0.3, block=64.0, heads=0.5), crops=40.0)
    assert plain.flops("prefill") - half.flops("prefill") == pytest.approx(0.35 * pairs, rel=1e-9)
    late = toy.with_(SparseAttention(density=0.3, block=64.0, start=16), crops=40.0)
    assert plain.flops("prefill") - late.flops("prefill") == pytest.approx(0.35 * pairs, rel=1e-9)


@pytest.mark.parametrize("block", [16, 50, 128, 1000])
def test_every_row_sees_its_own_block(block: int) -> None:
    result = toy.with_(SparseAttention(density=1e-4, block=float(block)))
    tokens = int(VISUAL + TEXT)
    own = sum(row % block + 1 for row in range(tokens))
    assert attention(result, 3).density == pytest.approx(own / (tokens * (tokens + 1) / 2))


def test_windows_are_not_thinned() -> None:
    lvlm = toy.model(attention="mixed")
    result = toy.with_(SparseAttention(density=0.3, block=8.0), lvlm=lvlm)
    assert attention(result, 0).density == 1.0 and attention(result, 1).density == pytest.approx(0.3)


def test_index_cost_by_score() -> None:
    tokens = 40 * 144 + TEXT
    for technique, flops in (
        (SparseAttention(score="antidiagonal", stride=16.0), 2 * tokens**2 * SIZE / 16),
        (SparseAttention(score="block", block=64.0), 2 * (tokens / 64) ** 2 * SIZE),
        (SparseAttention(score="probe", probes=64.0), 2 * 64 * tokens * SIZE),
        (SparseAttention(score="none"), 0.0),
    ):
        spent, _ = toy.total_extra(toy.with_(technique, crops=40.0).program, "sparse_attention")
        assert spent == pytest.approx(32 * HEADS * flops)


def test_trained_sparse_attention_reads_less_while_decoding() -> None:
    plain = toy.measure(toy.program(crops=200.0))
    result = toy.with_(NativeSparseAttention(), crops=200.0)
    context = 200 * 144 + TEXT
    share = (context / 16 + 64 * 16 + 512) / context
    assert result.memory.kv_bytes_read_per_step == pytest.approx(share * plain.memory.kv_bytes_read_per_step)
    assert result.run.totals["decode"].kv_bytes < 0.2 * plain.run.totals["decode"].kv_bytes
    assert result.memory.kv_bytes_resident == plain.memory.kv_bytes_resident
    assert result.memory.peak_bytes - plain.memory.peak_bytes < 0.2 * plain.memory.kv_bytes_resident
    short = toy.with_(NativeSparseAttention(), crops=2.0)
    assert attention(short, 0).density == 1.0


def test_chunks_make_prefill_linear() -> None:
    costs = [float(toy.with_(ChunkAttention(chunk=512.0, history=64.0), crops=crops).flops("prefill")) for crops in (100.0, 200.0, 300.0)]
    assert costs[2] - costs[1] == pytest.approx(costs[1] - costs[0], rel=1e-3)
    dense = [float(toy.measure(toy.program(crops=crops)).flops("prefill")) for crops in (100.0, 200.0, 300.0)]
    assert dense[2] - dense[1] > 1.2 * (dense[1] - dense[0])


def test_rows_after_a_cached_prefix_see_their_own_chunk_and_the_history() -> None:
    """288 cached tokens, 20 new rows, chunks of 100: twelve rows end the third chunk and eight begin the fourth, all behind the first."""
    local = sum(range(89, 101)) + sum(range(1, 9))
    result = toy.with_(ChunkAttention(chunk=100.0, history=10.0), PrefixCache(visual=1.0, text=0.0))
    assert result.flops("prefill") == pytest.approx(HEAD + 32 * layer_flops(TEXT, TEXT, local + 10 * TEXT))
    within_first = toy.with_(ChunkAttention(chunk=1000.0, history=10.0), PrefixCache(visual=1.0, text=0.0))
    assert within_first.flops("prefill") == pytest.approx(HEAD + 32 * layer_flops(TEXT, TEXT, sum(range(289, 309))))


def test_a_step_reads_its_blocks_of_what_eviction_left() -> None:
    """A quarter of 288 visual tokens and the text: as many as a prompt a quarter as long."""
    sparse = NativeSparseAttention(stride=1e4, block=8.0, select=4.0, window=16.0)
    evicted, short = toy.with_(sparse, KvEvict(budget=0.25)), toy.with_(sparse, crops=0.5)
    assert evicted.flops("decode") == pytest.approx(float(short.flops("decode")), rel=1e-12)
    assert evicted.memory.kv_bytes_read_per_step == pytest.approx(float(short.memory.kv_bytes_read_per_step), rel=1e-12)


@pytest.mark.parametrize("output", [1.0, 2.0, 60.0])
def test_steps_of_sparse_attention_are_summed_where_they_begin_to_choose(output: float) -> None:
    """Up to 48 tokens a step reads all, then 48: by hand over an answer that passes that number."""
    sparse = NativeSparseAttention(stride=1e9, block=8.0, select=4.0, window=16.0)
    result, dense = (toy.with_(*uses, crops=0.0625, text=20.0, output=output) for uses in ((sparse,), ()))  # 9 visual tokens
    steps = round(float(dense.run.steps["decode"]))
    contexts = [29.0 + 1.0 + step for step in range(steps)]
    saved = 4 * HEADS * SIZE * 32 * sum(max(context - 48.0, 0.0) for context in contexts)
    assert dense.flops("decode") - result.flops("decode") == pytest.approx(saved, rel=0.03)


def test_one_pattern_of_pairs_at_a_time() -> None:
    for other in (NativeSparseAttention(), ChunkAttention()):
        with pytest.raises(SpecError, match="both decide which pairs"):
            toy.with_(SparseAttention(), other)


def test_chunked_prefill_bounds_activations_and_reads_weights_again() -> None:
    plain = toy.measure(toy.program(crops=50.0), "hf-flash")
    result = toy.with_(ChunkedPrefill(chunk=1024.0), crops=50.0, engine="hf-flash")
    assert result.flops("prefill") == pytest.approx(plain.flops("prefill"), rel=1e-12)
    assert result.memory.activation_bytes < 0.6 * plain.memory.activation_bytes
    assert result.run.totals["prefill"].weight_bytes > 6 * plain.run.totals["prefill"].weight_bytes
    assert toy.with_(ChunkedPrefill(chunk=1e8)).run.steps["prefill"] == 1.0


def test_prefix_hit_runs_only_what_is_new() -> None:
    result = toy.with_(PrefixCache(visual=1.0, text=5.0))
    new = TEXT - 5
    pairs = new * (VISUAL + 5) + new * (new + 1) / 2
    assert result.flops("prefill") == pytest.approx(HEAD + 32 * layer_flops(new, new, pairs))
    assert result.flops("encode") == 0 and result.flops("project") == 0
    assert result.memory.kv_bytes_resident == toy.measure(toy.program()).memory.kv_bytes_resident
    half = toy.with_(PrefixCache(visual=0.5))
    assert half.flops("encode") == pytest.approx(0.5 * toy.measure(toy.program()).flops("encode"))


def test_the_last_token_always_runs() -> None:
    result = toy.with_(PrefixCache(visual=1.0, text=1e6))
    assert result.flops("prefill") == pytest.approx(HEAD + 32 * layer_flops(1, 1, VISUAL + TEXT))
    bare = toy.with_(PrefixCache(visual=1.0), text=0.0)
    assert bare.flops("prefill") > 0


def test_embedding_hit_saves_encoding_only() -> None:
    plain, result = toy.measure(toy.program()), toy.with_(EmbeddingCache(hit=0.75))
    assert result.flops("encode") == pytest.approx(0.25 * plain.flops("encode"))
    assert result.flops("prefill") == plain.flops("prefill")


@pytest.mark.parametrize("technique", [InLlmPrune(), Keyframes(), PreLlmReduce(method="dpp")])
def test_what_depends_on_the_question_defeats_the_prefix_cache(technique: InLlmPrune | Keyframes | PreLlmReduce) -> None:
    with pytest.raises(SpecError, match="question"):
        toy.with_(technique, PrefixCache())
    toy.with_(technique, PrefixCache(visual=0.0, text=10.0))


def test_what_does_not_depend_on_it_goes_with_caches() -> None:
    toy.with_(InLlmPrune(score="similarity"), PrefixCache())
    reduced = toy.with_(PreLlmReduce(method="greedy"), PrefixCache(), EmbeddingCache())
    assert toy.total_extra(reduced.program, "pre_llm_reduce")[0] == 0


def test_arrays_of_schedules() -> None:
    keep = np.array([0.2, 0.4, 0.8])
    result = toy.with_(InLlmPrune(layer=(2, 10), keep=(keep, keep / 2)))
    for index, value in enumerate(keep):
        alone = toy.with_(InLlmPrune(layer=(2, 10), keep=(float(value), float(value) / 2)))
        assert toy.close(np.asarray(result.flops("prefill"))[index], alone.flops("prefill"))
