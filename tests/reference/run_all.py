"""Compares all models with transformers and prints the table of the README: `python tests/reference/run_all.py > TABLE.md`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]

import counting  # noqa: E402
import test_flops as flops  # noqa: E402

from simulator.build.count import kv_bytes_per_token, parameters  # noqa: E402
from simulator.spec.load_model import load_model  # noqa: E402
from simulator.spec.source import SpecError  # noqa: E402
from simulator.spec.workload import Clip, Picture  # noqa: E402

PICTURES = ((336, 336), (672, 672), (1024, 1024), (1920, 1080), (4000, 300))
CLIP = Clip(448.0, 448.0, frames=16.0)


def row(name: str) -> str:
    """One line: counts of the simulator, and how far transformers is."""
    model = load_model(name)
    ours = parameters(model)
    theirs = counting.owned(counting.build(flops.CONFIGURATIONS[name]))
    wrong = [part for part in ours if part != "active" and ours[part] != theirs[part]]
    tokens: list[str] = []
    errors: list[float] = []
    for width, height in PICTURES:
        error, visual = flops.encode_error(name, [Picture(float(width), float(height))])
        tokens.append(f"{visual:.0f}")
        errors.append(error)
    try:
        error, visual = flops.encode_error(name, [], [CLIP])
        tokens.append(f"{visual:.0f}")
        errors.append(error)
    except SpecError:
        tokens.append("–")
    stages = [flops.generate_errors(name, pictures) for pictures in (flops.SMALL, flops.LARGE)]
    kv = kv_bytes_per_token(model)
    cells = (
        name,
        f"{ours['total']:,}",
        "equal" if not wrong else "differ: " + ", ".join(wrong),
        " / ".join(tokens),
        _percent(errors),
        _percent([stage[0] for stage in stages]),
        _percent([stage[1] for stage in stages]),
        f"{kv:,.0f}" + (" equal" if all(stage[2] == 0.0 for stage in stages) else " DIFFERS"),
    )
    return "| " + " | ".join(cells) + " |"


def _percent(errors: list[float]) -> str:
    worst = 100.0 * max(errors, key=abs)
    return "0" if worst == 0.0 else f"{worst:+.4f}"


def main(names: list[str]) -> None:
    sizes = " / ".join(f"{width}×{height}" for width, height in PICTURES)
    print(
        "Largest deviation from transformers 5.23.0 [%], over the pictures and (where the model takes video) the clip; prefill"
    )
    print("and decode with the first and the fourth picture and 64 text tokens.\n")
    head = ("model", "parameters", "total, vision, projector, language, embedding, lm_head",
            f"visual tokens for {sizes} and 16 frames of 448×448", "encode + project", "prefill", "decode",
            "KV bytes per token")  # fmt: skip
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for name in flops.CONFIGURATIONS:
        if not names or name in names:
            print(row(name), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
