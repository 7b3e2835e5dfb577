"""What transformers 5.23.0 owns and multiplies, counted on the meta device: the outside truth of the reference tests.

Nothing here uses the simulator. Rules by which torch's `FlopCounterMode` becomes the count of DESIGN:

- Attention is replaced by a probe that multiplies nothing and records shapes. Its FLOPs are 2 x pairs x heads x (width of K + width
  of V), where the pairs are counted on an explicit boolean mask (causal, window, chunk, bidirectional pictures, prefix).
- Modules whose name says `rotary` are left out.
- Llama-4 runs every expert on every token; its experts count by top-k of all. Other mixtures run `batched_mm`: top-k by themselves.
- Latent attention decodes absorbed: kv_b_proj is left out, Q and the output go through it instead, attention is as wide as the latent.
- A convolution over time counts one output per row: the class also convolves its padding.
- Patch embeddings, class tokens, padding rows, mergers and pooling heads count as they run. The head runs on the last token.
- A tower that needs data-dependent indices is entered behind them: its patch embedding, blocks and mergers are called one by one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import transformers
from more_encoders import MORE, meta
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AttentionInterface, AttentionMaskInterface

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()

PREFIXES = {  # parameter-name prefixes of the vision path: (tower, projector, left out)
    "vision": ("model.vision_tower.", "model.vision_model.", "model.vision_encoder.", "model.visual.", "vision_model.",
               "model.image_tower.", "model.video_tower.",
               "model.embed_tokens_extend.image_embed.img_processor."),
    "projector": ("model.multi_modal_projector.", "multi_modal_projector.", "model.aligner.", "model.vision_projection.", "model.connector.", "model.mm_projector.",
                  "model.image_newline", "model.resampler_model.", "model.vision_tower.patch_merger.", "model.visual.merger.", "model.visual.deepstack_merger_list.",
                  "model.visual.downsample.", "vision_model.vision_adapter.",
                  "model.vision_tower.head_", "model.embed_vision.", "model.projector.", "model.visual_embeddings_table.",
                  "model.embed_tokens_extend.image_embed.img_projection", "model.embed_tokens_extend.image_embed.global_img",
                  "model.embed_tokens_extend.image_embed.sub_img"),
    "left out": ("model.embed_tokens_extend.audio_embed.", "model.audio_tower.", "model.embed_audio.",
                 "model.vqmodel.", "model.generation_"),
}  # fmt: skip


@dataclass
class Call:
    """One attention call: rows, keys, heads, width of K and V, and the module that made it."""

    rows: int
    keys: int
    heads: int
    wide: int
    batch: int
    module: nn.Module


@dataclass
class Log:
    calls: list[Call] = field(default_factory=list)


_log = Log()


def _probe(module: nn.Module, query: Any, key: Any, value: Any, attention_mask: Any, **_: Any) -> tuple[Any, None]:
    batch, heads, rows, width = query.shape
    _log.calls.append(Call(rows, key.shape[2], heads, width + value.shape[-1], batch, module))
    return query.new_empty((batch, rows, heads, value.shape[-1])), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


AttentionInterface.register("probe", _probe)
AttentionMaskInterface.register("probe", _no_mask)


def build(entry: dict[str, Any]) -> nn.Module:
    """The model of a configuration on the meta device."""
    cls = getattr(transformers, entry["cls"])
    config = cls.config_class(**{k: v for k, v in entry["config"].items() if k != "model_type"})
    for part in (config, getattr(config, "text_config", None)):
        if part is not None:
            part._experts_implementation = "batched_mm"
    with torch.device("meta"):
        return cls._from_config(config, attn_implementation="probe").eval()


def owned(model: nn.Module) -> dict[str, int]:
    """Parameters by part."""
    out = dict.fromkeys(("vision", "projector", "left out", "embedding", "lm_head", "language"), 0)
    for name, parameter in model.named_parameters():
        out[_part(name)] += parameter.numel()
    out["total"] = sum(out.values()) - out["left out"]
    return out


def _part(name: str) -> str:
    for part in ("left out", "projector", "vision"):
        if name.startswith(PREFIXES[part]):
            return part
    if "lm_head" in name:
        return "lm_head"
    return "embedding" if name.endswith("embed_tokens.weight") else "language"


def _counted(run: Callable[[], Any]) -> tuple[Any, float, list[Call], dict[str, float]]:
    """Result, FLOPs outside attention and rotary embeddings, attention calls, FLOPs by module."""
    _log.calls = []
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        result = run()
    by_module = {name: float(sum(ops.values())) for name, ops in counter.get_flop_counts().items()}
    rotary = sum(v for k, v in by_module.items() if k.rsplit(".", 1)[-1].startswith("rotary"))
    return result, counter.get_total_flops() - rotary, _log.calls, by_module


def _square(calls: list[Call]) -> float:
    """FLOPs of calls in which every row meets every key."""
    return sum(2.0 * c.batch * c.rows * c.keys * c.heads * c.wide for c in calls)


# ---------------------------------------------------------------------------------------------------------- vision path


def encode(model: nn.Module, entry: dict[str, Any], grids: list[tuple[int, int, int]], tokens: int) -> float:
    """FLOPs of tower and projector for crops given as (how many, height, width) in patches; tokens: handed on in all."""
    total = 0.0
    for crops, height, width in grids:
        run = ENCODERS[entry["family"]](model, entry["config"], crops, height, width)
        _, flops, calls, _ = _counted(run)
        total += flops + _square(calls)
    if entry["family"] == "phi4":  # its projection runs on the put-together map, separators included
        image = model.model.embed_tokens_extend.image_embed
        _, flops, _, _ = _counted(lambda: image.img_projection_down(image.img_projection_up(meta(tokens, 1152))))
        total += flops
    if entry["family"] == "molmo2":  # its adapter pools four slots to a token; their products (0.001 %) are left out
        adapter, wide = model.model.multi_modal_projector, model.model.multi_modal_projector.image_pooling_2d.q_proj
        _, flops, _, _ = _counted(lambda: adapter.image_projector(
            adapter.image_pooling_2d(meta(tokens, 1, wide.in_features), meta(tokens, 4, wide.in_features))[0]
        ))  # fmt: skip
        total += flops
    return total


def _blocks(blocks: Any, hidden: torch.Tensor, cu: Callable[[int], torch.Tensor], width: int) -> torch.Tensor:
    rope = (meta(hidden.shape[0], width), meta(hidden.shape[0], width))
    for index, block in enumerate(blocks):
        hidden = block(hidden, cu_seqlens=cu(index), position_embeddings=rope)
    return hidden


def _lengths(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *np.cumsum(lengths).tolist()], dtype=torch.int32)


def _windows(crops: int, height: int, width: int, side: int) -> list[int]:
    """Patches in each window of side x side."""
    rows = [min(side, height - i) for i in range(0, height, side)]
    columns = [min(side, width - j) for j in range(0, width, side)]
    return [r * c for r in rows for c in columns] * crops


def _qwen(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    visual = model.model.visual
    eyes = visual.config
    hidden = getattr(eyes, "embed_dim", None) if eyes.model_type.startswith("qwen2_vl") else eyes.hidden_size
    patches = crops * height * width
    full = _lengths([height * width] * crops)
    local, whole = full, set(range(eyes.depth))
    if hasattr(eyes, "fullatt_block_indexes"):
        side = eyes.window_size // eyes.patch_size
        local, whole = _lengths(_windows(crops, height, width, side)), set(eyes.fullatt_block_indexes)

    def run() -> None:
        pixels = eyes.in_channels * eyes.temporal_patch_size * eyes.patch_size**2
        x = visual.patch_embed(meta(patches, pixels))
        x = _blocks(visual.blocks, x, lambda i: full if i in whole else local, hidden // eyes.num_heads)
        visual.merger(x)
        for merger in getattr(visual, "deepstack_merger_list", []):
            merger(x)

    return run


def _glm(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    visual = model.model.visual
    eyes = visual.config
    full = _lengths([height * width] * crops)

    def run() -> None:
        x = visual.patch_embed(meta(crops * height * width, 3 * eyes.temporal_patch_size * eyes.patch_size**2))
        x = _blocks(visual.blocks, visual.post_conv_layernorm(x), lambda _: full, eyes.hidden_size // eyes.num_heads)
        merge = eyes.spatial_merge_size
        x = visual.post_layernorm(x).view(-1, merge, merge, eyes.hidden_size).permute(0, 3, 1, 2)
        visual.merger(visual.downsample(x).view(-1, eyes.out_hidden_size))

    return run


def _kimi(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    tower = model.model.vision_tower
    hidden, heads = tower.config.hidden_size, tower.config.num_attention_heads
    patches = crops * height * width

    def run() -> None:
        x = tower.patch_embed.proj(meta(patches, 3, 14, 14)).view(patches, -1)
        x = _blocks(tower.layers, x, lambda _: _lengths([height * width] * crops), hidden // heads)
        model.model.mm_projector(tower.final_layernorm(x).view(patches // 4, 4, hidden))

    return run


def _patch(tower: Any) -> int:
    """Side of a patch [pixel]."""
    size = tower.config.patch_size
    return int(size[0] if isinstance(size, list | tuple) else size)


def _llava(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    """CLIP or SigLIP, the tower as a whole; the projector sees the patches without class token."""
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    patch = tower.config.patch_size

    def run() -> None:
        states = tower(meta(crops, 3, height * patch, width * patch)).last_hidden_state
        chosen = getattr(model.config, "vision_feature_layer", -1)
        levels = 1 if isinstance(chosen, int) else len(chosen)
        whole = config["model_type"] == "llava" and model.config.vision_feature_select_strategy == "full"
        states = states if whole else states[:, -height * width :]
        projector(states.repeat(1, 1, levels))

    return run


def _pixtral(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    tower, patch = model.model.vision_tower, model.model.vision_tower.config.patch_size
    heads = tower.config.num_attention_heads

    def run() -> None:
        x = tower.patch_conv(meta(crops, 3, height * patch, width * patch)).flatten(2).transpose(1, 2)
        rope = (meta(height * width, x.shape[-1] // heads), meta(height * width, x.shape[-1] // heads))
        x = tower.transformer(tower.ln_pre(x), attention_mask=None, position_embeddings=rope, return_dict=True)
        projector = model.model.multi_modal_projector
        if hasattr(projector, "patch_merger"):  # its merging wants the picture's size: enter behind the unfolding
            merge = model.config.spatial_merge_size
            x = projector.patch_merger.merging_layer(
                meta(crops * height * width // merge**2, x.last_hidden_state.shape[-1] * merge**2)
            )
            projector.linear_2(projector.act(projector.linear_1(x)))
        else:
            projector(x.last_hidden_state)

    return run


def _idefics(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    tower, patch = model.model.vision_model, model.model.vision_model.config.patch_size

    def run() -> None:
        x = tower.embeddings.patch_embedding(meta(crops, 3, height * patch, width * patch)).flatten(2).transpose(1, 2)
        x = tower.encoder(inputs_embeds=x, attention_mask=None).last_hidden_state
        model.model.connector(tower.post_layernorm(x))

    return run


def _internvl(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    tower, merge = model.model.vision_tower, round(1 / model.config.downsample_ratio)
    patch = _patch(tower)

    def run() -> None:
        x = tower(meta(crops, 3, height * patch, width * patch)).last_hidden_state[:, 1:]
        model.model.multi_modal_projector(meta(crops, height * width // merge**2, x.shape[-1] * merge**2))

    return run


def _phi4(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    tower = model.model.embed_tokens_extend.image_embed.img_processor

    def run() -> None:
        x = tower.embeddings.patch_embedding(meta(crops, 3, height * 14, width * 14)).flatten(2).transpose(1, 2)
        x = tower.encoder(inputs_embeds=x, attention_mask=None).last_hidden_state
        tower.head(tower.post_layernorm(x), torch.ones(crops, height * width, dtype=torch.bool, device="meta"))

    return run


def _llama4(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    def run() -> None:
        patch = _patch(model.vision_model)
        states = model.vision_model(meta(crops, 3, height * patch, width * patch)).last_hidden_state
        model.multi_modal_projector(states.view(-1, states.shape[-1]))

    return run


def _mllama(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    """Four tiles of a picture attend jointly, absent ones included."""
    pictures = crops // 4

    def run() -> None:
        ids = torch.ones(pictures, 1, dtype=torch.long, device="meta")
        mask = torch.ones(pictures, 1, 4, dtype=torch.long, device="meta")
        patch = _patch(model.model.vision_model)
        pixels = meta(pictures, 1, 4, 3, height * patch, width * patch)
        states = model.model.vision_model(pixel_values=pixels, aspect_ratio_ids=ids, aspect_ratio_mask=mask)
        model.model.multi_modal_projector(states.last_hidden_state)

    return run


ENCODERS: dict[str, Callable[..., Callable[[], Any]]] = {
    "qwen_vl": _qwen,
    "glm4v": _glm,
    "exaone4_5": _qwen,
    "kimi": _kimi,
    "llava": _llava,
    "llava_next": _llava,
    "llava_onevision": _llava,
    "gemma3": _llava,
    "paligemma": _llava,
    "pixtral": _pixtral,
    "idefics3": _idefics,
    "internvl": _internvl,
    "phi4": _phi4,
    "llama4": _llama4,
    "mllama": _mllama,
    **MORE,
}


# -------------------------------------------------------------------------------------------------------- language model


def generate(model: Any, entry: dict[str, Any], visual: int, text: int, pictures: int) -> tuple[float, float, float]:
    """(prefill FLOPs, FLOPs of the decode step after it, bytes of cache that one decode step adds in 16 bit).

    The prompt is `visual` tokens in `pictures` equal blocks, then `text` tokens.
    """
    body = next(m for n, m in model.named_modules() if n in ("model.language_model", "model.text_model")) if (
        entry["family"] not in ("phi4", "text", "llama4")
    ) else (model.language_model.model if entry["family"] == "llama4" else model.model)  # fmt: skip
    head = model.language_model.lm_head if entry["family"] == "llama4" else model.lm_head
    config = body.config
    cross = entry["family"] == "mllama"
    prompt = text if cross else visual + text
    state: dict[str, Any] = {}

    def run(rows: int, start: int) -> Callable[[], Any]:
        def step() -> Any:
            extra: dict[str, Any] = {}
            if cross and start == 0:
                extra = {"cross_attention_states": meta(1, visual, config.hidden_size)}
            if getattr(config, "hidden_size_per_layer_input", 0):
                sizes = (1, rows, config.num_hidden_layers, config.hidden_size_per_layer_input)
                extra = {"per_layer_inputs": meta(*sizes)}
            ids = torch.arange(start, start + rows, device="meta").unsqueeze(0)
            if entry["family"] in ("qwen_vl", "glm4v"):
                ids = ids.expand(3, 1, rows)
            out = body(
                inputs_embeds=meta(1, rows, config.hidden_size),
                position_ids=ids,
                past_key_values=state.get("cache"),
                use_cache=True,
                **extra,
            )
            state["cache"] = out.past_key_values
            return head(out.last_hidden_state[:, -1:])

        return step

    stages: list[float] = []
    sizes: list[int] = []
    for rows, start in ((prompt, 0), (1, prompt)):
        _, flops, calls, by_module = _counted(run(rows, start))
        flops -= _experts_not_visited(config, by_module) + _convolved_twice(body, rows)
        flops -= 0.0 if start else _narrower(config, visual)
        if hasattr(config, "kv_lora_rank"):
            flops += _absorbed(config, calls, by_module, start > 0)
        else:
            for call in calls:
                pairs = _pairs(call.module, config, entry, visual, text, pictures, start)
                flops += 2.0 * pairs * call.heads * call.wide
        stages.append(flops)
        sizes.append(_cache_elements(state["cache"]))
    return stages[0], stages[1], 2.0 * (sizes[1] - sizes[0])


def _cache_elements(cache: Any) -> int:
    return sum(
        tensor.numel()
        for layer in cache.layers
        for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None))
        if torch.is_tensor(tensor)
    )


def _convolved_twice(body: nn.Module, rows: int) -> float:
    """What a convolution over time does besides its rows: k - 1 more in a prompt (its padding), one more in a step."""
    if not {"conv", "linear_attention"} & set(getattr(body.config, "layer_types", None) or ()):
        return 0.0
    kernels = [module.weight for module in body.modules() if isinstance(module, nn.Conv1d)]
    return sum(2.0 * weight.numel() * (weight.shape[-1] - 1 if rows > 1 else 1) for weight in kernels)


def _experts_not_visited(config: Any, by_module: dict[str, float]) -> float:
    if config.model_type != "llama4_text":
        return 0.0
    idle = 1.0 - config.num_experts_per_tok / config.num_local_experts
    return idle * sum(v for k, v in by_module.items() if k.endswith(".feed_forward.experts"))


def _narrower(config: Any, visual: int) -> float:
    """ERNIE: told of no token types, as here, the class sends visual tokens through the text experts; their own are narrower."""
    if config.model_type != "ernie4_5_vl_moe_text":
        return 0.0
    text, picture = config.moe_intermediate_size
    per_layer = 2.0 * 3 * config.hidden_size * (text - picture) * config.moe_k * visual
    return per_layer * config.mlp_layer_types.count("sparse")


def _absorbed(config: Any, calls: list[Call], by_module: dict[str, float], decode: bool) -> float:
    """Attention FLOPs of latent layers; in decode also the exchange of kv_b for its absorbed use."""
    if not decode:
        return sum(2.0 * causal(c.rows) * c.heads * c.wide for c in calls)
    rank, rope = config.kv_lora_rank, config.qk_rope_head_dim
    out = -sum(v for k, v in by_module.items() if k.endswith(".kv_b_proj"))
    for call in calls:
        out += 2.0 * call.heads * rank * (config.qk_nope_head_dim + config.v_head_dim)
        out += 2.0 * call.keys * call.heads * (rank + rope + rank)
    return out


def causal(rows: int) -> float:
    return rows * (rows + 1) / 2.0


def _pairs(module: Any, config: Any, entry: dict[str, Any], visual: int, text: int, pictures: int, start: int) -> float:
    """Pairs that the mask of this layer lets through, counted on the mask itself."""
    if type(module).__name__ == "MllamaTextCrossAttention":
        return float(visual * (1 if start else text))
    prompt = text if entry["family"] == "mllama" else visual + text
    kind = config.layer_types[module.layer_idx] if getattr(config, "layer_types", None) else "full_attention"
    window = {
        "sliding_attention": getattr(config, "sliding_window", None),
        "chunked_attention": getattr(config, "attention_chunk_size", None),
    }.get(kind)
    if not getattr(config, "layer_types", None) and getattr(module, "sliding_window", None):
        kind, window = "sliding_attention", module.sliding_window
    block = {"gemma3": "gemma3", "molmo2": "gemma3", "paligemma": "paligemma"}.get(entry["family"], "")
    if getattr(config, "use_bidirectional_attention", None) == "vision" and kind == "sliding_attention":
        block = "gemma4"
    return float(_mask_sum(prompt, start, kind, window or 0, block, visual, pictures))


_sums: dict[Any, int] = {}


def _mask_sum(prompt: int, start: int, kind: str, window: int, block: str, visual: int, pictures: int) -> int:
    key = (prompt, start, kind, window, block, visual, pictures)
    if key in _sums:
        return _sums[key]
    keys = np.arange(prompt + (1 if start else 0))
    rows = keys[start:, None]
    mask = keys[None, :] <= rows
    if kind == "sliding_attention":
        mask &= rows - keys[None, :] < window
    if kind == "chunked_attention":
        mask &= rows // window == keys[None, :] // window
    if not start and block == "gemma4" and visual:
        of = np.where(keys < visual, keys // (visual // pictures), -1 - keys)
        mask |= (of[None, :] == of[rows]) & (keys[None, :] > rows)
    if not start and block == "paligemma":
        mask |= True
    if not start and block == "gemma3" and visual:
        of = np.where(keys < visual, keys // (visual // pictures), -1 - keys)
        mask |= of[None, :] == of[rows]
    _sums[key] = int(mask.sum())
    return _sums[key]
