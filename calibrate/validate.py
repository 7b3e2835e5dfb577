"""``python -m calibrate validate``: every fit against shapes it has not seen, and what follows from it, as one report.

Exit status 1 if a held-out error is worse than the fit file states by more than sampling allows, or a whole stage is
predicted worse than its goal; 3 if the run is inconclusive (too much noise, or too few rows that survived it).
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd

from calibrate.fit import fits_beside, is_run, read_measured
from calibrate.held_out import HeldOut, hold_out, in_turn
from calibrate.samples import Samples
from calibrate.sections import beyond_cache, by_size, learning_curve, parity, ratios, windows
from calibrate.transfers import section as left_out
from simulator.efficiency.bands import REGIONS
from simulator.efficiency.fits import Fit, read_fit
from simulator.spec.load_hardware import load_hardware

REPORT = Path(__file__).parents[1] / "hardware_profiles" / "report.md"
INCONCLUSIVE = 3
FRESH = (11, 12)  # seeds the fits were not made with
SLACK = 1.35  # a held-out error may exceed the stated one by this factor: other groups are held out
SLACK_FEW = 2.0  # with few groups one more or less is much


@final
@dataclass(frozen=True)
class Verdict:
    """One family: what the file states, what fresh seeds show."""

    samples: Samples
    held: HeldOut
    fit: Fit

    @property
    def name(self) -> str:
        return f"{load_hardware(self.samples.device).name}/{self.samples.name}"

    @property
    def mape(self) -> float:
        return float(self.held.error().mean())

    @property
    def stated(self) -> float:
        return self.fit.error

    @property
    def coverage(self) -> float:
        """Share of rows inside the band: the shipped one, or where that was made from the same splits, one made without the rows."""
        return self.held.coverage() if in_turn(self.samples) else self.held.inside(self.fit.bands)

    @property
    def exceeded(self) -> bool:
        few = self.samples.rows["group"].nunique() < 25
        return self.mape > self.stated * (SLACK_FEW if few else SLACK) + 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--measured", type=Path, required=True, help="folder of measured tables")
    parser.add_argument("--fitted", type=Path, default=None, help="the fits to check (default: `fitted` in a run of ours, else the shipped ones)")
    parser.add_argument("--hardware", default="", help="profile the fits are for, when the tables are ours")
    parser.add_argument("--only", default="", help="check only names that contain this text")
    parser.add_argument("--report", type=Path, default=None, help="where the report goes (default: beside our own tables, or the shipped one)")
    parser.add_argument("--plot", type=Path, default=None, help="also write a parity plot (HTML)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (the result does not depend on it)")


def run(args: argparse.Namespace) -> int:
    """Check every fit there are rows for; write the report."""
    if args.report is None:
        args.report = args.measured / "report.md" if is_run(args.measured) else REPORT
    args.fitted = args.fitted or fits_beside(args.measured)
    read = read_measured(args.measured, args.hardware, args.fitted, noisy=True)
    found = [item for item in read if args.only in f"{item.device}/{item.name}"]
    jobs = [(item, args.fitted) for item in found if path_of(item, args.fitted).is_file()]
    if not jobs:
        raise ValueError(f"fitted: {args.fitted} has no fit of these tables; run `python -m calibrate fit` first")
    if args.jobs > 1:
        with ProcessPoolExecutor(args.jobs) as pool:
            verdicts = list(pool.map(_check, jobs))
    else:
        verdicts = [_check(job) for job in jobs]
    bad = [item for item in verdicts if item.exceeded]
    args.report.parent.mkdir(parents=True, exist_ok=True)
    text = report(verdicts, args.fitted, None if is_run(args.measured) else args.measured)
    stages = None
    if is_run(args.measured):
        from calibrate.loop import check

        stages = check(args.measured, args.hardware, args.fitted, args.plot)
        text = "\n".join([*stages.lines, "", text])
    args.report.write_text(text, encoding="utf-8")
    if args.plot is not None:
        parity({item.name: (item.held, item.samples) for item in verdicts}, args.plot)
    for item in bad:
        print(f"exceeded: {item.name}: held-out MAPE {item.mape:.1%}, the file states {item.stated:.1%}")
    print(f"{len(verdicts)} fits checked, {len(bad)} worse than stated; {args.report}")
    if stages is None:
        return 1 if bad else 0
    for line in stages.summary:
        print(line)
    if stages.inconclusive:
        return INCONCLUSIVE
    return 1 if bad or stages.exceeded else 0


def path_of(samples: Samples, fitted: Path) -> Path:
    """The file of a family's fit."""
    return fitted / load_hardware(samples.device).name / f"{samples.name}.yaml"


def _check(job: tuple[Samples, Path]) -> Verdict:
    samples, fitted = job
    fit = read_fit(path_of(samples, fitted))
    held = hold_out(samples, load_hardware(samples.device).chip, FRESH, tables=fit.table is not None)
    return Verdict(samples, held, fit)


def report(verdicts: list[Verdict], fitted: Path, measured: Path | None = None) -> str:
    """The report as Markdown."""
    lines = [
        "# Kernel fits: how wrong they are",
        "",
        "Written by `python -m calibrate validate --measured FOLDER`. Every error is on rows the parameters (and the table)",
        "had not seen: 30 % of whole (n, k) pairs, head configurations or models are held out (fewer than 12: each in turn),",
        "on other seeds than the fit files state theirs for. MAPE and median are of predicted over measured; bias is the median of their ratio less one;",
        "coverage is the share of rows inside the shipped 80 % band (where groups are held out in turn, so that every row had a part in that band:",
        "inside the band made in the same way without the rows' own group); width is upper over lower, less one.",
        "",
        "| fit | rows | parametric MAPE | shipped MAPE | median | bias | coverage | width | stated |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for item in sorted(verdicts, key=lambda v: v.name):
        error, plain = item.held.error(), item.held.error("parametric")
        bias = float(np.median(np.exp(-item.held.rows[item.held.best].to_numpy(np.float64)) - 1.0))
        note = " **exceeded**" if item.exceeded else ""
        lines.append(
            f"| {item.name} | {len(item.samples.rows)} | {plain.mean():.1%} | {error.mean():.1%} | {np.median(error):.1%} | "
            f"{bias:+.1%} | {item.coverage:.0%} | {item.held.width():.0%} | {item.stated:.1%}{note} |"
        )
    lines += ["", "## By region", "", "Share of the time that is fixed cost (`overhead`, `mixed`), else which roofline term leads.", ""]
    lines += ["| fit | " + " | ".join(REGIONS) + " |", "|---|" + "---|" * len(REGIONS)]
    for item in sorted(verdicts, key=lambda v: v.name):
        error, where = item.held.error(), item.held.rows["region"].to_numpy(np.int64)
        cells = [f"{error[where == i].mean():.1%} ({(where == i).sum()})" if (where == i).any() else "" for i in range(len(REGIONS))]
        lines.append(f"| {item.name} | {' | '.join(cells)} |")
    chosen = {item.name: (item.held, item.samples) for item in verdicts}
    parts = [by_size(chosen), beyond_cache(chosen), ratios(chosen), learning_curve(chosen)]
    if measured is not None:
        parts.insert(2, windows(chosen, measured, fitted))
        parts.insert(4, left_out([item.samples for item in verdicts], fitted))
    for section in parts:
        lines += ["", *section]
    return "\n".join(lines) + "\n"


def frame_of(verdicts: list[Verdict]) -> pd.DataFrame:
    """The first table as data."""
    return pd.DataFrame({"fit": [v.name for v in verdicts], "mape": [v.mape for v in verdicts], "stated": [v.stated for v in verdicts]})
