"""The projector as a program: the steps of the spec, one after the other.

Rows come as Tokens(visual = patches that leave the encoder, text = visual tokens handed on) per crop, so a step picks its rows
by its shares: `patches` and `merged` act on the visual rows, `tokens` on the text rows.
"""

from __future__ import annotations

from functools import lru_cache

from simulator.attention import Attention
from simulator.build.blocks import norm_kind
from simulator.ops import AbstractOp, Elementwise, Matmul
from simulator.program import Layer
from simulator.spec.model import Lvlm, Step


@lru_cache(maxsize=512)
def build_projector(model: Lvlm, bits: float = 16.0) -> tuple[Layer, ...]:
    """The projector's layers, one per step; it is not split over devices. Empty for a language model alone."""
    projector = model.projector
    if projector is None:
        return ()
    merge = float(projector.merge**2)
    return tuple(
        Layer(step.op, index, step.count, (_operator(step, merge, bits),)) for index, step in enumerate(projector.steps)
    )


def _operator(step: Step, merge: float, bits: float) -> AbstractOp:
    visual, text, group = {
        "patches": (step.share, 0.0, 1.0),
        "merged": (1.0, 0.0, merge),
        "tokens": (0.0, step.share, 1.0),
        "all": (1.0, 1.0, 1.0),
    }[step.rows]
    if step.op == "linear":
        return Matmul(
            step.name,
            float(step.outputs),
            float(step.inputs),
            weight_bits=bits,
            bias=step.bias,
            copies=float(step.copies),
            visual=visual,
            text=text,
            group=group,
        )
    if step.op == "convolution":
        # `groups` small products side by side; dense: one product over the kernel's window.
        groups = float(step.groups)
        k = step.inputs / groups * step.kernel**2
        return Matmul(
            step.name,
            step.outputs / groups,
            k,
            weight_bits=bits,
            bias=step.bias,
            copies=groups * step.copies,
            visual=visual,
            text=text,
            group=group,
        )
    if step.op == "attention" and step.rows == "patches":
        # `share` queries per patch; where they are the keys too, `density` undoes their double count.
        own = step.keys == "own"
        return Attention(
            step.name,
            float(step.heads),
            float(step.heads),
            float(step.head_dim),
            float(step.head_dim),
            "full",
            visual=step.share,
            text=0.0,
            visible_visual=step.share if own else 1.0,
            visible_text=0.0,
            density=step.density / step.share if own else step.density,
        )
    if step.op == "attention":
        crossed = step.keys == "patches"
        return Attention(
            step.name,
            float(step.heads),
            float(step.heads),
            float(step.head_dim),
            float(step.head_dim),
            "cross" if crossed else "full",
            visual=0.0,
            visible_visual=1.0 if crossed or step.keys == "all" else 0.0,
            density=step.density,
        )
    width = float(step.outputs)
    read = 2.0 * width if step.op == "gather" else width
    kind = {"norm": norm_kind(step.parameters, width), "activation": "gelu", "gather": "gather"}[step.op]
    return Elementwise(
        step.name,
        kind,
        read,
        width,
        owned=float(step.parameters),
        visual=visual,
        text=text,
        group=group,
        launches=float(step.copies),
    )
