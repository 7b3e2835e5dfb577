"""The papers a scenario rests on."""

from __future__ import annotations

from simulator.presets import presets
from simulator.spec.scenario import Scenario
from simulator.technique import registry


def citation(scenario: Scenario) -> str:
    """BibTeX of the papers behind the techniques of a scenario; empty where it uses none."""
    from simulator.literature.citation import citation as bibtex

    named, known = presets(), registry()
    entries = [named[use.kind].entry if use.kind in named else known[use.kind].about.entry for use in scenario.techniques]
    return bibtex(dict.fromkeys(entry for entry in entries if entry))
