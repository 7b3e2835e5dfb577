"""Token budgets of the KV cache: how a mean budget is shared out over layers and heads, and which layers have one.

A budget is the share of the eligible prompt tokens that a layer (or a KV head) still holds after prefill. `pyramid` and
`varied` follow a straight line that falls from 1 + s to 1 - s times the mean, with s no larger than lets every budget
stay within 0 and 1 (PyramidKV, arXiv 2406.02069, uses such a line over the layers).
"""

from __future__ import annotations

from simulator.attention import Attention
from simulator.ops import Elementwise, Matmul, Shape, Tokens
from simulator.overheads import gather, rows, similarity, topk
from simulator.program import Extra, Layer, Program, StageName, split
from simulator.quantity import Numeric, ceil, is_array, maximum, minimum, where
from simulator.spec.deployment import Engine

STEEPEST = 0.5


def spread(budget: Numeric, steepest: float = STEEPEST) -> Numeric:
    """s of the line: `steepest`, or less where a budget would exceed 1."""
    return minimum(steepest, 1.0 / budget - 1.0)


def on_line(budget: Numeric, at: float, count: float) -> Numeric:
    """Budget of place `at` of `count` on the falling line whose mean is `budget`."""
    return budget * (1.0 + spread(budget) * (1.0 - 2.0 * at / (count - 1.0))) if count > 1 else budget


def fullest_group(budget: Numeric, heads: float, group: float, steepest: float = STEEPEST) -> Numeric:
    """Mean budget of the fullest of the groups into which `heads` KV heads on a line are cut, `group` in each."""
    return budget * (1.0 + spread(budget, steepest) * (1.0 - (group - 1.0) / (heads - 1.0))) if heads > 1.0 else budget


def attention_of(layer: Layer) -> Attention | None:
    """The attention operator of a decode step, if the layer has one."""
    return next((op for op in layer.decode if isinstance(op, Attention)), None)


def evictable(layer: Layer) -> bool:
    """True where the cache grows with the prompt: not behind a window, which drops tokens by itself, and not a constant state."""
    cache = layer.cache
    return cache is not None and attention_of(layer) is not None and not is_array(cache.window) and cache.window == 0.0


def prompt(program: Program, layer: Layer) -> Tokens:
    """Prompt tokens of one sequence that the layer caches."""
    if layer.cache is None:
        return Tokens(0.0, 0.0)
    return Tokens(program.visual * layer.keep * layer.cache.visual, program.text * layer.cache.text)


def resident(program: Program, layer: Layer) -> Tokens:
    """Prompt tokens of one sequence that stay after prefill."""
    cache, tokens = layer.cache, prompt(program, layer)
    if cache is None:
        return tokens
    return Tokens(tokens.visual * cache.resident_visual, tokens.text * cache.resident_text + cache.resident_extra)


def prefill_fill(program: Program, engine: Engine) -> Numeric:
    """Rows of the prompt over those of a full pass, as a technique or else the engine limits it; 1 where one pass takes them all."""
    size = program.prefill.chunk_tokens
    if not is_array(size) and size <= 0.0:
        size = float(engine.chunk_tokens)
        if size <= 0.0:
            return 1.0
    rows = program.batch * (program.visual + program.text - program.prefill.cached_visual - program.prefill.cached_text)
    return maximum(rows / maximum(size, 1.0), 1.0)


def prefill_passes(program: Program, engine: Engine) -> Numeric:
    """Passes that the prompt is split into: full ones and one with the rest."""
    return ceil(prefill_fill(program, engine))


def singly(layers: tuple[Layer, ...], start: int) -> tuple[Layer, ...]:
    """The same layers, each of those from `start` on as a run of its own."""
    for index in range(start, layers[-1].stop):
        layers = split(layers, index)
    return layers


def key_scores(
    name: str, stage: StageName, batch: Numeric, op: Attention, queries: Numeric, keys: Numeric
) -> tuple[Matmul, Shape]:
    """`queries` rows of every head against `keys` cached keys of each sequence, one product per KV head and sequence."""
    group = op.heads / op.kv_heads
    product = Matmul(f"{name} scores", n=keys, k=op.head_dim, format=op.format, weight_bits=16.0 * batch, copies=op.kv_heads)  # type: ignore[arg-type]
    return product, rows(batch, queries * group, stage)


RAGGED = 8.0
"""Kernel starts per layer and step where heads hold different tokens: lengths, offsets and the flat cache (AdaKV's and SparseMM's patches)."""


def ragged(name: str, program: Program, layer: Layer) -> Extra:
    """The small operators around a kernel for sequences of different length; a captured graph hides them."""
    small = Elementwise(f"{name} lengths", "copy", 1.0, 1.0, bits=32.0, launches=RAGGED)
    return Extra(f"{name} ragged heads", "decode", small, rows(program.batch, 1.0, "decode"), layer.count, per_step=True)


def choosing(name: str, program: Program, layer: Layer, changed: Layer, observe: Numeric, merge: bool) -> tuple[Extra, ...]:
    """What eviction from `layer` to `changed` pays at the end of prefill: attention rows of the last `observe` prompt tokens
    against all keys, their ranking, the copy of what stays, and for `merge` the nearest kept key of every token that goes."""
    op, before, after = attention_of(layer), prompt(program, layer), resident(program, changed)
    if op is None or layer.cache is None:
        return ()
    times = layer.count * where(after.total < before.total, 1.0, 0.0)
    scored = times * where(observe > 0.0, 1.0, 0.0)
    batch, last = program.batch, maximum(minimum(observe, before.total), 1.0)
    scores, shape = key_scores(name, "prefill", batch, op, last, before.total)
    mean = Elementwise(f"{name} mean", "softmax", read=last * op.heads, write=op.kv_heads)
    width = layer.cache.key_width + layer.cache.value_width
    extras = (
        Extra(f"{name} scores", "prefill", scores, shape, scored),
        Extra(f"{name} mean", "prefill", mean, rows(batch, before.total, "prefill"), scored),
        topk(name, "prefill", batch, before.total * op.kv_heads, scored),
        gather(name, "prefill", batch, after.total, width, times),
    )
    if not merge:
        return extras
    lost = maximum(before.total - after.total, 0.0)
    nearest = similarity(f"{name} merge", "prefill", batch, lost, after.total, layer.cache.key_width, times)
    return (*extras, nearest, gather(f"{name} merge", "prefill", batch, lost, width, times))
