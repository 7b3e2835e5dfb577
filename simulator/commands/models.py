"""`lvlm-sim models`: what ships."""

from __future__ import annotations

import argparse
import json

from simulator.quantity import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--json", action="store_true", help="a list of objects as JSON")


def run(args: argparse.Namespace) -> int:
    """List every model with its size and how it looks at pictures."""
    from simulator.build.count import kv_bytes_per_token, parameters
    from simulator.spec.load_model import load_model, model_names

    rows: list[dict[str, object]] = []
    for name in model_names():
        model = load_model(name)
        count = parameters(model)
        language = model.language
        rows.append(
            {
                "name": name,
                "title": model.title,
                "parameters": count["total"],
                "vision_parameters": count["vision"],
                "layers": language.stack.layers,
                "hidden": language.hidden,
                "kv_bytes_per_token": kv_bytes_per_token(model),
                "pictures": model.preprocessing.kind if model.preprocessing else "text only",
                "max_context": language.max_context,
            }
        )
    if args.json:
        print(json.dumps(rows))
        return 0
    from rich.table import Table

    from simulator.commands.screen import console as screen

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "parameters", "vision", "layers", "hidden", "KV per token", "pictures"):
        table.add_column(title, justify="left" if title in ("model", "pictures") else "right")
    for row in rows:
        table.add_row(
            str(row["name"]), text(float(str(row["parameters"])), ""), text(float(str(row["vision_parameters"])), ""),
            str(row["layers"]), str(row["hidden"]), text(float(str(row["kv_bytes_per_token"])), "B"), str(row["pictures"]),
        )  # fmt: skip
    screen().print(table)
    return 0
