"""Techniques on the way from pixels to the decoder, against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.presets import resolve
from simulator.spec.source import SpecError
from simulator.technique import compose
from simulator.techniques.adapter_swap import AdapterSwap
from simulator.techniques.adaptive_resolution import AdaptiveResolution
from simulator.techniques.encoder_merge import EncoderMerge
from simulator.techniques.encoder_prune import EncoderPrune
from simulator.techniques.encoder_swap import EncoderSwap
from simulator.techniques.frame_budget import FrameBudget
from simulator.techniques.keyframes import Keyframes
from simulator.techniques.post_encoder_reduce import PostEncoderReduce
from simulator.techniques.pre_llm_reduce import PreLlmReduce
from simulator.techniques.spatial_pooling import SpatialPooling
from simulator.techniques.temporal_merge import TemporalMerge
from tests.techniques import toy

PATCHES, WIDTH, FEED = 144.0, 128.0, 512.0


def block_flops(attended: float, fed: float) -> float:
    """One block of the toy encoder on one crop: qkv and o on what entered, attention, feed-forward on what is left."""
    rows, later = attended + 1.0, fed + 1.0  # the class token is never dropped
    return 2 * rows * WIDTH * 4 * WIDTH + 4 * rows * rows * WIDTH + 2 * later * 2 * WIDTH * FEED


def stem_flops() -> float:
    return 2 * PATCHES * WIDTH * 3 * 14 * 14


def test_toy_encoder_is_what_the_counts_say() -> None:
    assert toy.measure(toy.program()).flops("encode") == pytest.approx(2 * (stem_flops() + 24 * block_flops(144, 144)))


@pytest.mark.parametrize(("start", "stop", "kept"), [(0, 24, 72), (4, 10, 100), (23, 24, 49), (2, 7, 131)])
def test_merging_takes_whole_patches_evenly_first_blocks_first(start: int, stop: int, kept: int) -> None:
    each, rest = divmod(144 - kept, stop - start)
    alive, expected = 144, stem_flops()
    for index in range(24):
        after = alive - (each + (index - start < rest)) if start <= index < stop else alive
        expected += block_flops(alive, after)
        alive = after
    assert alive == kept
    result = toy.with_(EncoderMerge(layer=start, stop=stop, keep=kept / 144))
    assert result.flops("encode") == pytest.approx(2 * expected, rel=1e-12)
    assert result.program.visual == pytest.approx(2 * kept)


def test_merging_in_the_last_block_still_costs_the_whole_encoder() -> None:
    result = toy.with_(EncoderMerge(layer=-1, keep=0.34))
    saved = toy.measure(toy.program()).flops("encode") - result.flops("encode")
    assert saved == pytest.approx(2 * 2 * 2 * WIDTH * FEED * 144 * 0.66)  # one feed-forward part on two crops


@pytest.mark.parametrize("score", ["map", "agnostic"])
def test_pruning_at_a_block_shortens_that_block_and_all_behind(score: str) -> None:
    result = toy.with_(EncoderPrune(layer=6, keep=0.25, score=score))
    expected = stem_flops() + 6 * block_flops(144, 144) + 18 * block_flops(36, 36)
    assert result.flops("encode") == pytest.approx(2 * expected)
    assert result.program.visual == 72


def test_pruning_twice_multiplies() -> None:
    once = toy.with_(EncoderPrune(layer=6, keep=0.125, score="agnostic"))
    start = toy.program()
    for layer in (6, 6):
        start = EncoderPrune(layer=layer, keep=0.125**0.5, score="agnostic").apply(start, toy.context())
    assert toy.measure(start).flops("encode") == pytest.approx(once.flops("encode"))


def test_only_the_scored_block_writes_its_map() -> None:
    tower = toy.with_(EncoderPrune(layer=6, keep=0.5)).program.towers[-1]
    written = [layer.index for layer in tower.layers for op in layer.prefill if getattr(op, "materialised", False)]
    assert written == [5] and [layer.count for layer in tower.layers if layer.index == 5] == [1]


def test_block_out_of_range_says_what_there_is() -> None:
    with pytest.raises(SpecError, match=r"techniques\.encoder_prune\.layer: 24 is not accepted; 1 to 23"):
        toy.with_(EncoderPrune(layer=24))


def test_visionzip_budget_is_per_crop() -> None:
    result = toy.with_(PostEncoderReduce(dominant=20.0, contextual=10.0), crops=3.0)
    assert result.program.visual == pytest.approx(3 * 30)
    assert toy.with_(PostEncoderReduce(tokens=30.0), crops=3.0).program.visual == pytest.approx(30)
    assert toy.with_(PostEncoderReduce(tokens=1e6), crops=3.0).program.visual == pytest.approx(3 * 144)


def test_reducing_after_the_encoder_leaves_the_encoder_alone() -> None:
    plain, result = toy.measure(toy.program()), toy.with_(PostEncoderReduce(keep=0.25, score="rows"))
    assert result.flops("encode") == plain.flops("encode")
    assert result.flops("project") == pytest.approx(0.25 * plain.flops("project"))
    pooled = toy.with_(SpatialPooling())
    assert pooled.flops("project") == plain.flops("project") and pooled.program.visual == result.program.visual


def test_sequential_merging_is_latency_and_not_work() -> None:
    fast, slow = (toy.with_(PostEncoderReduce(keep=0.25, score="rows", merge=merge)) for merge in (False, True))
    assert slow.seconds("encode") - fast.seconds("encode") > 1e-6 * 36  # one kernel per kept token at least


def test_learned_queries_keep_their_number() -> None:
    lvlm = toy.model("resampler")
    plain = toy.measure(toy.program(lvlm))
    result = toy.with_(EncoderPrune(layer=12, keep=0.25, score="agnostic"), lvlm=lvlm)
    assert result.program.visual == plain.program.visual == 64
    assert result.flops("prefill") == plain.flops("prefill")
    keys = 2 * (144 * 128 * 512 + 32 * 144 * 256 * 2) * 2
    assert plain.flops("project") - result.flops("project") == pytest.approx(0.75 * keys)


def test_what_the_projector_puts_out_is_thinned_after_what_goes_into_it() -> None:
    """Ten tokens a crop go through the projector, whichever block scored them, and half of those on."""
    for layer in (-2, 0, 5):
        result = toy.with_(PostEncoderReduce(dominant=10.0, layer=layer), FrameBudget(keep=0.5))
        assert result.program.visual == pytest.approx(10.0) and result.program.assumptions == ()
        assert result.flops("project") == pytest.approx(float(toy.with_(PostEncoderReduce(dominant=10.0)).flops("project")))


def test_budget_per_frame_and_frames_into_one() -> None:
    assert toy.with_(FrameBudget(tokens=50.0), crops=8.0).program.visual == pytest.approx(400)
    assert toy.with_(TemporalMerge(factor=6.0), crops=8.0).program.visual == pytest.approx(2 * 144)
    assert toy.with_(TemporalMerge(keep=0.5), crops=1.0).program.visual == 144
    assert toy.with_(TemporalMerge(keep=0.25), crops=2.0).program.visual == pytest.approx(144)  # the first frame stays whole
    both = toy.with_(TemporalMerge(factor=6.0), FrameBudget(tokens=64.0), crops=6.0)
    assert both.program.visual == pytest.approx(64)


def test_keyframes_scale_everything_behind_the_scorer() -> None:
    plain, result = toy.measure(toy.program(crops=16.0)), toy.with_(Keyframes(keep=0.25, scorer="none"), crops=16.0)
    assert result.flops("encode") == pytest.approx(0.25 * plain.flops("encode"))
    assert result.program.visual == 4 * 144 and result.program.visual_input.source_pixels == plain.program.visual_input.source_pixels
    assert toy.with_(Keyframes(candidates=64.0, frames=16.0, scorer="none"), crops=16.0).program.visual == 4 * 144
    assert toy.with_(Keyframes(frames=2.0, scorer="none"), crops=16.0).program.visual == 2 * 144
    assert toy.with_(Keyframes(keep=0.25, scorer="none"), crops=1.0).program.visual == 144


@pytest.mark.parametrize(("scorer", "gflops"), [("clip", 162.0), ("siglip", 669.0), ("blip", 394.0)])
def test_scorers_cost_what_is_published(scorer: str, gflops: float) -> None:
    """ViT-L/14 at 224: 81 GMAC (open_clip's profile); SO400M/14 at 384: 335 GMAC; ViT-L/16 at 384: 191 GMAC and text keys."""
    base = toy.with_(Keyframes(keep=0.5, scorer="none"), crops=10.0)
    scored = toy.with_(Keyframes(keep=0.5, scorer=scorer), crops=10.0)
    assert float(scored.flops("encode") - base.flops("encode")) / 10 == pytest.approx(gflops * 1e9, rel=0.05)
    assert scored.memory.weight_bytes > base.memory.weight_bytes + 4e8


def test_prompter_encodes_all_frames_and_projects_the_chosen() -> None:
    plain, result = toy.measure(toy.program(crops=16.0)), toy.with_(Keyframes(keep=0.25, scorer="prompter"), crops=16.0)
    assert result.flops("encode") == pytest.approx(plain.flops("encode")) and result.program.visual == 4 * 144
    assert result.flops("project") == pytest.approx(0.25 * plain.flops("project"))


def test_a_retry_pays_twice_and_a_router_once() -> None:
    for retry in (True, False):
        made = toy.with_(AdaptiveResolution(ratio=0.25, probability=0.3, retry=retry)).program
        assert made.visual == pytest.approx(0.25 * 288)
        (branch,) = made.branches
        assert branch.program.visual == 288 and branch.weight == 0.3 and branch.additional is retry


def test_later_techniques_reach_both_resolutions() -> None:
    made = toy.with_(AdaptiveResolution(ratio=0.25), PreLlmReduce(keep=0.5)).program
    assert made.visual == pytest.approx(36) and made.branches[0].program.visual == pytest.approx(144)


def test_hierarchical_encoder_has_the_parameters_of_fastvithd() -> None:
    """125 million (Vasu et al., 2025)."""
    plain, result = toy.measure(toy.program()), toy.with_(EncoderSwap(factor="64"))
    tower = result.program.towers[-1]
    owned = sum(layer.count * float(op.parameters) for layer in tower.layers for op in layer.prefill)
    assert owned == pytest.approx(125e6, rel=0.05)
    assert result.program.visual == pytest.approx(2 * (168 / 64) ** 2)
    assert result.flops("prefill") < 0.2 * plain.flops("prefill")


@pytest.mark.parametrize(("name", "tokens"), [("fastvlm", 256), ("convllava", 576), ("fastvit", 64)])
def test_published_encoders_hand_on_their_tokens(name: str, tokens: int) -> None:
    made, _ = compose(toy.program(crops=1.0), resolve(name, {}), toy.context(crops=1.0))
    assert made.visual == pytest.approx(tokens)


def test_donor_encoder_feeds_this_decoder() -> None:
    result = toy.with_(Keyframes(keep=0.5, scorer="none"), EncoderSwap(model="resampler"), crops=8.0)
    assert result.program.visual == 4 * 32 and result.program.decoder.name == "toy-mlp-full-0"
    with pytest.raises(SpecError, match="exclude each other"):
        toy.with_(EncoderSwap(model="resampler"), EncoderMerge())


@pytest.mark.parametrize(("kind", "expected"), [("resampler", 32), ("abstractor", 32), ("pixel-shuffle", 32), ("mlp", 144)])
def test_adapters_hand_on_their_tokens(kind: str, expected: int) -> None:
    for size in (1.0, 2.0):
        result = toy.with_(AdapterSwap(kind=kind, tokens=32.0), size=size)
        assert result.program.visual == pytest.approx(2 * (expected if kind != "mlp" else 144 * size**2))
    pruned = toy.with_(EncoderPrune(layer=12, keep=0.5, score="agnostic"), AdapterSwap(kind=kind, tokens=32.0))
    assert pruned.program.visual == pytest.approx(2 * expected * (1.0 if kind == "resampler" else 0.5))


def test_arrays_of_budgets_run_through_the_chain() -> None:
    result = toy.with_(Keyframes(keep=np.array([0.25, 0.5])), PostEncoderReduce(dominant=np.array([20.0, 40.0])), crops=16.0)
    assert toy.close(result.program.visual, np.array([4 * 20.0, 8 * 40.0]))
