"""What attention kernels cost: causal over a prompt, over a whole picture, and a few queries against a long context.

Decoding has two forms, for two generations of kernels. FlashAttention-3 and FlashInfer pack the query heads that share keys into one
tile and split the keys over idle SMs in every call. FlashAttention-2 does both only where heads share keys and no window is given:
without sharing, or with a window, a block of threads walks all keys of its one head, and every head reads its keys itself (its
`mha_varlen_fwd`: split keys only after swapping heads into rows). Parameters are named in `forms.PARAMETERS`.
"""

from __future__ import annotations

from math import ceil as whole

from simulator.efficiency.forms import Terms, Values, move
from simulator.quantity import EVERYTHING, Numeric, ceil, clip, maximum, minimum, smooth_maximum, where
from simulator.spec.hardware import Chip

MOST_INTERLEAVED = 16.0  # heads; no more were measured


def prefill(
    chip: Chip,
    v: Values,
    peak: Numeric,
    flops: Numeric,
    bytes: Numeric,
    batch: Numeric,
    heads: Numeric,
    kv_heads: Numeric,
    query: Numeric,
) -> Terms:
    """Causal attention: t0 + `sequence` for each sequence + smooth-max(multiply, move).

    multiply: waves of mean CTAs (`tile` query rows; the heads that share keys fill a tile together) at ec P, between the
    fractional and the whole number of waves by the exponent `wave`, or the longest CTA (the last rows see twice the mean
    of the keys, at `longest` of that) when few are in flight; `cta` seconds per wave on top. The operands were just
    written: what fits the cache is there.
    """
    return _causal(chip, v, 0.0, peak, flops, bytes, batch, heads, kv_heads, query)


def _causal(
    chip: Chip,
    v: Values,
    pad: float,
    peak: Numeric,
    flops: Numeric,
    bytes: Numeric,
    batch: Numeric,
    heads: Numeric,
    kv_heads: Numeric,
    query: Numeric,
) -> Terms:
    t0, ec, em, p, share, el2, cta, wave, longest, sequence, tile = v
    filled = batch * kv_heads * ceil(query * heads / (kv_heads * tile)) / chip.sms
    waves = maximum(filled, 1.0) ** (1.0 - wave) * ceil(filled) ** wave
    one = tile * flops / (batch * heads * query) * (1.0 + 64.0 * pad / query)
    work = smooth_maximum(one * waves * minimum(filled, 1.0), longest * 2.0 * one, 4.0)
    compute = work * chip.sms / (ec * peak) + cta * maximum(filled, 1.0)
    memory = move(chip, bytes, em, share, el2, bytes)
    fixed = t0 + sequence * batch
    return Terms(fixed + smooth_maximum(compute, memory, p), compute, memory, fixed)


def prefill_apart(
    chip: Chip,
    v: Values,
    peak: Numeric,
    flops: Numeric,
    bytes: Numeric,
    batch: Numeric,
    heads: Numeric,
    kv_heads: Numeric,
    query: Numeric,
) -> Terms:
    """FlashAttention-2: as `prefill`, but every head fills tiles of its own (it packs the heads that share keys for single queries only),
    and a tile multiplies whole blocks of keys, `pad` times 64 of them more than the mask leaves."""
    return _causal(chip, v[:11], v[11], peak, flops, bytes, batch, heads, where(query <= 1.0, kv_heads, heads), query)


def encoder(
    chip: Chip, v: Values, peak: Numeric, flops: Numeric, bytes: Numeric, batch: Numeric, heads: Numeric, query: Numeric
) -> Terms:
    """Full attention in waves of CTAs: t0 + smooth-max(waves x (one CTA + cta), move).

    One CTA: `tile` query rows of one head against all keys, plus 64 pad keys. waves: between the fractional and the whole
    number of waves, by the exponent `wave`; at least one.
    """
    t0, ec, em, p, share, el2, cta, pad, wave, tile = v
    sequences = batch * heads
    tiles = sequences * ceil(query / tile)
    waves = maximum(tiles / chip.sms, 1.0) ** (1.0 - wave) * ceil(tiles / chip.sms) ** wave
    one = tile * flops / (sequences * query) * (1.0 + 64.0 * pad / query)
    compute = waves * (one * chip.sms / (ec * peak) + cta)
    memory = move(chip, bytes, em, share, el2, bytes)
    return Terms(t0 + smooth_maximum(compute, memory, p), compute, memory, t0)


def decode(
    chip: Chip,
    v: Values,
    bytes: Numeric,
    batch: Numeric,
    heads: Numeric,
    kv_heads: Numeric,
    context: Numeric,
    footprint: Numeric,
    window: Numeric = EVERYTHING,
) -> Terms:
    """Split-KV decoding: t0 + smooth-max(move, waves x one CTA) + what no CTA can hide.

    One CTA: `cta` plus `block` for each block of `keys` of its split, more when `packed` query heads share them. Splits: as
    many as `slots` CTAs on every SM, blocks of keys and `splits` allow. Not hidden: `sequence` seconds of scheduling for
    each sequence, combining the splits, and the ramp of the memory system, which grows with the time moved up to `tail`.
    A full window begins within a block: `straddle` more blocks are read and masked.
    """
    straddle = where(context >= window, v[14], 0.0)
    return _split(chip, v[:14], v[1], bytes, batch, heads, kv_heads, context, footprint, straddle)


def _split(
    chip: Chip,
    v: Values,
    em: Numeric,
    bytes: Numeric,
    batch: Numeric,
    heads: Numeric,
    kv_heads: Numeric,
    context: Numeric,
    footprint: Numeric,
    straddle: Numeric,
) -> Terms:
    t0, _, p, share, el2, cta, block, combine, packed, most, slots, tail, sequence, keys = v
    memory = move(chip, bytes, em, share, el2, footprint)
    pairs = batch * kv_heads
    places = slots * chip.sms
    blocks = ceil(context / keys) + straddle
    splits = clip(places / pairs, 1.0, minimum(maximum(blocks, 1.0), most))
    waves = maximum(pairs * splits / places, 1.0)
    compute = waves * (cta + blocks / splits * block * slots * (1.0 + packed * heads / (16.0 * kv_heads)))
    fixed = t0 + sequence * batch
    rest = combine * minimum(splits - 1.0, 1.0) + memory * tail / (memory + tail)
    return Terms(fixed + smooth_maximum(memory, compute, p) + rest, compute, memory, fixed)


def decode_swapped(
    chip: Chip,
    v: Values,
    bytes: Numeric,
    batch: Numeric,
    heads: Numeric,
    kv_heads: Numeric,
    context: Numeric,
    footprint: Numeric,
    window: Numeric = EVERYTHING,
) -> Terms:
    """FlashAttention-2: as `decode` where heads share keys (with copies of queries and results around it, `swap` seconds and `carry` for each
    head of each sequence, unless there is one sequence or one head of keys: then the swapped view is contiguous).

    Else t0 + smooth-max(move, waves x one CTA), one CTA for each head of each sequence: `cta`, and `walk` for each block of
    `keys`, between the fractional and the whole number of waves by the exponent `wave`. Heads with the same keys read them once where
    they run at the same time; where they do not, from memory, unless the keys of one head of all sequences fit the cache meanwhile.
    Either way the keys of one head lie between those of the others, which memory serves more slowly the more there are.
    """
    t0, at_best, p, share, el2, cta, _, _, _, _, slots, tail, sequence, keys, swap, carry, walk, wave, interleave = v
    em = interleaved(at_best, kv_heads, interleave)
    shared = where(window < EVERYTHING, 1.0, heads / kv_heads)
    grouped = _split(chip, v[:14], em, bytes, batch, heads, kv_heads, context, footprint, 0.0)
    copies = (swap + carry * batch * heads) * minimum(batch - 1.0, 1.0) * minimum(kv_heads - 1.0, 1.0)
    again = bytes * (repeated(chip, heads / kv_heads, batch) - 1.0)
    memory = move(chip, bytes, em, share, el2, footprint) + move(chip, again, em, share, el2, bytes / kv_heads)
    filled = batch * heads / (slots * chip.sms)
    waves = maximum(filled, 1.0) ** (1.0 - wave) * ceil(filled) ** wave
    compute = waves * (cta + ceil(context / keys) * walk)
    fixed = t0 + sequence * batch
    alone = fixed + smooth_maximum(memory, compute, p) + memory * tail / (memory + tail)
    one = shared > 1.0
    return Terms(
        where(one, grouped.total + copies, alone),
        where(one, grouped.compute, compute),
        where(one, grouped.memory, memory),
        where(one, grouped.overhead + copies, fixed),
    )


def built_for(architecture: str, head_dim: float) -> float:
    """Elements of a head that a kernel multiplies: steps of 16 on Blackwell (FlashAttention-4), of 32 up to 128 and of 64 beyond elsewhere."""
    step = 16.0 if architecture.startswith("blackwell") and not architecture.endswith("rtx") else 32.0 if head_dim <= 128.0 else 64.0
    return step * whole(head_dim / step)


def separate(form: str, heads: Numeric, kv_heads: Numeric, window: Numeric) -> Numeric:
    """Heads whose keys are read apart: the query heads where FlashAttention-2 is given a window."""
    return where(window < EVERYTHING, heads, kv_heads) if form == "decode_swapped" else kv_heads


def repeated(chip: Chip, sharing: Numeric, batch: Numeric) -> Numeric:
    """How often keys are read from memory that `sharing` heads read: CTAs of one head of all sequences start before those of the next,
    so that as many heads as are in flight together share a read."""
    return sharing / clip(chip.sms / batch, 1.0, sharing)


def interleaved(em: float, kv_heads: Numeric, exponent: float) -> Numeric:
    """Share of the memory rate at which one head's keys are read that lie token by token between those of `kv_heads` heads."""
    return em / clip(kv_heads, 1.0, MOST_INTERLEAVED) ** exponent


def unsplit(
    chip: Chip, v: Values, bytes: Numeric, heads: Numeric, head_dim: Numeric, query: Numeric, context: Numeric
) -> Terms:
    """Decoding without split-KV: t0 + smooth-max(move, waves of blocks of 64 query rows of one head that each walk every key).

    key: clock cycles a block takes for one key of 128 elements and its value, which no idle SM can help with.
    """
    t0, em, p, key = v
    memory = bytes / (em * chip.bandwidth)
    waves = maximum(ceil(heads * ceil(query / 64.0) / chip.sms), 1.0)
    walk = waves * context * key * (head_dim / 128.0) / chip.clock_hz
    return Terms(t0 + smooth_maximum(memory, walk, p), walk, memory, t0)


PREFILL = {"prefill": prefill, "prefill_apart": prefill_apart}
DECODE = {"decode": decode, "decode_swapped": decode_swapped}
