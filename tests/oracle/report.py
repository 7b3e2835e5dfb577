"""What a run notes down while it goes: integers kept per site, and the exact fractions they amount to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Report:
    """Filled by one sequence; every sequence of a batch has the same counts.

    encoder_tokens: per encoder layer (tokens at attention, tokens at MLP), per image.
    visual_per_layer / tokens_per_layer: visual and all tokens entering each decoder layer in prefill.
    pairs_per_layer: query-key pairs really attended per head in prefill; pairs_dense: the same, causal (and
    windowed) but without block sparsity.
    kv_tokens_written: per layer; kv_tokens_resident: per layer, per KV head, at the end of prefill.
    resolved: technique -> its parameters as exact [kept, total] fractions.
    """

    encoder_tokens: list[tuple[int, int]] = field(default_factory=list)
    encoder_out: int = 0
    visual_tokens: int = 0
    visual_per_layer: list[int] = field(default_factory=list)
    tokens_per_layer: list[int] = field(default_factory=list)
    pairs_per_layer: list[int] = field(default_factory=list)
    pairs_dense_per_layer: list[int] = field(default_factory=list)
    kv_tokens_written: list[int] = field(default_factory=list)
    kv_tokens_resident: list[list[int]] = field(default_factory=list)
    cycles: int = 0
    accepted: list[int] = field(default_factory=list)
    drafter_visual_tokens: int = 0
    resolved: dict[str, dict[str, Any]] = field(default_factory=dict)

    def resolve(self, kind: str, **values: Any) -> None:
        self.resolved.setdefault(kind, {}).update(values)
