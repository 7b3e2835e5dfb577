"""What a host does with a request before the device sees it: decode, resize, normalise, patchify, tokenise.

``slow`` is Pillow and numpy, as the older image processors are written; ``fast`` is torch (torchvision's resize where
torchvision loads, else ``torch.nn.functional.interpolate`` with antialias, which is what torchvision calls). Decoding is
Pillow in both.
"""

from __future__ import annotations

import functools
import importlib
import io
import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from calibrate.measure.case import Unsupported

PATCH = 14
MERGE = 2
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
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
