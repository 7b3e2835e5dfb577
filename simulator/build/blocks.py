"""Operators that encoders, projectors and decoders share: norms, feed-forward parts, tensor-parallel sums.

Everything is per device: a column-parallel matrix has its outputs split, a row-parallel one its inputs, and a sum over devices
follows (Shoeybi et al., Megatron-LM, 2019). Norms are fused with the residual addition before them, as inference engines do.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.ops import AbstractOp, Collective, Elementwise, Experts, Matmul
from simulator.spec.model import Block, FeedForwardSpec
from simulator.spec.source import SpecError


def divided(heads: int, tp: int, field: str, kv_heads: int = 1) -> float:
    """Heads on one device. KV heads are dealt out whole, or each is held by equally many devices."""

    def fits(n: int) -> bool:
        return heads % n == 0 and (kv_heads % n == 0 or n % kv_heads == 0)

    if not fits(tp):
        accepted = ", ".join(str(n) for n in range(1, heads + 1) if fits(n))
        which = f"the {heads} heads" if heads % tp else f"the {kv_heads} KV heads, nor they it,"
        raise SpecError(f"tp: {tp} does not divide {which} of {field}; accepted: {accepted}")
    return heads / tp


def norm_kind(parameters: float, width: float) -> str:
    """A norm that owns a bias beside its weight subtracts a mean: one kernel in every framework, where an RMSNorm may be many."""
    return "layer_norm" if parameters >= 2.0 * width else "norm"


def norms(block: Block, width: float, visual: float, text: float) -> tuple[AbstractOp, ...]:
    """The first `norm` of a layer, owning all norm weights, and the others; each adds the residual and writes it back."""
    if block.norms == 0:
        return ()
    kind, owned = norm_kind(block.norm_parameters / block.norms, width), float(block.norm_parameters + block.other_parameters)
    first = Elementwise("norm", kind, 2.0 * width, 2.0 * width, owned=owned, visual=visual, text=text)
    other = Elementwise("norm", kind, 2.0 * width, 2.0 * width, visual=visual, text=text)
    return (first, *(other,) * (block.norms - 1))


def reduce(width: float, tp: int, visual: float, text: float) -> tuple[AbstractOp, ...]:
    """The sum over devices after a row-parallel matrix."""
    if tp == 1:
        return ()
    return (Collective("all_reduce", "all_reduce", width, float(tp), visual=visual, text=text),)


def feed_forward(
    spec: FeedForwardSpec, hidden: int, tp: int, ep: int, bits: float, visual: float = 1.0, text: float = 1.0
) -> tuple[AbstractOp, ...]:
    """The feed-forward part of one layer, dense or routed, with its collective."""
    if spec.experts:
        return _mixture(spec, hidden, tp, ep, bits, visual, text)
    dense = _mlp(spec, spec.width / tp, hidden, bits, visual, text, "")
    return (*dense, *reduce(hidden, tp, visual, text))


def activation_kind(spec: FeedForwardSpec) -> str:
    """A gate's SiLU times its value, or the GELU of an ungated part: another function, and one operand."""
    return "activation" if spec.gated else "gelu"


def _mlp(
    spec: FeedForwardSpec, width: float, hidden: int, bits: float, visual: float, text: float, prefix: str
) -> tuple[AbstractOp, ...]:
    into = Matmul(
        f"{prefix}gate_up" if spec.gated else f"{prefix}up",
        width * (2.0 if spec.gated else 1.0),
        float(hidden),
        weight_bits=bits,
        bias=spec.bias,
        visual=visual,
        text=text,
    )
    act = Elementwise("activation", activation_kind(spec), into.n, width, visual=visual, text=text)
    down = Matmul(f"{prefix}down", float(hidden), width, weight_bits=bits, bias=spec.bias, visual=visual, text=text)
    return into, act, down


def _mixture(
    spec: FeedForwardSpec, hidden: int, tp: int, ep: int, bits: float, visual: float, text: float
) -> tuple[AbstractOp, ...]:
    """Routed experts. Up to `tp` expert-parallel devices share one batch (tokens are present on all of them); beyond that the
    batches of ep / tp replicas are exchanged."""
    if spec.experts % ep:
        fits = ", ".join(str(n) for n in range(1, spec.experts + 1) if spec.experts % n == 0)
        raise SpecError(f"ep: {ep} does not divide {spec.experts} experts; accepted: {fits}")
    if max(tp, ep) % min(tp, ep):
        raise SpecError(f"ep: {ep} and tp {tp}: one must divide the other")
    ops: list[AbstractOp] = []
    if spec.visual_width:
        ops.extend(_routed(spec, spec.width, hidden, tp, ep, bits, 0.0, text))
        ops.extend(_routed(spec, spec.visual_width, hidden, tp, ep, bits, visual, 0.0))
    else:
        ops.extend(_routed(spec, spec.width, hidden, tp, ep, bits, visual, text))
    if spec.shared_width:
        ops.extend(_mlp(spec, spec.shared_width / tp, hidden, bits, visual, text, "shared_"))
        if spec.shared_gate:
            ops.append(Matmul("shared_gate", 1.0, float(hidden), weight_bits=16.0, visual=visual, text=text))
    return (*ops, *reduce(hidden, tp, visual, text))


def _routed(
    spec: FeedForwardSpec,
    whole: int,
    hidden: int,
    tp: int,
    ep: int,
    bits: float,
    visual: float,
    text: float,
) -> tuple[AbstractOp, ...]:
    """Router, exchange and experts of `whole` width for the rows that pass them."""
    sliced, replicas = max(1.0, tp / ep), max(1.0, ep / tp)
    width, resident, total = whole / sliced, spec.experts / ep, float(spec.experts)
    here = spec.active * replicas / ep
    router = Matmul("router", total, float(hidden), weight_bits=16.0, bias=spec.router_bias, visual=visual, text=text)
    ops: list[AbstractOp] = [router, Elementwise("topk", "topk", total, 2.0 * spec.active, visual=visual, text=text)]
    # A row goes once to each device that holds any of its experts, from one of the tp devices that have it (DeepEP, 2025).
    exchanged = ep * (1.0 - (1.0 - 1.0 / ep) ** spec.active) * hidden / tp
    if ep > tp:
        ops.append(Collective("all_to_all", "all_to_all", exchanged, float(ep), visual=visual, text=text))
    ops.append(Elementwise("permute", "gather", here * hidden, here * hidden, visual=visual, text=text))
    n, name = (2.0 * width, "expert_gate_up") if spec.gated else (width, "expert_up")
    into = Experts(
        name,
        n,
        float(hidden),
        resident,
        float(spec.active),
        total,
        weight_bits=bits,
        bias=spec.bias,
        visual=visual,
        text=text,
        batches=replicas,
    )
    ops.append(into)
    ops.append(Elementwise("activation", activation_kind(spec), here * n, here * width, visual=visual, text=text))
    ops.append(replace(into, name="expert_down", n=float(hidden), k=width))
    ops.append(Elementwise("combine", "gather", here * hidden, float(hidden), visual=visual, text=text))
    if ep > tp:
        ops.append(Collective("all_to_all", "all_to_all", exchanged, float(ep), visual=visual, text=text))
    return tuple(ops)
