"""Couplings 5-10, 13-16, 18 and 19 of the survey's taxonomy: each test fails if the coupling is taken out.

Of 16 (interference) the load of equal requests knows one half: prompts of others stall running decodes. That a split of the stages
ends this, or a split of one device's processors, and 17 (a stream keeps up if a chunk is encoded, read and answered within its own
length) need requests and chunks that arrive over time, which nothing here has.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.assemble import case_of
from simulator.attention import Attention
from simulator.build.language import build_decoder
from simulator.load import ClosedLoop, Parts, closed_loop, parts
from simulator.ops import Collective, Shape, Tokens
from simulator.program import edit
from simulator.spec.scenario import Scenario, TechniqueUse
from simulator.spec.workload import Image, Workload
from simulator.stage import Total
from simulator.techniques.disaggregate import Disaggregate
from simulator.techniques.kv_evict import KvEvict
from simulator.techniques.kv_quant import KvQuant
from simulator.techniques.kv_retrieve import KvRetrieve
from simulator.techniques.output_length import OutputLength
from simulator.techniques.speculative import Speculative
from simulator.techniques.weight_quant import WeightQuant

from . import toy
from .plain import bytes_of, composed, machine, program, run, seconds

TOKEN = 57344.0


def test_5_prefill_side_changes_kv_and_decode_side_changes_no_prefill_work() -> None:
    base = program()
    plain = run(base)
    for technique in (KvEvict(budget=0.1), KvQuant(bits=2.0)):
        assert run(base, technique).totals["prefill"].flops == pytest.approx(plain.totals["prefill"].flops, rel=2e-3)
    fewer = run(replace(base, visual_keep=0.5))
    assert fewer.totals["prefill"].flops < 0.6 * plain.totals["prefill"].flops
    assert bytes_of(fewer).kv_bytes_resident < 0.6 * bytes_of(plain).kv_bytes_resident


def test_5_survivors_times_budget_times_bits_with_metadata_and_residual() -> None:
    base = program()
    layers = edit(base.decoder.layers, lambda layer: replace(layer, keep=0.25), 7)
    cut = replace(base, decoder=replace(base.decoder, layers=layers))
    found = bytes_of(run(cut, KvEvict(budget=0.4), KvQuant(bits=4.0, group=64.0, residual=64.0))).kv_bytes_resident
    width = (4.0 + 32.0 / 64.0) / 16.0

    def stored(visual: float) -> float:
        tokens = 0.4 * visual + 128.0
        return ((tokens - 64.0) * width + 64.0) * TOKEN / 28

    assert found == pytest.approx(7 * stored(2304.0) + 21 * stored(2304.0 * 0.25))


def test_6_eviction_leaves_the_peak_and_fewer_tokens_before_the_llm_do_not() -> None:
    base = program(visual=23040.0, output=1.0)
    plain, evicted = bytes_of(run(base)), bytes_of(run(base, KvEvict(budget=0.05)))
    assert evicted.kv_bytes_resident < 0.06 * plain.kv_bytes_resident
    assert evicted.kv_bytes_written == plain.kv_bytes_written
    assert evicted.peak_bytes == pytest.approx(plain.peak_bytes, rel=1e-3)
    assert evicted.max_batch == plain.max_batch
    assert bytes_of(run(replace(base, visual_keep=0.1))).peak_bytes < plain.peak_bytes - 0.8 * plain.kv_bytes_written


def test_7_room_for_requests_follows_what_is_left_of_memory() -> None:
    base = program(visual=9216.0)
    plain = bytes_of(run(base)).max_batch
    assert bytes_of(run(base, WeightQuant())).max_batch > plain
    assert bytes_of(run(base, KvQuant(bits=4.0))).max_batch > plain  # packed layer by layer, so the peak falls too
    assert bytes_of(run(base, Speculative(drafter="small"))).max_batch < plain
    assert bytes_of(run(replace(base, visual_keep=0.25))).max_batch > 2.0 * plain


def test_7_batch_makes_weights_compute_bound_but_not_attention() -> None:
    batches = np.array([1.0, 8.0, 64.0, 512.0])
    totals = run(program(batch=batches)).totals["decode"]
    weights = (totals.flops - _attention_flops(batches)) / totals.weight_bytes
    assert weights / weights[0] == pytest.approx(batches)
    cached = _attention_flops(batches) / totals.kv_bytes
    assert cached == pytest.approx(np.full(4, cached[0])) and cached[0] == pytest.approx(7.0, rel=0.01)  # query heads per KV head
    rate = batches / seconds(run(program(batch=batches)), "decode")
    gains = rate[1:] / rate[:-1]
    assert gains[0] > 7.0 and gains[-1] < gains[0]


def _attention_flops(batch):
    op = next(op for op in program().decoder.layers[0].decode if isinstance(op, Attention))
    context = 2304.0 + 128.0 + 127.0 / 2.0 + 1.0
    return 128.0 * 28 * 2.0 * batch * context * op.heads * 256.0


def test_8_a_kv_factor_gains_by_the_share_of_kv() -> None:
    """Amdahl: speed-up of a factor c on a share f is 1 / (1 - f + f c); f rises with batch and context."""
    gains = []
    for batch, visual in ((1.0, 2304.0), (1.0, 46080.0), (16.0, 46080.0)):
        base = program(batch=batch, visual=visual, text=0.0, output=2.0)
        plain = run(base)
        total = plain.totals["decode"]
        share = total.kv_bytes / (total.kv_bytes + total.weight_bytes)
        gain = seconds(plain, "decode") / seconds(run(base, KvRetrieve(keep=0.1, tier="memory")), "decode")
        assert gain == pytest.approx(1.0 / (1.0 - share + share * 0.1), rel=0.02)
        gains.append(gain)
    assert gains[0] < 1.02 < gains[1] < 2.0 < gains[2]


def _speedup(base, *others, **draft) -> float:
    return seconds(run(base, *others), "decode") / seconds(run(base, *others, Speculative(**draft)), "decode")


def test_9_batch_takes_the_gain_from_speculation() -> None:
    gains = [_speedup(program(batch=batch, visual=576.0), gamma=5.0) for batch in (1.0, 32.0, 256.0)]
    assert gains[0] > 1.8 and gains[0] > gains[1] > gains[2] and gains[2] < 1.0


def test_9_a_smaller_cache_takes_gain_from_speculation_too() -> None:
    """A drafter that already sees a tenth of the cache costs the same; the step it saves becomes cheaper."""
    base = program(visual=92160.0, batch=4.0)
    draft = {"drafter": "small", "draft_keep": 0.1, "gamma": 5.0}
    assert _speedup(base, KvEvict(budget=0.05), **draft) < 0.85 * _speedup(base, **draft)


def test_9_the_verifier_reads_weights_and_cache_once_a_cycle() -> None:
    base = program()
    plain = run(base).totals["decode"]
    done = run(base, Speculative(drafter="self:1", gamma=4.0, accepted=3.0)).totals["decode"]
    assert done.kv_bytes == pytest.approx(plain.kv_bytes * (1.0 + 4.0 / 28.0) / 4.0, rel=0.01)


def test_9_what_the_drafter_sees_sets_its_cost_and_its_prefill() -> None:
    base = program(visual=23040.0)
    full, tenth = (run(base, Speculative(drafter="small", draft_keep=keep)) for keep in (1.0, 0.1))
    assert seconds(tenth, "decode") < seconds(full, "decode")
    assert seconds(tenth, "prefill") - seconds(run(base), "prefill") < 0.1 * (seconds(full, "prefill") - seconds(run(base), "prefill"))
    assert bytes_of(tenth).peak_bytes < bytes_of(full).peak_bytes


def test_10_losses_are_declared_by_what_they_touch() -> None:
    base = program()
    assert Speculative(draft_keep=0.1).kept(base) == 1.0  # the drafter's view costs the answer nothing
    assert Speculative(relax=0.5).kept(base) == 0.5
    assert KvEvict(budget=0.2).kept(base) == 0.2 and not KvEvict.about.lossless
    assert KvQuant(bits=4.0).kept(base) == 0.25 and not KvQuant.about.lossless
    assert Disaggregate.about.lossless


def test_13_ragged_layers_and_heads_cost_the_longest_unless_varlen() -> None:
    base = program(visual=46080.0)

    def read(**settings):
        return bytes_of(run(base, KvEvict(budget=0.2, **settings))).kv_bytes_read_per_step

    uniform = read()
    assert read(head_shape="varied") == pytest.approx(uniform)
    assert read(layer_shape="pyramid") == pytest.approx(uniform)
    text = 128.0 * TOKEN
    assert read(head_shape="varied", layout="padded") - text == pytest.approx(1.5 * (uniform - text))
    assert read(layer_shape="pyramid", layout="padded") - text == pytest.approx(1.5 * (uniform - text))
    both = read(head_shape="skewed", layer_shape="pyramid", layout="padded")
    assert both > 3.0 * uniform
    slow = seconds(run(base, KvEvict(budget=0.2, head_shape="varied", layout="padded")), "decode")
    assert slow > seconds(run(base, KvEvict(budget=0.2, head_shape="varied")), "decode")


def test_13_tensor_parallel_ranks_wait_for_the_fullest_heads() -> None:
    one, four = program(), program(devices=4.0)

    def longest(base):
        return composed(base, KvEvict(budget=0.2, head_shape="varied")).decoder.layers[0].cache.resident_visual

    assert longest(one) == pytest.approx(0.2)
    assert longest(four) == pytest.approx(0.3)


def test_14_long_answers_favour_decode_methods_and_short_ones_the_first_token() -> None:
    base = program(visual=92160.0, output=1000.0)
    evict = KvEvict(budget=0.1)

    def end_to_end(*techniques):
        return sum(total.seconds for total in run(base, *techniques).totals.values())

    def gain(*others):
        return end_to_end(*others) / end_to_end(evict, *others)

    decode_gain = seconds(run(base), "decode") / seconds(run(base, evict), "decode")
    assert gain(OutputLength(ratio=0.1)) < gain() < decode_gain


def test_15_compress_before_the_boundary() -> None:
    base = program()
    split = Disaggregate(split="both")

    def crossing(start, *techniques):
        return composed(start, *techniques, split).boundary_bytes

    plain = crossing(base)
    assert plain["encode_to_prefill"] == 2304.0 * 3584.0 * 2.0
    assert plain["prefill_to_decode"] == (2304.0 + 128.0) * TOKEN
    fewer = crossing(replace(base, visual_keep=0.25))
    assert fewer["encode_to_prefill"] == 0.25 * plain["encode_to_prefill"]
    assert fewer["prefill_to_decode"] < 0.3 * plain["prefill_to_decode"]
    packed = crossing(base, KvQuant(bits=4.0, group=0.0, residual=0.0))
    assert packed["encode_to_prefill"] == plain["encode_to_prefill"]
    assert packed["prefill_to_decode"] == 0.25 * plain["prefill_to_decode"]
    assert crossing(base, KvEvict(budget=0.1))["prefill_to_decode"] < 0.15 * plain["prefill_to_decode"]
    slow = run(base, Disaggregate(link="pcie"))
    assert seconds(slow, "prefill") > seconds(run(base, Disaggregate(link="scale_up")), "prefill") > seconds(run(base), "prefill")


def loaded(batch: int, output: int, pictures: int, *mix: str) -> tuple[ClosedLoop, Parts]:
    work = Workload(images=(Image(width=672, height=672),) * pictures, text_tokens=64, output_tokens=output, batch=batch)
    made = parts(case_of(Scenario(model="llava-1.5-7b", hardware="l40s", workload=work, techniques=tuple(TechniqueUse(kind=kind) for kind in mix))))
    return closed_loop(made, 0.25), made


def test_16_pictures_of_others_stall_running_decodes() -> None:
    alone, made = loaded(1, 64, 2)
    assert alone.tpot_s == pytest.approx(made.step)
    crowd, made = loaded(8, 64, 2)
    stall = crowd.tpot_s - made.step
    assert stall == pytest.approx(0.75 * 7 * made.each / 63) and stall > 0.1 * made.step
    text, words = loaded(8, 64, 0)
    assert stall > 3 * (text.tpot_s - words.step), "bursts of encoding and of visual prefill, not of text"
    pruned, fewer = loaded(8, 64, 2, "visionzip")
    assert pruned.tpot_s - fewer.step < 0.8 * stall, "fewer visual tokens of others end sooner"
    long, made = loaded(8, 512, 2)
    assert long.tpot_s - made.step < stall / 7, "a long answer meets each of the others' prompts once"


def test_18_small_drafters_cost_by_layers_not_bytes() -> None:
    """36 layers of a 3B against 28 of a 7B (Qwen2.5-VL): by bytes the 3B is cheaper, under a launching engine it is not."""
    base = program(output=257.0)

    def drafting(name: str, engine: str) -> float:
        plan = composed(base, Speculative(drafter=name, gamma=10.0, draft_keep=0.1), engine=engine).decode
        assert plan.draft is not None
        kernels = machine("h200-sxm", engine)
        total = Total(kernels, "decode")
        shape = Shape("decode", 1.0, Tokens(0.0, 1.0), Tokens(230.0, 128.0))
        for layer in plan.draft.decoder.layers:
            total.run(layer.decode, shape, layer.count)
        total.host(1.0, 0.0, 0.0)
        return total.seconds

    assert drafting("small", "ideal") < 0.6 * drafting("large", "ideal")
    assert drafting("small", "hf-flash") > 1.05 * drafting("large", "hf-flash")


def test_19_a_decoder_built_for_several_devices_sums_twice_a_layer() -> None:
    for layer in build_decoder(toy.model(), tp=2).layers:
        for ops in (layer.prefill, layer.decode):
            sums = [op for op in ops if isinstance(op, Collective) and op.kind == "all_reduce"]
            assert len(sums) == 2 and {op.elements for op in sums} == {toy.HIDDEN}
    assert not any(isinstance(op, Collective) for layer in build_decoder(toy.model()).layers for op in layer.prefill)


def test_19_tensor_parallel_pays_for_the_sums() -> None:
    """Splitting weights over devices scales bandwidth, but two sums of rows x hidden per layer are added, heavy in visual prefill."""

    def parallel(visual: float, sums: bool):
        base = program(visual=visual, devices=4.0)
        add = Collective("all_reduce", "all_reduce", 3584.0, 4.0)

        def change(layer):
            ops = []
            for op in layer.prefill:
                ops += [op, add] if sums and op.name in ("o", "down") else [op]
            return replace(layer, prefill=tuple(ops), decode=tuple(ops))

        return run(replace(base, decoder=replace(base.decoder, layers=edit(base.decoder.layers, change))))

    for visual in (576.0, 9216.0):
        added = seconds(parallel(visual, True), "prefill") - seconds(parallel(visual, False), "prefill")
        link = machine().chip.scale_up.bandwidth
        wire = 28 * 2 * (visual + 128.0) * 3584.0 * 2.0 * 2.0 * 3.0 / 4.0
        assert added == pytest.approx(wire / link, rel=1e-6)
    faster = seconds(run(program()), "decode") / seconds(parallel(2304.0, True), "decode")
    assert 1.0 < faster < 4.0
