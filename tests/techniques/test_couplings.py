"""Couplings between stages and techniques: each test fails if its coupling is taken out.

Numbered as in the survey reading behind the project: 1 upstream leverage, 2 bottleneck shift, 3 depth of pruning, 4 scores
against FlashAttention, 5 prefill side against decode side, 6 peak against steady memory, 11 query-aware against cacheable,
12 sparse attention with token pruning, 13 ragged shapes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator import Image, Scenario, Workload, estimate
from simulator.program import Program
from simulator.spec.source import SpecError
from simulator.technique import AbstractTechnique, registry
from simulator.techniques.adaptive_resolution import AdaptiveResolution
from simulator.techniques.embedding_cache import EmbeddingCache
from simulator.techniques.encoder_merge import EncoderMerge
from simulator.techniques.encoder_prune import EncoderPrune
from simulator.techniques.in_llm_prune import InLlmPrune
from simulator.techniques.keyframes import Keyframes
from simulator.techniques.kv_evict import KvEvict
from simulator.techniques.kv_quant import KvQuant
from simulator.techniques.post_encoder_reduce import PostEncoderReduce
from simulator.techniques.pre_llm_reduce import PreLlmReduce
from simulator.techniques.prefix_cache import PrefixCache
from simulator.techniques.sparse_attention import SparseAttention
from tests.techniques import toy

CROPS = 40.0
VISUAL, TEXT = CROPS * 144, 20.0
KV_BYTES = 2 * 2 * 32 * 2  # K and V, 2 heads of 32, two bytes


def plain(engine: str = "ideal", crops: float = CROPS) -> toy.Result:
    return toy.measure(toy.program(crops=crops), engine)


def mixed(*techniques: AbstractTechnique, engine: str = "ideal", crops: float = CROPS) -> toy.Result:
    return toy.with_(*techniques, engine=engine, crops=crops)


def ttft(result: toy.Result) -> float:
    return float(sum(result.seconds(stage) for stage in ("encode", "project", "prefill")))


class TestUpstreamLeverage:
    """1: a token removed at encoding is removed from every layer, from the cache, from decoding and from the batch limit."""

    @pytest.mark.parametrize(
        ("technique", "encoder"),
        [(Keyframes(keep=0.25, scorer="none"), 0.25), (EncoderPrune(layer=0, keep=0.25, score="agnostic"), None),
         (PostEncoderReduce(keep=0.25, score="rows"), 1.0), (PreLlmReduce(keep=0.25, window=144.0), 1.0)],
    )  # fmt: skip
    def test_everything_behind_shrinks(self, technique: AbstractTechnique, encoder: float | None) -> None:
        before, after = plain(), mixed(technique)
        if encoder is not None:
            assert after.flops("encode") == pytest.approx(encoder * before.flops("encode"))
        else:
            assert after.flops("encode") < 0.3 * before.flops("encode")
        cached = (0.25 * VISUAL + TEXT) * 32 * KV_BYTES
        assert after.memory.kv_bytes_written == after.memory.kv_bytes_resident == pytest.approx(cached)
        assert after.run.totals["decode"].kv_bytes < 0.3 * before.run.totals["decode"].kv_bytes
        assert after.memory.max_batch > 3 * before.memory.max_batch
        linear = (0.25 * VISUAL + TEXT) / (VISUAL + TEXT)
        assert after.flops("prefill") < linear * before.flops("prefill")  # more than linear: attention is quadratic


class TestBottleneckShift:
    """2: what is reduced behind the encoder leaves the encoder, so the whole gains less than the language model."""

    def test_end_to_end_gains_less_than_the_decoder_and_encoding_dominates(self) -> None:
        before, after = plain(), mixed(PostEncoderReduce(keep=0.1, score="rows"))
        decoder = before.seconds("prefill") / after.seconds("prefill")
        assert decoder > 1.5 * ttft(before) / ttft(after) > 1.5
        assert after.seconds("encode") / ttft(after) > 2 * before.seconds("encode") / ttft(before)

    def test_reducing_early_in_the_encoder_moves_it_back(self) -> None:
        late, early = mixed(EncoderMerge(layer=-1, keep=0.25)), mixed(EncoderMerge(layer=0, stop=4, keep=0.25))
        assert early.program.visual == pytest.approx(late.program.visual)
        assert early.flops("encode") < 0.5 * late.flops("encode")


class TestDepthOfPruning:
    """3: what is pruned at layer K is saved in L - K layers, in prefill and in the cache."""

    @pytest.mark.parametrize("layer", [1, 8, 16, 31])
    def test_savings_are_proportional_to_the_layers_behind(self, layer: int) -> None:
        before, after = plain(), mixed(InLlmPrune(layer=(layer,), keep=(0.5,), score="similarity"))
        saved = 1.0 - float(after.memory.kv_bytes_written / before.memory.kv_bytes_written)
        assert saved == pytest.approx(0.5 * VISUAL / (VISUAL + TEXT) * (32 - layer) / 32)
        flops = before.flops("prefill") - after.flops("prefill")
        last = before.flops("prefill") - mixed(InLlmPrune(layer=(31,), keep=(0.5,), score="similarity")).flops("prefill")
        assert flops == pytest.approx((32 - layer) * last)

    def test_decoding_reads_less_in_pruned_layers_only(self) -> None:
        before, after = plain(), mixed(InLlmPrune(layer=(16,), keep=(0.5,), score="similarity"))
        ratio = after.memory.kv_bytes_read_per_step / before.memory.kv_bytes_read_per_step
        assert ratio == pytest.approx(1.0 - 0.5 * VISUAL / (VISUAL + TEXT) * 0.5)


class TestScoresAgainstFlashAttention:
    """4: a score map costs its bytes and its peak at the scoring layer; recomputed rows and similarities do not."""

    MAP = 8 * (VISUAL + TEXT) ** 2 * 2  # heads x N x N in two bytes

    def test_peak_holds_the_map(self) -> None:
        flash, written = (mixed(InLlmPrune(score=score), engine="vllm") for score in ("rows", "map"))
        assert flash.run.totals["prefill"].transient_bytes == 0
        assert written.run.totals["prefill"].transient_bytes >= self.MAP
        assert written.memory.peak_bytes - flash.memory.peak_bytes > 0.8 * self.MAP

    def test_time_pays_for_reading_and_writing_it_once_per_scored_layer(self) -> None:
        bandwidth = toy.machine("vllm").chip.bandwidth
        one, three = (mixed(InLlmPrune(layer=layers, keep=(0.99,) * len(layers), score="map"), engine="vllm")
                      for layers in ((2,), (2, 3, 4)))  # fmt: skip
        flash = mixed(InLlmPrune(layer=(2,), keep=(0.99,), score="rows"), engine="vllm")
        extra = float(one.seconds("prefill") - flash.seconds("prefill"))
        assert extra > 2 * self.MAP / bandwidth
        assert float(three.seconds("prefill") - one.seconds("prefill")) > 1.5 * extra

    def test_rows_cost_projections_instead(self) -> None:
        rows, similar = (mixed(InLlmPrune(score=score)) for score in ("rows", "similarity"))
        assert any(item.label.endswith("qkv") for item in toy.extras(rows.program, "in_llm_prune"))
        assert not any(item.label.endswith("qkv") for item in toy.extras(similar.program, "in_llm_prune"))

    def test_the_encoder_loses_it_too(self) -> None:
        by_map, by_rows = (mixed(PostEncoderReduce(keep=0.2, score=score), engine="vllm") for score in ("map", "rows"))
        assert by_map.run.totals["encode"].transient_bytes > 0 == by_rows.run.totals["encode"].transient_bytes

    def test_no_map_under_sparse_attention(self) -> None:
        with pytest.raises(SpecError, match="leaves no full score map"):
            mixed(InLlmPrune(score="map"), SparseAttention())
        mixed(InLlmPrune(score="rows"), SparseAttention())
        mixed(InLlmPrune(layer=(2,), score="map"), SparseAttention(start=2))


class TestPrefillSideAndDecodeSide:
    """5: eviction and quantisation leave prefill FLOPs; pruning changes the cache; together they multiply."""

    @pytest.mark.parametrize("technique", [KvEvict(budget=0.2), KvQuant(bits=4.0)])
    def test_cache_compression_saves_no_prefill(self, technique: AbstractTechnique) -> None:
        assert mixed(technique).flops("prefill") == plain().flops("prefill")

    def test_survivors_times_budget_times_bits(self) -> None:
        prune, evict = InLlmPrune(layer=(8,), keep=(0.5,), score="similarity"), KvEvict(budget=0.2, observe=0.0)
        both = mixed(prune, evict)
        survivors = (8 * VISUAL + 24 * 0.5 * VISUAL) * 0.2 + 32 * TEXT
        assert both.memory.kv_bytes_resident == pytest.approx(survivors * KV_BYTES)
        quantised = mixed(prune, evict, KvQuant(bits=4.0, group=32.0, residual=0.0))
        assert quantised.memory.kv_bytes_resident == pytest.approx(survivors * KV_BYTES * (4 + 32 / 32) / 16)


class TestPeakAndSteadyMemory:
    """6: eviction after prefill leaves the peak, reduction before the decoder lowers it; admission goes by the peak."""

    def test_peak_under_eviction_and_under_reduction(self) -> None:
        before, evicted, reduced = plain(), mixed(KvEvict(budget=0.1)), mixed(PreLlmReduce(keep=0.1, window=144.0))
        assert evicted.memory.kv_bytes_resident < 0.12 * before.memory.kv_bytes_resident
        assert evicted.memory.kv_bytes_written == before.memory.kv_bytes_written
        grown = 8 * 32 * KV_BYTES  # the answer's own keys and values, which the peak of the full cache holds as well
        assert evicted.memory.peak_bytes >= before.memory.peak_bytes - grown
        assert reduced.memory.peak_bytes < before.memory.peak_bytes - 0.8 * before.memory.kv_bytes_written
        assert evicted.memory.max_batch <= 1.01 * before.memory.max_batch
        assert reduced.memory.max_batch > 3 * before.memory.max_batch


class TestQueryAwareAndCacheable:
    """11: what looks at the question cannot be reused for the next one."""

    @pytest.mark.parametrize(
        ("technique", "reusable"),
        [(PostEncoderReduce(score="map"), True), (PostEncoderReduce(score="agnostic"), True), (PreLlmReduce(method="greedy"), True),
         (EncoderMerge(), True), (Keyframes(scorer="none"), True), (Keyframes(scorer="clip"), False),
         (PostEncoderReduce(score="similarity"), False), (PreLlmReduce(method="dpp"), False)],
    )  # fmt: skip
    @pytest.mark.parametrize("cache", [PrefixCache(), EmbeddingCache()])
    def test_caches_hit_only_what_is_agnostic(self, technique: AbstractTechnique, reusable: bool, cache: AbstractTechnique) -> None:
        if reusable:
            assert mixed(technique, cache).flops("encode") == 0
            return
        with pytest.raises(SpecError, match="question"):
            mixed(technique, cache)

    def test_pruning_by_attention_keeps_embeddings_but_not_prefixes(self) -> None:
        mixed(InLlmPrune(), EmbeddingCache())
        with pytest.raises(SpecError, match="prefix_cache"):
            mixed(InLlmPrune(), PrefixCache())
        mixed(InLlmPrune(score="similarity"), PrefixCache())

    def test_declared_for_the_search(self) -> None:
        needing = {name for name, kind in registry().items() if kind.about.needs_query}
        assert {"in_llm_prune", "keyframes"} <= needing and not needing & {"encoder_merge", "prefix_cache", "spatial_pooling"}


class TestSparseAttentionWithPruning:
    """12: fewer tokens leave less attention to thin, so gains do not multiply; blocks set a floor that rises with pruning."""

    def test_sub_additive(self) -> None:
        prune, sparse = PreLlmReduce(keep=0.2, method="similarity"), SparseAttention(density=0.1, block=64.0, score="none")
        base = plain().flops("prefill")
        alone = (base / mixed(prune).flops("prefill"), base / mixed(sparse).flops("prefill"))
        together = base / mixed(prune, sparse).flops("prefill")
        assert max(alone) < together < 0.8 * alone[0] * alone[1]

    def test_floor_of_a_block_rises(self) -> None:
        def density(*techniques: AbstractTechnique) -> float:
            layer = mixed(*techniques).program.decoder.layers[0]
            return float(next(op.density for op in layer.prefill if op.name == "attention"))  # type: ignore[attr-defined]

        sparse = SparseAttention(density=0.01, block=128.0)
        assert density(sparse) == pytest.approx(128 / (VISUAL + TEXT), rel=0.05)
        assert density(PreLlmReduce(keep=0.1), sparse) == pytest.approx(128 / (0.1 * VISUAL + TEXT), rel=0.15)


class TestRaggedShapes:
    """13: every layer has its own length; a padded cache is as long as its longest; the tail of a request is its own."""

    def test_layers_are_as_long_as_what_they_kept(self) -> None:
        result = mixed(InLlmPrune(layer=(8, 16), keep=(0.5, 0.1), score="similarity"))
        per_layer = [float(result.program.visual * layer.keep) for layer in result.program.decoder.layers for _ in range(layer.count)]
        assert per_layer == pytest.approx([VISUAL] * 8 + [VISUAL / 2] * 8 + [VISUAL / 10] * 16)
        assert result.memory.kv_bytes_read_per_step == pytest.approx((sum(per_layer) + 32 * TEXT) * KV_BYTES)

    def test_padded_heads_cost_the_longest(self) -> None:
        varlen, padded = (mixed(KvEvict(budget=0.2, head_shape="skewed", layout=layout)) for layout in ("varlen", "padded"))
        assert padded.memory.kv_bytes_read_per_step > 1.1 * varlen.memory.kv_bytes_read_per_step

    def test_a_padded_pyramid_is_as_long_as_its_first_layer_everywhere(self) -> None:
        """Also where layers without a window stand between others and so begin at every depth."""
        mixed_stack = toy.model(attention="mixed")
        wide = toy.with_(KvEvict(budget=0.2, layer_shape="pyramid", layout="padded"), lvlm=mixed_stack, crops=CROPS)
        shares = {float(layer.cache.resident_visual) for layer in wide.program.decoder.layers if layer.cache and not layer.cache.window}
        assert sorted(shares) == pytest.approx([0.3])

    def test_the_tail_of_adaptive_resolution_is_the_large_picture(self) -> None:
        made: Program = mixed(AdaptiveResolution(ratio=0.25, probability=0.2)).program
        small, large = toy.measure(made), toy.measure(made.branches[0].program)
        assert large.flops("prefill") > 4 * small.flops("prefill")


def test_the_reduction_can_be_an_array_anywhere_in_the_chain() -> None:
    keep = np.array([0.2, 0.5, 0.8])
    chain: list[Any] = [PostEncoderReduce(keep=keep, score="rows"), InLlmPrune(layer=(8,), keep=(keep,), score="rows"), KvEvict(budget=keep)]
    together = mixed(*chain)
    for index, value in enumerate(keep):
        share = float(value)
        alone = mixed(PostEncoderReduce(keep=share, score="rows"), InLlmPrune(layer=(8,), keep=(share,), score="rows"), KvEvict(budget=share))
        for key, number in alone.numbers().items():
            assert toy.close(np.broadcast_to(np.asarray(together.numbers()[key], float), (3,))[index], number), key


@pytest.mark.parametrize("technique", ["post_encoder_reduce:keep=0.2", "encoder_prune:keep=0.8"])
def test_a_windowed_block_leaves_the_maps_of_its_windows_and_no_more(technique: str) -> None:
    """Qwen2.5-VL: blocks 7, 15, 23 and 31 of 32 see the whole picture, the others windows of 8 x 8 patches (Qwen2.5-VL report, 2025)."""
    side, heads = 96, 16
    picture = Workload(images=(Image(width=14 * side, height=14 * side),), text_tokens=64, output_tokens=16)
    last = 1 if technique.startswith("encoder") else 0  # which scores with the block before its layer

    def moved(more: str) -> float:
        uses = (f"{technique},{more}",)
        return float(estimate(Scenario(model="qwen2.5-vl-7b", hardware="h100-sxm", workload=picture, techniques=uses)).stages["encode"].bytes)

    whole, windowed = moved(f"layer={23 + last},score=map"), moved(f"layer={22 + last},score=map")
    assert whole - windowed > heads * side**4 * 2  # read back, 16 bits each
    assert abs(windowed - moved(f"layer={22 + last},score=agnostic")) < 0.1 * heads * side**4 * 2
