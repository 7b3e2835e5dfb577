"""Vision towers: what each encoder class of transformers owns and runs."""

from __future__ import annotations

from collections.abc import Callable

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.text import stack
from simulator.spec.model import AttentionSpec, Block, FeedForwardSpec, PoolingHead, Stack, VisionEncoder
from simulator.spec.source import SpecError


def vision(fields: Fields) -> VisionEncoder:
    """The tower that a vision configuration describes."""
    return TOWERS[fields.type](fields)


def grid_side(fields: Fields) -> int:
    """Patches per side of a square input."""
    image, patch = fields.side("image_size"), fields.side("patch_size")
    if patch > image:
        raise SpecError(f"{fields.name('patch_size')}: {patch} is not accepted: at most image_size {image}")
    return image // patch


def _mixer(
    fields: Fields, hidden: int, heads: int, *, qkv: bool, out: bool, rope: bool, norm: int = 0, window: int = 0
) -> AttentionSpec:
    if hidden % heads:
        raise SpecError(f"{fields.path}: {heads} heads do not divide the hidden size {hidden}")
    return AttentionSpec(
        kind="grid" if window else "full",
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        window=window,
        q_bias=qkv,
        kv_bias=qkv,
        o_bias=out,
        qk_norm=norm,
        rope=rope,
    )


def _uniform(block: Block, count: int) -> Stack:
    return Stack(blocks={"block": block}, order=(f"{count} block",))


def _plain(fields: Fields, rope: bool = False) -> tuple[int, Stack]:
    """Pre-norm blocks with biases everywhere, LayerNorm and a two-matrix MLP (CLIP, SigLIP, Idefics, Llama-4, Kimi)."""
    hidden = fields.size("hidden_size")
    mixer = _mixer(fields, hidden, fields.size("num_attention_heads"), qkv=True, out=True, rope=rope)
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"), gated=False, bias=True)
    block = Block(attention=mixer, feed_forward=mlp, norm_parameters=4 * hidden)
    return hidden, _uniform(block, fields.layers("num_hidden_layers"))


def _clip(fields: Fields) -> VisionEncoder:
    hidden, blocks = _plain(fields)
    patches = grid_side(fields) ** 2
    return VisionEncoder(
        name="CLIP ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        channels=fields.size("num_channels"),
        extra_rows=1,
        stack=blocks,
        stem_norm_parameters=2 * hidden,
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * (patches + 2),
    )


def _siglip(fields: Fields) -> VisionEncoder:
    hidden, blocks = _plain(fields)
    side = grid_side(fields)
    pooled = fields.type == "phi4_multimodal_vision" or (
        fields.type == "siglip_vision_model" and fields.flag("vision_use_head")
    )
    pooling = None
    if pooled:
        pooling = PoolingHead(
            heads=fields.size("num_attention_heads"), width=fields.size("intermediate_size"), rows=side**2
        )
    return VisionEncoder(
        name="SigLIP ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels"),
        stack=blocks,
        final_norm_parameters=2 * hidden,
        pooling=pooling,
        other_parameters=hidden * side**2 + (3 * hidden if pooled else 0),
    )


def _pixtral(fields: Fields) -> VisionEncoder:
    hidden = fields.size("hidden_size")
    heads = fields.size("num_attention_heads")
    mixer = _mixer(fields, hidden, heads, qkv=False, out=False, rope=True)
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"))
    block = Block(attention=mixer, feed_forward=mlp, norm_parameters=2 * hidden)
    return VisionEncoder(
        name="Pixtral ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        channels=fields.size("num_channels"),
        stack=_uniform(block, fields.layers("num_hidden_layers")),
        stem_norm_parameters=hidden,
    )


def _internvl(fields: Fields) -> VisionEncoder:
    hidden, side = fields.size("hidden_size"), grid_side(fields)
    normed, bias = fields.flag("use_qk_norm"), fields.flag("attention_bias")
    per_norm = 2 if fields.word("norm_type", ("layer_norm", "rms_norm")) == "layer_norm" else 1
    mixer = _mixer(
        fields,
        hidden,
        fields.size("num_attention_heads"),
        qkv=bias,
        out=True,
        rope=False,
        norm=2 * hidden if normed else 0,
    )
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"), gated=False, bias=True)
    block = Block(attention=mixer, feed_forward=mlp, norm_parameters=2 * per_norm * hidden, other_parameters=2 * hidden)
    positions = hidden * (side**2 + 1) if fields.flag("use_absolute_position_embeddings", True) else 0
    masks = hidden if fields.flag("use_mask_token", False) else 0
    return VisionEncoder(
        name="InternViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels"),
        extra_rows=1,
        stack=_uniform(block, fields.layers("num_hidden_layers")),
        final_norm_parameters=0 if fields.flag("use_mean_pooling", True) else 2 * hidden,
        other_parameters=hidden + positions + masks,
    )


def _qwen(fields: Fields) -> VisionEncoder:
    first = fields.type == "qwen2_vl_vision"
    second = fields.type == "qwen2_5_vl_vision"
    hidden = fields.size("embed_dim" if first else "hidden_size")
    width = round(hidden * fields.ratio("mlp_ratio")) if first else fields.size("intermediate_size")
    depth, patch = fields.layers("depth"), fields.side("patch_size")
    mlp = FeedForwardSpec(width=width, gated=second, bias=True)
    heads, norm = fields.size("num_heads"), (2 if second else 4) * hidden
    whole = Block(
        attention=_mixer(fields, hidden, heads, qkv=True, out=True, rope=True), feed_forward=mlp, norm_parameters=norm
    )
    blocks, order = {"block": whole}, ["block"] * depth
    if second:
        merge = fields.size("spatial_merge_size")
        window = max(1, fields.size("window_size") // merge // patch) * merge
        local = _mixer(fields, hidden, heads, qkv=True, out=True, rope=True, window=window)
        blocks = {"window": Block(attention=local, feed_forward=mlp, norm_parameters=norm), "full": whole}
        full = fields.sizes("fullatt_block_indexes")
        order = ["full" if index in full else "window" for index in range(depth)]
    positions = 0 if first or second else hidden * fields.size("num_position_embeddings")
    return VisionEncoder(
        name={"qwen2_vl_vision": "Qwen2-VL ViT", "qwen2_5_vl_vision": "Qwen2.5-VL ViT"}.get(
            fields.type, "Qwen3-VL ViT"
        ),
        hidden=hidden,
        patch=patch,
        patch_kernel=patch,
        patch_bias=not (first or second),
        channels=fields.size("in_chans" if fields.has("in_chans") else "in_channels"),
        temporal_patch=fields.size("temporal_patch_size"),
        stack=stack(blocks, order),
        other_parameters=positions,
    )


def _glm(fields: Fields) -> VisionEncoder:
    hidden = fields.size("hidden_size")
    bias = fields.flag("attention_bias")
    mixer = _mixer(fields, hidden, fields.size("num_heads"), qkv=bias, out=False, rope=True)
    # The blocks' MLP is as wide as the output; `intermediate_size` is that of the merger.
    mlp = FeedForwardSpec(width=fields.size("out_hidden_size"))
    block = Block(attention=mixer, feed_forward=mlp, norm_parameters=2 * hidden)
    return VisionEncoder(
        name="GLM-4.1V ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("in_channels"),
        temporal_patch=fields.size("temporal_patch_size"),
        stack=_uniform(block, fields.layers("depth")),
        stem_norm_parameters=hidden,
        final_norm_parameters=hidden,
        other_parameters=hidden * grid_side(fields) ** 2,
    )


def _kimi(fields: Fields) -> VisionEncoder:
    hidden, blocks = _plain(fields, rope=True)
    return VisionEncoder(
        name="MoonViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        stack=blocks,
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * fields.size("pos_emb_height") * fields.size("pos_emb_width"),
    )


def _llama4(fields: Fields) -> VisionEncoder:
    hidden, blocks = _plain(fields, rope=True)
    return VisionEncoder(
        name="Llama-4 ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        channels=fields.size("num_channels"),
        extra_rows=1,
        stack=blocks,
        stem_norm_parameters=2 * hidden,
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * (grid_side(fields) ** 2 + 2),
    )


def _mllama(fields: Fields) -> VisionEncoder:
    """Tiles of a picture attend jointly; each is padded to a multiple of 8 rows; gated layers follow."""
    hidden, rows = fields.size("hidden_size"), grid_side(fields) ** 2 + 1
    tiles, ratios = fields.size("max_num_tiles"), fields.value("supported_aspect_ratios")
    if not isinstance(ratios, list) or not ratios:
        raise SpecError(f"{fields.name('supported_aspect_ratios')}: a list of (rows, columns) is expected")
    table = len(ratios) + 1  # pyright: ignore[reportUnknownArgumentType]
    heads = fields.size("attention_heads" if fields.has("attention_heads") else "num_attention_heads")
    mixer = _mixer(fields, hidden, heads, qkv=False, out=False, rope=False)
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"), gated=False, bias=True)
    local = Block(attention=mixer, feed_forward=mlp, norm_parameters=4 * hidden)
    gated = Block(attention=mixer, feed_forward=mlp, norm_parameters=4 * hidden, other_parameters=2)
    order = ["local"] * fields.layers("num_hidden_layers") + ["gated"] * fields.layers("num_global_layers")
    positions = 1 + rows * hidden + table * tiles * rows * hidden + 2 * (1 + table * tiles * hidden)
    return VisionEncoder(
        name="Llama-3.2 ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        channels=fields.size("num_channels"),
        extra_rows=1 + (-rows) % 8,
        joint_crops=tiles,
        stack=stack({"local": local, "gated": gated}, order),
        stem_norm_parameters=2 * hidden,
        final_norm_parameters=2 * hidden,
        other_parameters=hidden + positions,
    )


def _blip(fields: Fields) -> VisionEncoder:
    """ViT-g of EVA-CLIP in BLIP-2 and InstructBLIP: the bias of Q, K and V is owned whole, though that of K is zero."""
    hidden = fields.size("hidden_size")
    mixer = _mixer(
        fields, hidden, fields.size("num_attention_heads"), qkv=fields.flag("qkv_bias"), out=True, rope=False
    )
    mlp = FeedForwardSpec(width=fields.size("intermediate_size"), gated=False, bias=True)
    block = Block(attention=mixer, feed_forward=mlp, norm_parameters=4 * hidden)
    return VisionEncoder(
        name="EVA ViT",
        hidden=hidden,
        patch=fields.side("patch_size"),
        patch_kernel=fields.side("patch_size"),
        patch_bias=True,
        channels=fields.size("num_channels", 3),
        extra_rows=1,
        stack=_uniform(block, fields.layers("num_hidden_layers")),
        final_norm_parameters=2 * hidden,
        other_parameters=hidden * (grid_side(fields) ** 2 + 2),
    )


TOWERS: dict[str, Callable[[Fields], VisionEncoder]] = {
    "clip_vision_model": _clip,
    "siglip_vision_model": _siglip,
    "phi4_multimodal_vision": _siglip,
    "idefics3_vision": _siglip,
    "smolvlm_vision": _siglip,
    "pixtral": _pixtral,
    "internvl_vision": _internvl,
    "qwen2_vl_vision": _qwen,
    "qwen2_5_vl_vision": _qwen,
    "qwen3_vl_vision": _qwen,
    "qwen3_5_vision": _qwen,
    "glm4v_vision": _glm,
    "glm4v_moe_vision": _glm,
    "kimi_k25_vision": _kimi,
    "llama4_vision_model": _llama4,
    "mllama_vision_model": _mllama,
    "blip_2_vision_model": _blip,
    "instructblip_vision_model": _blip,
}
