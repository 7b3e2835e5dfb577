"""Cases of the host's share of a request: each step of `host_pipeline`, all of them, and the hand-over to another process.

One thread per worker; workers are threads of one process (Pillow, numpy and torch release the lock).
"""

from __future__ import annotations

import functools
import importlib
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from calibrate.measure.case import Call, Case, Prepared
from calibrate.measure.device import Device
from calibrate.measure.host_pipeline import (
    decode,
    encoded,
    normalise_fast,
    normalise_slow,
    patchify,
    photograph,
    pillow,
    preprocess,
    resize_fast,
    size_of,
    text,
    tokenizer,
)
from calibrate.measure.order import spread_out
from calibrate.measure.runner import Plan

MEGAPIXELS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0)
SIDES_FITTED = (336, 1008, 2016)
SIDES_CHECKED = (672, 1512)
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
