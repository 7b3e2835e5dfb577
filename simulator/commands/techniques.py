"""`lvlm-sim techniques [NAME]`: what can be mixed, with parameters, site, flags and sources."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("name", nargs="?", help="one technique or preset in full")
    parser.add_argument("--presets", action="store_true", help="the presets (methods by name) too")
    parser.add_argument("--json", action="store_true", help="a list of objects as JSON")


def run(args: argparse.Namespace) -> int:
    """List techniques; with a name, its parameters."""
    from simulator.presets import presets
    from simulator.technique import registry, unknown

    known, named = registry(), presets()
    rows = [describe(name) for name in known]
    rows += [
        {
            "name": preset.name, "preset": True, "entry": preset.entry, "parts": [kind for kind, _ in preset.parts],
            "defaults": {kind: dict(values) for kind, values in preset.parts}, "default_kind": preset.default_kind,
            "source": preset.source, "needs_training": not preset.training_free, "needs_query": preset.query_aware,
            "engines": {kind: on_engines(preset.name, kind) for kind, _ in preset.parts},
        }
        for preset in named.values()
    ]  # fmt: skip
    if args.name:
        if args.name not in known and args.name not in named:
            raise unknown(args.name, [*known, *named])
        rows = [row for row in rows if row["name"] == args.name]
    if args.json:
        print(json.dumps(rows))
        return 0
    from rich.table import Table

    from simulator.commands.screen import console as screen

    console = screen()
    if args.name:
        _print_one(console, rows[0])
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("technique", "site", "needs", "parameters", "what it does"):
        table.add_column(title)
    for row in rows:
        if not row["preset"]:
            needs = ", ".join(flag for flag in ("training", "query", "scores") if row[f"needs_{flag}"]) or "-"
            table.add_row(row["name"], row["site"].lower(), needs, ", ".join(row["parameters"]), row["title"])
    console.print(table)
    if args.presets:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("preset", "technique", "defaults", "kind", "source"):
            table.add_column(title)
        for row in rows:
            if row["preset"]:
                values = "; ".join(f"{k}={v}" for part in row["defaults"].values() for k, v in part.items())
                table.add_row(row["name"], " + ".join(row["parts"]), values, row["default_kind"], row["source"])
        console.print(table)
    else:
        console.print(f"[dim]and {len(named)} presets named after papers: lvlm-sim techniques --presets[/]")
    return 0


def describe(name: str) -> dict[str, Any]:
    """A technique as plain data."""
    from simulator.technique import parameters, registry

    cls = registry()[name]
    about = cls.about
    return {
        "name": name,
        "preset": False,
        "title": about.title,
        "site": about.site.name,
        "family": about.family,
        "entry": about.entry,
        "lossless": about.lossless,
        "needs_training": about.needs_training,
        "needs_query": about.needs_query,
        "needs_scores": about.needs_scores,
        "conflicts": dict(about.conflicts),
        "engines": on_engines(name, name),
        "parameters": {
            knob.name: {
                "kind": knob.kind,
                "default": knob.default,
                "low": None if knob.low == float("-inf") else knob.low,
                "high": None if knob.high == float("inf") else knob.high,
                "unit": knob.unit,
                "choices": knob.choices,
                "help": knob.help,
            }
            for knob in parameters(cls)
        },
    }


def on_engines(name: str, kind: str) -> dict[str, dict[str, str]]:
    """How a technique, as a named method uses it, stands on every engine that something is known of."""
    from simulator.literature.presets import load_deployability
    from simulator.presets import deployability
    from simulator.technique import registry

    said = [engine for preset, part, engine in load_deployability() if (preset, part) == (name, kind)]
    found = {engine: deployability(name, kind, engine) for engine in dict.fromkeys([*registry()[kind].about.engines, *said])}
    return {engine: {"status": status, "source": source} for engine, (status, source) in found.items()}


def _print_one(console: Any, row: dict[str, Any]) -> None:
    from rich.table import Table

    if row["preset"]:
        console.print(f"[bold]{row['name']}[/]: {' + '.join(row['parts'])}; {row['source']} ({row['default_kind']})")
        for part in row["parts"]:
            _print_one(console, {**describe(part), "engines": row["engines"][part]})
        return
    console.print(f"[bold]{row['name']}[/] ({row['site'].lower()}): {row['title']}; source: {row['entry']}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("parameter", "default", "accepted", "unit", "meaning"):
        table.add_column(title)
    for name, knob in row["parameters"].items():
        default = "|".join(map(str, knob["default"])) if isinstance(knob["default"], tuple) else str(knob["default"])
        accepted = " ".join(knob["choices"]) if knob["choices"] else f"{knob['low']} … {knob['high']}" if knob["low"] is not None else knob["kind"]
        table.add_row(name, default, accepted, knob["unit"], knob["help"])
    console.print(table)
    for other, reason in row["conflicts"].items():
        console.print(f"  not with {other}: {reason}")
    for engine, state in row["engines"].items():
        console.print(f"  {engine}: {state['status']} ({state['source']})")
