"""One paper of the catalogue, and the tree it is filed in."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Stage = Literal["Encoding", "Prefilling", "Decoding", "System", "Frontier", "Cross-cutting"]
Modality = Literal["image", "video", "streaming_video", "general", "text"]

OPERATORS = {
    "ENC_ARCH": "encoder architecture",
    "ADAPTER": "projector",
    "FRAME_SELECT": "frames",
    "RES_ADAPT": "resolution",
    "ENC_TOKEN_REDUCE": "tokens in or after the encoder",
    "PRE_LLM_REDUCE": "tokens before the decoder",
    "IN_LLM_SCHEDULE": "tokens inside the decoder",
    "VISION_BYPASS": "work on visual tokens",
    "ATTN_SPARSITY": "attention pairs",
    "KV_EVICT": "cached tokens",
    "KV_RETRIEVE": "cached tokens read",
    "KV_QUANT": "bits of the cache",
    "HYBRID_HEAD": "heads, each its own way",
    "SPEC_DECODE": "decoding steps",
    "OUTPUT_LEN": "output length",
    "STREAM_STATE": "state of a stream",
    "WEIGHT_COMPRESS": "weights",
    "PLACEMENT": "placement on devices",
}
"""What a method acts on: the canonical cost operators, and in words."""

TAXONOMY: dict[Stage, dict[str, frozenset[str]]] = {
    "Encoding": {
        "Efficient Vision Encoders": frozenset({"Image-Related", "Video-Related"}),
        "Efficient Modality Adapters": frozenset({""}),
        "Keyframe Selection": frozenset({"Training-Free", "Training-Aware"}),
        "Adaptive Resolution": frozenset({""}),
        "Encoding-Side Token Compression": frozenset({"Attention-Agnostic", "Attention-Aware"}),
    },
    "Prefilling": {
        "Prefilling-Side Token Compression": frozenset({"Diversity-Guided", "Attention-Guided"}),
        "Sparse Attention": frozenset({""}),
        "Visual Computation Skipping": frozenset({""}),
    },
    "Decoding": {
        "KV Cache Compression": frozenset({"Token-Level", "Layer-Level", "Head-Level", "Bit-Level"}),
        "Speculative Decoding": frozenset({"Training-Free", "Training-Aware", "Cited in pilot D.2"}),
        "Efficient Reasoning": frozenset({""}),
        "Weight Quantisation": frozenset({""}),
        "Efficient Backbones": frozenset({""}),
    },
    "System": {
        "Serving Architectures": frozenset({"Stage-based", "Modality-based", "Resource-based"}),
        "Serving Engines": frozenset({""}),
        "Parallelism": frozenset({""}),
    },
    "Frontier": {
        "Representation: hybrid compression": frozenset({""}),
        "Generation: modality-aware decoding": frozenset({""}),
        "Continuity: streaming state management": frozenset({"Streaming visual memory at encoding"}),
        "System co-design": frozenset({""}),
    },
    "Cross-cutting": {
        "Attention Kernels": frozenset({""}),
        "Surveys and Benchmarks": frozenset({""}),
    },
}
"""The survey's tree (arXiv 2604.05546, Figure 3, Appendix C.1 and Section 6), with a few branches for work it does not cover."""


class Placement(BaseModel):
    """A place in the tree; a paper that spans two stages has two."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Stage
    category: str
    subcategory: str = ""

    @model_validator(mode="after")
    def _in_tree(self) -> Placement:
        categories = TAXONOMY[self.stage]
        if self.category not in categories:
            raise ValueError(
                f"category: {self.category!r} is not in stage {self.stage}; accepted: {', '.join(categories)}"
            )
        if self.subcategory not in categories[self.category]:
            accepted = ", ".join(repr(name) for name in sorted(categories[self.category]))
            raise ValueError(
                f"subcategory: {self.subcategory!r} is not in category {self.category!r}; accepted: {accepted}"
            )
        return self


class Entry(BaseModel):
    """A paper: where it stands in the tree, what it acts on, and what this project has of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    method: str = Field(min_length=1)
    title: str = Field(min_length=1)
    authors: str = ""
    """`Family, Given and others`, as BibTeX wants it; empty where nobody knows."""
    checked: str = ""
    """Where title and authors were read; empty where they were written down from memory."""
    placements: tuple[Placement, ...] = Field(min_length=1)
    venue: str
    year: int = Field(ge=2015, le=2100)
    arxiv: str = ""
    url: str = ""
    training_free: bool | None = None
    query_aware: bool | None = None
    """True where the result depends on the question, so that caches do not carry over to the next one."""
    modality: Modality = "general"
    operators: tuple[str, ...] = ()
    variant: str = ""
    listed: str = "added"
    published: int = Field(default=0, ge=0)
    """Rows of the published-figures table that report this paper's method."""
    summary: str = Field(min_length=20, max_length=240)
    no_preset_reason: str = ""
    presets: tuple[str, ...] = ()
    """Technique presets that model it; filled from the preset table when the catalogue is loaded."""

    @field_validator("id")
    @classmethod
    def _slug(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", value):
            raise ValueError(f"id: {value!r} is not a slug; accepted: lower-case letters, digits and single dashes")
        return value

    @field_validator("arxiv")
    @classmethod
    def _arxiv(cls, value: str) -> str:
        """The bare id, also of `arXiv:2403.06764v2` and of an address."""
        bare = re.sub(r"^(arxiv:|https?://(www\.)?arxiv\.org/(abs|pdf|html)/)|(v\d+)?(\.pdf)?$", "", value.strip(), flags=re.IGNORECASE)
        if bare and not re.fullmatch(r"\d\d(0[1-9]|1[0-2])\.\d{4,5}", bare):
            raise ValueError(f"arxiv: {value!r} is not an arXiv id (year, month, number); accepted: 2403.06764, or empty")
        return bare

    @field_validator("operators")
    @classmethod
    def _operators(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(value) - OPERATORS.keys())
        if unknown:
            raise ValueError(f"operators: {', '.join(unknown)} unknown; accepted: {', '.join(sorted(OPERATORS))}")
        return value

    @property
    def stage(self) -> str:
        """The first stage it is filed under."""
        return self.placements[0].stage

    @property
    def category(self) -> str:
        """The first category it is filed under."""
        return self.placements[0].category

    @property
    def subcategory(self) -> str:
        """The first subcategory it is filed under; empty where the category has none."""
        return self.placements[0].subcategory
