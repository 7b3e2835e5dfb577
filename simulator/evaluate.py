"""A program on a machine: every stage timed and counted. Works on one scenario or on arrays of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from simulator.attention import Attention
from simulator.budgets import prefill_fill, prefill_passes
from simulator.host import Host, preprocess
from simulator.ops import AbstractOp, Matmul, Shape, Tokens, chunked_sum, clipped_sum
from simulator.overheads import occurs
from simulator.passes import Pass, every, passes, same, summed
from simulator.program import STAGES, Decoder, Draft, Layer, Program, StageName
from simulator.quantity import Numeric, ceil, clip, floor, is_array, maximum, where
from simulator.remembered import Remembered, hashes
from simulator.spec.deployment import Engine
from simulator.stage import Machine, Total

# Two-point Gauss-Legendre on [0, 1]: exact for the cubic a smooth maximum looks like between break points.
_NODES = (0.21132486540518713, 0.7886751345948129)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One program evaluated: totals per stage, how often each ran, and how many devices took part."""

    program: Program
    totals: dict[StageName, Total]
    steps: dict[StageName, Numeric]
    devices: dict[StageName, Numeric]


def evaluate(program: Program, machine: Machine, host: Host | None, listing: bool = False) -> Run:
    """Every stage of the program. `host` None leaves preprocessing out; `listing` keeps every kernel's row."""
    totals: dict[StageName, Total] = {name: Total(machine, name, rows=[] if listing else None) for name in STAGES}
    decoder = program.decoder
    if host is not None:
        preprocess(program, machine, host, totals["preprocess"])
    encode(program, totals["encode"], totals["project"])
    prefill(program, decoder, totals["prefill"])
    steps = decode(program, totals["decode"])
    drafted = draft(program, totals["decode"], steps)
    engine = machine.engine
    group, pieces, fill = decoder.devices * decoder.busy, prefill_passes(program, engine), prefill_fill(program, engine)
    for extra in summed(program.extras):
        repeats = extra.repeats * (steps if extra.per_step else 1.0)
        total, ops = totals[extra.stage], same((extra.op,))
        widest, transient = total.widest_bytes, total.transient_bytes
        if extra.counted:
            total.count(ops, extra.shape, repeats, group)
        total.time(ops, extra.shape, repeats)
        if extra.stage == "prefill":  # it is held for the requests of one pass
            total.widest_bytes = maximum(widest, total.widest_bytes / fill)
            total.transient_bytes = maximum(transient, total.transient_bytes / fill)
    if engine.prefill_factor != 1.0:
        totals["prefill"].slow(engine.prefill_factor)
    if engine.decode_factor != 1.0:
        totals["decode"].slow(engine.decode_factor)
    visual = program.towers != ()
    if visual:
        share = _any_visual(program)
        blocks = sum((_depth(engine, tower.layers) for tower in program.towers), start=0.0)
        totals["encode"].host(share, engine.stage.seconds, engine.stage.spread, share * blocks)
        totals["project"].host(share, 0.0, 0.0)
    totals["prefill"].host(pieces, engine.stage.seconds, engine.stage.spread, pieces * _depth(engine, decoder.layers))
    totals["decode"].host(steps, engine.step.seconds, engine.step.spread, steps * _depth(engine, decoder.layers, "decode"))
    each = engine.sequence
    totals["decode"].extra(steps * program.batch * each.seconds, "overhead", each.spread, f"engine {engine.name}")
    if drafted is not None:
        totals["decode"].merge(drafted)
    towers: Numeric = 1.0
    for tower in program.towers:
        towers = maximum(towers, tower.devices * tower.copies)
    towers = towers * decoder.busy
    return Run(
        program,
        totals,
        {"preprocess": 1.0, "encode": 1.0, "project": 1.0, "prefill": pieces, "decode": steps},
        {"preprocess": 1.0, "encode": towers, "project": towers, "prefill": group, "decode": group},
    )


def _depth(engine: Engine, layers: tuple[Layer, ...], phase: StageName = "prefill") -> Numeric:
    """Layers that one pass runs, stems and heads not counted; 0 where the engine has no time per layer."""
    total: Numeric = 0.0
    if not engine.layer:
        return total
    for layer in layers:
        if layer.index >= 0 and layer.kind != "head":
            total = total + layer.count * (layer.executed_decode if phase == "decode" else layer.executed_prefill)
    return total


def _any_visual(program: Program) -> Numeric:
    alive: Numeric = 0.0
    for tower in program.towers:
        alive = maximum(alive, 1.0 - tower.cached)
    return where(program.visual_input.tokens * alive > 0.0, 1.0, 0.0)


def encode(program: Program, total: Total, project: Total) -> None:
    """The vision towers (companions first) and their projectors, over every grid."""
    for tower in program.towers:
        alive = 1.0 - tower.cached
        for grid in tower.grids:
            batch = program.batch * grid.crops * tower.split * alive
            if not is_array(batch) and batch <= 0.0:
                continue
            patches = grid.height * grid.width
            over = tower.devices * tower.copies * program.decoder.busy
            for item in every(tower.layers):
                shape = Shape("encode", batch, Tokens(patches * item.keep, tower.extra_rows), height=grid.height, width=grid.width)
                total.run(item.ops, shape, item.times, over)
            joined = tower.projector_devices * tower.copies * program.decoder.busy
            for item in every(tower.projector):
                shape = Shape("project", batch, Tokens(patches * item.keep, grid.tokens * item.keep))
                project.run(item.ops, shape, item.times, joined)


def prefill(program: Program, decoder: Decoder, total: Total, keep: Numeric = 1.0) -> None:
    """The prompt through the decoder, in as many full passes as its plan has and one with the rest, and the first token."""
    plan = program.prefill
    fill = prefill_fill(program, total.machine.engine)
    batch, full, pieces = program.batch / fill, floor(fill), ceil(fill)
    rest = fill - full
    partial = occurs(rest)
    over = decoder.devices * program.decoder.busy
    visual = program.visual * keep
    fresh = visual - plan.cached_visual * keep
    text = program.text - plan.cached_text

    def run(ops: tuple[AbstractOp, ...], tokens: Tokens, times: Numeric) -> None:
        total.run(ops, Shape("prefill", batch, tokens), times * full, over)
        if partial:
            total.run(ops, Shape("prefill", batch * where(rest > 0.0, rest, 1.0), tokens), times * where(rest > 0.0, 1.0, 0.0), over)

    run(decoder.embedding.prefill, Tokens(fresh, text), 1.0)
    attention, others = passes(decoder.layers, "prefill")
    widest, transient = total.widest_bytes, total.transient_bytes
    for item in attention:
        cached = Tokens(plan.cached_visual * keep * item.keep, plan.cached_text)
        whole = Shape("prefill", program.batch, Tokens(fresh * item.keep, text), cached, images=program.visual_input.images)
        total.run(item.ops, whole, item.times, over)
    total.widest_bytes = maximum(widest, total.widest_bytes / fill)  # of one pass
    total.transient_bytes = maximum(transient, total.transient_bytes / fill)
    for item in others:
        run(item.ops, Tokens(fresh * item.keep, text), item.times)
    widest = total.widest_bytes  # memory counts one row of logits per sequence apart
    total.run(decoder.head.prefill, Shape("prefill", program.batch, Tokens(0.0, 1.0)), 1.0, over)
    total.widest_bytes = widest
    _outside(total, pieces)
    if total.machine.engine.logits == "prompt":
        _whole_logits(decoder, Shape("prefill", batch, Tokens(fresh * decoder.layers[-1].keep, maximum(text - 1.0, 0.0))), total, fill)


def _outside(total: Total, times: Numeric) -> None:
    """Kernels that a pass starts outside its layers where nothing is captured or fused: rotary tables, mask, positions."""
    total.launches = total.launches + times * total.machine.engine.kernels.get("pass", 0.0)


def _whole_logits(decoder: Decoder, shape: Shape, total: Total, times: Numeric) -> None:
    """Seconds and bytes of logits of prompt tokens that nobody reads (FLOPs count what a request needs, whatever the engine does)."""
    total.time(_everywhere(decoder.head.prefill), shape, times)
    held = shape.batch * shape.query.total * decoder.vocabulary / decoder.devices * total.machine.engine.logits_bytes
    total.widest_bytes = maximum(total.widest_bytes, held)


_EVERYWHERE: Remembered[tuple[AbstractOp, ...], tuple[AbstractOp, ...]] = Remembered()


def _everywhere(ops: tuple[AbstractOp, ...]) -> tuple[AbstractOp, ...]:
    """The matrix of a head on every row instead of the last."""
    known = _EVERYWHERE.get(ops)
    if known is not None:
        return known
    changed = tuple(replace(op, rows="all") for op in ops if isinstance(op, Matmul))
    return _EVERYWHERE.put(ops, changed) if hashes(ops) else changed


def decode(program: Program, total: Total) -> Numeric:
    """Every token after the first; returns the number of target passes."""
    tokens = maximum(program.output - 1.0, 0.0)
    plan = program.decode
    cycles = tokens * plan.cycles_per_token
    per_cycle = 1.0 / plan.cycles_per_token
    if not is_array(cycles) and cycles <= 0.0:
        return 0.0
    prompt = Tokens(program.visual, program.text)
    # Mean number of tokens generated before a pass: 0, p, 2p, ..., tokens - p.
    _stack(program, program.decoder, prompt, total, cycles, plan.rows, tokens, per_cycle)
    return cycles


def draft(program: Program, target: Total, cycles: Numeric) -> Total | None:
    """The drafter's passes, if there is one. They take turns with verification, so neither's launches hide behind the other."""
    plan = program.decode
    if plan.draft is None or (not is_array(cycles) and cycles <= 0.0):
        return None
    total = Total(target.machine, target.stage, rows=None if target.rows is None else [])
    _draft(program, plan.draft, total, cycles, maximum(program.output - 1.0, 0.0), 1.0 / plan.cycles_per_token)
    total.host(0.0, 0.0, 0.0)
    return total


def _draft(program: Program, draft: Draft, total: Total, cycles: Numeric, tokens: Numeric, per_cycle: Numeric) -> None:
    # Within a cycle each draft step finds the rows of those before it: (steps - 1) / 2 on average.
    ahead = maximum(draft.steps - 1.0, 0.0) / 2.0 * draft.rows
    prompt = Tokens(program.visual * draft.keep, program.text + ahead)
    _stack(program, draft.decoder, prompt, total, cycles * draft.steps, draft.rows, tokens, per_cycle)


def _stack(
    program: Program,
    decoder: Decoder,
    prompt: Tokens,
    total: Total,
    cycles: Numeric,
    rows: Numeric,
    tokens: Numeric,
    per_cycle: Numeric,
) -> None:
    """One decoder, `cycles` times on `rows` new rows per sequence, while `tokens` are generated."""
    over = decoder.devices * program.decoder.busy
    query = Tokens(0.0, rows)
    single = Shape("decode", program.batch, query)
    total.run(decoder.embedding.decode, single, cycles, over)
    attention, others = passes(decoder.layers, "decode")
    for item in others:
        total.run(item.ops, single, item.times * cycles, over)
    for item in attention:
        _attend(program, item, prompt, total, item.times * cycles, query, tokens, per_cycle, over)
    total.run(decoder.head.decode, single, cycles, over)
    _outside(total, cycles)


def _attend(
    program: Program,
    item: Pass,
    prompt: Tokens,
    total: Total,
    times: Numeric,
    query: Tokens,
    tokens: Numeric,
    per_cycle: Numeric,
    over: Numeric,
) -> None:
    """Attention over a growing context: work summed exactly, seconds by quadrature broken where the window fills."""
    ops, cache, op = item.ops, item.cache, item.ops[0]
    assert isinstance(op, Attention)
    if cache is None:
        total.run(ops, Shape("decode", program.batch, query), times, over)
        return
    visual = prompt.visual * item.keep * cache.resident_visual
    text = prompt.text * cache.resident_text + cache.resident_extra
    last = maximum(tokens - per_cycle, 0.0)

    def shape(generated: Numeric) -> Shape:
        return Shape("decode", program.batch, query, Tokens(visual, text + generated))

    if op.mask in ("window", "chunk"):
        start = visual * op.visible_visual + text * op.visible_text
        steps = maximum(tokens, 1.0)
        mean = (clipped_sum if op.mask == "window" else chunked_sum)(start, steps, op.window) / steps
        # As many keys before this row as make it attend to `mean` of them, itself included.
        exact = Shape("decode", program.batch, query, Tokens(0.0, maximum(mean - 1.0, 0.0)))
        if op.mask == "chunk":
            total.run(_causal(ops), exact, times, over)
            return
        total.count(ops, exact, times, over)
        share = clip((op.window - start) / steps, 0.0, 1.0)
        for node in _NODES:
            total.time(ops, shape(last * share * node), times * share * 0.5)
        total.time(ops, shape(last), times * (1.0 - share))
        return
    total.count(ops, shape(last * 0.5), times, over)
    if op.mask == "cross":
        total.time(ops, shape(0.0), times)
        return
    for node in _NODES:
        total.time(ops, shape(last * node), times * 0.5)


_CAUSAL: Remembered[tuple[AbstractOp, ...], tuple[AbstractOp, ...]] = Remembered()


def _causal(ops: tuple[AbstractOp, ...]) -> tuple[AbstractOp, ...]:
    """The same attention without chunks, for a context that is already counted within its chunk."""
    known = _CAUSAL.get(ops)
    if known is not None:
        return known
    changed = tuple(replace(op, mask="causal") for op in ops if isinstance(op, Attention))
    return _CAUSAL.put(ops, changed) if hashes(ops) else changed
