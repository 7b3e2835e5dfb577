"""A row as questions to the simulator: one per engine and device that the row leaves open, arrays over the missing numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from simulator.literature import load_entries
from simulator.reproduce.pictures import picture_in, shown
from simulator.reproduce.prior import (
    DRAFTING,
    ENGINES,
    HARDWARE,
    OUTPUT,
    PICTURE,
    SHORT,
    TEXT,
    UNFUSED,
    VARIANTS,
    VIDEO,
    draws,
    log_uniform,
)
from simulator.reproduce.setting import PLAIN, NotComparableError, drafts, evicts, techniques_of, weights
from simulator.reproduce.stand_ins import bytes_per_token, model_named
from simulator.reproduce.table import Row, load_table
from simulator.spec.load_hardware import hardware_names
from simulator.spec.model import Lvlm
from simulator.spec.workload import Picture

TINYCHAT = str(Path(__file__).with_name("tinychat.yaml"))
UNMODELLED = ("MLC", "llama.cpp", "ExLlamaV2")


@final
@dataclass(frozen=True, slots=True)
class Question:
    """One engine on one device. visual, text, output: one value per draw. devices: in a pipeline for transformers, else tensor-parallel.
    video: the visual tokens are a clip's; frames: how many it has, 0 where that is not stated. picture: the one that makes the visual tokens, where its size is stated; source: pixels of the file, 0 where not stated. flops_scale: 2 for products accumulated in fp16, which GeForce chips do at twice the rate of fp32."""

    model: str
    hardware: str
    engine: str
    devices: int
    batch: float
    visual: tuple[float, ...]
    text: tuple[float, ...]
    output: tuple[float, ...]
    techniques: tuple[str, ...]
    video: bool = False
    frames: float = 0.0
    flops_scale: float = 1.0
    picture: Picture | None = None
    source: float = 0.0


@final
@dataclass(frozen=True, slots=True)
class Questions:
    """Pairs of (method, baseline) and what was assumed for them."""

    pairs: tuple[tuple[Question, Question], ...]
    assumed: tuple[str, ...]


def questions(row: Row) -> Questions:
    """The scenarios of a row, or NotComparableError with the reason."""
    model = shipped(row)
    visual, text, output, assumed = _numbers(row, model)
    engines, more = _engines(row)
    devices, hardware = _hardware(row)
    notes = [*assumed, *more, *hardware]
    method, baseline = techniques_of(row), weights(row.precision_baseline)
    count, video, frames = int(row.devices or 1), _video(row), _frames(row)
    picture, source = _picture(row, model, visual), _source(row)
    if not row.batch and "batch" not in row.assumed_fields:
        notes.append("batch 1")
    pairs: list[tuple[Question, Question]] = []
    for engine in engines:
        for device in devices:
            first = Question(row.model, device, engine, count, row.batch or 1.0, visual, text, output, method, video, frames, _scale(row, device), picture, source)
            plain = Question(row.model, device, _plain_engine(row, engine), count, row.batch or 1.0, visual, text, output, baseline, video, frames, picture=picture, source=source)
            pairs.append((first, plain))
    return Questions(tuple(pairs), tuple(dict.fromkeys(notes)))


def shipped(row: Row) -> Lvlm:
    """The row's model, or NotComparableError."""
    if not row.model:
        raise NotComparableError("the source names no model")
    model = model_named(row.model)
    if model is None:
        raise NotComparableError(f"{row.model} is not among the models, nor can it be put together from them")
    return model


def _engines(row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if row.engine == "tinychat":
        return (TINYCHAT,), ()
    if row.engine:
        return (row.engine,), ()
    unknown = next((name for name in UNMODELLED if name in row.method), None)
    if unknown:
        raise NotComparableError(f"{unknown} has no engine profile")
    names = UNFUSED if evicts(row) else DRAFTING if drafts(row) else ENGINES
    return names, ("engine: " + ", ".join(names),)


def _scale(row: Row, device: str) -> float:
    halved = row.engine == "tinychat" and row.precision.startswith("w4") and "legacy" not in row.method
    return 2.0 if halved and device.startswith("rtx-") else 1.0


def _plain_engine(row: Row, engine: str) -> str:
    """TinyChat's fp16 baseline is Transformers, as its authors say; any other baseline ran under the engine of the method."""
    return "hf-sdpa" if engine == TINYCHAT and row.precision_baseline in PLAIN else engine


def _hardware(row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not row.hardware:
        return HARDWARE, ("hardware: " + ", ".join(HARDWARE),)
    if row.hardware not in hardware_names() and "/" not in row.hardware:
        raise NotComparableError(f"{row.hardware} is not among the hardware profiles")
    if "hardware_variant" in row.assumed_fields and row.hardware in VARIANTS:
        names = VARIANTS[row.hardware]
        return names, (("hardware variant: " + ", ".join(names)),) if len(names) > 1 else ()
    return (row.hardware,), ()


def _numbers(row: Row, model: Lvlm) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], tuple[str, ...]]:
    unit, notes = draws(), list[str]()
    pictures = row.kind != "text_only"
    text = _given(row.text_tokens)
    prompt = row.prompt_tokens if row.prompt_tokens is not None else _cached_tokens(row, notes)
    visual = _given(row.visual_before if pictures else 0.0)
    if text is None and prompt is not None and visual is not None:
        text = np.maximum(prompt - visual, 1.0)
    if text is None:
        text = log_uniform(unit.text, TEXT)
        notes.append(f"text_tokens {TEXT[0]:g} to {TEXT[1]:g}")
    if visual is None and prompt is not None:
        visual = np.maximum(prompt - text, 1.0)
    if visual is None:
        visual = _seen(row, model, unit.visual, notes)
    output = _given(row.output_tokens)
    if output is None:
        bounds = SHORT if row.metric == "benchmark_time" else OUTPUT
        output = log_uniform(unit.output, bounds)
        notes.append(f"output_tokens {bounds[0]:g} to {bounds[1]:g}")
    zeros = np.zeros(len(unit.text))
    lists = [tuple(float(item) for item in np.broadcast_to(part + zeros, zeros.shape)) for part in (visual, text, output)]
    return lists[0], lists[1], lists[2], tuple(notes)


def _given(value: float | None) -> NDArray[np.float64] | None:
    return None if value is None else np.asarray(value, dtype=float)


def _seen(row: Row, model: Lvlm, unit: NDArray[np.float64], notes: list[str]) -> NDArray[np.float64]:
    scheme = model.preprocessing
    if scheme is not None and scheme.kind == "fixed" and not _video(row):
        return np.asarray(float(scheme.tokens))
    picture = picture_in(row.image)
    whole = shown(model, picture) if picture is not None else None
    if whole is not None:
        return np.asarray(float(whole.tokens))
    bounds = VIDEO if _video(row) else PICTURE
    notes.append(f"visual_before {bounds[0]:,.0f} to {bounds[1]:,.0f}")
    return log_uniform(unit, bounds)


def _picture(row: Row, model: Lvlm, visual: Sequence[float]) -> Picture | None:
    """The stated picture, if it makes the visual tokens that the row goes by."""
    picture = picture_in(row.image)
    whole = shown(model, picture) if picture is not None else None
    return picture if whole is not None and set(visual) == {float(whole.tokens)} else None


def _source(row: Row) -> float:
    """Pixels of the stated pictures' files; 0 where their size is not stated."""
    picture = picture_in(row.image)
    return 0.0 if picture is None else float(picture.width * picture.height * picture.count)


def _frames(row: Row) -> float:
    """Frames of a clip, where the column `image` has them ("64 frames"); else 0."""
    count, _, unit = row.image.partition(" ")
    return float(count) if unit == "frames" and count.isdigit() else 0.0


def _video(row: Row) -> bool:
    return _frames(row) > 0.0 or any(item.id == row.entry and item.modality in ("video", "streaming_video") for item in load_entries())


def _cached_tokens(row: Row, notes: list[str]) -> float | None:
    """Prompt length from the bytes of the full cache, where the same source prints them for the same model."""
    for other in load_table():
        same = (other.entry, other.model, other.hardware) == (row.entry, row.model, row.hardware)
        if same and other.metric == "kv_bytes" and other.baseline:
            tokens = other.baseline / bytes_per_token(shipped(row))
            notes.append(f"prompt of {tokens:,.0f} tokens from the {other.baseline / 1e9:.3g} GB of its cache ({other.id})")
            return round(tokens)
    return None
