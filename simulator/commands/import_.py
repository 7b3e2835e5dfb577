"""`lvlm-sim import config.json`: a Hugging Face configuration to a model file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from simulator.spec.source import SpecError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("config", nargs="?", help="config.json of the checkpoint")
    parser.add_argument(
        "--types", action="store_true", help="list the types that can be imported, of models and of towers"
    )
    parser.add_argument("--name", help="name of the model (default: the file's folder or model_type)")
    parser.add_argument("--processor", help="preprocessor_config.json of the checkpoint")
    parser.add_argument("--out", help="file to write (default: NAME.yaml; - for standard output)")
    parser.add_argument("--json", action="store_true", help="print the model as JSON instead of writing a file")


def run(args: argparse.Namespace) -> int:
    """Import, then write the YAML."""
    from simulator.interop.hf.vision import TOWERS
    from simulator.interop.hf_config import import_config, supported
    from simulator.interop.write_model import model_data
    from simulator.spec.yaml import write_yaml

    if args.types:
        print(
            json.dumps({"models": supported(), "towers": sorted(TOWERS)})
            if args.json
            else "\n".join([*supported(), "", *sorted(TOWERS)])
        )
        return 0
    if args.config is None:
        raise SpecError("argument config is required: give a checkpoint's config.json (--types lists what can be imported)")
    model = import_config(_read(args.config), args.name, _read(args.processor) if args.processor else None)
    data = model_data(model)
    if args.json:
        print(json.dumps(data))
        return 0
    body = write_yaml(data)
    if args.out == "-":
        sys.stdout.write(body)
        return 0
    path = Path(args.out or f"{model.name}.yaml")
    if path.exists():
        raise SpecError(f"--out: {path} exists; choose another name or remove it")
    path.write_text(body, encoding="utf-8")
    print(f"wrote {path}: {model.title}")
    for note in model.assumptions:
        print(f"  assumes {note}")
    return 0


def _read(name: str) -> dict[str, object]:
    try:
        data = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{name}: {error.strerror}; a config.json is wanted") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{name}: not JSON ({str(error).splitlines()[0]})") from None
    if not isinstance(data, dict):
        raise SpecError(f"{name}: a JSON object is wanted, not {type(data).__name__}")
    return data
