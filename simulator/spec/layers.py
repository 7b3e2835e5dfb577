"""Layers as data: token mixers, feed-forward parts, convolutions, and the order in which blocks of them are stacked.

Sizes are per token and per layer; hybrids (sliding and full, linear and full, cross-attention in between) are named blocks and an
order (`5 local`, `1 global`, ...).
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.spec.source import Spec

AttentionKind = Literal["full", "sliding", "chunked", "mla", "cross", "linear", "grid"]
Count = Annotated[int, Field(ge=0, le=10**13)]
Size = Annotated[int, Field(ge=1, le=10**9)]
Width = Annotated[int, Field(ge=0, le=10**9)]
MAX_LAYERS = 4096


class AttentionSpec(Spec):
    """One token mixer. head_dim: width of a head of Q and K; value_dim: of V (0: as head_dim).

    sliding, chunked, grid: `window` tokens (grid: window x window patches; with `filled`, windows at the border are filled up and
    Q, K, V and O run on the filling too). kv_stride: keys and values stand on every so many rows and columns alone (encoders). qk_norm: parameters of the norms on Q and K
    together. mla: q_rank (0: Q is not compressed), kv_rank, rope_dim; head_dim = nope + rope. linear: state-space or
    linear attention: `projections` are its matrices, `conv_channels` and `conv_kernel` its short convolution over time (whose last
    inputs are kept in 16 bit), `state_elements` the rest of its state per sequence, of `state_bits` each, `scan_elements` what its scan
    moves per token, `other_parameters` what is no matrix (decay, norms). shared_kv: K and V come from an earlier layer.
    tied_kv: V is the output of the matrix of K. gate: an output gate of that many values per token, made by a matrix of its own.
    """

    kind: AttentionKind
    heads: Width = 0
    kv_heads: Width = 0
    head_dim: Width = 0
    value_dim: Width = 0
    window: Width = 0
    filled: bool = False
    kv_stride: Size = 1
    q_bias: bool = False
    kv_bias: bool = False
    o_bias: bool = False
    qk_norm: Width = 0
    rope: bool = True
    q_rank: Width = 0
    kv_rank: Width = 0
    rope_dim: Width = 0
    gate: Width = 0
    shared_kv: bool = False
    tied_kv: bool = False
    projections: tuple[LinearSpec, ...] = ()
    conv_channels: Width = 0
    conv_kernel: Width = 0
    conv_bias: bool = False
    state_elements: Count = 0
    state_bits: Literal[16, 32] = 32
    scan_elements: Count = 0
    other_parameters: Count = 0

    @model_validator(mode="after")
    def _consistent(self) -> AttentionSpec:
        if self.conv_channels and not self.conv_kernel:
            raise ValueError("conv_kernel must be at least 1 where conv_channels are given")
        if self.kind == "linear":
            return self
        for name in ("heads", "kv_heads", "head_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 for {self.kind} attention")
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads {self.kv_heads} must divide heads {self.heads}")
        if self.kind in ("sliding", "chunked", "grid") and self.window < 1:
            raise ValueError(f"window must be at least 1 for {self.kind} attention")
        if self.kind == "mla" and (self.kv_rank < 1 or not 0 < self.rope_dim < self.head_dim):
            raise ValueError("mla needs kv_rank, and rope_dim below head_dim")
        return self

    @property
    def v_dim(self) -> int:
        """Width of a head of V."""
        return self.value_dim or self.head_dim


class LinearSpec(Spec):
    """A matrix: `inputs` x `outputs`, `copies` side by side on the same rows; of a decoder's layer on all rows or on visual tokens alone."""

    name: str
    inputs: Size
    outputs: Size
    bias: bool = False
    copies: Size = 1
    rows: Literal["all", "visual"] = "all"


class FeedForwardSpec(Spec):
    """gated: SwiGLU-like (three matrices), else two. experts > 0: a routed mixture of `active` of `experts`, each of
    `width`. shared_width: the always-on expert; shared_gate: its scalar gate. router_bias: a bias per expert. visual_width: of a second
    mixture, router included, that visual tokens pass in place of the first (0: none)."""

    width: Size
    gated: bool = True
    bias: bool = False
    experts: Width = 0
    active: Width = 0
    shared_width: Width = 0
    shared_gate: bool = False
    router_bias: bool = False
    visual_width: Width = 0

    @model_validator(mode="after")
    def _consistent(self) -> FeedForwardSpec:
        if self.visual_width and not self.experts:
            raise ValueError("visual_width needs experts")
        if self.experts and not 0 < self.active <= self.experts:
            raise ValueError(f"active {self.active} must lie in 1..experts ({self.experts})")
        return self


class ConvolutionSpec(Spec):
    """kernel x kernel convolution. scale: output pixels per patch that leaves the encoder. norm_parameters: of the batch norm
    after it (folded away when it runs)."""

    inputs: Size
    outputs: Size
    kernel: Size
    stride: Size = 1
    groups: Size = 1
    bias: bool = True
    scale: float = Field(default=1.0, gt=0, le=1e6)
    norm_parameters: Count = 0
    count: Size = 1


class Block(Spec):
    """One layer: a mixer, a feed-forward part, convolutions; any may be absent.

    side: matrices besides, on every row (the gate and projection of an embedding per layer). hidden, scale: width and rows per final patch where they differ from the stack's (hierarchical encoders). extra_rows: the
    encoder's class and register rows pass through it too. norms: how many normalisations a token passes; norm_parameters: all
    their weights; other_parameters: layer scales, gates.
    """

    attention: AttentionSpec | None = None
    feed_forward: FeedForwardSpec | None = None
    convolutions: tuple[ConvolutionSpec, ...] = ()
    side: tuple[LinearSpec, ...] = ()
    hidden: Width = 0
    scale: float = Field(default=1.0, gt=0, le=1e6)
    extra_rows: bool = True
    norms: Width = 2
    norm_parameters: Count = 0
    other_parameters: Count = 0


class Stack(Spec):
    """Named blocks and their order from bottom to top: `["5 local", "1 global"]`, repeated `repeat` times, then `tail`."""

    blocks: dict[str, Block]
    order: tuple[str, ...]
    repeat: Size = 1
    tail: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Stack:
        total = 0
        for entry in (*self.order, *self.tail):
            count, _, name = entry.partition(" ")
            if not (count.isdecimal() and int(count) > 0) or name not in self.blocks:
                raise ValueError(
                    f"order: {entry!r} is not a count and one of {', '.join(self.blocks)}, as in '5 local'"
                )
            total += int(count)
        if total * self.repeat > MAX_LAYERS:
            raise ValueError(f"order: more than {MAX_LAYERS} layers")
        return self

    @cached_property
    def runs(self) -> tuple[tuple[int, Block], ...]:
        """(count, block) from bottom to top; equal neighbours are one run."""
        out: list[tuple[int, str]] = []
        for entry in self.order * self.repeat + self.tail:
            count, _, name = entry.partition(" ")
            if out and out[-1][1] == name:
                out[-1] = (out[-1][0] + int(count), name)
            else:
                out.append((int(count), name))
        return tuple((count, self.blocks[name]) for count, name in out)

    @cached_property
    def layers(self) -> int:
        """Number of layers."""
        return sum(count for count, _ in self.runs)


AttentionSpec.model_rebuild()
