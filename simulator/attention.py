"""The attention operator: pairs of tokens that really meet, and the keys and values that are read for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from simulator.ops import AbstractOp, Shape, Work, chunked_sum, clipped_sum
from simulator.quantity import EVERYTHING, Numeric, ceil, maximum, minimum, where

Mask = Literal["full", "causal", "window", "chunk", "cross", "grid"]
_KERNEL = {
    "encode": "encoder_attention",
    "project": "encoder_attention",
    "prefill": "prefill_attention",
    "decode": "decode_attention",
}


@final
@dataclass(frozen=True, slots=True)
class Attention(AbstractOp):
    """softmax(Q K^T) V over the pairs the mask allows, by a fused kernel.

    heads, kv_heads: on one device. head_dim: width of Q and K; value_dim: width of V. mask: `full` (bidirectional),
    `causal`, `window` (causal, the last `window` tokens, itself included), `chunk` (causal within chunks of `window`),
    `cross` (every text row sees every visual key), `grid` (bidirectional within window x window patches;
    `filled`: windows at the border are filled up).
    bidirectional: which prompt tokens see each other both ways: `none`, each of `images` equal blocks of visual tokens (beyond a
    window too, unless they are `windowed images`), or the whole `prompt` (prefix-LM). visual, text: share of those rows that query. visible_visual, visible_text: share
    of those keys that exist for this layer. density: share of the pairs really computed (sparse attention); `reuse`:
    share of the KV really read. k_bits, v_bits: stored width [bit per element, metadata included], but the newest `residual` tokens
    have `full_bits`, as queries and results do. padding: longest over mean of ragged heads, where the kernel pads. shared: K and V are one latent
    (MLA absorbed: read once). k_unpack, v_unpack: vector FLOPs of the kernel per stored element that is not among the newest.
    materialised: the score map is written out, because a technique wants to read it. varlen: KV heads
    hold different tokens, so that a decode step runs a kernel for sequences of different length, one per KV head.
    """

    name: str
    heads: Numeric
    kv_heads: Numeric
    head_dim: Numeric
    value_dim: Numeric
    mask: Mask
    window: Numeric = 0.0
    bidirectional: Literal["none", "images", "windowed images", "prompt"] = "none"
    format: str = "bf16"
    visual: Numeric = 1.0
    text: Numeric = 1.0
    visible_visual: Numeric = 1.0
    visible_text: Numeric = 1.0
    density: Numeric = 1.0
    reuse: Numeric = 1.0
    k_bits: Numeric = 16.0
    v_bits: Numeric = 16.0
    residual: Numeric = 0.0
    k_unpack: Numeric = 0.0
    v_unpack: Numeric = 0.0
    full_bits: float = 16.0
    padding: Numeric = 1.0
    shared: bool = False
    materialised: bool = False
    filled: bool = False
    varlen: bool = False

    @property
    def parameters(self) -> Numeric:
        return 0.0

    def context(self, shape: Shape) -> Numeric:
        """Keys one sequence offers to its last row [tokens]."""
        if self.mask == "cross":
            return (shape.query.visual + shape.cached.visual) * self.visible_visual
        visual = (shape.query.visual + shape.cached.visual) * self.visible_visual
        return visual + (shape.query.text + shape.cached.text) * self.visible_text

    def pairs(self, shape: Shape) -> Numeric:
        """(query, key) pairs per sequence and head, before `density`."""
        if self.mask == "grid":
            return self._grid_pairs(shape)
        rows_v = shape.query.visual * self.visible_visual
        rows_t = shape.query.text * self.visible_text
        if self.mask == "cross":
            return shape.query.text * self.text * self.context(shape)
        if self.mask == "full":
            return (rows_v * self.visual + rows_t * self.text) * self.context(shape)
        start = shape.cached.visual * self.visible_visual + shape.cached.text * self.visible_text
        # Pictures are taken to come before the text; with every row querying, the order does not matter.
        pairs = self.visual * self._causal(start, rows_v) + self.text * self._causal(start + rows_v, rows_t)
        if self.bidirectional == "none" or shape.phase != "prefill":
            return pairs
        if self.bidirectional == "prompt":
            return (rows_v * self.visual + rows_t * self.text) * (start + rows_v + rows_t)
        block = rows_v / maximum(shape.images, 1.0)
        own = maximum(block * (block - 1.0) / 2.0, 0.0)  # what lies ahead in a row's own picture
        if self.mask == "window" and self.bidirectional == "images":  # and what lies behind it beyond the window
            beyond = maximum(block - self.window, 0.0)
            own = own + beyond * (beyond + 1.0) / 2.0
        return pairs + self.visual * maximum(shape.images, 1.0) * own

    def _causal(self, start: Numeric, count: Numeric) -> Numeric:
        if self.mask == "window":
            return clipped_sum(start, count, self.window)
        if self.mask == "chunk":
            return chunked_sum(start, count, self.window)
        return count * start + count * (count + 1.0) / 2.0

    def _grid_pairs(self, shape: Shape) -> Numeric:
        """sum over windows of (rows in window)^2 = (sum of h_i^2)(sum of w_j^2), thinned with the rows."""

        def squares(side: Numeric) -> Numeric:
            if self.filled:
                return ceil(side / self.window) * self.window**2
            whole = side // self.window
            return whole * self.window**2 + (side - whole * self.window) ** 2

        alive = shape.query.visual / (shape.height * shape.width)
        return squares(shape.height) * squares(shape.width) * alive**2

    def work(self, shape: Shape) -> Work:
        pairs = self.pairs(shape) * self.density
        context = self.context(shape)
        rows = shape.query.visual * self.visual + shape.query.text * self.text
        fresh = shape.query.visual * self.visible_visual + shape.query.text * self.visible_text
        read = self._keys_read(shape, context)
        element = self.kv_heads * (self.head_dim * self.k_bits + (0.0 if self.shared else self.value_dim * self.v_bits))
        kv = (
            shape.batch
            * (read * self.reuse + (0.0 if self.mask in ("full", "grid", "cross") else fresh))
            * element
            / 8.0
        )
        wider = self.head_dim * (self.full_bits - self.k_bits) + self.value_dim * (self.full_bits - self.v_bits)
        kv = kv * self.padding + shape.batch * self.kv_heads * minimum(self.residual, read) * wider / 8.0
        activation = shape.batch * rows * self.heads * (self.head_dim + self.value_dim) * self.full_bits / 8.0
        keys = read * self.reuse * self.padding
        batch, width = shape.batch, rows
        if self.mask == "grid":  # one kernel call per window: mean rows of a window, as many as there are
            keys = pairs / maximum(rows, 1e-9)
            batch, width = shape.batch * rows / maximum(keys, 1e-9), keys
        unpack = self.kv_heads * (self.head_dim * self.k_unpack + (0.0 if self.shared else self.value_dim * self.v_unpack))
        kernel = "mla_decode" if self.shared and shape.phase == "decode" else _KERNEL[shape.phase]
        return Work(
            self.name,
            kernel,
            self.format,
            2.0 * shape.batch * pairs * self.heads * (self.head_dim + self.value_dim),
            0.0,
            activation,
            kv,
            (batch, self.heads, self.kv_heads, self.head_dim, width, keys),
            window=self.window if self.mask == "window" else EVERYTHING,
            vector_flops=shape.batch * maximum(read - self.residual, 0.0) * self.reuse * self.padding * unpack,
            narrow=where((self.k_bits == 8.0) * (self.v_bits == 8.0) * (self.residual == 0.0), 1.0, 0.0),
        )

    def _keys_read(self, shape: Shape, context: Numeric) -> Numeric:
        if self.mask in ("window", "chunk"):
            fresh = shape.query.visual * self.visible_visual + shape.query.text * self.visible_text
            return minimum(context, self.window + fresh - 1.0)
        return context
