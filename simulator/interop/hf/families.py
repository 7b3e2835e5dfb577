"""What the classes of each language model fix in code, as data; everything else is in the configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Flag = bool | str
"""What a class fixes (true, false), or the field of the configuration that decides; a field that is nowhere counts as false."""


@dataclass(frozen=True)
class Family:
    """One class. norms: normalisations of a layer; norm: weights per normalised element (0 none, 1 RMS, 2 with a bias).

    qk_norm: norms on Q and K, `head` with one weight per element of a head, `whole` with one per element of all heads;
    qk_normed: whether they are there. windows: how layers come by a sliding window (`listed`: by `layer_types`, else
    `period - 1` of `period` layers; 0: all). routed: which layers are mixtures (`from`: those from `first_k_dense_replace` on;
    `listed`: by `mlp_layer_types`, else all but the first).
    indexed: latent layers that choose whom they attend to by an index of their own (DeepSeek's sparse attention).
    other: further weights of a layer. experts, active, shared: fields that number the experts of a mixture, those a token visits, and its always-on ones
    (`*_size`: their width). expert_width: the field that sizes one.
    """

    gated: bool = True
    norms: int = 2
    norm: int = 1
    qkv_bias: Flag = False
    o_bias: Flag = False
    mlp_bias: Flag = False
    qk_norm: Literal["", "head", "whole"] = ""
    qk_normed: Flag = True
    head_bias: Flag = False
    sinks: bool = False
    latent: bool = False
    indexed: bool = False
    windows: Literal["", "always", "listed", "qwen", "qwen2_moe", "qwen3_moe", "nope", "chunks"] = ""
    period: int = 0
    routed: Literal["", "all", "from", "listed", "sparse", "interleaved", "ranged"] = ""
    experts: str = "num_experts"
    active: str = "num_experts_per_tok"
    expert_width: str = "moe_intermediate_size"
    shared: str = ""
    shared_gate: bool = False
    expert_bias: bool = False
    router_bias: bool = False
    other: int = 0
    parallel: str = ""


_BIAS = "attention_bias"
_DEEPSEEK = Family(
    qkv_bias=_BIAS, o_bias=_BIAS, latent=True, routed="from", experts="n_routed_experts", shared="n_shared_experts"
)
_QWEN3 = Family(qkv_bias=_BIAS, o_bias=_BIAS, qk_norm="head", windows="qwen")
_QWEN3_MOE = Family(qkv_bias=_BIAS, o_bias=_BIAS, qk_norm="head", windows="qwen3_moe", routed="sparse")
_QWEN2 = Family(qkv_bias=True, windows="qwen")
_GLM_MOE = Family(qkv_bias=_BIAS, routed="from", experts="n_routed_experts", shared="n_shared_experts")
_LLAMA = Family(qkv_bias=_BIAS, o_bias=_BIAS, mlp_bias="mlp_bias")
_ERNIE = Family(qkv_bias="use_bias", o_bias="use_bias", mlp_bias="use_bias")
_GRANITE_MOE = Family(
    qkv_bias=_BIAS, o_bias=_BIAS, routed="all", experts="num_local_experts", expert_width="intermediate_size"
)

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "granite": _LLAMA,
    "smollm3": Family(qkv_bias=_BIAS, o_bias=_BIAS, mlp_bias="mlp_bias", windows="nope"),
    "seed_oss": Family(qkv_bias=_BIAS, o_bias="attention_out_bias", mlp_bias="mlp_bias"),
    "olmo": Family(qkv_bias=_BIAS, o_bias=_BIAS, norm=0),
    "olmo2": Family(qkv_bias=_BIAS, o_bias=_BIAS, qk_norm="whole"),
    "olmo3": Family(qkv_bias=_BIAS, o_bias=_BIAS, qk_norm="whole", windows="listed", period=4),
    "mistral": Family(windows="always"),
    "ministral": Family(windows="listed"),
    "ministral3": Family(windows="always"),
    "mixtral": Family(windows="always", routed="all", experts="num_local_experts", expert_width="intermediate_size"),
    "starcoder2": Family(
        gated=False, norm=2, qkv_bias="use_bias", o_bias="use_bias", mlp_bias="use_bias", windows="always"
    ),
    "stablelm": Family(
        norm=2, qkv_bias="use_qkv_bias", qk_norm="whole", qk_normed="qk_layernorm", parallel="use_parallel_residual"
    ),
    "qwen2": _QWEN2,
    "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    "qwen2_moe": Family(
        qkv_bias="qkv_bias",
        windows="qwen2_moe",
        routed="sparse",
        shared="shared_expert_intermediate_size",
        shared_gate=True,
    ),
    "qwen3": _QWEN3,
    "qwen3_vl_text": Family(qkv_bias=_BIAS, o_bias=_BIAS, qk_norm="head"),
    "qwen3_moe": _QWEN3_MOE,
    "qwen3_vl_moe_text": Family(qkv_bias=_BIAS, o_bias=_BIAS, qk_norm="head", routed="sparse"),
    "gemma": Family(qkv_bias=_BIAS, o_bias=_BIAS),
    "gemma2": Family(qkv_bias=_BIAS, o_bias=_BIAS, norms=4, windows="listed", period=2),
    "gemma3_text": Family(qkv_bias=_BIAS, o_bias=_BIAS, norms=4, qk_norm="head", windows="listed", period=6),
    "cohere": Family(qkv_bias=_BIAS, o_bias=_BIAS, norms=1, qk_norm="whole", qk_normed="use_qk_norm"),
    "cohere2": Family(qkv_bias=_BIAS, o_bias=_BIAS, norms=1, windows="listed", period=4),
    "phi": Family(
        gated=False,
        norms=1,
        norm=2,
        qkv_bias=True,
        o_bias=True,
        mlp_bias=True,
        qk_norm="head",
        qk_normed="qk_layernorm",
        head_bias=True,
    ),
    "phi3": Family(windows="always"),
    "phi4_multimodal": Family(windows="always"),
    "glm4": Family(qkv_bias=_BIAS, norms=4),
    "glm4v_text": Family(qkv_bias=True, norms=4),
    "glm4v_moe_text": _GLM_MOE,
    "glm4_moe": Family(
        qkv_bias=_BIAS,
        qk_norm="head",
        qk_normed="use_qk_norm",
        routed="from",
        experts="n_routed_experts",
        shared="n_shared_experts",
    ),
    "persimmon": Family(
        gated=False,
        norm=2,
        qkv_bias=True,
        o_bias=True,
        mlp_bias=True,
        qk_norm="head",
        qk_normed="qk_layernorm",
    ),
    "glm_ocr_text": Family(norms=4),
    "paddleocr_vl_text": _ERNIE,
    "molmo2_text": Family(qkv_bias=_BIAS, qk_norm="head"),
    "aria_text": Family(
        qkv_bias=_BIAS,
        o_bias=_BIAS,
        mlp_bias="mlp_bias",
        routed="all",
        experts="moe_num_experts",
        active="moe_topk",
        expert_width="intermediate_size",
        shared="moe_num_shared_experts",
    ),
    "exaone4": Family(qk_norm="head", windows="listed", period=4),
    "ernie4_5": _ERNIE,
    "ernie4_5_moe": Family(
        qkv_bias="use_bias",
        o_bias="use_bias",
        mlp_bias="use_bias",
        head_bias="use_bias",
        routed="ranged",
        experts="moe_num_experts",
        active="moe_k",
        shared="moe_num_shared_experts",
        router_bias=True,
    ),
    "hunyuan_v1_dense": Family(qkv_bias=_BIAS, o_bias=_BIAS, qk_norm="head"),
    "hunyuan_vl_text": Family(qkv_bias=_BIAS, o_bias=_BIAS, qk_norm="head"),
    "gpt_oss": Family(
        qkv_bias=_BIAS,
        o_bias=_BIAS,
        sinks=True,
        windows="listed",
        period=2,
        routed="all",
        experts="num_local_experts",
        expert_width="intermediate_size",
        expert_bias=True,
        router_bias=True,
    ),
    "mllama_text_model": Family(),
    "llama4_text": Family(
        qkv_bias=_BIAS,
        o_bias=_BIAS,
        windows="chunks",
        routed="interleaved",
        experts="num_local_experts",
        expert_width="intermediate_size",
        shared="intermediate_size",
    ),
    "internlm2": Family(qkv_bias="bias", o_bias="bias"),
    "internlm3": Family(qkv_bias="qkv_bias", o_bias="bias", mlp_bias="bias"),
    "deepseek_v2": Family(
        qkv_bias=_BIAS,
        o_bias=_BIAS,
        mlp_bias="mlp_bias",
        latent=True,
        routed="from",
        experts="n_routed_experts",
        shared="n_shared_experts",
    ),
    "deepseek_v3": _DEEPSEEK,
    "glm": Family(qkv_bias=_BIAS),
    "arcee": Family(gated=False, qkv_bias=_BIAS, o_bias=_BIAS, mlp_bias="mlp_bias"),
    "apertus": Family(gated=False, qkv_bias=_BIAS, o_bias=_BIAS, qk_norm="head", other=2),
    "nemotron": Family(gated=False, norm=2, qkv_bias=_BIAS, o_bias=_BIAS, mlp_bias="mlp_bias"),
    "gpt_neox": Family(gated=False, norm=2, qkv_bias=_BIAS, o_bias=_BIAS, mlp_bias=True),
    "olmoe": Family(qkv_bias=_BIAS, o_bias=_BIAS, qk_norm="whole", routed="all", expert_width="intermediate_size"),
    "phimoe": Family(
        norm=2,
        qkv_bias=_BIAS,
        o_bias=_BIAS,
        head_bias="lm_head_bias",
        windows="always",
        routed="all",
        experts="num_local_experts",
        expert_width="intermediate_size",
    ),
    "granitemoe": _GRANITE_MOE,
    "granitemoeshared": replace(_GRANITE_MOE, shared="shared_intermediate_size"),
    "minimax_m2": Family(qk_norm="whole", routed="all", experts="num_local_experts", expert_width="intermediate_size"),
    "dots1": Family(
        qkv_bias=_BIAS,
        o_bias=_BIAS,
        qk_norm="head",
        routed="from",
        experts="n_routed_experts",
        shared="n_shared_experts",
    ),
    "glm4_moe_lite": replace(_DEEPSEEK, routed="listed"),
    "youtu": replace(_DEEPSEEK, routed=""),
    "deepseek_v32": replace(_DEEPSEEK, indexed=True),
    "glm_moe_dsa": replace(_DEEPSEEK, indexed=True),
    "minicpm3": replace(_DEEPSEEK, mlp_bias="mlp_bias", routed=""),
    "helium": Family(qkv_bias=_BIAS, mlp_bias="mlp_bias"),
    "vaultgemma": Family(qkv_bias=_BIAS, o_bias=_BIAS, windows="listed", period=2),
    "jais2": Family(gated=False, norm=2, qkv_bias=_BIAS, o_bias=_BIAS, mlp_bias="mlp_bias"),
    "solar_open": Family(qkv_bias=_BIAS, routed="all", experts="n_routed_experts", shared="n_shared_experts"),
    "hunyuan_v1_moe": Family(
        qkv_bias=_BIAS,
        o_bias=_BIAS,
        qk_norm="head",
        routed="all",
        active="moe_topk",
        expert_width="intermediate_size",
        shared="intermediate_size",
    ),
    "exaone_moe": Family(qk_norm="head", windows="listed", period=4, routed="from", shared="num_shared_experts"),
    "flex_olmo": Family(
        qkv_bias=_BIAS, o_bias=_BIAS, qk_norm="whole", routed="all", expert_width="intermediate_size"
    ),
}
