"""Writes models/*.yaml from the configurations beside this file: `python tests/reference/make_models.py [NAME ...]`.

What a checkpoint's config.json does not say (title, where the values were read, who stated its total) is added here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from simulator.interop.hf_config import import_config
from simulator.interop.write_model import model_yaml
from simulator.spec.model import Lvlm
from simulator.spec.source import Source

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "models"


def configurations() -> dict[str, dict[str, Any]]:
    """Every configuration by model name, vision-language and text alone."""
    paths = sorted((HERE / "configs").glob("**/*.json"))
    return {path.stem: json.loads(path.read_text()) for path in paths}


def imported(entry: dict[str, Any]) -> Lvlm:
    """The spec of one configuration, with its provenance."""
    settings = entry.get("processor", {}).get("kw")
    model = import_config(entry["config"], entry["model"], settings)
    sources = [
        Source(kind="spec", reference=f"huggingface.co/{entry['hf_id']}: the checkpoint that this file describes")
    ]
    sources += [_source(text) for text in entry["source"]]
    if entry.get("published_params") and entry.get("published_src"):
        sources.append(_source(f"published_parameters: {entry['published_src']}"))
    return model.model_copy(
        update={
            "title": entry["hf_id"].split("/")[-1],
            "sources": tuple(sources),
            "published_parameters": entry.get("published_params"),
            "notes": entry.get("notes", ""),
        }
    )


def _source(text: str) -> Source:
    """What was recalled or taken from a class's defaults is inferred, not read."""
    recalled = any(word in text for word in ("recalled", "memory", "defaults"))
    return Source(kind="inferred" if recalled else "spec", reference=text)


def main(names: list[str]) -> None:
    for name, entry in configurations().items():
        if not names or name in names:
            text = model_yaml(imported(entry), f"{entry['hf_id']}: written by tests/reference/make_models.py.")
            (MODELS / f"{name}.yaml").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
