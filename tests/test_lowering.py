"""What engines start for an operator: counts against transformers itself, traffic against arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from simulator.assemble import assemble, case_of, machine_of
from simulator.attention import Attention
from simulator.build.language import build_decoder
from simulator.build.vision import build_tower
from simulator.evaluate import evaluate
from simulator.lowering import lowered, starts
from simulator.ops import Shape, Tokens
from simulator.program import Grid, Program, VisualInput
from simulator.request import estimate
from simulator.spec.deployment import load_engine
from simulator.spec.load_hardware import load_hardware
from simulator.spec.load_model import load_model
from simulator.spec.scenario import Scenario
from simulator.spec.workload import Image, Workload

# Operators of torch that start no kernel.
VIEWS = {
    "_unsafe_view", "alias", "as_strided", "detach", "empty", "empty_like", "expand", "lift_fresh", "permute", "select", "slice",
    "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unsqueeze", "view",
}  # fmt: skip


def kernels_of(run: Callable[[], object]) -> float:
    """Kernels that torch starts, operator by operator."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.seen: Counter[str] = Counter()

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.seen[func.__name__.split(".")[0]] += 1
            return func(*args, **(kwargs or {}))

    mode = Counting()
    with mode:
        run()
    return float(sum(count for name, count in mode.seen.items() if name not in VIEWS))


def counted(attention: str) -> tuple[float, float]:
    """(kernels per layer, kernels outside the layers) of one decode step of a tiny Qwen2 in transformers."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    def step(layers: int) -> float:
        config = transformers.Qwen2Config(
            vocab_size=100, hidden_size=64, intermediate_size=128, num_attention_heads=4, num_key_value_heads=2,
            num_hidden_layers=layers, attn_implementation=attention,
        )  # fmt: skip
        model = transformers.Qwen2ForCausalLM(config).eval().to(torch.bfloat16)
        tokens = torch.randint(3, 90, (1, 12))
        with torch.no_grad():
            cache = model(input_ids=tokens, use_cache=True).past_key_values
            seen = torch.ones(1, 13, dtype=torch.long)
            return kernels_of(lambda: model(input_ids=tokens[:, :1], past_key_values=cache, use_cache=True, attention_mask=seen))

    two, three = step(2), step(3)
    return three - two, two - 2.0 * (three - two)


def charged(engine: str) -> float:
    """Kernels per layer and decode step under an engine."""
    decoder = build_decoder(load_model("qwen2.5-vl-7b"))
    layer = next(item for item in decoder.layers if item.kind == "full")
    shape = Shape("decode", 1.0, Tokens(0.0, 1.0), Tokens(500.0, 50.0))
    found = load_engine(engine)
    return float(sum(starts(kernel, kernel.name, found) for op in layer.decode for kernel in lowered(op, op.work(shape), found)))


@pytest.mark.parametrize(("engine", "attention", "spare"), [("hf-flash-gqa", "sdpa", 1.0), ("hf-eager", "eager", 2.0)])
def test_kernels_per_layer_are_those_that_transformers_starts(engine: str, attention: str, spare: float) -> None:
    """`spare`: a copy of the attention's output that older versions make, a cast on a GPU."""
    inside, _ = counted(attention)
    assert inside == pytest.approx(charged(engine), abs=spare)


@pytest.mark.parametrize(("engine", "attention"), [("hf-flash-gqa", "sdpa"), ("hf-eager", "eager")])
@pytest.mark.parametrize(("name", "spare"), [("CLIPVision", 1.0), ("SiglipVision", 2.0)])
def test_kernels_per_encoder_layer_are_those_that_transformers_starts(name: str, spare: float, engine: str, attention: str) -> None:
    """`spare`: CLIP's GELU is three kernels where SigLIP's is one; two are charged. A cast on a GPU."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    def encode(layers: int) -> float:
        config = getattr(transformers, f"{name}Config")(
            hidden_size=64, intermediate_size=128, num_hidden_layers=layers, num_attention_heads=4, image_size=28, patch_size=14,
            attn_implementation=attention,
        )  # fmt: skip
        model = getattr(transformers, f"{name}Model")(config).eval().to(torch.bfloat16)
        with torch.no_grad():
            return kernels_of(lambda: model(pixel_values=torch.ones(1, 3, 28, 28, dtype=torch.bfloat16)))

    grid = Grid(1.0, 24.0, 24.0, 576.0, 336.0 * 336.0)
    layer = next(item for item in build_tower(load_model("llava-1.5-7b"), (grid,)).layers if len(item.prefill) > 4)
    shape, found = Shape("prefill", 1.0, Tokens(576.0, 1.0), Tokens(0.0, 0.0)), load_engine(engine)
    own = float(sum(starts(kernel, kernel.name, found) for op in layer.prefill for kernel in lowered(op, op.work(shape), found)))
    assert encode(3) - encode(2) == pytest.approx(own, abs=spare + (engine == "hf-eager"))


def test_kernels_outside_the_layers() -> None:
    """Final norm, head and sampling are operators of their own (11); the rest is `pass`."""
    _, outside = counted("sdpa")
    assert load_engine("hf-sdpa").kernels["pass"] + 11.0 == pytest.approx(outside, abs=6.0)


def moved(rows: int = 64, hidden: int = 256, heads: int = 8, inner: int = 512) -> dict[str, float]:
    """Bytes that the element-wise kernels of one Llama layer of transformers move in eager prefill, by what they belong to."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from torch.utils._python_dispatch import TorchDispatchMode

    found: Counter[str] = Counter()

    def bytes_of(value: Any) -> float:
        if isinstance(value, (list, tuple)):
            return sum(bytes_of(item) for item in value)
        if not isinstance(value, torch.Tensor) or value.numel() < rows * heads:  # weights of a norm and means of a row are small
            return 0.0
        distinct = [size for size, stride in zip(value.shape, value.stride(), strict=True) if stride]
        return float(torch.Size(distinct).numel() * value.element_size())

    def kind(name: str, shapes: list[tuple[int, ...]]) -> str:
        if (1, heads, rows, rows) in shapes:
            return "softmax"
        if (1, heads, rows, hidden // heads) in shapes or (1, heads, rows, hidden // heads // 2) in shapes:
            return "rope" if name != "clone" else "other"
        if (1, rows, inner) in shapes:
            return "activation"
        return "norm" if (1, rows, hidden) in shapes else "other"

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            name = func.__name__.split(".")[0]
            if name not in VIEWS and name not in ("mm", "bmm", "embedding"):
                flat = [item for arg in args for item in (arg if isinstance(arg, list | tuple) else (arg,)) if isinstance(item, torch.Tensor)]
                found[kind(name, [tuple(item.shape) for item in flat])] += bytes_of(list(args)) + bytes_of(out)
            return out

    def run(layers: int) -> Counter[str]:
        found.clear()
        config = transformers.LlamaConfig(
            vocab_size=100, hidden_size=hidden, intermediate_size=inner, num_attention_heads=heads, num_key_value_heads=heads,
            num_hidden_layers=layers, attn_implementation="eager",
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config).eval().to(torch.bfloat16)
        with torch.no_grad(), Counting():
            model(input_ids=torch.randint(3, 90, (1, rows)), use_cache=False)
        return Counter(found)

    two, three = run(2), run(3)
    return {name: three[name] - two[name] for name in three}


def test_bytes_of_unfused_operators_are_those_that_transformers_moves() -> None:
    """Prefill of one layer: norms with residual sums, rotary embedding, activation, scores. On a GPU softmax casts its input itself,
    which saves 8 bytes a score."""
    rows, hidden, heads, inner = 64.0, 256.0, 8.0, 512.0
    found = moved(int(rows), int(hidden), int(heads), int(inner))
    traffic = load_engine("hf-eager").traffic
    assert traffic["norm"] * 8.0 * hidden * rows * 2.0 == pytest.approx(found["norm"], rel=0.02)
    assert traffic["rope"] * 4.0 * 2.0 * hidden * rows == pytest.approx(found["rope"], rel=0.05)  # cosines and sines are shared by the heads
    assert traffic["activation"] * 6.0 * inner * rows == pytest.approx(found["activation"], rel=0.02)
    op = Attention("attention", heads, heads, hidden / heads, hidden / heads, "causal")
    kernels = lowered(op, op.work(Shape("prefill", 1.0, Tokens(0.0, rows))), load_engine("hf-eager"))
    scores = next(float(item.bytes) for item in kernels if item.name == "softmax")
    assert scores + 8.0 * heads * rows * rows == pytest.approx(found["softmax"], rel=0.03)


def attention(engine: str, rows: float = 1.0, context: float = 32768.0, varlen: bool = False) -> dict[str, Any]:
    op = Attention("attention", 28.0, 4.0, 128.0, 128.0, "causal", varlen=varlen)
    shape = Shape("decode", 1.0, Tokens(0.0, rows), Tokens(context, 0.0))
    return {kernel.name: kernel for kernel in lowered(op, op.work(shape), load_engine(engine))}


def test_repeated_heads_are_written_seven_times() -> None:
    cache = 2.0 * 32769.0 * 4.0 * 128.0 * 2.0
    found = attention("hf-flash")
    assert found["cache append"].bytes == pytest.approx(2.0 * cache, rel=1e-3)  # torch.cat reads and writes all of it
    assert found["repeat_kv"].bytes == pytest.approx(8.0 * cache, rel=1e-3)
    assert "repeat_kv" not in attention("hf-flash-gqa")
    assert set(attention("hf-flash", varlen=True)) == {"cache append", "attention"}
    assert "cache append" not in attention("hf-masked")


def test_unsplit_attention_does_not_gain_from_more_multiprocessors() -> None:
    """28 heads keep 28 of them busy: 35 ns a key on A100 (FlashAttention before split keys), whatever the number of rows below 64."""
    from simulator.stage import timed

    device = load_hardware("a100-sxm-80gb")
    machine = machine_of(device, load_engine("hf-masked"))
    one = float(timed(attention("hf-masked")["attention"], machine).expected)
    more = float(timed(attention("hf-masked", rows=11.0)["attention"], machine).expected)
    assert one == pytest.approx(32769.0 * 35e-9, rel=0.1)
    assert more == pytest.approx(one, rel=0.02)
    larger = replace(machine, chip=replace(machine.chip, sms=1000.0))
    assert float(timed(attention("hf-masked")["attention"], larger).expected) == pytest.approx(one, rel=0.01)


def test_strided_copies_are_bound_by_elements_where_memory_is_fast() -> None:
    kernels = machine_of(load_hardware("a100-sxm-80gb"), load_engine("hf-sdpa")).kernels
    slow, fast = load_hardware("l40s").chip, load_hardware("h200-sxm").chip
    bytes = 1e9
    share = [bytes / float(kernels.strided(chip, bytes / 4.0, bytes).expected) / float(chip.bandwidth) for chip in (slow, fast)]
    assert share[0] == pytest.approx(0.85, abs=0.02)
    assert share[1] < 0.45


def test_logits_of_the_whole_prompt_cost_time_and_memory_but_no_counted_work() -> None:
    work = Workload(images=[Image(width=1920, height=1080)], text_tokens=64, output_tokens=8)
    eager, last = (
        estimate(Scenario(model="qwen2.5-vl-7b", hardware="a100-sxm-80gb", workload=work, engine=name, preprocess=False))
        for name in ("hf-flash", "hf-flash-gqa")
    )
    rows = eager.visual_tokens + 63.0
    prefill = eager.stages["prefill"], last.stages["prefill"]
    assert prefill[0].matmul_flops == prefill[1].matmul_flops
    at_peak = 2.0 * rows * 152064.0 * 3584.0 / 312e12
    assert at_peak < prefill[0].seconds - prefill[1].seconds < 2.0 * at_peak  # copies of heads are in it, and a product below its peak
    assert eager.memory.peak_bytes - last.memory.peak_bytes > 0.5 * rows * 152064.0 * 2.0


def test_pruned_tokens_have_no_logits() -> None:
    """After in-LLM pruning fewer rows reach the head, so that its waste shrinks with them."""
    base = build_decoder(load_model("qwen2.5-vl-7b"))
    machine = machine_of(load_hardware("a100-sxm-80gb"), load_engine("hf-sdpa"))

    def held(keep: float) -> float:
        layers = tuple(replace(layer, keep=keep) for layer in base.layers)
        seen = VisualInput((), 576.0, 0.0, 0.0, 0.0, 0.0)
        program = Program(batch=1.0, text=40.0, output=2.0, visual_input=seen, towers=(), decoder=replace(base, layers=layers))
        return float(evaluate(program, machine, None).totals["prefill"].widest_bytes)

    assert held(1.0) == pytest.approx((576.0 + 39.0) * 152064.0 * 2.0, rel=0.01)
    assert held(0.5) == pytest.approx((288.0 + 39.0) * 152064.0 * 2.0, rel=0.01)


@pytest.mark.parametrize("engine", ["hf-eager", "hf-sdpa"])
def test_attention_in_32_bits_moves_twice_the_bytes(engine: str) -> None:
    """Queries, keys, score maps and copies; only a softmax that was in 32 bits anyway stays as it was."""
    def moved(format: str) -> float:
        case = case_of(Scenario(model="qwen2.5-vl-7b", hardware="a100-sxm-80gb", engine=engine, format=format, workload=Workload(text_tokens=500, output_tokens=2), preprocess=False))
        layer = assemble(case).program.decoder.layers[0]
        op = next(op for op in layer.prefill if isinstance(op, Attention))
        work = op.work(Shape("prefill", 1.0, Tokens(0.0, 500.0)))
        return sum(float(kernel.bytes) for kernel in lowered(op, work, case.engine) if kernel.kernel != "softmax")

    assert moved("fp32") == pytest.approx(2.0 * moved("bf16"))
