"""Whole stages of real LVLM architectures with random weights: encode, project, prefill, decode, each by itself."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from calibrate.measure.architectures import (
    Architecture,
    Shelf,
    architectures,
    encoder_call,
    language_of,
    pictures,
    projector_call,
)
from calibrate.measure.case import Case, Prepared, Unsupported
from calibrate.measure.device import Device, item_bytes
from calibrate.measure.runner import Plan
from calibrate.measure.suites import merged, ordered

STATIC_SLACK = 64


@functools.cache
def shelf() -> Shelf:
    """The models built so far."""
    return Shelf()


def stage_case(
    architecture: Architecture, stage: str, attention: str, format: str, *, execution: str = "eager", cache: str = "none",
    width: int = 0, height: int = 0, images: int = 0, text_tokens: int = 0, batch: int = 1, query: int = 0, context: int = 0,
) -> Case:  # fmt: skip
    """One stage. encode and project: ``images`` pictures in all. prefill: ``query`` tokens per sequence into an empty
    cache, head on the last. decode: one token per sequence over ``context`` cached ones, head included."""
    visual = images * architecture.visual_tokens(width, height) if images else max(0, query - text_tokens)
    key = {
        "model": architecture.name, "stage": stage, "attention": attention, "format": format, "execution": execution,
        "cache": cache, "image_width": width, "image_height": height, "images": images, "visual_tokens": visual,
        "text_tokens": text_tokens, "batch": batch, "query": query, "context": context,
        "vision_layers": architecture.vision_layers, "language_layers": architecture.language_layers,
    }  # fmt: skip
    weights = architecture.parameters() * item_bytes(format)

    def prepare(device: Device) -> Prepared:
        model = shelf().get(architecture, format, attention, device)
        graph = execution == "graph"
        if stage in ("encode", "project"):
            inputs = pictures(architecture, width, height, images, format, device)
            if stage == "encode":
                call, restore = encoder_call(model, architecture, inputs)
                return Prepared((call,), weights, single=True, graph=graph, close=restore)
            return Prepared((projector_call(model, architecture, inputs),), weights, single=True, graph=graph)
        text = language_of(model, architecture.kind)
        hidden = architecture.config["text_config"]["hidden_size"]
        if stage == "prefill":
            embeddings = device.take((batch, query, hidden), format)
            return Prepared((prefill_call(model, text, embeddings),), weights, single=True, graph=graph)
        embeddings = device.take((batch, 1, hidden), format)
        make = static_decode if cache == "static" else dynamic_decode
        call, reset = make(model, text, embeddings, context, format, device)
        return Prepared((call,), weights, reset=reset, single=True, graph=graph)

    return Case("stages", {**key}, prepare, 0)


def prefill_call(model: Any, text: Any, embeddings: torch.Tensor) -> Callable[[], Any]:
    """Decoder over all embeddings with a new cache, then the head on the last token."""
    return lambda: model.lm_head(text(inputs_embeds=embeddings, use_cache=True).last_hidden_state[:, -1:])


def head_shape(text: Any) -> tuple[int, int]:
    """kv_heads and head_dim of a decoder."""
    config = text.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(config.num_key_value_heads), int(width)


def dynamic_decode(
    model: Any, text: Any, embeddings: torch.Tensor, context: int, format: str, device: Device
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A step over a cache that grows by concatenation, cropped back before every sample."""
    cache = importlib.import_module("transformers").DynamicCache()
    kv_heads, width = head_shape(text)
    shape = (embeddings.shape[0], kv_heads, context, width)
    with torch.inference_mode():
        for layer in range(text.config.num_hidden_layers):
            cache.update(device.take(shape, format).clone(), device.take(shape, format).clone(), layer)

    def step() -> Any:
        out = text(inputs_embeds=embeddings, past_key_values=cache, use_cache=True)
        return model.lm_head(out.last_hidden_state)

    def reset() -> None:
        extra = int(cache.get_seq_length()) - context
        if extra > 0:
            cache.crop(-extra)

    return step, reset


def static_decode(
    model: Any, text: Any, embeddings: torch.Tensor, context: int, format: str, device: Device
) -> tuple[Callable[[], Any], Callable[[], Any] | None]:
    """A step over a cache of fixed size, filled by a prefill of random embeddings."""
    transformers = importlib.import_module("transformers")
    batch, _, hidden = embeddings.shape
    try:
        cache = transformers.StaticCache(config=text.config, max_cache_len=context + STATIC_SLACK)
    except TypeError as error:
        raise Unsupported(f"this transformers' StaticCache is built otherwise: {error}") from error
    with torch.inference_mode():
        text(inputs_embeds=device.take((batch, context, hidden), format), past_key_values=cache, use_cache=True)
    position = torch.full((batch, 1), context, device=device.torch)

    def step() -> Any:
        out = text(inputs_embeds=embeddings, past_key_values=cache, position_ids=position, use_cache=True)
        return model.lm_head(out.last_hidden_state)

    return step, None


def floor_cases(architecture: Architecture, format: str, cuda: bool) -> list[Case]:
    """Stages of a model with next to no work: two depths give a layer's cost of dispatch and a pass's fixed cost."""
    width, height = architecture.images[0]
    cases = [stage_case(architecture, "encode", "sdpa", format, width=width, height=height, images=1)]
    cases += [stage_case(architecture, "prefill", "sdpa", format, query=16, text_tokens=16)]
    for attention in ("sdpa", "eager"):
        cases.append(stage_case(architecture, "decode", attention, format, cache="dynamic", query=1, context=16))
    if cuda:
        cases.append(
            stage_case(architecture, "decode", "sdpa", format, execution="graph", cache="static", query=1, context=16)
        )
    return cases


def slow_format_cases(architecture: Architecture) -> list[Case]:
    """bfloat16 on a CPU, which few multiply in: one small picture, short prompts, one sequence."""
    width, height = architecture.images[0]
    shape = {"width": width, "height": height, "images": 1}
    cases = [stage_case(architecture, stage, "sdpa", "bf16", **shape) for stage in ("encode", "project")]
    cases += [stage_case(architecture, "prefill", "sdpa", "bf16", query=query, text_tokens=16) for query in (32, 96)]
    return cases + [
        stage_case(architecture, "decode", "sdpa", "bf16", cache="dynamic", query=1, context=context)
        for context in (32, 128, 320)
    ]


def architecture_cases(architecture: Architecture, format: str, cuda: bool) -> list[Case]:
    """Stages of one architecture over pictures, batch and context."""
    if architecture.is_floor:
        return floor_cases(architecture, format, cuda)
    if format == "bf16" and not cuda:
        return slow_format_cases(architecture)
    cases: list[Case] = []
    counts = (1, 4, 16) if cuda else (1, 2)
    for width, height in architecture.images:
        for images in counts:
            for attention in ("sdpa", "eager"):
                if attention == "eager" and images > 1:
                    continue
                shape = {"width": width, "height": height, "images": images}
                cases.append(stage_case(architecture, "encode", attention, format, **shape))
            cases.append(stage_case(architecture, "project", "sdpa", format, **shape))
    queries = (64, 256, 640, 1024, 2048, 4096, 8192) if cuda else (32, 128, 320, 600)
    contexts = (128, 512, 1024, 2048, 4096, 8192) if cuda else (32, 128, 320, 640, 1280)
    for batch in (1, 4, 16) if cuda else (1, 2):
        for attention in ("sdpa", "eager"):
            if attention == "eager" and batch > 1:
                continue
            for query in queries:
                if batch * query <= (16384 if cuda else 700):
                    tokens = {"query": query, "text_tokens": min(64, query // 2), "batch": batch}
                    cases.append(stage_case(architecture, "prefill", attention, format, **tokens))
            for context in contexts:
                tokens = {"query": 1, "context": context, "batch": batch}
                cases.append(stage_case(architecture, "decode", attention, format, cache="dynamic", **tokens))
                if cuda and attention == "sdpa":
                    for execution in ("eager", "graph"):
                        cases.append(
                            stage_case(
                                architecture, "decode", "sdpa", format, execution=execution, cache="static", **tokens
                            )
                        )
    return cases


def in_rounds(groups: Sequence[Sequence[Case]], rounds: int) -> list[Case]:
    """A share of every group per round: few changes of model, and yet every model early."""
    return [
        case
        for turn in range(rounds)
        for group in groups
        for case in group[turn * len(group) // rounds : (turn + 1) * len(group) // rounds]
    ]


def plans(device_kind: str) -> list[Plan]:
    """The stages suite: on a CPU all models take turns, on a GPU in three rounds."""
    cuda = device_kind == "cuda"
    groups = [
        ordered(architecture_cases(architecture, format, cuda), ("stage",))
        for architecture in architectures(device_kind)
        for format in (("bf16",) if cuda else ("f32", "bf16"))
    ]
    if cuda:
        return [Plan("stages", tuple(in_rounds(groups, 3)), 1.0, 12, 0.6)]
    floors = [group for group in groups if str(group[0].key["model"]).startswith("floor-")]
    others = [group for group in groups if not str(group[0].key["model"]).startswith("floor-")]
    return [Plan("stages", tuple(merged(floors) + merged(others)), 1.0, 12, 0.3)]
