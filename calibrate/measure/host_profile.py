"""From the host table to host.yaml: lines per request, picture, megapixel, token and byte, with their spreads."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Row = dict[str, str]
WRITTEN = 2e-6  # megapixels written per output pixel: the patches hold every picture twice, as a pair of frames
# An array above 32 MiB comes from fresh pages at every request (glibc's largest dynamic mmap threshold), which costs more than
# filling it: the patches (float32 in three channels) from 2.8 megapixels written on, the picture itself from 5.6.
LARGE = (32 * 2**20 / 12 / 1e6, 2 * 32 * 2**20 / 12 / 1e6)


def nonnegative_line(design: np.ndarray, seconds: np.ndarray) -> tuple[np.ndarray, float]:
    """Non-negative least squares of relative error: coefficients [columns] and the spread of the fit.

    With so few columns every subset of them can be tried: the best whose solution has no negative entry is the optimum
    (Lawson and Hanson 1974, the active-set condition). The spread is the 80th percentile of |log(fit / measured)|.
    """
    if len(seconds) < design.shape[1] + 1:
        raise ValueError(f"{len(seconds)} rows for {design.shape[1]} coefficients; at least one more is needed")
    weighted = design / seconds[:, None]
    best, best_error = np.zeros(design.shape[1]), np.inf
    for size in range(1, design.shape[1] + 1):
        for chosen in itertools.combinations(range(design.shape[1]), size):
            part = np.linalg.lstsq(weighted[:, chosen], np.ones(len(seconds)), rcond=None)[0]
            error = float(np.sum((weighted[:, chosen] @ part - 1.0) ** 2))
            if np.all(part >= 0.0) and error < best_error:
                best, best_error = np.zeros(design.shape[1]), error
                best[list(chosen)] = part
    fitted = np.maximum(design @ best, 1e-12)
    return best, float(np.percentile(np.abs(np.log(fitted / seconds)), 80))


def rows_of(path: Path) -> list[Row]:
    """Usable rows of a table, the last of each case."""
    with path.open(encoding="utf-8", newline="") as file:
        last = {row["case"]: row for row in csv.DictReader(file)}
    return [row for row in last.values() if row["status"] == "ok"]


def fit_line(rows: Sequence[Row], columns: Sequence[str], what: str) -> tuple[np.ndarray, float]:
    """Intercept and one coefficient per column (per megapixel for pixels), and the spread."""
    if len(rows) < len(columns) + 2:
        raise ValueError(f"{what}: {len(rows)} usable rows, at least {len(columns) + 2} are needed")
    return nonnegative_line(design_of(rows, columns), np.array([float(row["seconds"]) for row in rows]))


def design_of(rows: Sequence[Row], columns: Sequence[str]) -> np.ndarray:
    """One row of ones and figures per row: megapixels for pixels; `large_pixels` are those written into large arrays."""
    return np.array([[1.0, *(figure(row, name) for name in columns)] for row in rows])


def figure(row: Row, name: str) -> float:
    """One column of a design."""
    if name == "large_pixels":
        written = float(row["output_pixels"]) * WRITTEN
        return written * min(max((written - LARGE[0]) / (LARGE[1] - LARGE[0]), 0.0), 1.0)
    return float(row[name]) * {"input_pixels": 1e-6, "output_pixels": WRITTEN}.get(name, 1.0)


def count_tokens(rows: Sequence[Row]) -> list[Row]:
    """Rows of the tokeniser with nominal words replaced by the tokens that come out."""
    host = importlib.import_module("calibrate.measure.host_pipeline")
    encode = host.tokenizer().encode
    return [{**row, "tokens": str(len(encode(host.text(int(row["tokens"]), 99)).ids))} for row in rows]


def lines_of(rows: Sequence[Row], processor: str) -> tuple[dict[str, tuple[float, float]], tuple[float, float]]:
    """Value [s] and spread of every line of one processor, and the check: median and 80th percentile of
    |log(lines / measured)| over pictures of sizes that no line was fitted on.

    The spread of a picture's lines is that of the check where it is the larger. The hand-over line is for 4 KiB to 16 MiB. Resize and output lines are fitted together on whole pipelines (resize, normalise, patchify), because the memory
    that large arrays fault in belongs to none of the steps alone. A request is one with next to nothing in it.
    """

    def of(op: str, kind: str = processor, encoding: str = "jpeg") -> list[Row]:
        chosen = [row for row in rows if row["op"] == op and row["processor"] == kind and row["workers"] == "1"]
        return [row for row in chosen if row["encoding"] in ("", encoding)]

    decode, decode_spread = fit_line(of("decode", "any"), ("input_pixels",), "decode")
    png, png_spread = fit_line(of("decode", "any", "png"), ("input_pixels",), "decode png")
    sides = {str(side * side) for side in importlib.import_module("calibrate.measure.host").SIDES_FITTED}
    pictures = of("preprocess")
    fitted = [row for row in pictures if row["output_pixels"] in sides]
    columns = ("input_pixels", "output_pixels", "large_pixels")
    picture, picture_spread = fit_line(fitted, columns, f"preprocess {processor}")
    token, token_spread = fit_line(count_tokens(of("tokenise", "any")), ("tokens",), "tokenise")
    sent = [row for row in of("handover", "any") if 4096 <= int(row["bytes"]) <= 16 * 2**20]
    handover, handover_spread = fit_line(sent, ("bytes",), "handover")
    requests = of("request")
    if not requests:
        raise ValueError(f"request {processor}: no usable row")
    request = float(requests[0]["seconds"])
    request_spread = float(np.log(float(requests[0]["p80_s"]) / float(requests[0]["p20_s"])))
    others = [row for row in pictures if row["output_pixels"] not in sides]
    check = (float("nan"), float("nan"))
    if others:
        errors = np.abs(np.log(design_of(others, columns) @ picture / np.array([float(row["seconds"]) for row in others])))
        check = (float(np.median(errors)), float(np.percentile(errors, 80)))
        picture_spread = max(picture_spread, check[1])
    lines = {
        "seconds_per_request": (request, request_spread),
        "seconds_per_image": (
            float(decode[0]) + max(float(picture[0]) - request, 0.0),
            max(decode_spread, picture_spread),
        ),
        "seconds_per_megapixel_decode": (float(decode[1]), decode_spread),
        "seconds_per_megapixel_decode_png": (float(png[1]), png_spread),
        "seconds_per_megapixel_resize": (float(picture[1]), picture_spread),
        "seconds_per_output_megapixel": (float(picture[2]), picture_spread),
        "seconds_per_large_output_megapixel": (float(picture[3]), picture_spread),
        "seconds_per_text_token": (float(token[1]), token_spread),
        "handover_seconds_per_request": (float(handover[0]), handover_spread),
        "handover_seconds_per_byte": (float(handover[1]), handover_spread),
    }
    return lines, check


def workers_cost(rows: Sequence[Row]) -> float | None:
    """Median ratio of seconds with two workers to seconds with one, over steps measured with both (1: no interference)."""
    alone: dict[tuple[str, ...], float] = {}
    both: dict[tuple[str, ...], float] = {}
    for row in rows:
        step = tuple(row[name] for name in ("op", "processor", "encoding", "input_pixels", "output_pixels"))
        if row["op"] in ("decode", "preprocess"):
            (alone if row["workers"] == "1" else both)[step] = float(row["seconds"])
    ratios = [both[step] / alone[step] for step in both if step in alone]
    return float(np.median(ratios)) if ratios else None


def versions() -> str:
    """Libraries whose code was timed."""
    names = ("PIL", "torch", "numpy", "tokenizers")
    return ", ".join(f"{name} {getattr(importlib.import_module(name), '__version__', '?')}" for name in names)


def profile_text(rows: Sequence[Row], meta: Mapping[str, object], date: str) -> str:
    """host.yaml as text."""
    identity = meta.get("identity")
    device = dict(identity) if isinstance(identity, dict) else {}
    details = meta.get("details")
    cpu = dict(details).get("host_cpu", "?") if isinstance(details, dict) else "?"
    fast = importlib.import_module("calibrate.measure.host_pipeline").resampler()
    reference = f"{cpu}, {device.get('threads', '?')} thread per worker, {date[:10]}, {versions()}"
    spread_of_workers = workers_cost(rows)
    head = [
        "# Seconds of a request that the host spends, as lines. Made by `python -m calibrate measure --suite host`.",
        "# spread: 80th percentile of |log(line / measured)|. Pictures: synthetic 4:3 JPEG of quality 90.",
        "# slow: Pillow and numpy. fast: torch; decoding is Pillow in both. large: a crop's pixels whose arrays come from fresh pages",
        "# at every request, none below the first of `large_from_megapixels` and all from the second on.",
        f"reference: {json.dumps(reference)}",
        f"date: {json.dumps(date[:10])}",
        f"fast_resize: {json.dumps(fast)}",
    ]
    if spread_of_workers is not None:
        head.append("# two workers at once against one alone, seconds per round (threads of one process, median)")
        head.append(f"two_workers_over_one: {spread_of_workers:.3f}")
    body = [f"large_from_megapixels: [{LARGE[0]:.4g}, {LARGE[1]:.4g}]", "processors:"]
    for processor in ("slow", "fast"):
        lines, check = lines_of(rows, processor)
        body.append(
            f"  # on picture sizes not fitted, decode apart: median {check[0]:.1%}, 80th percentile {check[1]:.1%}"
        )
        body.append(f"  {processor}:")
        for name, (value, spread) in lines.items():
            body.append(
                f"    {name}: {{value: {value:.4e}, kind: measured, spread: {spread:.3f}, reference: {json.dumps(reference)}}}"
            )
    return "\n".join(head + body) + "\n"


def write_profile(folder: Path, date: str) -> None:
    """Write folder/host.yaml, or say on stderr which rows are still missing."""
    meta = json.loads((folder / "meta.yaml").read_text(encoding="utf-8"))
    try:
        text = profile_text(rows_of(folder / "host.csv"), meta, date)
    except ValueError as error:
        print(f"host.yaml not written: {error}; run again with the same --out to go on", file=sys.stderr)
        return
    (folder / "host.yaml").write_text(text, encoding="utf-8")
