"""Decode techniques against sums done by hand: tokens and bytes that stay, widths, passes, and what the method pays."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from simulator import Scenario, Space, Workload, sweep
from simulator.acceptance import acceptance_of, expected_accepted
from simulator.attention import Attention
from simulator.budgets import spread
from simulator.evaluate import Run
from simulator.ops import Shape, Tokens
from simulator.program import edit
from simulator.spec.source import SpecError
from simulator.techniques.kv_evict import KvEvict
from simulator.techniques.kv_quant import KvQuant
from simulator.techniques.kv_retrieve import KvRetrieve
from simulator.techniques.layer_skip import LayerSkip
from simulator.techniques.output_length import OutputLength
from simulator.techniques.speculative import Speculative
from simulator.techniques.weight_quant import WeightQuant
from simulator.techniques.width_prune import WidthPrune

from .plain import bytes_of, composed, program, run, seconds

TOKEN = 57344.0  # bytes: 28 layers, 4 KV heads of 128, keys and values, 2 bytes (Qwen2.5-VL-7B)
VISUAL, TEXT = 2304.0, 128.0
MIXES = [
    KvEvict(), KvEvict(layer_shape="pyramid"), KvQuant(), KvQuant(fused=False), KvRetrieve(), KvRetrieve(per="step"), WeightQuant(),
    WidthPrune(), LayerSkip(), LayerSkip(stage="both"), Speculative(), Speculative(drafter="self:4"),
    Speculative(drafter="small", draft_keep=0.1), Speculative(tree=True), OutputLength(), OutputLength(probability=0.3),
]  # fmt: skip


@pytest.mark.parametrize("technique", list(dict.fromkeys(type(item) for item in MIXES)), ids=lambda item: item.__name__)
def test_off_is_a_value(technique) -> None:
    before, after = run(program()), run(program(), technique.neutral())
    assert bytes_of(before) == bytes_of(after)
    for stage in ("encode", "prefill", "decode"):
        a, b = before.totals[stage], after.totals[stage]
        assert (a.seconds, a.flops, a.kv_bytes, a.weight_bytes) == (b.seconds, b.flops, b.kv_bytes, b.weight_bytes)


@pytest.mark.parametrize("technique", MIXES, ids=str)
def test_numbers_are_finite_and_bytes_not_negative(technique) -> None:
    done = run(program(), technique, hardware="l40s")
    memory = bytes_of(done)
    for name in ("kv_bytes_written", "kv_bytes_resident", "kv_bytes_read_per_step", "weight_bytes", "peak_bytes"):
        assert np.isfinite(getattr(memory, name)) and getattr(memory, name) >= 0.0, name
    for stage, total in done.totals.items():
        assert np.isfinite(total.seconds) and total.seconds >= 0.0, stage


def test_eviction_keeps_budget_of_visual_and_all_text() -> None:
    memory = bytes_of(run(program(), KvEvict(budget=0.2)))
    assert memory.kv_bytes_written == pytest.approx((VISUAL + TEXT) * TOKEN)
    assert memory.kv_bytes_resident == pytest.approx((0.2 * VISUAL + TEXT) * TOKEN)
    assert memory.kv_bytes_read_per_step == pytest.approx((0.2 * VISUAL + TEXT) * TOKEN)


def test_eviction_of_text_too_and_the_newest_window() -> None:
    memory = bytes_of(run(program(), KvEvict(budget=0.1, text_kept=False)))
    assert memory.kv_bytes_resident == pytest.approx(0.1 * (VISUAL + TEXT) * TOKEN)
    memory = bytes_of(run(program(), KvEvict(budget=0.1, text_kept=False, window=256.0)))
    newest = 128.0 + 128.0  # all text, and as many visual tokens before it
    assert memory.kv_bytes_resident == pytest.approx((newest + 0.1 * (VISUAL + TEXT - newest)) * TOKEN)


def test_cap_on_tokens() -> None:
    assert bytes_of(run(program(), KvEvict(budget=1.0, tokens=600.0))).kv_bytes_resident == pytest.approx((600.0 + TEXT) * TOKEN)
    assert bytes_of(run(program(), KvEvict(budget=1.0, tokens=6144.0))).kv_bytes_resident == pytest.approx((VISUAL + TEXT) * TOKEN)


@pytest.mark.parametrize("budget", [0.05, 0.2, 0.6, 0.9])
def test_pyramid_falls_with_depth_and_keeps_the_mean(budget: float) -> None:
    layers = composed(program(), KvEvict(budget=budget, layer_shape="pyramid")).decoder.layers
    shares = [layer.cache.resident_visual for layer in layers]
    assert len(shares) == 28
    assert shares[0] == pytest.approx(budget * (1.0 + min(0.5, 1.0 / budget - 1.0)))
    assert all(a >= b for a, b in pairwise(shares)) and max(shares) <= 1.0 + 1e-12
    assert sum(shares) / 28 == pytest.approx(budget)


def test_layer_budgets_one_by_one() -> None:
    budgets = tuple(0.1 + 0.01 * i for i in range(28))
    memory = bytes_of(run(program(), KvEvict(layer_budgets=budgets)))
    assert memory.kv_bytes_resident == pytest.approx(sum((b * VISUAL + TEXT) for b in budgets) * TOKEN / 28)
    with pytest.raises(SpecError, match="layer_budgets"):
        run(program(), KvEvict(layer_budgets=(0.1, 0.2)))


@pytest.mark.parametrize("budget", [0.1, 0.5, 0.9])
def test_retrieval_chooses_among_what_the_window_kept_too(budget: float) -> None:
    """A window over the whole prompt evicts nothing, and a quarter of the pictures is read, whatever the budget would have been."""
    both, alone = (run(program(), *uses) for uses in ((KvEvict(budget=budget, window=1e4), KvRetrieve(keep=0.25)), (KvRetrieve(keep=0.25),)))
    assert bytes_of(both).kv_bytes_read_per_step == pytest.approx(bytes_of(alone).kv_bytes_read_per_step)
    assert model_flops(both) == pytest.approx(model_flops(alone))


def model_flops(done: Run) -> float:
    """FLOPs of decoding without those of choosing."""
    chosen = sum(extra.op.work(extra.shape).flops * extra.repeats * (done.steps["decode"] if extra.per_step else 1.0)
                 for extra in done.program.extras if extra.stage == "decode" and extra.counted)  # fmt: skip
    return float(done.totals["decode"].flops - chosen)


def test_windowed_layers_are_left_alone() -> None:
    base = program(window=512.0)
    assert bytes_of(run(base, KvEvict(budget=0.1))).kv_bytes_resident == bytes_of(run(base)).kv_bytes_resident


def test_quantised_bytes_with_metadata_and_residual() -> None:
    bits = 4.0 + 32.0 / 32.0
    memory = bytes_of(run(program(), KvQuant(bits=4.0, group=32.0, residual=100.0)))
    assert memory.kv_bytes_resident == pytest.approx(((VISUAL + TEXT - 100.0) * bits / 16.0 + 100.0) * TOKEN)
    separate = bytes_of(run(program(), KvQuant(k_bits=8.0, v_bits=2.0, group=0.0, residual=0.0)))
    assert separate.kv_bytes_resident == pytest.approx((VISUAL + TEXT) * (8.0 + 2.0) / 32.0 * TOKEN)


def test_four_bits_and_fifty_tokens_a_frame_are_the_published_factor() -> None:
    """StreamingTOM (arXiv 2510.18269) states 15.7x less memory: 196 to 50 tokens a frame, 16 to 4 bits."""
    full = bytes_of(run(program(visual=196.0 * 1800.0, text=0.0))).kv_bytes_resident
    small = bytes_of(run(program(visual=50.0 * 1800.0, text=0.0), KvQuant(bits=4.0, group=0.0, residual=0.0))).kv_bytes_resident
    assert full / 2**30 == pytest.approx(18.8, abs=0.1)  # its table: 18.8 for an hour at half a frame a second
    assert full / small == pytest.approx(15.7, abs=0.05)


def test_without_a_fused_kernel_capacity_falls_but_traffic_does_not() -> None:
    plain, fused, apart = run(program()), run(program(), KvQuant()), run(program(), KvQuant(fused=False))
    assert bytes_of(apart).kv_bytes_resident == bytes_of(fused).kv_bytes_resident < bytes_of(plain).kv_bytes_resident
    assert fused.totals["decode"].kv_bytes < plain.totals["decode"].kv_bytes
    assert apart.totals["decode"].kv_bytes == plain.totals["decode"].kv_bytes
    assert seconds(apart, "decode") > seconds(plain, "decode") > seconds(fused, "decode")


def test_retrieval_reads_less_and_stores_all() -> None:
    near = bytes_of(run(program(), KvRetrieve(keep=0.25, tier="memory")))
    assert near.kv_bytes_resident == pytest.approx((VISUAL + TEXT) * TOKEN)
    assert near.kv_bytes_read_per_step == pytest.approx((0.25 * VISUAL + TEXT) * TOKEN)
    far = bytes_of(run(program(), KvRetrieve(keep=0.25, tier="host", per="step")))
    assert far.kv_bytes_resident == pytest.approx(TEXT * TOKEN)


def test_retrieval_crosses_the_link_once_or_in_every_step() -> None:
    base = program(visual=23040.0)
    plain, once, always = run(base), run(base, KvRetrieve()), run(base, KvRetrieve(per="step"))
    crossing = 0.25 * 23040.0 * TOKEN / float(once.totals["decode"].machine.chip.host.bandwidth)
    assert seconds(once, "prefill") - seconds(plain, "prefill") == pytest.approx(crossing, rel=0.01)
    assert seconds(always, "decode") > 128 * crossing
    slow = run(base, KvRetrieve(tier="disk"))
    assert seconds(slow, "prefill") - seconds(plain, "prefill") > 2.0 * crossing


def test_chunks_of_a_frame_and_a_local_window() -> None:
    kept = KvRetrieve(chunk=196.0, select=64.0, window=15000.0).kept(program(visual=196.0 * 1800.0))
    assert kept == pytest.approx((64 * 196 + 15000) / (196 * 1800))


def test_four_bit_weights() -> None:
    base = program()
    plain, small = run(base), run(base, WeightQuant())
    linear = sum(op.parameters for op in base.decoder.layers[0].prefill if op.name in ("qkv", "o", "gate_up", "down")) * 28
    saved = linear * (2.0 - (4.0 + 20.0 / 128.0) / 8.0)
    assert bytes_of(plain).weight_bytes - bytes_of(small).weight_bytes == pytest.approx(saved)
    assert small.totals["decode"].flops == plain.totals["decode"].flops
    assert seconds(small, "decode") < 0.4 * seconds(plain, "decode")
    slow, fast = run(base, WeightQuant(), engine="hf-flash"), run(base, engine="hf-flash")
    assert seconds(slow, "prefill") > seconds(fast, "prefill")  # FastV table: 0.203 s becomes 0.308 s on a 13B
    served = run(base, WeightQuant(), engine="vllm")  # unpacks inside the product
    assert 1.0 < seconds(served, "prefill") / seconds(run(base, engine="vllm"), "prefill") < 1.64  # 0.61 of the speed on A100: vllm pull 2497


def test_eight_bit_products_where_the_chip_has_them() -> None:
    base = program()
    assert seconds(run(base, WeightQuant(format="fp8"), hardware="h100-sxm"), "prefill") < 0.7 * seconds(
        run(base, hardware="h100-sxm"), "prefill"
    )
    done = composed(base, WeightQuant(format="fp8"))
    assert any("no fp8" in note for note in done.assumptions)
    eager = seconds(run(base, WeightQuant(format="fp8"), engine="hf-flash"), "prefill")
    assert eager > seconds(run(base, engine="hf-flash"), "prefill")
    with pytest.raises(SpecError, match="multiplies in"):
        run(base, WeightQuant(format="fp4"), engine="hf-flash")
    with pytest.raises(SpecError, match="bits"):
        run(base, WeightQuant(format="fp8", bits=4.0))


def test_half_the_width() -> None:
    plain, half = run(program()), run(program(), WidthPrune(keep=0.5))
    head = 2.0 * 3584.0 * 152064.0
    assert half.totals["prefill"].flops - head == pytest.approx(0.5 * (plain.totals["prefill"].flops - head))
    assert bytes_of(half).kv_bytes_resident == pytest.approx(0.5 * bytes_of(plain).kv_bytes_resident)
    ffn = run(program(), WidthPrune(keep=0.5, part="ffn"))
    assert bytes_of(ffn).kv_bytes_resident == bytes_of(plain).kv_bytes_resident


def test_skipped_layers_by_stage() -> None:
    plain = run(program())
    late = run(program(), LayerSkip(layers=(3, 5), stage="decode"))
    assert late.totals["prefill"].flops == plain.totals["prefill"].flops
    assert bytes_of(late).kv_bytes_resident == pytest.approx(bytes_of(plain).kv_bytes_resident)
    assert bytes_of(late).kv_bytes_read_per_step == pytest.approx(26 / 28 * bytes_of(plain).kv_bytes_read_per_step)
    both = run(program(), LayerSkip(layers=(3, 5), stage="both"))
    assert bytes_of(both).kv_bytes_written == pytest.approx(26 / 28 * bytes_of(plain).kv_bytes_written)
    assert run(program(), LayerSkip(keep=0.75)).totals["decode"].flops == run(program(), LayerSkip(ratio=0.25)).totals["decode"].flops
    with pytest.raises(SpecError, match="layers"):
        run(program(), LayerSkip(layers=(40,)))


def test_an_array_of_depths_is_its_elements() -> None:
    keeps = np.array([0.25, 0.5, 1.0])
    together = seconds(run(program(), LayerSkip(keep=keeps, stage="both")), "decode")
    apart = [seconds(run(program(), LayerSkip(keep=float(k), stage="both")), "decode") for k in keeps]
    assert together == pytest.approx(np.array(apart))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.79, 0.999, 1.0 - 1e-10, 1.0])
@pytest.mark.parametrize("gamma", [1, 4, 10])
def test_accepted_tokens_against_a_simulated_chain(alpha: float, gamma: int) -> None:
    exact = sum(alpha**i for i in range(1, gamma + 1))
    assert expected_accepted(alpha, float(gamma)) == pytest.approx(exact, rel=1e-6, abs=1e-12)
    assert expected_accepted(np.array([alpha]), float(gamma)) == pytest.approx(exact, rel=1e-6, abs=1e-12)
    draws = np.random.default_rng(0).random((20000, gamma)) < alpha
    assert np.cumprod(draws, axis=1).sum(axis=1).mean() == pytest.approx(exact, abs=0.1)
    if alpha < 1.0 - 1e-9:
        assert acceptance_of(exact, gamma) == pytest.approx(alpha, abs=1e-6)


def test_cycles_and_rows() -> None:
    base = program(output=129.0)
    done = run(base, Speculative(gamma=4.0, accepted=3.0))
    assert done.steps["decode"] == pytest.approx(128.0 / 4.0)
    assert done.program.decode.rows == 5.0
    head = 2.0 * 3584.0 * 152064.0
    linear = sum(op.parameters for op in base.decoder.layers[0].prefill if op.name in ("qkv", "o", "gate_up", "down"))
    verify = 32.0 * 5.0 * (28 * 2.0 * linear + head)
    draft = 32.0 * 4.0 * (2.0 * linear + head + 2.0 * 3584.0 * 2.0 * 3584.0)
    attention = done.totals["decode"].flops - verify - draft
    assert 0.0 < attention < 0.1 * verify
    tree = composed(base, Speculative(tree=True, gamma=7.0, nodes=60.0))
    assert tree.decode.rows == 61.0 and tree.decode.draft.steps == 7.0


def test_drafters_and_what_they_hold() -> None:
    plain = bytes_of(run(program()))
    shared = bytes_of(run(program(), Speculative(drafter="self:9")))
    assert shared.weight_bytes == plain.weight_bytes
    head = bytes_of(run(program(), Speculative(drafter="head")))
    layer = sum(op.parameters for op in program().decoder.layers[0].prefill) * 2.0
    assert head.weight_bytes - plain.weight_bytes == pytest.approx(layer + 2.0 * 3584.0 * 2.0 * 3584.0)
    other = run(program(), Speculative(drafter="small", draft_keep=0.1))
    assert bytes_of(other).weight_bytes - plain.weight_bytes > 6e9  # 3B of its own, and a second encoder
    assert seconds(other, "prefill") > seconds(run(program()), "prefill")
    assert seconds(other, "encode") == pytest.approx(2.0 * seconds(run(program()), "encode"))
    hidden = run(program(), Speculative(drafter="small", draft_keep=0.0))
    assert seconds(hidden, "encode") == pytest.approx(seconds(run(program()), "encode"))
    with pytest.raises(SpecError, match="drafter"):
        run(program(), Speculative(drafter="self:28"))
    with pytest.raises(SpecError, match="accepted"):
        run(program(), Speculative(gamma=3.0, accepted=4.0))


def test_several_tokens_per_draft_pass_and_an_adaptor() -> None:
    semi = composed(program(), Speculative(gamma=8.0, tokens_per_step=4.0)).decode.draft
    assert semi.steps == 2.0 and semi.rows == 4.0
    assert composed(program(), Speculative(adaptor_tokens=8.0)).decode.draft.keep == pytest.approx(8.0 / VISUAL)


def test_a_verifier_that_scores_for_the_drafter_writes_its_last_map() -> None:
    base = program(visual=9216.0)
    free, scored = (run(base, Speculative(draft_keep=0.1, score=score)) for score in ("none", "map"))
    assert seconds(scored, "prefill") > seconds(free, "prefill")
    scores = 28.0 * (9216.0 + 128.0) ** 2  # elements of one layer's map
    assert scored.totals["prefill"].transient_bytes >= 2.0 * scores
    assert bytes_of(scored).peak_bytes > bytes_of(free).peak_bytes + scores


def test_output_scaled_or_routed() -> None:
    assert composed(program(output=100.0), OutputLength(ratio=0.5)).output == 50.0
    routed = composed(program(output=100.0), OutputLength(ratio=4.0, probability=0.3, probe_tokens=8.0))
    assert routed.output == 108.0
    (branch,) = routed.branches
    assert (branch.weight, branch.program.output, branch.additional) == (0.3, 408.0, False)


def test_layers_and_speculation_do_not_mix() -> None:
    with pytest.raises(SpecError, match="exclude"):
        run(program(), Speculative(), LayerSkip())


def test_order_given_does_not_matter() -> None:
    mix = [KvEvict(budget=0.3, layer_shape="pyramid"), KvQuant(bits=4.0), WeightQuant(), Speculative(drafter="self:4"), OutputLength()]
    one, two = run(program(), *mix), run(program(), *reversed(mix))
    assert bytes_of(one) == bytes_of(two) and seconds(one, "decode") == seconds(two, "decode")


def test_arrays_are_their_elements() -> None:
    values = np.array([0.1, 0.4, 1.0])
    for make, stage in (
        (lambda v: KvEvict(budget=v, layer_shape="pyramid", head_shape="varied", layout="padded"), "decode"),
        (lambda v: KvRetrieve(keep=v, per="step"), "decode"),
        (lambda v: KvQuant(bits=16.0 * v), "decode"),
        (lambda v: WeightQuant(format="weight_only", bits=16.0 * v), "decode"),
        (lambda v: WidthPrune(keep=v), "prefill"),
        (lambda v: Speculative(alpha=v, draft_keep=v), "decode"),
        (lambda v: OutputLength(ratio=v), "decode"),
    ):
        together = seconds(run(program(), make(values)), stage)
        assert together == pytest.approx(np.array([seconds(run(program(), make(float(v))), stage) for v in values])), make(0.5)


def test_attention_meets_only_what_stays() -> None:
    """An eviction after in-LLM pruning keeps a share of what that layer still had."""
    base = program()
    layers = edit(base.decoder.layers, lambda layer: replace(layer, keep=0.5), 14)
    cut = replace(base, decoder=replace(base.decoder, layers=layers))
    memory = bytes_of(run(cut, KvEvict(budget=0.2)))
    assert memory.kv_bytes_resident == pytest.approx((0.2 * VISUAL * 0.75 + TEXT) * TOKEN)
    op = next(op for op in cut.decoder.layers[0].decode if isinstance(op, Attention))
    assert op.visible_visual == 1.0 and Tokens(1.0, 1.0).total == 2.0 and spread(0.9) == pytest.approx(1.0 / 9.0)


@pytest.mark.parametrize("hardware", ["a100-sxm-80gb", "h100-sxm", "l40s"])
@pytest.mark.parametrize("batch", [1, 16, 64])
def test_fewer_bits_are_never_slower_to_read(hardware: str, batch: int) -> None:
    """Unpacking takes as long for 1 bit as for 4: it bounds the kernel from below and is not added to one that something else bounds."""
    work = Workload(text_tokens=16000, output_tokens=16, batch=batch)
    scenario = Scenario(model="qwen2.5-vl-7b", hardware=hardware, workload=work, techniques=("kv_quant",), preprocess=False)
    bits = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 7.9]
    seconds_per_token = sweep(Space(scenario, {"techniques.kv_quant.bits": bits}), "tpot_s")["tpot_s"].to_numpy()
    assert (np.diff(seconds_per_token) >= -1e-12).all()


def test_unpacking_bounds_the_kernel_where_the_vector_units_are_slow() -> None:
    """28 layers, 4 KV heads of 128, keys and values: 8 FLOPs per stored element, of all tokens but the newest 128."""
    base, technique = program(), KvQuant(bits=2.0)
    attention = next(op for layer in composed(base, technique).decoder.layers for op in layer.decode if isinstance(op, Attention))
    shape = Shape("decode", 3.0, Tokens(0.0, 1.0), Tokens(0.0, 4999.0))
    assert attention.work(shape).vector_flops == pytest.approx(3.0 * (5000.0 - 128.0) * 4 * 128 * 2 * 8.0)
    full = next(op for layer in composed(base, KvQuant(bits=16.0)).decoder.layers for op in layer.decode if isinstance(op, Attention))
    assert full.work(shape).vector_flops == 0.0
