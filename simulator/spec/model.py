"""A large vision-language model as its published configuration states it: encoder, projector, language model.

Layers are named blocks and an order (`5 local`, `1 global`, ...), each block with its own attention kind, so that hybrids
(sliding and full, linear and full, cross-attention layers in between) are data. Sizes are per token and per layer; nothing
here depends on a picture, except the scheme in `preprocessing`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.spec.preprocessing import Preprocessing
from simulator.spec.source import Source, Spec

AttentionKind = Literal["full", "sliding", "chunked", "mla", "cross", "linear", "grid"]
Rows = Literal["patches", "merged", "tokens"]
Count = Annotated[int, Field(ge=0, le=10**13)]
Size = Annotated[int, Field(ge=1, le=10**9)]
Width = Annotated[int, Field(ge=0, le=10**9)]
MAX_LAYERS = 4096


class AttentionSpec(Spec):
    """One token mixer. head_dim: width of a head of Q and K; value_dim: of V (0: as head_dim).

    sliding, chunked, grid: `window` tokens (grid: window x window patches; with `filled`, windows at the border are filled up and
    Q, K, V and O run on the filling too). qk_norm: parameters of the norms on Q and K
    together. mla: q_rank (0: Q is not compressed), kv_rank, rope_dim; head_dim = nope + rope. linear: state-space or
    linear attention: `projections` are its matrices, `state_elements` its state per sequence, `scan_elements` what its scan
    moves per token, `other_parameters` what is no matrix (short convolution, decay, norms). shared_kv: K and V come from an
    earlier layer. gate: an output gate of that many values per token, made by a matrix of its own.
    """

    kind: AttentionKind
    heads: Width = 0
    kv_heads: Width = 0
    head_dim: Width = 0
    value_dim: Width = 0
    window: Width = 0
    filled: bool = False
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
    projections: tuple[LinearSpec, ...] = ()
    state_elements: Count = 0
    scan_elements: Count = 0
    other_parameters: Count = 0

    @model_validator(mode="after")
    def _consistent(self) -> AttentionSpec:
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
    """A matrix: `inputs` x `outputs`, `copies` side by side on the same rows."""

    name: str
    inputs: Size
    outputs: Size
    bias: bool = False
    copies: Size = 1


class FeedForwardSpec(Spec):
    """gated: SwiGLU-like (three matrices), else two. experts > 0: a routed mixture of `active` of `experts`, each of
    `width`. shared_width: the always-on expert; shared_gate: its scalar gate. router_bias: a bias per expert."""

    width: Size
    gated: bool = True
    bias: bool = False
    experts: Width = 0
    active: Width = 0
    shared_width: Width = 0
    shared_gate: bool = False
    router_bias: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> FeedForwardSpec:
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

    hidden, scale: width and rows per final patch where they differ from the stack's (hierarchical encoders). extra_rows: the
    encoder's class and register rows pass through it too. norms: how many normalisations a token passes; norm_parameters: all
    their weights; other_parameters: layer scales, gates.
    """

    attention: AttentionSpec | None = None
    feed_forward: FeedForwardSpec | None = None
    convolutions: tuple[ConvolutionSpec, ...] = ()
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


class PoolingHead(Spec):
    """Attention pooling: one learned query over all rows of a crop, then a feed-forward part. It is run even where nothing
    uses its result, if the published class does so (`rows`: patches of a crop)."""

    heads: Size
    width: Size
    rows: Size


class VisionEncoder(Spec):
    """The tower. patch: its stride [pixel]; for convolution stages that of the last stage; patch_kernel 0: no patch embedding
    (convolution stages do it), else its side [pixel]. temporal_patch: frames per patch. extra_rows: class and register tokens
    and padding rows that pass through the blocks of a crop. joint_crops: crops of a picture that attend to each other.
    stem_norm_parameters, final_norm_parameters: norms before and after the blocks. other_parameters: positions, class
    tokens, and whatever is owned but not run.
    """

    name: str
    hidden: Size
    patch: Size
    patch_kernel: Width
    patch_bias: bool = False
    channels: Size = 3
    temporal_patch: Size = 1
    extra_rows: Width = 0
    joint_crops: Size = 1
    stack: Stack
    stem_norm_parameters: Count = 0
    final_norm_parameters: Count = 0
    pooling: PoolingHead | None = None
    other_parameters: Count = 0


class Step(Spec):
    """One operator of a projector. rows: it runs on every patch that leaves the encoder (`patches`), on merge x merge patches
    joined (`merged`), or on the visual tokens handed on (`tokens`). share: rows per patch, for learned queries whose number
    is neither (`patches` only: 32 queries for 256 patches are 0.125).

    linear: inputs x outputs, `copies`. norm, activation, gather: `outputs` elements per row; norm owns `parameters`.
    attention: `heads` of `head_dim`; queries are its rows; keys are `patches`, `tokens` or the queries `own` (`keys`), of which
    each query sees `density`. convolution: kernel x kernel, inputs to outputs, groups.
    """

    op: Literal["linear", "norm", "activation", "gather", "attention", "convolution"]
    name: str
    rows: Rows = "merged"
    share: float = Field(default=1.0, gt=0, le=1e6)
    inputs: Width = 0
    outputs: Width = 0
    bias: bool = False
    copies: Size = 1
    parameters: Count = 0
    heads: Width = 0
    head_dim: Width = 0
    keys: Literal["patches", "tokens", "own"] = "patches"
    density: float = Field(default=1.0, gt=0, le=1)
    kernel: Size = 1
    groups: Size = 1
    count: Size = 1


class Projector(Spec):
    """Everything between the tower and the language model. merge: patches per side that become one row. other_parameters:
    newline vectors, learned queries, separators."""

    kind: Literal[
        "linear",
        "mlp",
        "pixel-shuffle",
        "patch-merger",
        "deepstack",
        "average-pool",
        "resampler",
        "q-former",
        "abstractor",
        "token-packer",
        "compressor",
    ]
    merge: Size = 1
    steps: tuple[Step, ...]
    other_parameters: Count = 0


class LanguageModel(Spec):
    """The decoder. embedding_rows: rows of the input embedding (0: vocabulary). bidirectional: prompt tokens that attend
    both ways (each picture among itself, or the whole prompt). max_context [tokens]. cross_attention: visual tokens are not in
    the sequence; `cross` blocks attend to them."""

    name: str
    hidden: Size
    vocabulary: Size
    embedding_rows: Width = 0
    tied_embeddings: bool
    head_bias: bool = False
    stack: Stack
    final_norm_parameters: Count
    max_context: Size
    bidirectional: Literal["none", "images", "prompt"] = "none"
    other_parameters: Count = 0

    @cached_property
    def cross_attention(self) -> bool:
        """Whether pictures enter by cross-attention only."""
        return any(block.attention is not None and block.attention.kind == "cross" for _, block in self.stack.runs)


class Lvlm(Spec):
    """One checkpoint. vision, projector and preprocessing are absent together: a language model alone.

    published_parameters: total its publisher states. excluded: parts that are left out (audio). assumptions: values that its
    configuration does not state.
    """

    name: str
    title: str
    sources: tuple[Source, ...] = Field(min_length=1)
    published_parameters: int | None = Field(default=None, ge=1)
    vision: VisionEncoder | None = None
    projector: Projector | None = None
    preprocessing: Preprocessing | None = None
    language: LanguageModel
    assumptions: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    notes: str = ""

    @model_validator(mode="after")
    def _together(self) -> Lvlm:
        parts = {"vision": self.vision, "projector": self.projector, "preprocessing": self.preprocessing}
        missing = [name for name, part in parts.items() if part is None]
        if missing and len(missing) < len(parts):
            raise ValueError(
                f"{missing[0]} is missing: a model has vision, projector and preprocessing, or none of them"
            )
        return self

    @cached_property
    def _key(self) -> int:
        return hash((self.name, self.title, self.language.hidden, self.language.vocabulary, self.language.stack.layers))

    def __hash__(self) -> int:
        """Cheap and constant, because specs are keys of the build caches."""
        return self._key


AttentionSpec.model_rebuild()
