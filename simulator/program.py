"""What a scenario becomes before it is timed: run-length coded layers that hold operators and carry their token state.

A technique never multiplies times; it edits this program. One edit at layer K changes `keep` of every later layer, and
with it prefill FLOPs, decode reads and KV memory at once, because all three are computed from the same layer. Where an
edit acts (the layer) is structural; how much (`keep`) is numeric and may be an array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any, Literal, final

from simulator.ops import AbstractOp, Shape
from simulator.quantity import Numeric, is_array, where

StageName = Literal["preprocess", "encode", "project", "prefill", "decode"]
STAGES: tuple[StageName, ...] = ("preprocess", "encode", "project", "prefill", "decode")


@final
@dataclass(frozen=True, slots=True)
class Grid:
    """Equal crops that an encoder sees, per sequence (request).

    crops: encoder passes (tiles, frames or temporal patches). height, width: patches of one crop. tokens: visual tokens
    that one crop becomes after the projector (separators not included). extra: further rows per crop in the encoder
    (class or register tokens). pixels: input pixels of one crop that the host writes (for the copy to the device).
    """

    crops: Numeric
    height: Numeric
    width: Numeric
    tokens: Numeric
    pixels: Numeric


@final
@dataclass(frozen=True, slots=True)
class VisualInput:
    """What preprocessing makes of the pictures and videos of one request.

    separators: visual tokens that the vision path adds besides the crops (newlines, tile separators).
    source_pixels: pixels of files; files: how many; resized_pixels: pixels after resizing. png_pixels, raw_pixels: those of the
    source_pixels that are inflated instead of JPEG's decoding, and that need none.
    images: pictures plus frames that form one bidirectional block each.
    """

    grids: tuple[Grid, ...]
    separators: Numeric
    files: Numeric
    source_pixels: Numeric
    resized_pixels: Numeric
    images: Numeric
    notes: tuple[str, ...] = ()
    png_pixels: Numeric = 0.0
    raw_pixels: Numeric = 0.0

    @property
    def tokens(self) -> Numeric:
        """Visual tokens handed to the LLM, separators included."""
        total: Numeric = self.separators
        for grid in self.grids:
            total = total + grid.crops * grid.tokens
        return total


@final
@dataclass(frozen=True, slots=True)
class Cache:
    """What one layer keeps per token, on one device, and how much of it stays and is read.

    key_width, value_width: elements per token. k_bits, v_bits: stored width with metadata [bit/element]; full_bits: width
    of what is not quantised (the newest `residual` tokens). visual, text: share of those tokens this layer caches at all.
    window: tokens kept at most (0: no limit). chunked: it is a chunk, whose rows a step in the next chunk does not read. resident_visual, resident_text: share kept after prefill. read: share of
    the resident prompt tokens read per step. padding: longest over mean of ragged heads (1: varlen kernel).
    fused: quantised keys are read by the attention kernel itself (False: expanded to full width first).
    resident_extra: tokens kept besides (indices, recent window). off_device: share of resident bytes in host memory.
    state_bytes: constant state per sequence (linear attention) [byte].
    """

    key_width: Numeric
    value_width: Numeric
    k_bits: Numeric = 16.0
    v_bits: Numeric = 16.0
    full_bits: Numeric = 16.0
    residual: Numeric = 0.0
    visual: Numeric = 1.0
    text: Numeric = 1.0
    window: Numeric = 0.0
    chunked: bool = False
    grows: bool = True
    resident_visual: Numeric = 1.0
    resident_text: Numeric = 1.0
    resident_extra: Numeric = 0.0
    read: Numeric = 1.0
    padding: Numeric = 1.0
    fused: bool = True
    off_device: Numeric = 0.0
    state_bytes: Numeric = 0.0
    written_visual: Numeric = 1.0

    @property
    def bytes_per_token(self) -> Numeric:
        """Stored bytes per cached token on one device."""
        return (self.key_width * self.k_bits + self.value_width * self.v_bits) / 8.0

    @property
    def full_bytes_per_token(self) -> Numeric:
        """Bytes per token before quantisation."""
        return (self.key_width + self.value_width) * self.full_bits / 8.0


@final
@dataclass(frozen=True, slots=True)
class Layer:
    """`count` equal layers from `index` on.

    prefill, decode: operators of one layer in that phase (an encoder has only `prefill`: its one pass).
    keep: visual rows alive here, as a share of those that entered the stack. executed_prefill, executed_decode: share
    of the passes in which the layer runs. step: the visual share that remains is needed by `keep` of later layers only.
    """

    kind: str
    index: int
    count: int
    prefill: tuple[AbstractOp, ...]
    decode: tuple[AbstractOp, ...] = ()
    cache: Cache | None = None
    keep: Numeric = 1.0
    executed_prefill: Numeric = 1.0
    executed_decode: Numeric = 1.0

    @property
    def stop(self) -> int:
        """Index after the last layer."""
        return self.index + self.count


@final
@dataclass(frozen=True, slots=True)
class Tower:
    """A vision encoder with the grids it sees and the projector that follows it.

    stem, layers, head: the encoder (patch embedding; blocks; final norm, pooling). `projector`: its rows are given as
    Tokens(visual = patches that leave the encoder, text = visual tokens handed on), per crop.
    extra_rows: class and register tokens per crop. devices: how many work in parallel on one crop (tensor parallel);
    split: share of the crops one device sees (1 / data-parallel degree). keep: share of each crop's tokens that leaves
    the projector. weight_bits: for parameters not owned by an operator (`other_parameters`).
    """

    name: str
    grids: tuple[Grid, ...]
    layers: tuple[Layer, ...]
    projector: tuple[Layer, ...]
    extra_rows: float = 0.0
    devices: float = 1.0
    copies: float = 1.0
    split: Numeric = 1.0
    other_parameters: float = 0.0
    projector_other_parameters: float = 0.0
    projector_devices: float = 1.0
    cached: Numeric = 0.0


@final
@dataclass(frozen=True, slots=True)
class Extra:
    """An overhead operator of a technique: run `repeats` times in `stage`, on a shape of its own.

    stage decode: repeats are per request, not per step, unless per_step. memory_bytes: what it keeps in memory besides;
    peak_bytes: what it needs for a moment. counted: its FLOPs belong to the stage's `matmul_flops`.
    """

    label: str
    stage: StageName
    op: AbstractOp
    shape: Shape
    repeats: Numeric = 1.0
    per_step: bool = False
    memory_bytes: Numeric = 0.0
    peak_bytes: Numeric = 0.0
    counted: bool = True


@final
@dataclass(frozen=True, slots=True)
class Decoder:
    """A language model as a stack: embedding, layers, head (final norm, lm_head, sampling).

    crossed: visual tokens are attended to from beside, they have no place in the sequence. replicas: data-parallel copies that take requests; busy: how many of them are at work, on average over a batch.
    """

    name: str
    embedding: Layer
    layers: tuple[Layer, ...]
    head: Layer
    hidden: float
    vocabulary: float
    max_context: float
    devices: float = 1.0
    pipeline: float = 1.0
    replicas: float = 1.0
    busy: Numeric = 1.0
    other_parameters: Numeric = 0.0
    tied: bool = False
    crossed: bool = False
    embedding_bits: float = 16.0

    @property
    def fullest(self) -> float:
        """Share of the layers that the pipeline stage with most of them holds."""
        depth = total_layers(self.layers)
        return ceil(depth / self.pipeline) / depth if depth else 1.0


@final
@dataclass(frozen=True, slots=True)
class Draft:
    """A drafter: `decoder` runs `steps` times per cycle on `keep` of the visual tokens (0: it does not see them)."""

    decoder: Decoder
    steps: Numeric
    keep: Numeric
    rows: Numeric = 1.0
    prefills: bool = True
    own_weights: bool = True
    own_cache: bool = True


@final
@dataclass(frozen=True, slots=True)
class DecodePlan:
    """How output tokens come about: cycles per output token, rows per target pass, and a drafter if there is one."""

    cycles_per_token: Numeric = 1.0
    rows: Numeric = 1.0
    draft: Draft | None = None


@final
@dataclass(frozen=True, slots=True)
class PrefillPlan:
    """cached_*: prompt tokens whose KV is already there. chunks: passes the prompt is split into.
    peak_resident: with chunked compression, share of the written KV that is there at the worst moment (1: all)."""

    cached_visual: Numeric = 0.0
    cached_text: Numeric = 0.0
    chunk_tokens: Numeric = 0.0
    peak_resident: Numeric = 1.0


@final
@dataclass(frozen=True, slots=True)
class Branch:
    """Another way a request may go, with probability `weight`: instead of the main program (a router), or `additional`
    to it (a low-resolution try that is repeated in full)."""

    weight: Numeric
    program: Program
    additional: bool


@final
@dataclass(frozen=True, slots=True)
class Program:
    """One request (batch of equal requests) as stages to be timed.

    text, output: tokens per sequence. visual_keep: share of the visual tokens that reaches the LLM (what the encoder
    side left). host_scale: factor on the host's work. boundary_bytes: what crosses each stage boundary, where asked for.
    branches: other ways the request may go. needs_query: the result depends on the question, so it cannot be cached.
    """

    batch: Numeric
    text: Numeric
    output: Numeric
    visual_input: VisualInput
    towers: tuple[Tower, ...]
    decoder: Decoder
    visual_keep: Numeric = 1.0
    prefill: PrefillPlan = PrefillPlan()
    decode: DecodePlan = DecodePlan()
    extras: tuple[Extra, ...] = ()
    branches: tuple[Branch, ...] = ()
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    needs_query: bool = False
    host_scale: Numeric = 1.0
    boundary_bytes: dict[str, Numeric] = field(default_factory=dict[str, Numeric])

    @property
    def visual(self) -> Numeric:
        """Visual tokens that enter LLM layer 0, per sequence."""
        return self.visual_input.tokens * self.visual_keep

    @property
    def sequence(self) -> Numeric:
        """Tokens of one sequence when its answer is complete."""
        return (0.0 if self.decoder.crossed else self.visual) + self.text + self.output


def ways(program: Program, share: Numeric = 1.0) -> list[tuple[Program, Numeric]]:
    """Each way a request may go, branches of branches included, with how often a request goes it (a retry goes two)."""
    found: list[tuple[Program, Numeric]] = [(program, share)]
    for branch in program.branches:
        stay: Numeric = 1.0 if branch.additional else 1.0 - branch.weight
        found = [(way, often * stay) for way, often in found]
        found += ways(branch.program, share * branch.weight)
    return found


def unless(off: Any, plain: Program, changed: Program) -> Program:
    """`changed`, but where `off` holds in an array, `plain`: both are then evaluated and each scenario takes its own way."""
    if not is_array(off) or not off.any():
        return changed
    return replace(changed, branches=(*changed.branches, Branch(where(off, 1.0, 0.0), plain, additional=False)))


def split(layers: tuple[Layer, ...], at: int) -> tuple[Layer, ...]:
    """The same layers with a run boundary at layer `at`."""
    out: list[Layer] = []
    for layer in layers:
        if layer.index < at < layer.stop:
            out.append(replace(layer, count=at - layer.index))
            out.append(replace(layer, index=at, count=layer.stop - at))
        else:
            out.append(layer)
    return tuple(out)


def edit(
    layers: tuple[Layer, ...], change: Callable[[Layer], Layer], start: int = 0, stop: int | None = None
) -> tuple[Layer, ...]:
    """`change` applied to the layers start <= index < stop."""
    end = layers[-1].stop if stop is None else stop
    parts = split(split(layers, start), end)
    return tuple(change(layer) if start <= layer.index < end else layer for layer in parts)


def on_ops(change: Callable[[AbstractOp], AbstractOp]) -> Callable[[tuple[AbstractOp, ...]], tuple[AbstractOp, ...]]:
    """`change` on each of the operators; layers that share theirs share them afterwards."""
    made: dict[int, tuple[tuple[AbstractOp, ...], tuple[AbstractOp, ...]]] = {}

    def changed(ops: tuple[AbstractOp, ...]) -> tuple[AbstractOp, ...]:
        if id(ops) not in made:
            made[id(ops)] = (ops, tuple(map(change, ops)))  # the key's object is kept alive
        return made[id(ops)][1]

    return changed


def map_ops(layers: Iterable[Layer], change: Callable[[AbstractOp], AbstractOp]) -> tuple[Layer, ...]:
    """`change` applied to every operator of the layers, in both phases."""
    changed = on_ops(change)
    return tuple(replace(layer, prefill=changed(layer.prefill), decode=changed(layer.decode)) for layer in layers)


def total_layers(layers: Iterable[Layer]) -> int:
    """Number of layers in the runs."""
    return sum(layer.count for layer in layers)
