"""`lvlm-sim literature`: the catalogue of papers (see `simulator.literature.report`)."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    from simulator.literature import report

    report.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Dispatch."""
    from simulator.literature import report

    return report.run(args)
