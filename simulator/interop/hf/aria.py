"""Aria: learned queries that attend to all patches of a crop, after matrices of their own and those of the attention module."""

from __future__ import annotations

from typing import Any, cast

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.projector import activation, linear, norm
from simulator.spec.model import Projector, Step
from simulator.spec.source import SpecError
from simulator.spec.validated import shown


def queries(stated: Any) -> dict[int, int]:
    """Queries by patches of a crop."""
    if not isinstance(stated, dict) or not stated:
        raise SpecError(f"projector_patch_to_query_dict: {shown(stated)} is not accepted: queries by patches")
    try:
        found = {int(key): int(value) for key, value in cast("dict[Any, Any]", stated).items()}
    except (TypeError, ValueError):
        found = {0: 0}
    if min(*found, *found.values(), 10**6) < 1 or max(*found, *found.values(), 0) > 10**6:
        raise SpecError(f"projector_patch_to_query_dict: {shown(cast('object', stated))} is not accepted: whole numbers")
    return found


def aria(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Aria's projector."""
    hidden, out, heads = vision.size("hidden_size"), text.size("hidden_size"), vision.size("num_attention_heads")
    if hidden % heads:
        raise SpecError(f"{vision.path}: {heads} heads do not divide the hidden size {hidden}")
    most = max(queries(top.value("projector_patch_to_query_dict", {"1225": 128, "4900": 256})).values())
    steps = (
        norm(hidden, 2 * hidden, "tokens"),
        norm(hidden, 2 * hidden, "patches"),
        linear("q", hidden, hidden, False, "tokens"),
        linear("kv", hidden, 2 * hidden, False, "patches"),
        linear("in_q", hidden, hidden, True, "tokens"),
        linear("in_kv", hidden, hidden, True, "patches", copies=2),
        Step(op="attention", name="attention", rows="tokens", heads=heads, head_dim=hidden // heads),
        linear("out", hidden, hidden, True, "tokens"),
        linear("linear", hidden, hidden, True, "tokens"),
        norm(hidden, 2 * hidden, "tokens"),
        linear("linear_in", hidden, out, False, "tokens"),
        activation(out, "tokens"),
        linear("linear_out", out, out, False, "tokens"),
    )
    return Projector(kind="resampler", steps=steps, other_parameters=most * hidden)
