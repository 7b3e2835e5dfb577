"""How fewer visual tokens travel on: from an encoder block, from the encoder's end, or from the projector's end.

A projector with learned queries hands on as many tokens as it has queries, however many patches reach it: there a reduction
in the encoder saves keys, and nothing behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from simulator.attention import Attention
from simulator.ops import AbstractOp, Collective, Elementwise, Matmul, Shape, Tokens
from simulator.overheads import acting_on, attention_of, reduces
from simulator.program import Extra, Grid, Layer, Program, StageName, Tower, edit, split
from simulator.quantity import Numeric, floor, maximum, minimum, where
from simulator.spec.source import SpecError


class Crops(NamedTuple):
    """Crops of one grid over the whole batch that are really encoded; patches and visual tokens of each."""

    batch: Numeric
    patches: Numeric
    tokens: Numeric


def budget(tokens: Numeric, of: Numeric, keep: Numeric) -> Numeric:
    """An absolute budget as a share of `of` (at most 1) where one is given, else `keep`."""
    return where(tokens > 0.0, minimum(tokens / maximum(of, 1e-9), 1.0), keep)


def main_tower(program: Program) -> Tower | None:
    """The tower that feeds the language model; companions (scorers) come before it."""
    return program.towers[-1] if program.towers else None


def with_tower(program: Program, tower: Tower) -> Program:
    """The program with its main tower replaced."""
    return replace(program, towers=(*program.towers[:-1], tower))


def crops(program: Program, tower: Tower) -> list[Crops]:
    """Per grid: crops one device encodes, patches and tokens of a crop."""
    alive = program.batch * tower.split * (1.0 - tower.cached)
    return [Crops(alive * grid.crops, grid.height * grid.width, grid.tokens) for grid in tower.grids]


def keys_seen(attention: Attention, grid: Grid, rows: Numeric) -> Numeric:
    """Keys that one of the `rows` patches of a crop meets in an encoder block: all of them, or those of its window (mean)."""
    shape = Shape("encode", 1.0, Tokens(rows, 0.0), height=grid.height, width=grid.width)
    return attention.pairs(shape) / maximum(rows, 1e-9)


def crop_tokens(program: Program) -> Numeric:
    """Visual tokens of one crop, mean over crops, as they reach the language model."""
    seen = program.visual_input
    number: Numeric = 0.0
    for grid in seen.grids:
        number = number + grid.crops
    return (seen.tokens - seen.separators) / maximum(number, 1e-9) * program.visual_keep


def blocks(tower: Tower) -> int:
    """Encoder blocks, stem and head not counted."""
    return sum(layer.count for layer in tower.layers if layer.kind == "block")


def block_at(tower: Tower, index: int) -> Layer:
    """The run of layers that block `index` lies in."""
    return next(layer for layer in tower.layers if layer.index <= index < layer.stop)


def width(layer: Layer) -> Numeric:
    """Elements of a row that enters the layer."""
    return next((op.k for op in layer.prefill if isinstance(op, Matmul)), 0.0)


def fixed_queries(tower: Tower) -> bool:
    """Whether the projector's queries are learned, so that its output does not follow its input."""
    ops = [op for layer in tower.projector for op in layer.prefill]
    return any(isinstance(op, Attention) and op.mask == "cross" and op.density == 1.0 for op in ops)


def after_projector(program: Program, keep: Numeric) -> Program:
    """`keep` of the visual tokens reaches the language model."""
    return replace(program, visual_keep=program.visual_keep * keep)


def after_encoder(program: Program, tower: Tower, keep: Numeric) -> Program:
    """`keep` of the patches reaches the projector, and of the tokens the language model."""
    if fixed_queries(tower):
        fewer = tuple(replace(layer, prefill=tuple(_fewer_keys(op, keep) for op in layer.prefill)) for layer in tower.projector)
        return with_tower(program, replace(tower, projector=fewer))
    shorter = tuple(replace(layer, keep=layer.keep * keep) for layer in tower.projector)
    return after_projector(with_tower(program, replace(tower, projector=shorter)), keep)


def _fewer_keys(op: AbstractOp, keep: Numeric) -> AbstractOp:
    if isinstance(op, Attention):
        return replace(op, visible_visual=op.visible_visual * keep)
    return acting_on(op, keep)


def from_block(program: Program, tower: Tower, at: int, keep: Numeric) -> Program:
    """`keep` of the patches from encoder block `at` on, and so at everything behind it."""
    shorter = edit(tower.layers, lambda layer: replace(layer, keep=layer.keep * keep), at)
    return after_encoder(program, replace(tower, layers=shorter), keep)


def write_encoder_map(tower: Tower, at: int) -> Tower:
    """The tower with the score map of block `at` written out."""
    return replace(tower, layers=edit(tower.layers, write_map, at, at + 1))


def write_map(layer: Layer) -> Layer:
    """The layer with the score map of its one pass (prefill, or encoding) written out, so that a technique can read it."""
    ops = tuple(replace(op, materialised=True) if isinstance(op, Attention) else op for op in layer.prefill)
    return replace(layer, prefill=ops)


def with_extras(program: Program, extras: list[Extra], needs_query: bool = False) -> Program:
    """The program with the operators of choosing added."""
    return replace(program, extras=(*program.extras, *extras), needs_query=program.needs_query or needs_query)


def reuse_embeddings(program: Program, hit: Numeric, stages: tuple[StageName, ...] = ("encode", "project")) -> Program:
    """`hit` of the crops come out of a cache: neither encoded nor projected, nor chosen from again in `stages`."""
    if not program.towers:
        return program
    towers = tuple(replace(tower, cached=1.0 - (1.0 - tower.cached) * (1.0 - hit)) for tower in program.towers)
    extras = tuple(_rarer(extra, 1.0 - hit) if extra.stage in stages else extra for extra in program.extras)
    return replace(program, towers=towers, extras=extras)


def _rarer(extra: Extra, share: Numeric) -> Extra:
    return replace(extra, repeats=extra.repeats * share)


def prompt_shape(program: Program, layer: Layer) -> Shape:
    """What a decoder layer's attention sees in prefill: rows that are computed, and those cached before."""
    plan = program.prefill
    fresh = Tokens((program.visual - plan.cached_visual) * layer.keep, program.text - plan.cached_text)
    cached = Tokens(plan.cached_visual * layer.keep, plan.cached_text)
    return Shape("prefill", program.batch, fresh, cached, images=program.visual_input.images)


def bypass(program: Program, layer: Layer, frozen: Numeric) -> Layer:
    """`frozen` of the visual rows pass a decoder layer by: their keys and values are made, but no query, no output
    projection and no feed-forward part. The last row of the prompt always runs, as the first token comes from it. A layer
    without attention (a recurrence needs every row) stays as it is."""
    attention = attention_of(layer)
    if attention is None:
        return layer
    rows = prompt_shape(program, layer).query
    stay = maximum(1.0 - frozen, maximum(1.0 - rows.text, 0.0) / maximum(rows.visual, 1.0))
    queries = attention.heads / (attention.heads + attention.kv_heads)
    own = 0.0 if layer.cache is None else layer.cache.key_width + layer.cache.value_width
    ops: list[AbstractOp] = []
    behind = False
    for op in layer.prefill:
        if isinstance(op, Attention):
            behind = True
            ops.append(replace(op, visual=op.visual * stay))
        elif isinstance(op, Collective) and op.kind == "send":
            ops.append(op)  # who passes by goes to the next device all the same
        elif behind or (isinstance(op, Matmul) and op.name in ("q", "q_a", "q_b")):
            ops.append(acting_on(op, stay))
        elif isinstance(op, Matmul) and op.name == "qkv":
            ops.append(replace(op, name="q", n=op.n - own, visual=op.visual * stay))
            ops += [replace(op, name="kv", n=own)] if own else []
        elif isinstance(op, Elementwise) and op.name in ("rope", "qk_norm"):
            ops.append(acting_on(op, 1.0 - frozen * queries))
        else:
            ops.append(op)
    return replace(layer, prefill=tuple(ops))


def chunk_pairs(attention: Attention, shape: Shape, size: Numeric) -> Numeric:
    """(query, key) pairs per sequence and head within chunks of `size` tokens, pictures before text."""

    def upto(n: Numeric) -> Numeric:
        whole = floor(n / size)
        rest = n - whole * size
        return whole * size * (size + 1.0) / 2.0 + rest * (rest + 1.0) / 2.0

    start = shape.cached.visual * attention.visible_visual + shape.cached.text * attention.visible_text
    middle = start + shape.query.visual * attention.visible_visual
    end = middle + shape.query.text * attention.visible_text
    return attention.visual * (upto(middle) - upto(start)) + attention.text * (upto(end) - upto(middle))


def thin_attention(
    program: Program, rule: Callable[[Attention, Shape], Numeric], start: int = 0, name: str = ""
) -> tuple[Layer, ...]:
    """The decoder's layers with the pairs of causal prefill attention thinned to the share that `rule` gives, from layer
    `start` on. Windows, chunks and cross-attention stay as they are; a score map that another technique reads is refused."""

    def thinner(layer: Layer) -> Layer:
        ops: list[AbstractOp] = []
        for op in layer.prefill:
            if isinstance(op, Attention) and op.mask == "causal":
                share = rule(op, prompt_shape(program, layer))
                if op.materialised and reduces(share):
                    raise SpecError(f"techniques: {name} and score=map exclude each other: sparse attention leaves no full score map")
                op = replace(op, density=op.density * share)
            ops.append(op)
        return replace(layer, prefill=tuple(ops))

    return edit(program.decoder.layers, thinner, start)


def causal_runs(program: Program, start: int = 0) -> list[tuple[Layer, Attention]]:
    """Runs of decoder layers from `start` on whose prefill attention is causal over everything."""
    found: list[tuple[Layer, Attention]] = []
    for layer in split(program.decoder.layers, start):
        attention = attention_of(layer)
        if attention is not None and attention.mask == "causal" and layer.index >= start:
            found.append((layer, attention))
    return found


def bounded_chunks(program: Program, chunk: Numeric, engine_limit: int) -> Program:
    """At most `chunk` rows per prefill pass, and no more than the engine takes anyway."""
    size = minimum(chunk, float(engine_limit)) if engine_limit else chunk
    given = program.prefill.chunk_tokens
    size = where(given > 0.0, minimum(size, given), size)
    return replace(program, prefill=replace(program.prefill, chunk_tokens=size))
