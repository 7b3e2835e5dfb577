"""The host's share: decode the files, resize, normalise, patchify, tokenise, copy to the device, hand over.

It dominates measured time to first token for large pictures. Costs are lines in megapixels, measured once on a CPU
(`hardware_profiles/host.yaml`) and scaled for others; a switch leaves the stage out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import hypot
from typing import Any, final

from simulator.program import Program
from simulator.quantity import Numeric, clip, maximum
from simulator.spec.folders import data_folder
from simulator.spec.source import SpecError
from simulator.spec.yaml import read_yaml
from simulator.stage import Machine, Total


@final
@dataclass(frozen=True, slots=True)
class Host:
    """Seconds on one worker: per request, per file, per source megapixel (decode a JPEG; a PNG; resize), per megapixel written, more per
    megapixel of a crop that is large, per text token, per byte handed over.

    large_from: megapixels of a crop from which on some, and all, of it counts as large. spread: 80 % half-width in log, the larger of its lines for pictures, and what other machines differ by. source: where the lines were measured.
    """

    request: float
    file: float
    decode: float
    decode_png: float
    resize: float
    write: float
    large: float
    large_from: tuple[float, float]
    token: float
    byte: float
    spread: float
    source: str


_PICTURE = ("seconds_per_megapixel_decode", "seconds_per_megapixel_decode_png", "seconds_per_megapixel_resize", "seconds_per_output_megapixel")


@lru_cache(maxsize=8)
def load_host(processor: str) -> Host:
    """The host's lines for the `fast` or the `slow` processor."""
    data: dict[str, Any] = read_yaml(data_folder("hardware_profiles") / "host.yaml")
    processors: dict[str, Any] = data["processors"]
    if processor not in processors:
        raise SpecError(f"workload.processor: {processor!r} is not accepted; one of {', '.join(processors)}")
    lines = processors[processor]

    def line(name: str) -> float:
        return float(lines[name]["value"])

    elsewhere = float(data.get("other_machines", {"value": 0.0})["value"])
    return Host(
        line("seconds_per_request") + line("handover_seconds_per_request"), line("seconds_per_image"), line("seconds_per_megapixel_decode"),
        line("seconds_per_megapixel_decode_png"), line("seconds_per_megapixel_resize"), line("seconds_per_output_megapixel"), line("seconds_per_large_output_megapixel"),
        (float(data["large_from_megapixels"][0]), float(data["large_from_megapixels"][1])), line("seconds_per_text_token"),
        line("handover_seconds_per_byte"), hypot(max(float(lines[name]["spread"]) for name in _PICTURE), elsewhere), str(data["reference"]),
    )  # fmt: skip


def preprocess(program: Program, machine: Machine, host: Host, total: Total) -> None:
    """Preprocessing of the batch over the engine's workers, then the copy of the pixels to the device."""
    seen = program.visual_input
    written: Numeric = 0.0
    large: Numeric = 0.0
    first, last = host.large_from
    for grid in seen.grids:
        written = written + grid.crops * grid.pixels
        large = large + grid.crops * grid.pixels * clip((grid.pixels * 1e-6 - first) / (last - first), 0.0, 1.0)
    jpeg = seen.source_pixels - seen.png_pixels - seen.raw_pixels
    decoded = jpeg * host.decode + seen.png_pixels * host.decode_png
    processed = (seen.source_pixels * host.resize + written * host.write + large * host.large) * machine.engine.preparations
    seconds = host.request + seen.files * host.file + (decoded + processed) * 1e-6 + program.text * host.token
    copied = written * 3.0 * 2.0  # three channels, two bytes each
    busy = (seconds + copied * host.byte) * program.batch / machine.engine.workers
    slowest = maximum(busy, seconds + copied * host.byte)  # one request takes its own time, however many workers
    total.extra(slowest * program.host_scale, "host", host.spread, "host")
    link = machine.chip.host
    total.extra(link.latency + copied * program.batch / link.bandwidth, "host", 0.3, "host copy")
