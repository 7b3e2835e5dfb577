"""The ``measure`` verb: arguments, the run, and meta.yaml."""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import re
import sys
import time
from pathlib import Path

DEFAULT_BUDGET = {"kernels": 600.0, "stages": 600.0, "techniques": 300.0, "host": 120.0, "quick": 60.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m calibrate measure``."""
    parser.add_argument("--device", default="cpu", help="cuda or cpu")
    parser.add_argument(
        "--suite",
        default="quick",
        help="kernels, stages, techniques, host or quick; several joined by commas interleave",
    )
    parser.add_argument("--budget", type=float, default=None, metavar="SECONDS", help="stop after this many seconds")
    parser.add_argument(
        "--out", type=Path, default=None, metavar="DIR", help="folder of the tables; resumed if it exists"
    )
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: those this process may use)")
    parser.add_argument("--quiet", action="store_true", help="no progress line")


def default_folder(device_name: str) -> Path:
    """hardware_profiles/measured/<device> beside the calibrate package."""
    slug = re.sub(r"[^a-z0-9]+", "-", device_name.lower()).strip("-")
    return Path(__file__).resolve().parents[2] / "hardware_profiles" / "measured" / slug


def run(arguments: argparse.Namespace) -> int:
    """Measure until the budget is spent or nothing is left. Returns the exit status."""
    started = time.monotonic()
    suites = [name.strip() for name in str(arguments.suite).split(",")]
    for suite in suites:
        if suite not in DEFAULT_BUDGET:
            raise ValueError(
                f"--suite: got {suite!r}, expected one of {', '.join(DEFAULT_BUDGET)}, or several by commas"
            )
    budget = sum(DEFAULT_BUDGET[suite] for suite in suites) if arguments.budget is None else float(arguments.budget)
    if not budget > 0.0:
        raise ValueError(f"--budget: got {arguments.budget}, expected seconds above zero")
    if "host" in suites and suites != ["host"]:
        raise ValueError(f"--suite: got {arguments.suite!r}; host runs by itself, with one thread per worker")
    usable = 1 if suites == ["host"] else len(os.sched_getaffinity(0))
    threads = usable if arguments.threads is None else int(arguments.threads)
    if threads < 1:
        raise ValueError(f"--threads: got {threads}, expected 1 or more")
    deadline = started + budget - min(0.5, 0.03 * budget)

    import torch

    from calibrate.measure.case import SCHEMA_VERSION, suite_hash
    from calibrate.measure.cpu_clock import clock_for
    from calibrate.measure.device import Device, describe
    from calibrate.measure.progress import Progress
    from calibrate.measure.runner import read_meta, run_plans, write_meta
    from calibrate.measure.suites import joined, plans_for

    torch.set_num_threads(threads)
    device = Device(str(arguments.device))
    description = describe(device)
    folder = arguments.out or default_folder(str(description["identity"]["device"]))
    meta = read_meta(folder)
    found = meta.get("identity", description["identity"])
    for name, value in description["identity"].items():
        if not isinstance(found, dict) or found.get(name) != value:
            was = found.get(name) if isinstance(found, dict) else found
            raise ValueError(
                f"--out {folder}: holds rows of {name} {was!r}, this run has {value!r}; choose another folder"
            )
    recorded = meta.get("suites")
    hashes: dict[str, str] = dict(recorded) if isinstance(recorded, dict) else {}
    plans = []
    for suite in suites:
        of_suite = plans_for(suite, device.kind)
        name = suite_hash(case for plan in of_suite for case in plan.cases)
        if hashes.get(suite, name) != name:
            raise ValueError(
                f"--out {folder}: its {suite} suite has hash {hashes[suite]}, this version's is {name}; choose another folder"
            )
        hashes[suite] = name
        plans.extend(of_suite)
    meta |= {
        **description,
        "schema": SCHEMA_VERSION,
        "suites": hashes,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "load_average_at_start": list(os.getloadavg()),
        "complete": False,
    }
    write_meta(folder, meta)
    earlier = [one["noise"] for one in meta.get("runs", []) if "reference_gemm_p20_s" in one["noise"]]  # type: ignore[attr-defined]
    baseline = tuple(
        min((float(noise[name]) for noise in earlier), default=float("inf"))
        for name in ("reference_gemm_p20_s", "reference_copy_p20_s")
    )
    clock = clock_for(device, (baseline[0], baseline[1]))
    with Progress(budget, bool(arguments.quiet)) as progress:
        outcome = run_plans(joined(plans), device, clock, folder, deadline, progress)
    runs = meta.get("runs")
    entry = {
        "suites": suites,
        "date": meta["date"],
        "budget_s": budget,
        "spent_s": round(time.monotonic() - started, 2),
        "cases": outcome.counts,
        "left": outcome.left,
        "noise": clock.report(),
    }
    entries = [*(runs if isinstance(runs, list) else []), entry]
    noise = clock.report()
    meta |= {"runs": entries, "complete": outcome.left == 0}
    if outcome.counts:
        meta["inconclusive"] = any(bool(one["noise"].get("inconclusive")) for one in entries if one["cases"])
    write_meta(folder, meta)
    summary = ", ".join(f"{count} {status}" for status, count in sorted(outcome.counts.items())) or "nothing new"
    verdict = (
        "INCONCLUSIVE (too few samples outside bursts)" if noise.get("inconclusive") and outcome.counts else "usable"
    )
    if suites == ["host"]:
        importlib.import_module("calibrate.measure.host_profile").write_profile(folder, str(meta["date"]))
    print(f"{folder}: {summary}; {outcome.left} left; {verdict}; {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0
