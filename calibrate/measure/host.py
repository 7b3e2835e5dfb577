"""The host's share of a request: picture decode, resize, normalise, patchify, tokenise, hand-over to another process.

``slow`` is Pillow and numpy, as the older image processors are written; ``fast`` is torch (torchvision's resize where
torchvision loads, else ``torch.nn.functional.interpolate`` with antialias, which is what torchvision calls). Decoding is
Pillow in both. One thread per worker; workers are threads of one process (Pillow, numpy and torch release the lock).
"""

from __future__ import annotations

import functools
import importlib
import io
import math
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from calibrate.measure.case import Call, Case, Prepared, Unsupported
from calibrate.measure.device import Device
from calibrate.measure.order import spread_out
from calibrate.measure.runner import Plan

MEGAPIXELS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0)
SIDES_FITTED = (336, 1008, 2016)
SIDES_CHECKED = (672, 1512)
PATCH = 14
MERGE = 2
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
PIPE_CHILD = """
import pickle, struct, sys
source, sink = sys.stdin.buffer, sys.stdout.buffer
while True:
    head = source.read(8)
    if len(head) < 8:
        break
    pickle.loads(source.read(struct.unpack("<q", head)[0]))
    sink.write(b"1")
    sink.flush()
"""


def size_of(megapixels: float) -> tuple[int, int]:
    """Width and height of a 4:3 picture of about so many megapixels."""
    height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
    return round(height * 4 / 3), height


@functools.lru_cache(maxsize=8)
def photograph(width: int, height: int) -> np.ndarray:
    """A synthetic photograph [height, width, 3] uint8: noise with amplitude falling with frequency, as in nature."""
    generator = torch.Generator().manual_seed(width)
    picture = torch.zeros(1, 3, height, width)
    for level in range(7):
        cells = 2 ** (level + 2)
        noise = torch.randn(1, 3, min(height, cells), min(width, cells * 4 // 3), generator=generator)
        picture += functional.interpolate(noise, (height, width), mode="bilinear") / 1.6**level
    picture += torch.randn(1, 3, height, width, generator=generator) * 0.03
    return (picture[0].permute(1, 2, 0) * 45 + 128).clamp(0, 255).to(torch.uint8).numpy()


def pillow() -> Any:
    """PIL.Image, or Unsupported."""
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise Unsupported("Pillow is not installed") from error


def resampler() -> str:
    """Which code does the fast resize."""
    try:
        importlib.import_module("torchvision.transforms.v2.functional")
    except (ImportError, RuntimeError):
        return "torch.nn.functional.interpolate"
    return "torchvision"


@functools.lru_cache(maxsize=16)
def encoded(width: int, height: int, encoding: str) -> bytes:
    """The photograph as a file: JPEG of quality 90, or PNG."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": 90} if encoding == "jpeg" else {"compress_level": 3}
    pillow().fromarray(photograph(width, height)).save(buffer, encoding, **options)
    return buffer.getvalue()


def decode(data: bytes) -> Any:
    """File -> RGB picture in memory."""
    picture = pillow().open(io.BytesIO(data))
    return picture.convert("RGB")


def resize_fast(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """uint8 [1, 3, H, W] -> uint8 [1, 3, height, width], bicubic with antialias."""
    if resampler() == "torchvision":
        module = importlib.import_module("torchvision.transforms.v2.functional")
        return module.resize(picture, [height, width], interpolation=module.InterpolationMode.BICUBIC, antialias=True)
    return functional.interpolate(picture, (height, width), mode="bicubic", antialias=True)


def normalise_slow(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> float32 [3, H, W]: rescale, then subtract and divide, one pass each."""
    scaled = (picture * np.float32(1 / 255)).astype(np.float32)
    scaled = (scaled - np.array(MEAN, dtype=np.float32)) / np.array(DEVIATION, dtype=np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def normalise_fast(picture: torch.Tensor) -> torch.Tensor:
    """uint8 [1, 3, H, W] -> float32: the rescale is folded into mean and deviation."""
    mean = torch.tensor(MEAN).view(1, 3, 1, 1) * 255
    deviation = torch.tensor(DEVIATION).view(1, 3, 1, 1) * 255
    return picture.to(torch.float32).sub_(mean).div_(deviation)


def patchify(picture: Any, xp: str) -> Any:
    """float32 [3, H, W] -> [patches, 3 * 2 * 14 * 14]: pairs of frames, patches in merged 2 x 2 order."""
    channels, height, width = picture.shape
    rows, columns = height // PATCH, width // PATCH
    shape = (channels, rows // MERGE, MERGE, PATCH, columns // MERGE, MERGE, PATCH)
    axes = (1, 4, 2, 5, 0, 3, 6)
    if xp == "numpy":
        parts = np.repeat(picture.reshape(shape).transpose(axes)[..., None, :, :], 2, axis=-3)
        return torch.from_numpy(np.ascontiguousarray(parts.reshape(rows * columns, -1)))
    parts = picture.reshape(shape).permute(axes)[..., None, :, :].expand(*(-1,) * 5, 2, -1, -1)
    return parts.reshape(rows * columns, -1)


def preprocess(picture: Any, processor: str, side: int) -> Any:
    """Decoded picture -> patches, through one processor."""
    if processor == "slow":
        resized = picture.resize((side, side), pillow().Resampling.BICUBIC)
        return patchify(normalise_slow(np.asarray(resized)), "numpy")
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    return patchify(normalise_fast(resize_fast(tensor, side, side))[0], "torch")


class Pipe:
    """Another Python process that unpickles what it is sent and answers with one byte."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", PIPE_CHILD]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, payload: Any) -> None:
        """Pickle, write, wait for the answer."""
        assert self.child.stdin is not None and self.child.stdout is not None
        data = pickle.dumps(payload, protocol=5)
        self.child.stdin.write(struct.pack("<q", len(data)))
        self.child.stdin.write(data)
        self.child.stdin.flush()
        if self.child.stdout.read(1) != b"1":
            raise RuntimeError("the receiving process ended")

    def close(self) -> None:
        """End the process."""
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.wait(timeout=10)


def together(work: Call, workers: int) -> tuple[Call, Call | None]:
    """A call in which every worker does the work once, and what ends the workers."""
    if workers == 1:
        return work, None
    pool = ThreadPoolExecutor(workers)

    def run() -> None:
        for job in [pool.submit(work) for _ in range(workers)]:
            job.result()

    return run, functools.partial(pool.shutdown, wait=True)


def host_case(
    op: str, processor: str, make: Callable[[], tuple[Call, Call | None]], *, workers: int = 1, encoding: str = "",
    input_pixels: int = 0, output_pixels: int = 0, tokens: int = 0, size: int = 0,
) -> Case:  # fmt: skip
    """One host step. Seconds are until every worker has done it once."""
    key = {
        "op": op, "processor": processor, "workers": workers, "encoding": encoding, "input_pixels": input_pixels,
        "output_pixels": output_pixels, "tokens": tokens, "bytes": size,
    }  # fmt: skip

    def prepare(device: Device) -> Prepared:
        work, close = make()
        run, end = together(work, workers)

        def finish() -> None:
            for step in (end, close):
                if step is not None:
                    step()

        return Prepared((run,), size or 3 * input_pixels, close=finish)

    return Case("host", {**key}, prepare, 40 * (input_pixels + output_pixels) + 4 * size)


def decode_case(megapixels: float, encoding: str, workers: int) -> Case:
    """Decode a file of a 4:3 photograph."""
    width, height = size_of(megapixels)

    def make() -> tuple[Call, Call | None]:
        return functools.partial(decode, encoded(width, height, encoding)), None

    return host_case("decode", "any", make, workers=workers, encoding=encoding, input_pixels=width * height)


def step_case(op: str, processor: str, megapixels: float, side: int, workers: int = 1) -> Case:
    """resize, normalise, patchify or all three (``preprocess``) of a decoded picture to side x side."""
    width, height = size_of(megapixels)

    def make() -> tuple[Call, Call | None]:
        picture = pillow().fromarray(photograph(width, height))
        if op == "preprocess":
            return functools.partial(preprocess, picture, processor, side), None
        if op == "resize":
            if processor == "slow":
                return functools.partial(picture.resize, (side, side), pillow().Resampling.BICUBIC), None
            return (
                lambda: resize_fast(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None], side, side),
                None,
            )
        small = np.array(picture.resize((side, side)))
        tensor = torch.from_numpy(small).permute(2, 0, 1)[None].contiguous()
        if op == "normalise":
            work = (
                functools.partial(normalise_slow, small)
                if processor == "slow"
                else functools.partial(normalise_fast, tensor)
            )
            return work, None
        if processor == "slow":
            return functools.partial(patchify, normalise_slow(small), "numpy"), None
        return functools.partial(patchify, normalise_fast(tensor)[0], "torch"), None

    of_input = width * height if op in ("resize", "preprocess") else 0
    return host_case(op, processor, make, workers=workers, input_pixels=of_input, output_pixels=side * side)


@functools.cache
def tokenizer() -> Any:
    """A byte-level BPE of 2,000 entries trained on synthetic text of Zipf-distributed words."""
    try:
        tokenizers = importlib.import_module("tokenizers")
    except ImportError as error:
        raise Unsupported("tokenizers is not installed") from error
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=2000, show_progress=False)
    made.train_from_iterator([text(400, seed) for seed in range(40)], trainer)
    return made


def text(words: int, seed: int = 0) -> str:
    """Synthetic prose: words of 2 to 9 letters, frequencies falling as 1/rank."""
    random = np.random.default_rng(7)
    letters = list("etaoinshrdlucmfwygpbvk")
    lexicon = ["".join(random.choice(letters, random.integers(2, 10))) for _ in range(600)]
    weights = 1.0 / np.arange(1, 601)
    chosen = np.random.default_rng(seed).choice(600, words, p=weights / weights.sum())
    return " ".join(lexicon[index] for index in chosen)


def tokenise_case(words: int) -> Case:
    """Encode a prompt of so many words; ``tokens`` is nominal words, the profile divides by the tokens that come out."""

    def make() -> tuple[Call, Call | None]:
        encoder, prompt = tokenizer(), text(words, 99)
        return lambda: encoder.encode(prompt).ids, None

    return host_case("tokenise", "any", make, tokens=words)


def request_case(processor: str) -> Case:
    """What a request costs with next to nothing in it: a 28 x 28 picture and four words, through everything."""

    def make() -> tuple[Call, Call | None]:
        encoder, picture = tokenizer(), pillow().fromarray(photograph(28, 28))

        def work() -> Any:
            patches = preprocess(picture, processor, 28)
            ids = torch.tensor([encoder.encode("describe the picture please").ids])
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.cat([patches])}

        return work, None

    return host_case("request", processor, make, input_pixels=28 * 28, output_pixels=28 * 28)


def handover_case(size: int) -> Case:
    """Pickle an array of so many bytes, pipe it to another process that unpickles it, and wait for the answer."""

    def make() -> tuple[Call, Call | None]:
        pipe, payload = Pipe(), {"pixel_values": np.zeros(size, dtype=np.uint8), "request": 1}
        return functools.partial(pipe.send, payload), pipe.close

    return host_case("handover", "any", make, size=size)


def plans(device_kind: str) -> list[Plan]:
    """The host suite; ``device_kind`` matters only for the copies to the device."""
    cases = [decode_case(size, "jpeg", workers) for size in MEGAPIXELS for workers in (1, 2)]
    cases += [decode_case(size, "png", workers) for size in MEGAPIXELS[::3] for workers in (1, 2)]
    for processor in ("slow", "fast"):
        cases += [step_case("resize", processor, size, side) for size in (0.25, 2.0, 8.0) for side in SIDES_FITTED]
        cases += [step_case(op, processor, 0.25, side) for op in ("normalise", "patchify") for side in SIDES_FITTED]
        cases += [
            step_case("preprocess", processor, size, side) for size in (0.25, 1.0, 4.0, 12.0) for side in SIDES_FITTED
        ]
        cases += [
            step_case("preprocess", processor, size, side, workers)
            for size in (0.5, 2.0, 8.0) for side in SIDES_CHECKED for workers in (1, 2)
        ]  # fmt: skip
        cases.append(request_case(processor))
    cases += [tokenise_case(words) for words in (1, 16, 64, 256, 1024, 4096)]
    cases += [handover_case(4**power) for power in range(3, 14)]
    if device_kind == "cuda":
        module = importlib.import_module("calibrate.measure.transfer")
        copies = [case for case in module.copy_cases("cuda") if case.key["op"] == "host_to_device"]
        return [Plan("host", tuple(spread_out(cases)), 0.9, 10, 0.4), Plan("copy", tuple(copies), 0.1)]
    return [Plan("host", tuple(spread_out(cases)), 1.0, 10, 0.4)]
