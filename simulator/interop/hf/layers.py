"""Which kind a layer of a language model is: attention and window, rotary positions, experts."""

from __future__ import annotations

from typing import Any

from simulator.interop.hf.families import Family, Flag
from simulator.interop.hf.fields import Fields
from simulator.spec.model import AttentionKind
from simulator.spec.source import SpecError

KINDS = ("full_attention", "sliding_attention", "chunked_attention")


def listed(fields: Fields, layers: int, accepted: tuple[str, ...]) -> list[str] | None:
    """`layer_types`, if the configuration lists them: one per layer."""
    found: Any = fields.value("layer_types", None)
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != layers or any(item not in accepted for item in found):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        raise SpecError(f"{fields.name('layer_types')}: a list of {layers} is expected, of {', '.join(accepted)}")
    return [str(item) for item in found]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def decided(fields: Fields, flag: Flag) -> bool:
    """What a class fixes, or the field that decides."""
    return fields.flag(flag, False) if isinstance(flag, str) else flag


def kind_of(fields: Fields, family: Family, index: int, layers: int, context: int) -> tuple[AttentionKind, int]:
    """Attention kind and window of one layer."""
    if family.latent:
        return ("mla" if _is_latent(fields) else "full"), 0
    if fields.type == "mllama_text_model":
        return ("cross", 0) if index in fields.sizes("cross_attention_layers") else ("full", 0)
    stated = listed(fields, layers, KINDS)
    if family.windows == "chunks":
        chunked = turned(fields, index, layers) if stated is None else stated[index] == "chunked_attention"
        chunk = fields.count("attention_chunk_size")
        return ("chunked", chunk) if chunked and chunk else ("full", 0)
    window = _window(fields, family, index, None if stated is None else stated[index], layers)
    return ("sliding", window) if 0 < window < context else ("full", 0)


def _is_latent(fields: Fields) -> bool:
    """DeepSeek's own class has a switch that its smaller vision-language models turn off."""
    return "use_mla" not in fields.data or fields.flag("use_mla")


def _window(fields: Fields, family: Family, index: int, stated: str | None, layers: int) -> int:
    """Sliding window of one layer [tokens]; 0: none."""
    rule = family.windows
    if rule == "" or (
        rule in ("qwen", "qwen2_moe", "qwen3_moe", "nope") and not fields.flag("use_sliding_window", False)
    ):
        return 0
    if rule in ("always", "qwen3_moe"):  # the class gives every layer the window and reads no `layer_types`
        return fields.count("sliding_window")
    if stated is not None:
        sliding = stated == "sliding_attention"
    elif rule == "nope":
        sliding = not turned(fields, index, layers)
    elif rule == "qwen":
        sliding = index >= fields.count("max_window_layers")
    elif rule == "qwen2_moe":
        sliding = index % 2 == 0 and index < fields.count("max_window_layers")
    else:
        period = fields.count("sliding_window_pattern", family.period)
        sliding = period == 0 or (index + 1) % period != 0
    return fields.count("sliding_window") if sliding else 0


def turned(fields: Fields, index: int, layers: int) -> bool:
    """Whether rotary positions are applied in a layer."""
    if fields.type not in ("llama4_text", "smollm3"):
        return True
    stated = fields.sizes("no_rope_layers", []) if fields.has("no_rope_layers") else []
    if len(stated) >= layers:
        return bool(stated[index])
    return (index + 1) % fields.size("no_rope_layer_interval") != 0


def routed_at(fields: Fields, family: Family, index: int, layers: int) -> bool:
    """Whether the layer's feed-forward part is a mixture of experts."""
    if family.routed == "from":
        named: Any = fields.value("mlp_layer_types", None)
        if isinstance(named, list) and len(named) == layers:  # pyright: ignore[reportUnknownArgumentType]
            return named[index] == "sparse"
        return fields.value(family.experts) is not None and index >= fields.count("first_k_dense_replace")
    if family.routed == "listed":
        kinds: Any = fields.value("mlp_layer_types", None)
        return index > 0 if not isinstance(kinds, list) or len(kinds) != layers else kinds[index] == "sparse"  # pyright: ignore[reportUnknownArgumentType]
    if family.routed == "interleaved":
        if fields.has("moe_layers"):
            return index in fields.sizes("moe_layers")
        return (index + 1) % fields.size("interleave_moe_layer_step") == 0
    if family.routed == "sparse":
        if fields.count(family.experts) == 0 or index in fields.sizes("mlp_only_layers"):
            return False
        return (index + 1) % fields.size("decoder_sparse_step") == 0
    if family.routed == "ranged":
        last: Any = fields.value("moe_layer_end_index")
        end = layers - 1 if last in (None, -1) else fields.count("moe_layer_end_index")
        between = fields.count("moe_layer_start_index") <= index <= end
        return between and (index + 1) % fields.size("moe_layer_interval") == 0
    return family.routed == "all"
