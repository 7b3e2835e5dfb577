"""`lvlm-sim VERB`: thin. Each verb is a module in `simulator.commands`, imported only when it is used."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

VERBS: dict[str, str] = {
    "estimate": "what one scenario costs, stage by stage",
    "compare": "several hardware, models, engines or mixes side by side",
    "kernel": "seconds of one kernel from the calibrated core",
    "sweep": "a YAML space to a table",
    "search": "the best scenarios of a YAML space",
    "reproduce": "published results against predictions",
    "literature": "the catalogue of papers",
    "models": "models that ship",
    "hardware": "hardware profiles that ship",
    "techniques": "techniques and presets",
    "import": "a Hugging Face config.json to a model file",
    "export": "launch commands, YAML, Python or CSV of a scenario",
}


class Parser(argparse.ArgumentParser):
    """Errors are one line on stderr, exit status 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        sys.stderr.write(f"lvlm-sim: {message}\n")
        raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print("usage: lvlm-sim VERB [options]      (lvlm-sim VERB --help)\n")
        print("\n".join(f"  {verb:<12}{text}" for verb, text in VERBS.items()))
        return 0
    if given[0] == "--version":
        from importlib.metadata import version

        print(version("lvlm-simulator"))
        return 0
    verb = given[0]
    if verb not in VERBS:
        sys.stderr.write(f"lvlm-sim: {verb!r} is not a verb; accepted: {', '.join(VERBS)}\n")
        return 2
    module = importlib.import_module(f"simulator.commands.{verb if verb != 'import' else 'import_'}")
    parser = Parser(prog=f"lvlm-sim {verb}", description=VERBS[verb])
    module.add_arguments(parser)
    from simulator.spec.source import SpecError

    try:
        return int(module.run(parser.parse_args(given[1:])))
    except SpecError as error:
        sys.stderr.write(f"lvlm-sim {verb}: {error}\n")
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
