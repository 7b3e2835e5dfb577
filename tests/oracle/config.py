"""Descriptions of a tiny LVLM and of one request; plain data, exportable to a Hugging Face style dict."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Final

KV_DTYPES: Final = ("float32", "bfloat16", "float16")


def kept(fraction: float, n: int) -> int:
    """Rounding rule of every technique: max(1, round-half-to-even(fraction * n)), never more than n."""
    return min(n, max(1, round(fraction * n)))


@dataclass(frozen=True)
class VisionConfig:
    """A ViT: patch convolution, bidirectional attention, MLP (plain GELU or gated SiLU).

    ``window`` is the side of a square attention window [patches], 0 for none; layers named in
    ``full_attention_layers`` attend to the whole image all the same.
    """

    hidden_size: int = 64
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    intermediate_size: int = 128
    patch_size: int = 4
    gated_mlp: bool = False
    window: int = 0
    full_attention_layers: tuple[int, ...] = ()

    def windowed(self, layer: int) -> bool:
        return self.window > 0 and layer not in self.full_attention_layers


@dataclass(frozen=True)
class ProjectorConfig:
    """Two linear layers with a GELU between; ``spatial_merge_size`` s joins s x s neighbours channel-wise first."""

    hidden_size: int = 96
    spatial_merge_size: int = 1


@dataclass(frozen=True)
class TextConfig:
    """A decoder: RMSNorm, GQA with rotary positions, gated MLP or top-k MoE, some sliding-window layers."""

    vocab_size: int = 199
    hidden_size: int = 64
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 16
    intermediate_size: int = 128
    sliding_window: int = 0
    sliding_layers: tuple[int, ...] = ()
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    shared_expert_intermediate_size: int = 0
    tie_word_embeddings: bool = False
    attention_bias: bool = True

    def window(self, layer: int) -> int:
        """Sliding window of a layer [tokens, the query included]; 0 when the layer is global."""
        return self.sliding_window if layer in self.sliding_layers else 0

    def drafter(self, layers: int) -> TextConfig:
        """The separate drafter: same widths, fewer layers, dense MLP, no windows, own embedding and head."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values |= {"num_hidden_layers": layers, "sliding_window": 0, "sliding_layers": (), "num_experts": 0}
        values |= {"num_experts_per_tok": 0, "moe_intermediate_size": 0, "shared_expert_intermediate_size": 0}
        return TextConfig(**values)


@dataclass(frozen=True)
class ModelConfig:
    """One tiny LVLM. ``kv_dtype`` is the storage type of the cache; arithmetic is float32 whatever it is."""

    vision: VisionConfig = VisionConfig()
    projector: ProjectorConfig = ProjectorConfig()
    text: TextConfig = TextConfig()
    kv_dtype: str = "bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        v, t = self.vision, self.text
        if v.hidden_size % v.num_attention_heads:
            raise ValueError(
                f"vision.hidden_size={v.hidden_size}: a multiple of {v.num_attention_heads} heads is needed"
            )
        if t.num_attention_heads % t.num_key_value_heads:
            raise ValueError(f"text.num_key_value_heads={t.num_key_value_heads}: must divide {t.num_attention_heads}")
        if t.head_dim % 2:
            raise ValueError(f"text.head_dim={t.head_dim}: rotary positions need an even number")
        if self.kv_dtype not in KV_DTYPES:
            raise ValueError(f"kv_dtype={self.kv_dtype!r}: one of {KV_DTYPES}")
        if v.window % self.projector.spatial_merge_size:
            raise ValueError(f"vision.window={v.window}: a multiple of spatial_merge_size is needed")

    def to_dict(self) -> dict[str, Any]:
        """Hugging Face style, every width spelled out; ``from_dict`` reads it back."""
        v, t = self.vision, self.text
        text = asdict(t)
        sliding = set(text.pop("sliding_layers"))
        kinds = ["sliding_attention" if i in sliding else "full_attention" for i in range(t.num_hidden_layers)]
        text |= {"model_type": "qwen2_moe" if t.num_experts else "qwen2", "layer_types": kinds, "hidden_act": "silu"}
        text |= {"use_sliding_window": bool(sliding), "shared_expert_gate": False, "qk_norm": False}
        vision = asdict(v)
        vision["full_attention_layers"] = list(v.full_attention_layers)
        vision |= {"model_type": "oracle_vit", "num_channels": 3, "attention_bias": True, "mlp_bias": not v.gated_mlp}
        vision |= {"hidden_act": "silu" if v.gated_mlp else "gelu", "class_token": False}
        return {
            "model_type": "oracle_lvlm",
            "architectures": ["OracleLvlm"],
            "vision_config": vision,
            "projector_config": asdict(self.projector) | {"type": "mlp", "num_layers": 2, "bias": True},
            "text_config": text,
            "kv_dtype": self.kv_dtype,
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ModelConfig:
        def pick(kind: type, values: dict[str, Any]) -> dict[str, Any]:
            return {f.name: values[f.name] for f in fields(kind) if f.name in values}

        vision = pick(VisionConfig, data["vision_config"])
        vision["full_attention_layers"] = tuple(vision["full_attention_layers"])
        text = pick(TextConfig, data["text_config"])
        kinds = data["text_config"]["layer_types"]
        text["sliding_layers"] = tuple(i for i, kind in enumerate(kinds) if kind == "sliding_attention")
        projector = ProjectorConfig(**pick(ProjectorConfig, data["projector_config"]))
        return cls(VisionConfig(**vision), projector, TextConfig(**text), data["kv_dtype"], data["seed"])


@dataclass(frozen=True)
class OracleWorkload:
    """``batch`` equal requests; each: [text_before | visual tokens of all images | text_tokens], then decode.

    Image sizes are in pixels and multiples of patch_size (* window side, or * merge side). Prefill emits
    token 1, decode emits output_tokens - 1 more.
    """

    images: int = 1
    image_height: int = 32
    image_width: int = 32
    text_before: int = 0
    text_tokens: int = 12
    output_tokens: int = 4
    batch: int = 1
    seed: int = 0

    def to_dict(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, int]) -> OracleWorkload:
        return cls(**data)

    def grid(self, model: ModelConfig) -> tuple[int, int]:
        """Patches (rows, columns) of one image."""
        unit = model.vision.patch_size * max(model.vision.window, model.projector.spatial_merge_size)
        for name in ("image_height", "image_width"):
            if getattr(self, name) % unit or getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)}: a positive multiple of {unit} pixels is needed")
        return self.image_height // model.vision.patch_size, self.image_width // model.vision.patch_size

    def visual_tokens(self, model: ModelConfig) -> int:
        """Visual tokens of one request before any technique."""
        rows, columns = self.grid(model)
        return self.images * rows * columns // model.projector.spatial_merge_size**2
