"""A Hugging Face configuration and its preprocessor settings to a `Preprocessing`.

What neither states comes from the image and video processor classes of transformers 5.23.0, or from the checkpoint's own
published code where that differs, and is listed as an assumption. Differences that matter:

- Qwen2-VL and Qwen2.5-VL videos: bounds of qwen-vl-utils, which the model cards use (a frame has 128..768 tokens and an even
  share of 115200 tokens). transformers alone would read the picture bounds of preprocessor_config.json for videos too.
- Pixtral: the Hugging Face processor rounds the shrunk side down, mistral-common to nearest; checkpoints in Hugging Face
  format use the former.
- InternVL2.5 and InternVL3: the original code and transformers' `GotOcr2ImageProcessor` choose the same grid; they may differ only
  where two grids of equally many tiles are equally near.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, final

from pydantic import ValidationError

from simulator.spec.preprocessing import (
    CanvasTiles,
    DynamicHd,
    DynamicTiles,
    Fixed,
    GridPinpoints,
    LongestEdge,
    LongestEdgeSplit,
    Native,
    PanAndScan,
    PatchLimit,
    Preprocessing,
    VideoSampling,
)
from simulator.spec.source import SpecError


def preprocessing_for(
    model_type: str, config: Mapping[str, Any], processor: Mapping[str, Any] | None = None
) -> tuple[Preprocessing, list[str]]:
    """The scheme of a checkpoint and what had to be assumed.

    config: its config.json (nested). processor: its preprocessor_config.json, if there is one. Raises SpecError for a
    `model_type` that is not known, and for a size that makes no sense.
    """
    build = _FAMILIES.get(model_type)
    if build is None:
        raise SpecError(f"model_type: no preprocessing known for {model_type!r}; known: {', '.join(sorted(_FAMILIES))}")
    given = _Given(config, processor or {})
    try:
        return build(given), given.assumptions
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SpecError(f"preprocessing of {model_type}: {field} = {first['input']!r}: {first['msg']}") from None


@final
class _Given:
    """Looks values up in both files and keeps account of what was missing."""

    def __init__(self, config: Mapping[str, Any], processor: Mapping[str, Any]) -> None:
        self.config = config
        self.processor = processor
        vision: Any = config.get("vision_config") or {}
        if not isinstance(vision, Mapping):
            raise SpecError(f"vision_config: {str(vision)[:60]!r} is not a mapping")
        self.vision: Mapping[str, Any] = cast(Mapping[str, Any], vision)
        self.assumptions: list[str] = []

    def size(self, default: int, *keys: str, field: str = "size") -> int:
        """One side of a size setting: a number, or a mapping with one of `keys`."""
        value: Any = self.processor.get(field)
        if isinstance(value, Mapping):
            sides: Mapping[str, Any] = cast(Mapping[str, Any], value)
            value = next((sides[key] for key in keys if sides.get(key)), None)
        return self._whole(field, value, default)

    def tile(self, default: int, *keys: str, field: str = "size") -> int:
        """Side of what the encoder sees: as `size`; where the preprocessor does not say, the encoder's own `image_size`."""
        own = self.vision.get("image_size")
        if isinstance(own, list | tuple):
            own = max(cast(Sequence[Any], own), default=None)
        if own is None:
            return self.size(default, *keys, field=field)
        return self.size(self._whole("vision_config.image_size", own, default), *keys, field=field)

    def number(self, name: str, default: int) -> int:
        """A setting of the preprocessor."""
        value: Any = self.processor.get(name)
        if isinstance(value, Mapping):
            value = next(iter(cast(Mapping[str, Any], value).values()), None)
        return self._whole(name, value, default)

    def encoder(self, name: str, default: int) -> int:
        """A setting of the vision encoder; the first of a pair."""
        value: Any = self.vision.get(name)
        if isinstance(value, list | tuple):
            value = cast(Sequence[Any], value)[0]
        return self._whole(f"vision_config.{name}", value, default)

    def top(self, name: str, default: float) -> float:
        """A number at the top level of the configuration."""
        value = self.config.get(name)
        if value is None:
            self.assumptions.append(f"{name} {default:g}: default of transformers 5.23.0")
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpecError(f"{name}: {value!r} is not a number")
        return float(value)

    def _whole(self, name: str, value: object, default: int) -> int:
        if value is None:
            self.assumptions.append(f"{name} {default}: default of transformers 5.23.0 or of the checkpoint's own code")
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 1:
            raise SpecError(f"{name}: {value!r} is not a positive whole number")
        return int(value)


def _llava(given: _Given) -> Preprocessing:
    if given.vision.get("model_type") == "pixtral":
        return _pixtral(given)
    size, patch = given.tile(336, "height", "shortest_edge", field="crop_size"), given.encoder("patch_size", 14)
    # The class token is handed on with the strategy `full`; `default` drops the first row, whatever it is (modeling_llava).
    rows = (size // patch) ** 2 + (0 if "siglip" in str(given.vision.get("model_type")) else 1)
    dropped = given.config.get("vision_feature_select_strategy", "default") == "default"
    return Fixed(size=size, patch=patch, tokens=rows - int(dropped), center_crop=True)


def _vipllava(given: _Given) -> Preprocessing:
    size, patch = given.tile(336, "height", "shortest_edge", field="crop_size"), given.encoder("patch_size", 14)
    rows = (size // patch) ** 2 - (1 if "siglip" in str(given.vision.get("model_type")) else 0)
    return Fixed(size=size, patch=patch, tokens=rows, center_crop=True)


def _pixtral(given: _Given) -> Preprocessing:
    merge = int(given.config.get("spatial_merge_size") or 1)
    return LongestEdge(
        longest_edge=given.tile(1024, "longest_edge"), patch=given.encoder("patch_size", 16), merge=merge
    )


def _pinpoints(given: _Given) -> tuple[tuple[int, int], ...]:
    listed = given.processor.get("image_grid_pinpoints") or given.config.get("image_grid_pinpoints")
    if not listed:
        raise SpecError("image_grid_pinpoints: is missing; it lists the (height, width) canvases")
    try:
        return tuple((int(height), int(width)) for height, width in listed)
    except (TypeError, ValueError):
        raise SpecError(f"image_grid_pinpoints: {str(listed)[:60]} is not a list of (height, width) pairs") from None


def _llava_next(given: _Given) -> Preprocessing:
    tile, patch = given.tile(336, "height", "shortest_edge", field="crop_size"), given.encoder("patch_size", 14)
    return GridPinpoints(tile=tile, patch=patch, side=tile // patch, pinpoints=_pinpoints(given))


def _llava_next_video(given: _Given) -> Preprocessing:
    scheme = _llava_next(given)
    pooled = (given.tile(336, "height", "shortest_edge", field="crop_size") // given.encoder("patch_size", 14)) // int(
        given.top("spatial_pool_stride", 2)
    )
    return scheme.model_copy(update={"video": VideoSampling(max_frames=32, tokens=pooled * pooled)})


def _aya(given: _Given) -> Preprocessing:
    tile, patch = given.tile(384, "height"), given.encoder("patch_size", 14)
    side = tile // patch // int(given.top("downsample_factor", 2))
    cut = given.processor.get("crop_to_patches", True)
    return DynamicTiles(
        tile=tile,
        patch=patch,
        tokens=side * side,
        min_tiles=given.number("min_patches", 1) if cut else 1,
        max_tiles=given.number("max_patches", 12) if cut else 1,
    )


def _cohere2(given: _Given) -> Preprocessing:
    tile, patch = given.tile(512, "height"), given.encoder("patch_size", 16)
    side = tile // patch // int(given.top("downsample_factor", 2))
    cut = given.processor.get("crop_to_patches", True)
    return CanvasTiles(
        tile=tile,
        patch=patch,
        tokens=side * side,
        max_tiles=given.number("max_patches", 12) if cut else 1,
        thumbnail=True,
    )


def _llava_onevision(given: _Given) -> Preprocessing:
    tile, patch = given.tile(384, "height", "shortest_edge"), given.encoder("patch_size", 14)
    side = tile // patch
    aspect = str(given.config.get("vision_aspect_ratio") or "anyres_max_9")
    pooled = -(-side // 2)
    return GridPinpoints(
        tile=tile,
        patch=patch,
        side=side,
        pinpoints=_pinpoints(given),
        max_tiles=int(aspect.removeprefix("anyres_max_")) if aspect.startswith("anyres_max_") else 0,
        single_picture_only=True,
        video=VideoSampling(max_frames=32, tokens=pooled * pooled, newline="clip"),
    )


def _internvl(given: _Given) -> Preprocessing:
    tile, patch = given.tile(448, "height"), given.encoder("patch_size", 14)
    side = int(tile // patch * given.top("downsample_ratio", 0.5))
    cut = given.processor.get("crop_to_patches", True)
    return DynamicTiles(
        tile=tile,
        patch=patch,
        tokens=side * side,
        min_tiles=given.number("min_patches", 1) if cut else 1,
        max_tiles=given.number("max_patches", 12) if cut else 1,
        video=VideoSampling(max_frames=8),
    )


def _idefics3(given: _Given) -> Preprocessing:
    tile, patch = given.tile(364, "longest_edge", field="max_image_size"), given.encoder("patch_size", 14)
    side = tile // patch // int(given.top("scale_factor", 2))
    return LongestEdgeSplit(
        longest_edge=given.size(4 * tile, "longest_edge"),
        tile=tile,
        patch=patch,
        tokens=side * side,
        split=bool(given.processor.get("do_image_splitting", True)),
    )


def _smolvlm(given: _Given) -> Preprocessing:
    scheme = _idefics3(given)
    return scheme.model_copy(update={"video": VideoSampling(fps=1.0, max_frames=64, rounding="round")})


def _mllama(given: _Given) -> Preprocessing:
    tile, patch = given.tile(560, "height"), given.encoder("patch_size", 14)
    tiles = given.number("max_image_tiles", 4)
    return CanvasTiles(tile=tile, patch=patch, tokens=(tile // patch) ** 2 + 1, max_tiles=tiles, pad_to_max=True)


def _llama4(given: _Given) -> Preprocessing:
    tile, patch = given.tile(336, "height"), given.encoder("patch_size", 14)
    ratio = float(given.vision.get("pixel_shuffle_ratio") or 0.5)
    return CanvasTiles(
        tile=tile,
        patch=patch,
        tokens=int((tile // patch * ratio) ** 2),
        max_tiles=given.number("max_patches", 16),
        thumbnail=True,
        to_max_canvas=bool(given.processor.get("resize_to_max_canvas", False)),
    )


def _phi4(given: _Given) -> Preprocessing:
    tile, patch = given.tile(448, "height"), given.encoder("patch_size", 14)
    return DynamicHd(tile=tile, patch=patch, side=tile // patch // 2, max_tiles=given.number("dynamic_hd", 36))


def _pixels(given: _Given, low: int, high: int) -> tuple[int, int]:
    """The area bounds of a picture [pixel], under either of their names."""
    if given.processor.get("max_pixels") or given.processor.get("min_pixels"):
        return given.number("min_pixels", low), given.number("max_pixels", high)
    return given.size(low, "shortest_edge"), given.size(high, "longest_edge")


def _qwen2_vl(given: _Given) -> Preprocessing:
    low, high = _pixels(given, 3136, 12845056)
    patch, merge = given.encoder("patch_size", 14), given.encoder("spatial_merge_size", 2)
    token = (patch * merge) ** 2
    video = VideoSampling(
        fps=2.0,
        min_frames=4,
        max_frames=768,
        temporal_patch=2,
        cut_partial=True,
        min_pixels=128 * token,
        max_pixels=768 * token,
        total_pixels=int(128000 * token * 0.9),
    )
    return Native(patch=patch, merge=merge, min_pixels=low, max_pixels=high, video=video)


def _qwen3_vl(given: _Given) -> Preprocessing:
    low, high = _pixels(given, 65536, 16777216)
    patch, merge = given.encoder("patch_size", 16), given.encoder("spatial_merge_size", 2)
    video = VideoSampling(
        fps=2.0, min_frames=4, max_frames=768, temporal_patch=2, min_pixels=4096, max_pixels=25165824, volume=True
    )
    return Native(patch=patch, merge=merge, min_pixels=low, max_pixels=high, video=video)


def _glm4v(given: _Given) -> Preprocessing:
    low, high = _pixels(given, 12544, 9633792)
    patch, merge = given.encoder("patch_size", 14), given.encoder("spatial_merge_size", 2)
    video = VideoSampling(
        fps=2.0,
        max_frames=600,
        temporal_patch=2,
        fill_partial=True,
        min_pixels=12544,
        max_pixels=47040000,
        volume=True,
    )
    return Native(patch=patch, merge=merge, min_pixels=low, max_pixels=high, volume=True, video=video)


def _glm46v(given: _Given) -> Preprocessing:
    scheme = _glm4v(given)
    assert scheme.video is not None
    rates = {"fps": 6.0, "slower": ((30.0, 2.0), (300.0, 1.0)), "max_frames": 640}
    return scheme.model_copy(update={"video": scheme.video.model_copy(update=rates)})


def _gemma3(given: _Given) -> Preprocessing:
    size, patch = given.tile(896, "height"), given.encoder("patch_size", 14)
    read = given.processor.get
    return PanAndScan(
        size=size,
        patch=patch,
        tokens=int(given.top("mm_tokens_per_image", 256)),
        enabled=bool(read("do_pan_and_scan") or False),
        min_crop=int(read("pan_and_scan_min_crop_size") or 256),
        max_crops=int(read("pan_and_scan_max_num_crops") or 4),
        min_ratio=float(read("pan_and_scan_min_ratio_to_activate") or 1.2),
    )


def _paligemma(given: _Given) -> Preprocessing:
    size, patch = given.tile(224, "height"), given.encoder("patch_size", 14)
    return Fixed(size=size, patch=patch, tokens=(size // patch) ** 2)


def _queries(given: _Given) -> Preprocessing:
    size, patch = given.tile(224, "height", "shortest_edge"), given.encoder("patch_size", 14)
    return Fixed(size=size, patch=patch, tokens=int(given.top("num_query_tokens", 32)))


def _kimi(most: int, video: VideoSampling | None) -> Callable[[_Given], Preprocessing]:
    def build(given: _Given) -> Preprocessing:
        merge = given.encoder("merge_kernel_size", 2)
        name = "in_token_limit" if "in_token_limit" in given.processor else "max_patches"
        return PatchLimit(
            patch=given.encoder("patch_size", 14),
            merge=merge,
            max_patches=given.number(name, most),
            video=video,
        )

    return build


_KIMI_VIDEO = VideoSampling(fps=2.0, max_frames=2048, temporal_patch=4, max_pixels=4096 * 14 * 14)

_FAMILIES: dict[str, Callable[[_Given], Preprocessing]] = {
    "llava": _llava,
    "mistral3": _pixtral,
    "pixtral": _pixtral,
    "llava_next": _llava_next,
    "llava_next_video": _llava_next_video,
    "vipllava": _vipllava,
    "deepseek_vl": _paligemma,
    "aya_vision": _aya,
    "cohere2_vision": _cohere2,
    "lighton_ocr": _pixtral,
    "qwen3_5": _qwen3_vl,
    "qwen3_5_moe": _qwen3_vl,
    "glm46v": _glm46v,
    "llava_onevision": _llava_onevision,
    "internvl": _internvl,
    "idefics3": _idefics3,
    "smolvlm": _smolvlm,
    "mllama": _mllama,
    "llama4": _llama4,
    "phi4_multimodal": _phi4,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3_vl_moe": _qwen3_vl,
    "glm4v": _glm4v,
    "glm4v_moe": _glm4v,
    "gemma3": _gemma3,
    "paligemma": _paligemma,
    "blip-2": _queries,
    "instructblip": _queries,
    "kimi_vl": _kimi(4096, None),
    "kimi_k25": _kimi(16384, _KIMI_VIDEO),
}
