"""How the vision paths of further classes are run on the meta device, entered behind what depends on data: see `counting`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def _idefics2(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    tower, connector = model.model.vision_model, model.model.connector
    patch, resampler = tower.config.patch_size, connector.perceiver_resampler

    def run() -> None:
        x = tower.embeddings.patch_embedding(meta(crops, 3, height * patch, width * patch)).flatten(2).transpose(1, 2)
        x = tower.post_layernorm(tower.encoder(inputs_embeds=x, attention_mask=None).last_hidden_state)
        x = connector.modality_projection(x)
        latents = meta(crops, *resampler.latents.shape)
        for layer in resampler.layers:
            latents = layer(latents, x, attention_mask=None)
        resampler.norm(latents)

    return run


def _gemma4(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    """Its pooling, an average, is written as a product in the class: entered behind it."""
    tower = model.model.vision_tower
    vision = tower.config
    tokens = height * width // vision.pooling_kernel_size**2

    def run() -> None:
        x = tower.patch_embedder.input_proj(meta(crops, height * width, 3 * vision.patch_size**2))
        tower.encoder(
            inputs_embeds=x,
            attention_mask=None,
            pixel_position_ids=torch.zeros(crops, height * width, 2, device="meta", dtype=torch.long),
        )
        model.model.embed_vision(meta(crops * tokens, vision.hidden_size))

    return run


def _ovis2(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    tower = model.model.vision_tower
    patch = tower.config.patch_size

    def run() -> None:
        words = tower(meta(crops, 3, height * patch, width * patch)).pooler_output
        model.model.visual_embeddings_table(meta(*words.shape[:-1], tower.config.vocab_size))

    return run


def _lfm2_vl(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    tower = model.model.vision_tower
    pixels = tower.config.num_channels * tower.config.patch_size**2

    def run() -> None:
        x = tower.embeddings.patch_embedding(meta(crops, height * width, pixels))
        x = tower.post_layernorm(tower.encoder(inputs_embeds=x, attention_mask=None).last_hidden_state)
        model.model.multi_modal_projector(x.reshape(crops, height, width, -1))

    return run


def _video_llava(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    tower = model.model.image_tower
    patch = tower.config.patch_size

    def run() -> None:
        states = tower(meta(crops, 3, height * patch, width * patch)).last_hidden_state[:, 1:]
        model.model.multi_modal_projector(states)

    return run


def _aria(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    """The module's own attention multiplies outside the probe: its matrices are run, its products counted by `queries`."""
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    patch, hidden = tower.config.patch_size, tower.config.hidden_size

    def run() -> None:
        x = tower.embeddings.patch_embedding(meta(crops, 3, height * patch, width * patch)).flatten(2).transpose(1, 2)
        x = tower.post_layernorm(tower.encoder(inputs_embeds=x, attention_mask=None).last_hidden_state)
        projector(x.reshape(crops, height * width, hidden))

    return run


def _molmo2(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    """The tower alone: what is pooled depends on how crops overlap."""
    tower = model.model.vision_tower
    pixels = tower.config.num_channels * tower.config.patch_size**2
    return lambda: tower(meta(crops, height * width, pixels))


def _glm_ocr(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    visual = model.model.visual
    eyes, rows = visual.config, crops * height * width
    lengths = torch.arange(crops + 1, dtype=torch.int32) * height * width

    def run() -> None:
        x = visual.patch_embed(meta(rows, 3 * eyes.temporal_patch_size * eyes.patch_size**2))
        rope = (meta(rows, eyes.hidden_size // eyes.num_heads),) * 2
        for block in visual.blocks:
            x = block(x, cu_seqlens=lengths, position_embeddings=rope)
        merge = eyes.spatial_merge_size
        x = visual.post_layernorm(x).view(-1, merge, merge, eyes.hidden_size).permute(0, 3, 1, 2)
        visual.merger(visual.downsample(x).view(-1, eyes.out_hidden_size))

    return run


def _paddle(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    tower, projector = model.model.visual.vision_model, model.model.projector
    eyes, rows = tower.config, crops * height * width
    lengths = torch.arange(crops + 1, dtype=torch.int32) * height * width

    def run() -> None:
        x = tower.embeddings.patch_embedding(meta(rows, 3, eyes.patch_size, eyes.patch_size)).flatten(1)
        rope = (meta(rows, eyes.hidden_size // eyes.num_attention_heads),) * 2
        for layer in tower.encoder.layers:
            x = layer(x, cu_seqlens=lengths, position_embeddings=rope)
        projector(tower.post_layernorm(x), torch.tensor([[1, height, width]] * crops))

    return run


def _ernie(model: Any, config: dict[str, Any], crops: int, height: int, width: int) -> Callable[[], Any]:
    tower, bridge = model.model.vision_tower, model.model.resampler_model
    eyes, rows = tower.config, crops * height * width
    lengths = torch.arange(crops + 1, dtype=torch.int32) * height * width

    def run() -> None:
        x = tower.patch_embed(meta(rows, 3 * eyes.patch_size**2))
        rope = (meta(rows, eyes.hidden_size // eyes.num_heads),) * 2
        for block in tower.blocks:
            x = block(x, cu_seqlens=lengths, position_embeddings=rope)
        x = bridge.spatial_linear(tower.ln(x).reshape(-1, eyes.hidden_size * eyes.spatial_merge_size**2))
        bridge.after_norm(bridge.mlp(bridge.temporal_linear(torch.cat([x] * eyes.temporal_merge_size, -1))))

    return run


MORE: dict[str, Callable[..., Callable[[], Any]]] = {
    "idefics2": _idefics2,
    "gemma4": _gemma4,
    "ovis2": _ovis2,
    "lfm2_vl": _lfm2_vl,
    "video_llava": _video_llava,
    "aria": _aria,
    "molmo2": _molmo2,
    "glm_ocr": _glm_ocr,
    "paddleocr_vl": _paddle,
    "ernie4_5_vl_moe": _ernie,
}
