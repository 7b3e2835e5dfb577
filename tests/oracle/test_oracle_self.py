"""The oracle against itself and against outside truth: equal outputs, closed forms, and every technique's effect."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the oracle runs real models in torch")
sys.path.insert(0, str(Path(__file__).parents[1]))

import oracle as o  # noqa: E402
from oracle.decoder import Decoder  # noqa: E402
from oracle.meter import Meter  # noqa: E402
from oracle.weights import text_weights  # noqa: E402

VISION = o.VisionConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80)
TEXT = o.TextConfig(num_hidden_layers=5, hidden_size=64)
EXACT = o.ModelConfig(VISION, o.ProjectorConfig(48), TEXT, kv_dtype="float32")
WORK = o.OracleWorkload(text_tokens=12, output_tokens=4)
WINDOWED = replace(TEXT, sliding_window=20, sliding_layers=(0, 1, 3))
MOE = replace(TEXT, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=48, shared_expert_intermediate_size=32)
VARIANTS = {
    "dense": EXACT,
    "window": replace(EXACT, text=WINDOWED),
    "moe": replace(EXACT, text=MOE),
    "tied": replace(EXACT, text=replace(TEXT, tie_word_embeddings=True, attention_bias=False)),
    "merge": replace(EXACT, projector=o.ProjectorConfig(48, 2)),
    "vit-window": replace(EXACT, vision=replace(VISION, window=4, gated_mlp=True, full_attention_layers=(2,))),
}


def dense_closed_form(m: o.ModelConfig, w: o.OracleWorkload) -> dict[str, int]:
    """FLOPs per stage written down from the widths alone."""
    v, t = m.vision, m.text
    n = w.image_height * w.image_width // v.patch_size**2
    per_token = 8 * v.hidden_size**2 + (6 if v.gated_mlp else 4) * v.hidden_size * v.intermediate_size
    encode = 2 * n * 3 * v.patch_size**2 * v.hidden_size
    for i in range(v.num_hidden_layers):
        encode += n * per_token + 4 * v.hidden_size * n * (v.window**2 if v.windowed(i) else n)
    side2 = m.projector.spatial_merge_size**2
    visual = n // side2
    project = visual * 2 * m.projector.hidden_size * (v.hidden_size * side2 + t.hidden_size)
    q, kv = t.num_attention_heads * t.head_dim, t.num_key_value_heads * t.head_dim
    linear = 4 * t.hidden_size * (q + kv)
    if t.num_experts:
        linear += 2 * t.hidden_size * t.num_experts
        linear += (
            6 * t.hidden_size * (t.num_experts_per_tok * t.moe_intermediate_size + t.shared_expert_intermediate_size)
        )
    else:
        linear += 6 * t.hidden_size * t.intermediate_size
    head = 2 * t.hidden_size * t.vocab_size
    context = w.text_before + visual + w.text_tokens

    def pairs(first: int, last: int, window: int) -> int:
        return sum(min(i + 1, window) if window else i + 1 for i in range(first, last))

    def run(first: int, last: int, heads_run: int) -> int:
        rows = (last - first) * t.num_hidden_layers * linear + heads_run * head
        return rows + sum(4 * q * pairs(first, last, t.window(i)) for i in range(t.num_hidden_layers))

    steps = w.output_tokens - 1
    out = {"encode": w.images * encode, "project": w.images * project}
    context += (w.images - 1) * visual
    out |= {"prefill": run(0, context, 1), "decode": run(context, context + steps, steps)}
    return {k: w.batch * f for k, f in out.items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_dense_flops_equal_the_closed_form(name: str) -> None:
    work = replace(WORK, images=2, batch=2, text_before=3)
    measured = o.run(VARIANTS[name], work, ())
    assert measured.flops == dense_closed_form(VARIANTS[name], work)
    assert sum(measured.overhead_flops.values()) == 0


def test_registry_counter_equals_flop_counter_mode() -> None:
    for case in o.sample_mixes(5, 6):
        fast, torch_own = (o.run(case.model, case.workload, case.mix, counter=c) for c in ("registry", "torch"))
        assert fast.flops == torch_own.flops and fast.overhead_flops == torch_own.overhead_flops


def test_dense_kv_bytes_equal_the_closed_form() -> None:
    m = replace(EXACT, text=WINDOWED, kv_dtype="bfloat16")
    measured = o.run(m, WORK, ())
    n, row = 64 + 12, 2 * 2 * TEXT.num_key_value_heads * TEXT.head_dim
    assert measured.kv_written == 5 * n * row
    assert measured.kv_resident == (2 * n + 3 * 20) * row
    assert measured.kv_read == (2 * n + 3 * 19) * row
    assert measured.kv_read_with_new == (2 * (n + 1) + 3 * 20) * row


def _decoder(c: o.TextConfig, mix: tuple[o.Technique, ...] = ()) -> Decoder:
    return Decoder(text_weights(c, 0), c, "float32", "cpu", mix, Meter(), None)


@pytest.mark.parametrize("text", [TEXT, WINDOWED, MOE], ids=["dense", "window", "moe"])
def test_cached_decode_equals_full_recompute(text: o.TextConfig) -> None:
    ids = torch.randint(text.vocab_size, (40,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        cached = _decoder(text)
        x = cached.w.embedding[ids]
        cached.prefill(x[:34], 2, 20)
        got = []
        for rows in (ids[34:35], ids[35:38], ids[38:40]):
            got.append(cached.step(rows)[-1])
            cached.commit()
        for end, logits in zip((35, 38, 40), got, strict=True):
            full = _decoder(text)
            want = full.logits(full.prefill(x[:end], 2, 20))[0]
            torch.testing.assert_close(logits, want, rtol=1e-4, atol=1e-4)


def test_decoder_equals_transformers_qwen2() -> None:
    """Outside truth: Hugging Face's Qwen2 with the same weights gives the same logits and matrix-product FLOPs."""
    transformers = pytest.importorskip("transformers", reason="transformers is the outside truth here")
    from torch.utils.flop_counter import FlopCounterMode

    keys = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    d = EXACT.to_dict()["text_config"]
    config = transformers.Qwen2Config(
        **{k: d[k] for k in keys}, intermediate_size=d["intermediate_size"], head_dim=d["head_dim"],
        attn_implementation="eager", rope_theta=10000.0, rms_norm_eps=1e-6, tie_word_embeddings=False,
        max_position_embeddings=256,
    )  # fmt: skip
    model = transformers.Qwen2ForCausalLM(config).eval()
    w = text_weights(TEXT, 0)
    state = {"model.embed_tokens.weight": w.embedding, "model.norm.weight": w.norm, "lm_head.weight": w.head}
    for i, layer in enumerate(w.layers):
        at = f"model.layers.{i}."
        state |= {at + f"self_attn.{n}_proj.weight": getattr(layer, n) for n in "qkvo"}
        state |= {at + f"self_attn.{n}_proj.bias": getattr(layer, n + "_bias") for n in "qkv"}
        state |= {at + "input_layernorm.weight": layer.norm1, at + "post_attention_layernorm.weight": layer.norm2}
        assert layer.mlp is not None
        state |= {at + f"mlp.{n}_proj.weight": getattr(layer.mlp, n) for n in ("gate", "up", "down")}
    model.load_state_dict(state)
    ids = torch.randint(TEXT.vocab_size, (30,), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            want = model(ids.unsqueeze(0), logits_to_keep=1).logits[0]
        ours = _decoder(TEXT)
        with ours.meter as meter:
            got = ours.logits(ours.prefill(ours.w.embedding[ids], 0, 20))
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)
    masked = 4 * TEXT.num_attention_heads * TEXT.head_dim * (30 * 30 - 30 * 31 // 2) * TEXT.num_hidden_layers
    assert counter.get_total_flops() - masked == sum(meter.totals.values())


NEUTRAL: list[o.Technique] = [
    o.EncoderMerge(0, 3, 1.0),
    o.EncoderPrune(1, 1.0, "map"),
    o.EncoderPrune(1, 1.0, "agnostic"),
    o.PostEncoderReduce(1.0),
    *(o.PreLlmReduce(1.0, m) for m in ("similarity", "greedy", "dpp", "clustering")),
    *(o.InLlmPrune((2, 3), (1.0, 1.0), s) for s in ("map", "rows", "similarity")),
    o.SparseAttention(1.0, 16),
    o.KvEvict(1.0),
    o.KvEvict(1.0, "pyramid", "varied", True, True),
    o.KvEvict(1.0, text_kept=False),
    o.KvQuant(16, 16),
    o.LayerSkip(keep=1.0),
]


@pytest.mark.parametrize(
    "technique", NEUTRAL, ids=lambda t: f"{t.kind}-{getattr(t, 'score', getattr(t, 'method', ''))}"
)
def test_neutral_technique_changes_nothing(technique: o.Technique) -> None:
    dense, mixed = (o.run(EXACT, WORK, mix) for mix in ((), (technique,)))
    torch.testing.assert_close(mixed.first_logits, dense.first_logits, rtol=1e-3, atol=1e-4)
    assert mixed.flops == dense.flops
    assert mixed.tokens == dense.tokens
    for name in ("kv_written", "kv_resident", "kv_read", "kv_peak"):
        assert getattr(mixed, name) == getattr(dense, name)


FEWER: list[tuple[o.Technique, str]] = [
    (o.EncoderMerge(0, 3, 0.5), "encode project prefill decode written resident read"),
    (o.EncoderPrune(1, 0.5), "encode project prefill decode written resident read"),
    (o.PostEncoderReduce(0.5), "project prefill decode written resident read"),
    (o.PreLlmReduce(0.5, "dpp"), "prefill decode written resident read"),
    (o.InLlmPrune((2,), (0.5,), "map"), "prefill decode written resident read"),
    (o.VisualBypass(1, 3), "prefill"),
    (o.FrozenVisual((1, 4)), "prefill"),
    (o.SparseAttention(0.4, 8), "prefill"),
    (o.KvEvict(0.3), "decode resident read"),
    (o.KvEvict(0.3, "pyramid", "varied", True, True), "decode resident read"),
    (o.KvEvict(0.3, text_kept=False), "decode resident read"),
    (o.KvQuant(2, 4), "written resident read"),
    (o.LayerSkip(layers=(2, 3)), "decode read"),
    (o.LayerSkip(layers=(2, 3), stage="both"), "prefill decode written resident read"),
]


@pytest.mark.parametrize(("technique", "less"), FEWER, ids=lambda x: x.kind if isinstance(x, o.Technique) else "")
def test_technique_reduces_what_it_should_and_nothing_else(technique: o.Technique, less: str) -> None:
    dense, mixed = (o.run(EXACT, WORK, mix) for mix in ((), (technique,)))
    for m in (dense, mixed):
        m.flops |= {n: getattr(m, f"kv_{n}") for n in ("written", "resident", "read")}
    changed = {k for k in dense.flops if mixed.flops[k] < dense.flops[k]}
    same = {k for k in dense.flops if mixed.flops[k] == dense.flops[k]}
    assert changed == set(less.split())
    assert same == set(dense.flops) - changed


def test_quantised_bytes_are_codes_and_metadata() -> None:
    mix = (o.KvQuant(4, 2, group=8, residual=4),)
    measured = o.run(replace(EXACT, kv_dtype="bfloat16"), WORK, mix)
    heads, dim, n = TEXT.num_key_value_heads, TEXT.head_dim, 76
    packed = dim * 4 // 8 + dim * 2 // 8 + 2 * (dim // 8) * 4
    assert measured.kv_resident == 5 * heads * ((n - 4) * packed + 4 * 2 * 2 * dim)


def test_pack_and_unpack_stay_within_half_a_step() -> None:
    from oracle.cache import Packed

    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    for bits in (1, 2, 4, 8):
        packed = Packed.pack(x, bits, 8)
        assert packed.codes.nbytes == 2 * 5 * 16 * bits // 8
        step = packed.scale.float().repeat_interleave(8, -1)
        assert ((packed.unpack() - x).abs() <= 0.51 * step + 5e-3).all()


@pytest.mark.parametrize("drafter", ["model", "self"])
def test_speculation_counts_follow_the_accepted_pattern(drafter: str) -> None:
    work = replace(WORK, output_tokens=10)
    spec = o.Speculative(gamma=3, drafter=drafter, draft_layers=2, draft_keep=0.25, accepted=(3, 1, 2))
    measured = o.run(EXACT, work, (spec,))
    assert measured.report.accepted == [3, 1, 2]
    assert len(measured.tokens[0]) == 10
    q, kv, d = TEXT.num_attention_heads * TEXT.head_dim, TEXT.num_key_value_heads * TEXT.head_dim, TEXT.hidden_size
    linear = 4 * d * (q + kv) + 6 * d * TEXT.intermediate_size
    verify = sum(4 * (5 * linear + 2 * d * TEXT.vocab_size) + 5 * 4 * q * (4 * c + 10) for c in (76, 80, 82))
    assert measured.phase_flops["decode.verify"] == verify
    # Rows in the drafter's cache beyond 12 text and a quarter of 64 visual tokens, at each of its query rows.
    # The drafter of its own catches up one row after the full acceptance; the target's cache already has it.
    beyond = {"self": (1, 2, 3, 5, 6, 7, 7, 8, 9), "model": (1, 2, 3, 4, 5, 6, 7, 7, 8, 9)}[drafter]
    pairs = sum(12 + 16 + i for i in beyond)
    draft = 2 * (len(beyond) * linear + 4 * q * pairs) + len(beyond) * 2 * d * TEXT.vocab_size
    assert measured.phase_flops["decode.draft"] == draft


def test_self_speculation_with_a_full_view_leaves_the_verifier_exact() -> None:
    """Whatever was drafted and rolled back, the cache equals that of feeding the accepted tokens one by one."""
    spec = o.Speculative(gamma=2, drafter="self", draft_layers=2, accepted=(0,))
    plain, drafted = (o.run(EXACT, WORK, mix) for mix in ((), (spec,)))
    assert drafted.tokens == plain.tokens


@pytest.mark.parametrize(
    ("mix", "field"),
    [
        ((o.InLlmPrune((1,), (0.5,)), o.SparseAttention(0.5)), "in_llm_prune.score"),
        ((o.Speculative(accepted=(9,)),), "speculative.accepted"),
        ((o.KvEvict(0.0),), "kv_evict.budget"),
        ((o.PreLlmReduce(0.5), o.PreLlmReduce(0.5)), "pre_llm_reduce"),
        ((o.VisualBypass(0, 1), o.FrozenVisual((2,))), "frozen_visual"),
        ((o.EncoderMerge(0, 1, 0.2),), "encoder_merge.keep"),
    ],
)
def test_contradictions_are_refused_by_name(mix: tuple[o.Technique, ...], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        o.run(EXACT, WORK, mix)


def test_cases_survive_json_and_are_seeded() -> None:
    cases = o.sample_mixes(11, 60)
    assert cases == o.sample_mixes(11, 60) != o.sample_mixes(12, 60)
    for case in cases:
        assert o.Case.from_dict(json.loads(json.dumps(case.to_dict()))) == case
    assert {t.kind for c in cases for t in c.mix} == set(o.techniques.KINDS)
    assert {len(c.mix) for c in cases} == {1, 2, 3, 4}


def test_sampled_mixes_run_and_report_integers() -> None:
    for case in o.sample_mixes(3, 25):
        measured = o.run(case.model, case.workload, case.mix)
        json.dumps(measured.to_dict())
        assert all(f >= 0 for f in measured.flops.values())
        assert measured.kv_peak >= max(measured.kv_resident, 1)
        assert len(measured.tokens[0]) == case.workload.output_tokens


def test_time_mix_sees_a_shorter_prompt() -> None:
    from oracle.timing import timing_model

    model = timing_model(256)
    work = o.OracleWorkload(image_height=280, image_width=280, text_tokens=16, output_tokens=2)
    timed = o.time_mix(model, work, (o.PreLlmReduce(0.2, "similarity"),), repeats=3)
    assert timed.speedup["prefill"] > 1.5
