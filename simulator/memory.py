"""Bytes on the fullest device: weights, KV written, resident and read, activations, and what that leaves for batch."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import final

from simulator.budgets import prefill_fill
from simulator.evaluate import Run
from simulator.program import Cache, Decoder, Layer, Program
from simulator.quantity import Numeric, floor, maximum, minimum, where
from simulator.remembered import Remembered, hashes
from simulator.spec.deployment import Engine
from simulator.spec.hardware import Chip
from simulator.weights import decoder_bytes, tower_bytes


@final
@dataclass(frozen=True, slots=True)
class Memory:
    """All [byte], of the fullest device and the whole batch, except kv_bytes_per_token (one token, all devices).

    kv_bytes_written: by prefill, before windows slide and before anything is evicted. kv_bytes_resident: what stays when
    prefill ends. kv_bytes_read_per_step: rows already there that the first decode step reads. max_batch: equal requests admitted on their peak.
    """

    weight_bytes: Numeric
    kv_bytes_per_token: Numeric
    kv_bytes_written: Numeric
    kv_bytes_resident: Numeric
    kv_bytes_read_per_step: Numeric
    activation_bytes: Numeric
    peak_bytes: Numeric
    capacity_bytes: Numeric
    fits: Numeric
    max_batch: Numeric


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Store:
    """`count` layers with one kind of cache and the same visual tokens; read: how many of them a decode step runs."""

    cache: Cache
    keep: Numeric
    count: float
    read: Numeric


_STORES: Remembered[tuple[Layer, ...], tuple[_Store, ...]] = Remembered()


def _stores(layers: tuple[Layer, ...]) -> tuple[_Store, ...]:
    """The layers that have a cache, those alike together wherever they stand."""
    known = _STORES.get(layers)
    if known is not None:
        return known
    found: dict[Hashable, _Store] = {}
    plain = True
    for layer in layers:
        if layer.cache is None:
            continue
        item = _Store(layer.cache, layer.keep, float(layer.count), layer.count * layer.executed_decode)
        key: Hashable = (layer.cache, layer.keep)
        if not hashes(key):
            key, plain = id(layer), False
        have = found.get(key)
        found[key] = item if have is None else replace(have, count=have.count + item.count, read=have.read + item.read)
    stores = tuple(found.values())
    return _STORES.put(layers, stores) if plain else stores


def _stored(cache: Cache, tokens: Numeric) -> Numeric:
    """Bytes of `tokens` in a cache: the newest `residual` at full width, the rest quantised."""
    full = minimum(cache.residual, tokens)
    return (tokens - full) * cache.bytes_per_token + full * cache.full_bytes_per_token + cache.state_bytes


def _within(cache: Cache, tokens: Numeric) -> Numeric:
    return tokens if isinstance(cache.window, float) and cache.window == 0.0 else minimum(tokens, cache.window)


def kv_state(program: Program, decoder: Decoder, keep: Numeric = 1.0) -> tuple[Numeric, Numeric, Numeric, Numeric]:
    """(written, resident, read by the first step, most at a time) of one sequence on one device [byte]."""
    written: Numeric = 0.0
    resident: Numeric = 0.0
    read: Numeric = 0.0
    before_eviction: Numeric = 0.0
    final: Numeric = 0.0
    for layer in _stores(decoder.layers):
        cache = layer.cache
        visual = program.visual * keep * layer.keep * cache.visual
        text = program.text * cache.text
        prompt = visual * cache.written_visual + text
        stays = visual * cache.resident_visual + text * cache.resident_text + cache.resident_extra
        grown = stays + maximum(program.output - 1.0, 0.0) * cache.text
        windowed = not isinstance(cache.window, float) or cache.window > 0.0
        on_device = layer.count * (1.0 - cache.off_device)
        written = written + layer.count * _stored(cache, prompt)
        before_eviction = before_eviction + layer.count * _stored(cache, _within(cache, prompt))
        resident = resident + on_device * _stored(cache, _within(cache, stays))
        seen = stays * cache.read
        if windowed:
            seen = minimum(seen, stays % cache.window if cache.chunked else maximum(cache.window - 1.0, 0.0))
        read = read + layer.read * _stored(cache, seen) * cache.padding
        final = final + on_device * _stored(cache, _within(cache, grown))
    share = decoder.fullest
    peak = maximum(before_eviction * program.prefill.peak_resident, final)
    return written * share, resident * share, read * share, peak * share


def memory(run: Run, chip: Chip, engine: Engine) -> Memory:
    """The memory of a run on its fullest device."""
    program, decoder = run.program, run.program.decoder
    draft = program.decode.draft
    weights = decoder_bytes(decoder)
    for tower in program.towers:
        weights = weights + tower_bytes(tower, decoder.embedding_bits)
    written, resident, read, peak_kv = kv_state(program, decoder)
    drafted: Numeric = 0.0
    if draft is not None:
        weights = weights + (decoder_bytes(draft.decoder) if draft.own_weights else 0.0)
        drafted = kv_state(program, draft.decoder, draft.keep)[3] if draft.own_cache else 0.0
    held: Numeric = 0.0
    burst: Numeric = 0.0
    for extra in program.extras:
        held = held + extra.memory_bytes
        burst = maximum(burst, extra.peak_bytes)
    per_token: Numeric = 0.0
    for layer in _stores(decoder.layers):
        if layer.cache.grows:
            per_token = per_token + layer.count * layer.cache.bytes_per_token * decoder.devices
    batch = program.batch
    peak_kv = peak_kv + drafted
    moment = _activations(run, engine)
    active = maximum(moment.bytes(batch), burst)
    capacity = chip.memory_bytes * engine.memory_share
    base = weights + engine.reserve_bytes + held
    peak = base + peak_kv * batch + active
    room = floor(_most(capacity - base, peak_kv, moment, burst / maximum(batch, 1e-9)))
    return Memory(
        weight_bytes=weights,
        kv_bytes_per_token=per_token,
        kv_bytes_written=written * batch,
        kv_bytes_resident=resident * batch,
        kv_bytes_read_per_step=read * batch,
        activation_bytes=active,
        peak_bytes=peak,
        capacity_bytes=chip.memory_bytes,
        fits=where(peak <= capacity, 1.0, 0.0),
        max_batch=maximum(room, 0.0) * decoder.replicas,
    )


@final
@dataclass(frozen=True, slots=True)
class _Moment:
    """Activations at the widest moment of n sequences: each x n + max(once + seen x n, min(growing x n, full)) [byte].

    once, seen: the encoder, where it takes one sequence at a time and where it takes all. growing: a sequence's rows in a
    pass of the language model. full: a pass of as many rows as are let in.
    """

    each: Numeric
    once: Numeric
    seen: Numeric
    growing: Numeric
    full: Numeric

    def bytes(self, sequences: Numeric) -> Numeric:
        """Of `sequences` at a time."""
        encoding = self.once + self.seen * sequences
        return self.each * sequences + maximum(encoding, minimum(self.growing * sequences, self.full))


def _most(room: Numeric, kv: Numeric, moment: _Moment, burst: Numeric) -> Numeric:
    """Sequences that fit into `room` [byte]: what `_Moment.bytes` adds to their KV, solved for their number."""
    each = maximum(kv + moment.each, 1.0)
    passes = maximum(room / (each + moment.growing), (room - moment.full) / each)
    return minimum(minimum(passes, (room - moment.once) / (each + moment.seen)), room / maximum(kv + burst, 1.0))


def _activations(run: Run, engine: Engine) -> _Moment:
    """Activation bytes at the widest moment: residual stream, widest operator, score maps, one row of logits."""
    program, decoder = run.program, run.program.decoder
    plan = program.prefill
    encoder = run.totals["encode"]
    prompt = run.totals["prefill"]
    batch = maximum(program.batch, 1e-9)
    fresh = maximum(program.visual - plan.cached_visual + program.text - plan.cached_text, 1.0)
    widest = prompt.widest_bytes + prompt.transient_bytes
    row = 2.0 * decoder.hidden * 2.0 + widest * prefill_fill(program, engine) / (batch * fresh)
    rows = where(plan.chunk_tokens > 0.0, plan.chunk_tokens, float(engine.chunk_tokens) or float("inf"))
    seen = (encoder.widest_bytes + encoder.transient_bytes) / batch
    once = 1.0 if engine.chunk_tokens else 0.0  # such engines encode within the rows of a pass
    each = program.visual * decoder.hidden * 2.0 + decoder.vocabulary * 4.0
    return _Moment(each, seen * once, seen * (1.0 - once), row * fresh, row * rows)
