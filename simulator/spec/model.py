"""A large vision-language model as its published configuration states it: encoder, projector, language model.

Layers are named blocks and an order (`5 local`, `1 global`, ...), each block with its own attention kind, so that hybrids
(sliding and full, linear and full, cross-attention layers in between) are data. Sizes are per token and per layer; nothing
here depends on a picture, except the scheme in `preprocessing`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from simulator.spec.layers import (
    MAX_LAYERS,
    AttentionKind,
    AttentionSpec,
    Block,
    ConvolutionSpec,
    Count,
    FeedForwardSpec,
    LinearSpec,
    Size,
    Stack,
    Width,
)
from simulator.spec.preprocessing import Preprocessing
from simulator.spec.source import Source, Spec

__all__ = [
    "MAX_LAYERS", "AttentionKind", "AttentionSpec", "Block", "ConvolutionSpec", "FeedForwardSpec", "LanguageModel", "LinearSpec",
    "Lvlm", "PoolingHead", "Projector", "Stack", "Step", "VisionEncoder",
]  # fmt: skip
Rows = Literal["patches", "merged", "tokens", "all"]


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
    joined (`merged`), on the visual tokens handed on (`tokens`), or on patches and tokens alike (`all`). share: rows per patch, for learned queries whose number
    is neither (32 queries for 256 patches are 0.125), or per token (`patches` and `tokens` only).

    linear: inputs x outputs, `copies`. norm, activation, gather: `outputs` elements per row; norm owns `parameters`.
    attention: `heads` of `head_dim`; queries are its rows; keys are `patches`, `tokens`, both (`all`) or the queries `own` (`keys`),
    of which each query sees `density`. convolution: kernel x kernel, inputs to outputs, groups.
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
    keys: Literal["patches", "tokens", "own", "all"] = "patches"
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
    both ways (each picture among itself, in all layers or in the local ones alone, or the whole prompt). max_context [tokens]. cross_attention: visual tokens are not in
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
    bidirectional: Literal["none", "images", "local images", "prompt"] = "none"
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
