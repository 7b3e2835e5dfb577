"""Operators know their weights, shapes know their tokens; they meet only in `op.work(shape)`.

An operator is what a layer owns (an n x k matrix, so many heads). A `Shape` is what passes through it: sequences, rows
that are computed (queries) and keys that are attended to, visual and text apart, because techniques treat them apart.
`work` returns what is multiplied and what is moved. Everything numeric may be an array.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, final

from simulator.quantity import EVERYTHING, Numeric, ceil, is_array, maximum, minimum

Phase = Literal["encode", "project", "prefill", "decode"]


@final
@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens per sequence, visual and text apart (text includes markers and generated tokens)."""

    visual: Numeric
    text: Numeric

    @property
    def total(self) -> Numeric:
        """All tokens."""
        return self.visual + self.text


@final
@dataclass(frozen=True, slots=True)
class Shape:
    """What passes through an operator once.

    batch: sequences (for an encoder: crops). query: rows computed per sequence. cached: keys per sequence that were
    there before (their K and V are not recomputed). height, width: patch grid of an encoder sequence, for windows.
    images: equal blocks of visual tokens that see each other both ways, where the model does that.
    """

    phase: Phase
    batch: Numeric
    query: Tokens
    cached: Tokens = Tokens(0.0, 0.0)
    height: Numeric = 1.0
    width: Numeric = 1.0
    images: Numeric = 1.0

    @property
    def varies(self) -> bool:
        """True where any figure is an array."""
        query, cached = self.query, self.cached
        return is_array(self.batch, query.visual, query.text, cached.visual, cached.text, self.height, self.width, self.images)


@final
@dataclass(frozen=True, slots=True)
class Work:
    """What one execution of an operator on one device multiplies and moves.

    kernel: which kernel model times it. flops: matrix FLOPs [2 per multiply-accumulate]. weight_bytes, activation_bytes,
    kv_bytes [byte] of main-memory traffic. dims: the kernel's own dimensions (see `simulator.efficiency`).
    transient_bytes [byte]: extra peak memory while it runs. launches: kernels started. counted: whether `flops` belong
    to `matmul_flops` of the stage (an overhead of a technique does, an engine's waste does not). window: keys that a layer
    sees at most, where its attention kernel is told so; narrow: 1 where all of its cache is in 8 bits with one scale.
    vector_flops: FLOPs besides the matrix ones, which the kernel cannot be faster than (unpacking of keys and values).
    """

    name: str
    kernel: str
    format: str
    flops: Numeric
    weight_bytes: Numeric
    activation_bytes: Numeric
    kv_bytes: Numeric
    dims: tuple[Numeric, ...] = ()
    launches: Numeric = 1.0
    transient_bytes: Numeric = 0.0
    counted: bool = True
    window: Numeric = EVERYTHING
    narrow: Numeric = 0.0
    vector_flops: Numeric = 0.0

    @property
    def bytes(self) -> Numeric:
        """Main-memory traffic [byte]."""
        return self.weight_bytes + self.activation_bytes + self.kv_bytes


class AbstractOp:
    """One operator of a layer."""

    __slots__ = ()

    @abstractmethod
    def work(self, shape: Shape) -> Work:
        """What it multiplies and moves for `shape`."""

    @property
    @abstractmethod
    def parameters(self) -> Numeric:
        """Weights it owns on one device."""


def rows_of(shape: Shape, visual: Numeric, text: Numeric) -> Numeric:
    """Rows [tokens x batch] when the operator acts on a share of the visual and of the text tokens."""
    return shape.batch * (shape.query.visual * visual + shape.query.text * text)


def filling(shape: Shape, window: float) -> Numeric:
    """Rows over patches where a grid is filled up to whole window x window windows; 1 without windows."""
    if not window:
        return 1.0
    return ceil(shape.height / window) * ceil(shape.width / window) * window**2 / (shape.height * shape.width)


@final
@dataclass(frozen=True, slots=True)
class Matmul(AbstractOp):
    """rows x k times k x n. `copies` equal matrices side by side (per-head products).

    visual, text: share of the rows it acts on. rows: `all` of the query rows, or `last` (one per sequence: lm_head in
    prefill; every row in decode, where verification needs them all). weight_bits includes the quantisation metadata;
    `stationary` weights are parameters (False: a per-head product with an activation). group: rows that merge into one
    (pixel shuffle, patch merger: 4 patches become one row). filled: side of windows that the grid is filled up to (0: none).
    """

    name: str
    n: Numeric
    k: Numeric
    format: str = "bf16"
    weight_bits: Numeric = 16.0
    activation_bits: Numeric = 16.0
    bias: bool = False
    copies: float = 1.0
    visual: Numeric = 1.0
    text: Numeric = 1.0
    rows: Literal["all", "last"] = "all"
    group: Numeric = 1.0
    shared: bool = False
    filled: float = 0.0

    @property
    def parameters(self) -> Numeric:
        return self.copies * self.n * (self.k + (1.0 if self.bias else 0.0))

    def work(self, shape: Shape) -> Work:
        last = self.rows == "last" and shape.phase == "prefill"
        m = shape.batch if last else rows_of(shape, self.visual, self.text) / self.group * filling(shape, self.filled)
        matrix = self.n * self.k * self.copies
        return Work(
            self.name,
            "gemm",
            self.format,
            2.0 * m * matrix,
            matrix * self.weight_bits / 8.0 * minimum(m, 1.0),
            m * (self.n + self.k) * self.copies * self.activation_bits / 8.0,
            0.0,
            (m, self.n, self.k, self.copies, self.weight_bits),
        )


@final
@dataclass(frozen=True, slots=True)
class Experts(AbstractOp):
    """One projection of a routed mixture of experts: every row visits `active` of `experts` (n x k each).

    Weights read are those of the distinct experts touched, E(1-(1-a/E)^rows) for uniform routing. experts: those resident on
    one of the devices that `total` are spread over. batches: data-parallel replicas whose rows meet at these experts.
    """

    name: str
    n: Numeric
    k: Numeric
    experts: float
    active: float
    total: float
    format: str = "bf16"
    weight_bits: Numeric = 16.0
    activation_bits: Numeric = 16.0
    bias: bool = False
    visual: Numeric = 1.0
    text: Numeric = 1.0
    batches: float = 1.0

    @property
    def parameters(self) -> Numeric:
        return self.experts * self.n * (self.k + (1.0 if self.bias else 0.0))

    def work(self, shape: Shape) -> Work:
        rows = rows_of(shape, self.visual, self.text) * self.batches
        routed = rows * self.active * (self.experts / self.total)
        touched = self.experts * (1.0 - (1.0 - self.active / self.total) ** rows)
        return Work(
            self.name,
            "grouped_gemm",
            self.format,
            2.0 * routed * self.n * self.k,
            touched * self.n * self.k * self.weight_bits / 8.0,
            routed * (self.n + self.k) * self.activation_bits / 8.0,
            0.0,
            (routed, self.n, self.k, touched, self.weight_bits),
        )


@final
@dataclass(frozen=True, slots=True)
class Convolution(AbstractOp):
    """k x k convolution, channels_in -> channels_out, groups; output pixels = query rows / group, `text` of the text rows."""

    name: str
    channels_in: float
    channels_out: float
    kernel: float
    groups: float = 1.0
    stride: float = 1.0
    format: str = "bf16"
    weight_bits: Numeric = 16.0
    activation_bits: Numeric = 16.0
    bias: bool = False
    group: Numeric = 1.0
    text: float = 1.0
    taps: float = 0.0  # kernel elements if not kernel**2 (a convolution over time)

    @property
    def parameters(self) -> Numeric:
        taps = self.taps or self.kernel**2
        return self.channels_out * (self.channels_in / self.groups * taps + (1.0 if self.bias else 0.0))

    def work(self, shape: Shape) -> Work:
        pixels = rows_of(shape, 1.0, self.text) / self.group
        taps = self.taps or self.kernel**2
        k = self.channels_in / self.groups * taps
        inputs = pixels * self.stride**2 * self.channels_in
        return Work(
            self.name,
            "gemm" if self.groups == 1 else "depthwise",
            self.format,
            2.0 * pixels * self.channels_out * k,
            self.channels_out * k * self.weight_bits / 8.0 * minimum(pixels, 1.0),
            (inputs + pixels * self.channels_out) * self.activation_bits / 8.0,
            0.0,
            (pixels, self.channels_out, k, 1.0, self.weight_bits),
        )


@final
@dataclass(frozen=True, slots=True)
class Elementwise(AbstractOp):
    """A bandwidth-bound pass: norm, activation, rope, add, softmax, embedding, gather, quantise.

    read, write: elements per row; owned: parameters; bits per element of the activations.
    kind: norm | layer_norm | activation | gelu | rope | add | softmax | gather | topk | quantise | expand | embedding | sample.
    """

    name: str
    kind: str
    read: Numeric
    write: Numeric
    owned: Numeric = 0.0
    bits: Numeric = 16.0
    visual: Numeric = 1.0
    text: Numeric = 1.0
    rows: Literal["all", "last"] = "all"
    group: Numeric = 1.0
    launches: Numeric = 1.0

    @property
    def parameters(self) -> Numeric:
        return self.owned

    def work(self, shape: Shape) -> Work:
        last = self.rows == "last" and shape.phase == "prefill"
        rows = shape.batch if last else rows_of(shape, self.visual, self.text) / self.group
        moved = rows * (self.read + self.write) * self.bits / 8.0
        return Work(self.name, self.kind, "vector", 0.0, 0.0, moved, 0.0, (moved,), self.launches)


@final
@dataclass(frozen=True, slots=True)
class Collective(AbstractOp):
    """all_reduce | all_gather | all_to_all | send of `elements` per row over `devices`."""

    name: str
    kind: Literal["all_reduce", "all_gather", "all_to_all", "send"]
    elements: Numeric
    devices: float
    bits: Numeric = 16.0
    visual: Numeric = 1.0
    text: Numeric = 1.0
    rows: Literal["all", "last"] = "all"

    @property
    def parameters(self) -> Numeric:
        return 0.0

    def work(self, shape: Shape) -> Work:
        last = self.rows == "last" and shape.phase == "prefill"
        rows = shape.batch if last else rows_of(shape, self.visual, self.text)
        message = rows * self.elements * self.bits / 8.0
        return Work(self.name, self.kind, "vector", 0.0, 0.0, 0.0, 0.0, (message, self.devices))


@final
@dataclass(frozen=True, slots=True)
class Transfer(AbstractOp):
    """A copy of `bytes` per execution over a named link (`host`, `pcie`, `scale_up`, `memory`)."""

    name: str
    link: str
    bytes: Numeric

    @property
    def parameters(self) -> Numeric:
        return 0.0

    def work(self, shape: Shape) -> Work:
        return Work(self.name, f"copy_{self.link}", "vector", 0.0, 0.0, 0.0, 0.0, (self.bytes,))


def clipped_sum(start: Numeric, count: Numeric, window: Numeric) -> Numeric:
    """sum over i = 1..count of min(start + i, window); exact for whole numbers, continuous in between."""
    below = maximum(minimum(window - start, count), 0.0)
    return below * start + below * (below + 1.0) / 2.0 + (count - below) * window


def chunked_sum(start: Numeric, count: Numeric, chunk: Numeric) -> Numeric:
    """sum over i = 1..count of the 1-based position of token start + i within its chunk (Llama-4's local attention)."""

    def upto(n: Numeric) -> Numeric:
        whole = n // chunk
        rest = n - whole * chunk
        return whole * chunk * (chunk + 1.0) / 2.0 + rest * (rest + 1.0) / 2.0

    return upto(start + count) - upto(start)
