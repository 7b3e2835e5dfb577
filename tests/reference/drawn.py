"""Random valid configurations of every family, small enough to build and count on the meta device in a blink."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

Config = dict[str, Any]
PLAIN = {"rms_norm_eps": 1e-6, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


class Draw:
    """Draws from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.of = self.random.choice

    def flag(self) -> bool:
        return self.of([True, False])

    def flags(self, *names: str) -> Config:
        return {name: self.flag() for name in names}

    def sizes(self, own_head: bool = True) -> Config:
        """What every decoder states. own_head: heads may be wider or narrower than hidden_size / heads."""
        kv_heads = self.of([1, 2, 4])
        heads, head = kv_heads * self.of([1, 2, 3]), self.of([16, 32, 48, 80])
        wide = heads * self.of([16, 32, 64])
        out = {"intermediate_size": 32 * self.of([1, 3, 7]), "num_hidden_layers": self.of([1, 2, 3, 5, 8]),
               "num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": self.of([100, 1003]),
               "tie_word_embeddings": self.flag(), "max_position_embeddings": self.of([512, 4096])}  # fmt: skip
        return PLAIN | out | ({"hidden_size": wide, "head_dim": head} if own_head else {"hidden_size": heads * head})

    def kinds(self, config: Config, *kinds: str) -> Config:
        """Sometimes with an explicit kind per layer."""
        if self.flag():
            config["layer_types"] = [self.of(list(kinds)) for _ in range(config["num_hidden_layers"])]
        return config

    def windows(self, config: Config) -> Config:
        return self.kinds(config | {"sliding_window": self.of([5, 16, 64])}, "full_attention", "sliding_attention")

    def switched(self, config: Config) -> Config:
        """Windows behind a switch."""
        used = {
            "use_sliding_window": self.flag(),
            "sliding_window": self.of([8, 16]),
            "max_window_layers": self.of([0, 2, 28]),
        }
        return config | used

    def always(self, config: Config) -> Config:
        return config | {"sliding_window": self.of([None, 5, 16, 4096])}

    def experts(self, config: Config, name: str = "num_experts") -> Config:
        return config | {name: self.of([4, 8]), "num_experts_per_tok": self.of([1, 2]), "moe_intermediate_size": 32}

    def sparse(self, config: Config) -> Config:
        return self.experts(config) | {
            "decoder_sparse_step": self.of([1, 2]),
            "mlp_only_layers": self.of([[], [0], [1, 2]]),
        }

    def tower(self, **more: Any) -> Config:
        heads, patch = self.of([2, 3, 4]), self.of([14, 16])
        return {"hidden_size": heads * self.of([16, 24, 32]), "intermediate_size": self.of([40, 100]), "num_channels": 3,
                "num_hidden_layers": self.of([1, 2, 3]), "num_attention_heads": heads, "patch_size": patch,
                "image_size": patch * self.of([8, 12, 16])} | more  # fmt: skip


def _latent(draw: Draw) -> Config:
    config = draw.experts(draw.sizes(False), "n_routed_experts") | draw.flags("attention_bias")
    ranks = {"q_lora_rank": draw.of([None, 48]), "kv_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32,
             "v_head_dim": draw.of([24, 32]), "first_k_dense_replace": draw.of([0, 1, 3]), "n_group": 2, "topk_group": 1,
             "n_shared_experts": draw.of([1, 2]), "num_key_value_heads": config["num_attention_heads"]}  # fmt: skip
    return config | ranks


def _llama4(draw: Draw) -> Config:
    config = draw.experts(draw.sizes(), "num_local_experts") | draw.flags("attention_bias", "use_qk_norm")
    del config["moe_intermediate_size"]
    config |= {
        "intermediate_size_mlp": 96,
        "interleave_moe_layer_step": draw.of([1, 2]),
        "attention_chunk_size": draw.of([8, 16]),
    }
    if draw.flag():
        config["moe_layers"] = [i for i in range(config["num_hidden_layers"]) if draw.flag()]
    if draw.flag():
        config["no_rope_layers"] = [draw.of([0, 1]) for _ in range(config["num_hidden_layers"])]
    return draw.kinds(config | {"no_rope_layer_interval": draw.of([2, 4])}, "full_attention", "chunked_attention")


def _linear(draw: Draw) -> Config:
    return {"linear_num_key_heads": 2, "linear_num_value_heads": draw.of([2, 4]), "linear_key_head_dim": 16,
            "linear_value_head_dim": draw.of([16, 24]), "shared_expert_intermediate_size": draw.of([16, 64])}  # fmt: skip


def _hybrid(draw: Draw, config: Config) -> Config:
    config = draw.kinds(config | _linear(draw) | draw.flags("attention_bias"), "full_attention", "linear_attention")
    return config | {"rope_parameters": _mrope(config["head_dim"] // 4, 0.25)}


def _mrope(width: int, factor: float = 1.0) -> Config:
    pairs = max(1, width // 2)
    section = [pairs - 2 * (pairs // 3), pairs // 3, pairs // 3]
    return {"rope_type": "default", "rope_theta": 1e4, "mrope_section": section, "partial_rotary_factor": factor}


def _ernie_moe(draw: Draw) -> Config:
    config = draw.experts(draw.sizes(), "moe_num_experts") | draw.flags("use_bias")
    config["moe_k"] = config.pop("num_experts_per_tok")
    ends = {"moe_layer_start_index": draw.of([0, 1]), "moe_layer_end_index": draw.of([-1, 1, 3])}
    return config | ends | {"moe_num_shared_experts": draw.of([0, 2]), "moe_layer_interval": draw.of([1, 2])}


def _glm_moe(draw: Draw) -> Config:
    config = draw.experts(draw.sizes(False), "n_routed_experts") | draw.flags("attention_bias")
    return config | {"n_shared_experts": draw.of([1, 2]), "first_k_dense_replace": draw.of([0, 1])}


def _opt(draw: Draw) -> Config:
    sizes = draw.sizes(False)
    kept = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "tie_word_embeddings")
    config = {name: sizes[name] for name in kept} | draw.flags("enable_bias", "do_layer_norm_before")
    return config | {"word_embed_proj_dim": sizes["hidden_size"], "ffn_dim": 96, "pad_token_id": 1}


def _lfm2(draw: Draw) -> Config:
    config = draw.sizes(False) | draw.flags("conv_bias", "block_auto_adjust_ff_dim")
    config |= {"block_multiple_of": draw.of([16, 256]), "block_ffn_dim_multiplier": draw.of([1.0, 1.3])}
    rest = [draw.of(["full_attention", "conv"]) for _ in range(config["num_hidden_layers"] - 1)]
    return config | {"layer_types": ["full_attention", *rest]}


def _gemma4(draw: Draw) -> Config:
    config = draw.windows(draw.sizes()) | draw.flags(
        "attention_bias", "attention_k_eq_v", "use_double_wide_mlp", "enable_moe_block"
    )
    config["num_hidden_layers"] = draw.of([4, 6, 8])
    config.pop("layer_types", None)
    config["num_kv_shared_layers"] = draw.of([0, 1]) if config["num_hidden_layers"] > 6 else 0
    config |= {"global_head_dim": draw.of([24, 64]), "num_global_key_value_heads": draw.of([None, 1])}
    config |= {
        "hidden_size_per_layer_input": 16 if config["num_kv_shared_layers"] else draw.of([0, 16]),
        "vocab_size_per_layer_input": config["vocab_size"],
    }
    return config | {"num_experts": 8, "top_k_experts": draw.of([1, 2]), "moe_intermediate_size": 32}


def _gemma3n(draw: Draw) -> Config:
    config = draw.sizes(False) | {"sliding_window": draw.of([5, 16]), "num_hidden_layers": draw.of([11, 12])}
    config["intermediate_size"] = [draw.of([32, 64]) for _ in range(config["num_hidden_layers"])]
    config |= {
        "num_kv_shared_layers": draw.of([0, 1, 5]),
        "altup_num_inputs": draw.of([2, 4]),
        "laurel_rank": draw.of([8, 16]),
    }
    return config | {"hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": config["vocab_size"]}


def _own_width(draw: Draw, name: str, own_head: bool = False) -> Config:
    """Experts as wide as `intermediate_size` says."""
    config = draw.experts(draw.sizes(own_head), name)
    return {key: value for key, value in config.items() if key != "moe_intermediate_size"}


def _gpt_neox(draw: Draw) -> Config:
    config = draw.sizes(False) | draw.flags("attention_bias", "use_parallel_residual")
    return {key: value for key, value in config.items() if key != "num_key_value_heads"}


def _lfm2_moe(draw: Draw) -> Config:
    config = draw.experts(draw.sizes(False)) | draw.flags("conv_bias") | {"num_dense_layers": draw.of([0, 1])}
    rest = [draw.of(["full_attention", "conv"]) for _ in range(config["num_hidden_layers"] - 1)]
    return config | {"layer_types": ["full_attention", *rest]}


def _with_mamba(draw: Draw) -> Config:
    config = draw.sizes(False) | {"num_hidden_layers": 3}
    heads = 4
    inner = {"mamba_n_heads": heads, "mamba_d_head": 2 * config["hidden_size"] // heads, "mamba_d_state": draw.of([8, 16]),
             "mamba_n_groups": draw.of([1, 2]), "mamba_d_conv": draw.of([2, 4]), "mamba_expand": 2}  # fmt: skip
    return config | inner | draw.flags("mamba_conv_bias", "mamba_proj_bias")


def _granite(draw: Draw) -> Config:
    config = draw.experts(_with_mamba(draw), "num_local_experts") | {"shared_intermediate_size": 48}
    config["num_local_experts"] = draw.of([0, 8])
    del config["moe_intermediate_size"]
    return config | {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}


def _jamba(draw: Draw) -> Config:
    config = draw.experts(draw.sizes(False)) | {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1}
    del config["moe_intermediate_size"]
    config |= {
        "expert_layer_period": draw.of([1, 2]),
        "expert_layer_offset": 0,
        "mamba_d_state": 8,
        "mamba_d_conv": draw.of([2, 4]),
    }
    return config | draw.flags("mamba_conv_bias", "mamba_proj_bias")


def _nemotron(draw: Draw) -> Config:
    config = draw.experts(draw.sizes(), "n_routed_experts") | {
        "mamba_num_heads": 4,
        "mamba_head_dim": 16,
        "ssm_state_size": draw.of([8, 16]),
    }
    del config["num_hidden_layers"]
    config |= {"n_groups": draw.of([1, 2]), "conv_kernel": 4, "moe_shared_expert_intermediate_size": 48}
    kinds = ["linear_attention", "full_attention", *(draw.of(["mlp", "moe", "linear_attention"]) for _ in range(3))]
    return config | draw.flags("attention_bias", "use_bias", "mlp_bias", "use_conv_bias") | {"layers_block_type": kinds}


def _mamba(draw: Draw) -> Config:
    sizes = {"hidden_size": draw.of([64, 100]), "state_size": draw.of([8, 16]), "conv_kernel": draw.of([2, 4])}
    return (
        sizes
        | {"num_hidden_layers": 3, "vocab_size": 100}
        | draw.flags("use_bias", "use_conv_bias", "tie_word_embeddings")
    )


def _own_head(config: Config) -> Config:
    return config | {"head_dim": config["hidden_size"] // config["num_attention_heads"]}


def _gpt2(draw: Draw) -> Config:
    sizes, heads = draw.sizes(False), draw.of([2, 4])
    return {"n_embd": heads * 16, "n_head": heads, "n_layer": sizes["num_hidden_layers"], "n_positions": 128, "vocab_size": 1003,
            "n_inner": draw.of([None, 48]), "tie_word_embeddings": draw.flag(), "bos_token_id": 0, "eos_token_id": 1}  # fmt: skip


def _bloom(draw: Draw) -> Config:
    heads = draw.of([2, 4])
    return {"hidden_size": heads * 16, "n_head": heads, "n_layer": draw.of([1, 3]), "vocab_size": 1003, "tie_word_embeddings": draw.flag()}


def _falcon(draw: Draw) -> Config:
    heads = draw.of([4, 8])
    config = {"hidden_size": heads * 16, "num_attention_heads": heads, "num_hidden_layers": draw.of([1, 3]), "vocab_size": 1003,
              "num_kv_heads": draw.of([2, 4]), "tie_word_embeddings": draw.flag()}  # fmt: skip
    return config | draw.flags("new_decoder_architecture", "multi_query", "parallel_attn", "bias", "alibi")


TEXTS: dict[str, Callable[[Draw], Config]] = {
    "llama": lambda d: d.sizes() | d.flags("attention_bias", "mlp_bias"),
    "granite": lambda d: d.sizes(False) | d.flags("attention_bias", "mlp_bias"),
    "seed_oss": lambda d: d.sizes() | d.flags("attention_bias", "attention_out_bias", "mlp_bias"),
    "smollm3": lambda d: (
        d.switched(d.sizes(False)) | d.flags("attention_bias", "mlp_bias") | {"no_rope_layer_interval": 2}
    ),
    "mistral": lambda d: d.always(d.sizes()),
    "ministral": lambda d: d.windows(d.sizes()),
    "ministral3": lambda d: d.always(d.sizes()),
    "mixtral": lambda d: d.always(d.experts(d.sizes(), "num_local_experts")),
    "starcoder2": lambda d: d.always(d.sizes(False)) | d.flags("use_bias"),
    "stablelm": lambda d: d.sizes(False) | d.flags("use_qkv_bias", "qk_layernorm", "use_parallel_residual"),
    "qwen2": lambda d: d.switched(d.sizes(False)),
    "qwen2_moe": lambda d: (
        d.switched(d.sparse(d.sizes(False))) | d.flags("qkv_bias") | {"shared_expert_intermediate_size": 48}
    ),
    "qwen3": lambda d: d.switched(d.sizes()) | d.flags("attention_bias"),
    "qwen3_moe": lambda d: d.switched(d.sparse(d.sizes())) | d.flags("attention_bias"),
    "qwen3_next": lambda d: _hybrid(d, d.sparse(d.sizes())),
    "qwen3_5_text": lambda d: _hybrid(d, d.sizes()),
    "qwen3_5_moe_text": lambda d: _hybrid(d, d.experts(d.sizes())),
    "gemma": lambda d: d.sizes() | d.flags("attention_bias"),
    "gemma2": lambda d: d.windows(d.sizes()) | d.flags("attention_bias"),
    "gemma3_text": lambda d: d.windows(d.sizes()) | d.flags("attention_bias"),
    "cohere": lambda d: d.sizes(False) | d.flags("attention_bias", "use_qk_norm"),
    "cohere2": lambda d: d.windows(d.sizes(False)) | d.flags("attention_bias"),
    "olmo": lambda d: d.sizes(False) | d.flags("attention_bias"),
    "olmo2": lambda d: d.sizes(False) | d.flags("attention_bias"),
    "olmo3": lambda d: d.windows(d.sizes(False)) | d.flags("attention_bias"),
    "phi": lambda d: d.sizes(False) | d.flags("qk_layernorm"),
    "persimmon": lambda d: (
        {name: value for name, value in d.sizes(False).items() if name != "num_key_value_heads"} | d.flags("qk_layernorm")
    ),
    "gpt2": _gpt2,
    "bloom": _bloom,
    "falcon": _falcon,
    "deepseek_v32": lambda d: _latent(d) | {"q_lora_rank": 48, "index_topk": 8, "index_head_dim": 24, "index_n_heads": 2},
    "glm_moe_dsa": lambda d: _latent(d) | {"q_lora_rank": 48, "index_topk": 8, "index_head_dim": 24, "index_n_heads": 2},
    "minicpm3": lambda d: {k: v for k, v in _latent(d).items() if k not in ("n_routed_experts",)} | d.flags("mlp_bias"),
    "helium": lambda d: _own_head(d.sizes(False)) | d.flags("attention_bias", "mlp_bias"),
    "vaultgemma": lambda d: d.windows(d.sizes()) | d.flags("attention_bias"),
    "jais2": lambda d: d.sizes(False) | d.flags("attention_bias", "mlp_bias"),
    "solar_open": lambda d: d.experts(d.sizes(), "n_routed_experts") | {"n_shared_experts": d.of([1, 2])},
    "hunyuan_v1_moe": lambda d: (
        {k: v for k, v in _own_width(d, "num_experts", True).items() if k != "num_experts_per_tok"}
        | {"moe_topk": d.of([1, 2])}
        | d.flags("attention_bias")
    ),
    "exaone_moe": lambda d: d.windows(d.experts(d.sizes(False))) | {"first_k_dense_replace": d.of([0, 1, 3]), "num_shared_experts": d.of([1, 2])},
    "flex_olmo": lambda d: _own_width(d, "num_experts") | d.flags("attention_bias"),
    "phi3": lambda d: d.always(d.sizes(False)),
    "glm4": lambda d: d.sizes() | d.flags("attention_bias"),
    "glm4_moe": lambda d: _glm_moe(d) | d.flags("use_qk_norm"),
    "exaone4": lambda d: d.windows(d.sizes(False)) | {"sliding_window_pattern": d.of([2, 4])},
    "ernie4_5": lambda d: d.sizes() | d.flags("use_bias"),
    "ernie4_5_moe": _ernie_moe,
    "hunyuan_v1_dense": lambda d: d.sizes() | d.flags("attention_bias"),
    "gpt_oss": lambda d: d.windows(d.experts(d.sizes(), "num_local_experts")) | d.flags("attention_bias"),
    "deepseek_v2": _latent,
    "deepseek_v3": _latent,
    "llama4_text": _llama4,
    "glm": lambda d: d.sizes() | d.flags("attention_bias"),
    "arcee": lambda d: d.sizes() | d.flags("attention_bias", "mlp_bias"),
    "apertus": lambda d: d.sizes(False) | d.flags("attention_bias"),
    "nemotron": lambda d: d.sizes() | d.flags("attention_bias", "mlp_bias"),
    "gpt_neox": _gpt_neox,
    "olmoe": lambda d: _own_width(d, "num_experts") | d.flags("attention_bias"),
    "phimoe": lambda d: (
        d.always(_own_width(d, "num_local_experts"))
        | d.flags("attention_bias", "lm_head_bias")
        | {"num_experts_per_tok": 2}
    ),
    "granitemoe": lambda d: _own_width(d, "num_local_experts") | d.flags("attention_bias"),
    "granitemoeshared": lambda d: _own_width(d, "num_local_experts") | {"shared_intermediate_size": d.of([0, 48])},
    "minimax_m2": lambda d: _own_width(d, "num_local_experts", True),
    "dots1": lambda d: (
        d.experts(d.sizes(), "n_routed_experts")
        | {"n_shared_experts": 2, "first_k_dense_replace": 1, "sliding_window": None}
    ),
    "glm4_moe_lite": lambda d: (
        {k: v for k, v in _latent(d).items() if k != "first_k_dense_replace"} | {"q_lora_rank": 48}
    ),
    "youtu": lambda d: {
        k: v
        for k, v in _latent(d).items()
        if "expert" not in k and k not in ("n_group", "topk_group", "first_k_dense_replace", "moe_intermediate_size")
    },
    "lfm2_moe": _lfm2_moe,
    "falcon_mamba": _mamba,
    "mamba2": lambda d: _mamba(d) | {"hidden_size": 64, "num_heads": 8, "head_dim": 16, "n_groups": d.of([1, 2])},
    "bamba": lambda d: _with_mamba(d) | {"attn_layer_indices": [1]} | d.flags("attention_bias", "mlp_bias"),
    "granitemoehybrid": _granite,
    "jamba": _jamba,
    "nemotron_h": _nemotron,
    "gemma4_text": _gemma4,
    "gemma3n_text": _gemma3n,
    "opt": _opt,
    "lfm2": _lfm2,
    "mamba": _mamba,
}
