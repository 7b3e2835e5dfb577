"""``python -m calibrate measure|fit|transfer|validate|serving|anchor``: each verb is imported only when it is the one asked for."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

VERBS = {
    "measure": ("calibrate.measure.command", "time kernels, stages, techniques or the host's share on this machine"),
    "fit": ("calibrate.fit", "turn measured tables into a small file of parameters"),
    "validate": ("calibrate.validate", "compare predictions with measurements that were held out"),
    "transfer": ("calibrate.transfers", "time every measured device as if nobody had measured it; how wide the bands of others are"),
    "serving": ("calibrate.serving", "compare composed decode times with measured serving"),
    "anchor": ("calibrate.anchor", "fit a deployment's overheads to a few end-to-end rows"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; bad input is one line on stderr and exit status 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    outline = argparse.ArgumentParser(prog="python -m calibrate", description=__doc__)
    choices = outline.add_subparsers(dest="verb", required=True, metavar="|".join(VERBS))
    asked = arguments[0] if arguments and arguments[0] in VERBS else None
    for verb, (_, summary) in VERBS.items():
        choices.add_parser(verb, help=summary, add_help=verb != asked)
    if asked is None:
        outline.parse_args(arguments)
        return 2
    module_name = VERBS[asked][0]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        print(f"calibrate {asked}: needs the module {error.name!r}, which is not installed here", file=sys.stderr)
        return 2
    parser = argparse.ArgumentParser(prog=f"python -m calibrate {asked}", description=VERBS[asked][1])
    module.add_arguments(parser)
    parsed = parser.parse_args(arguments[1:])
    try:
        return int(module.run(parsed))
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        print(f"calibrate {asked}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
