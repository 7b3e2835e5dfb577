"""`lvlm-sim hardware`: profiles that ship."""

from __future__ import annotations

import argparse
import json

from simulator.quantity import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--json", action="store_true", help="a list of objects as JSON")


def run(args: argparse.Namespace) -> int:
    """List every profile."""
    from simulator.spec.load_hardware import hardware_names, load_hardware

    devices = [load_hardware(name) for name in hardware_names()]
    if args.json:
        print(json.dumps([device.model_dump(mode="json") for device in devices]))
        return 0
    from rich.table import Table

    from simulator.commands.screen import console as screen

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("hardware", "year", "bf16", "fp8", "memory", "bandwidth", "L2", "TDP", "$/h", "title"):
        table.add_column(title, justify="left" if title in ("hardware", "title") else "right")
    for device in devices:
        peak = device.peak
        dense = peak.get("bf16") or peak.get("fp16") or peak["fp32"]
        table.add_row(
            device.name, str(device.year), text(dense.value, "FLOP/s"),
            text(peak["fp8"].value, "FLOP/s") if "fp8" in peak else "-",
            text(device.memory_bytes.value, "B"), text(device.memory_bandwidth.value, "B/s"),
            text(device.l2_bytes.value, "B"), text(device.tdp_w.value, "W"), f"{device.price_per_hour.value:.2f}", device.title,
        )  # fmt: skip
    screen().print(table)
    return 0
