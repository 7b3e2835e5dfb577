"""`lvlm-sim VERB`: thin. Each verb is a module in `simulator.commands`, imported only when it is used."""

from __future__ import annotations

import argparse
import importlib
import re
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


INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


class Parser(argparse.ArgumentParser):
    """Errors are one line on stderr, exit status 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise SystemExit(refuse(self.prog, message))


def refuse(prog: str, message: str) -> int:
    """Write an error as one line, what cannot be printed escaped and very long words by their two ends; returns the exit status."""
    printable = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)
    sys.stderr.write(f"{prog}: " + re.sub(r"(\S{120})\S{60,}(\S{120})", r"\1...\2", printable) + "\n")
    return 2


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
        return refuse("lvlm-sim", f"{verb!r} is not a verb; accepted: {', '.join(VERBS)}")
    module = importlib.import_module(f"simulator.commands.{verb if verb != 'import' else 'import_'}")
    parser = Parser(prog=f"lvlm-sim {verb}", description=VERBS[verb])
    module.add_arguments(parser)
    for item in given[1:]:
        if item.startswith("--") and item.endswith("=--"):  # argparse would drop the value and hand on an empty list
            parser.error(f"argument {item.removesuffix('=--')}: '--' is not accepted as its value")
        if re.search("[\0\ud800-\udb7f]", item):  # no shell passes these on, and no file can be called so
            parser.error(f"argument {item!r}: holds a character that no text has")
    from simulator.spec.source import SpecError

    try:
        return int(module.run(parser.parse_intermixed_args(given[1:])))
    except SpecError as error:
        return refuse(parser.prog, str(error))
    except KeyboardInterrupt:
        refuse(parser.prog, "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        return refuse(parser.prog, f"{error.filename}: {error.strerror}" if error.filename else str(error))


if __name__ == "__main__":
    raise SystemExit(main())
