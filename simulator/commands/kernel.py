"""`lvlm-sim kernel OP`: the calibrated core by itself."""

from __future__ import annotations

import argparse
import json

from simulator.quantity import text
from simulator.spec.source import SpecError

LARGEST = 1e15
_DIMS = ("m", "n", "k", "batch", "heads", "kv_heads", "head_dim", "query", "context", "bytes", "devices")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("op", help="gemm, encoder_attention, prefill_attention, decode_attention, elementwise, all_reduce")
    parser.add_argument("--hardware", required=True)
    parser.add_argument("--engine", default="vllm")
    parser.add_argument("--format", default="bf16")
    parser.add_argument("--version", help="version of the fit (default: the newest)")
    parser.add_argument("--footprint", type=float, default=float("inf"), help="bytes cycled through before the same data recurs")
    for name in _DIMS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, dest=name)
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Seconds of one kernel."""
    from simulator.efficiency import kernel_seconds

    shape = {name: getattr(args, name) for name in _DIMS if getattr(args, name) is not None}
    for name, value in shape.items():
        if value > LARGEST:
            raise SpecError(f"--{name.replace('_', '-')}: {value:g} is not accepted; at most {LARGEST:g}")
    try:
        result = kernel_seconds(
            args.op, args.hardware, args.engine, args.format, version=args.version, footprint=args.footprint, **shape
        )
    except ValueError as error:
        raise SpecError(str(error)) from None
    values = {name: float(getattr(result, name)) for name in ("floor", "lower", "expected", "upper")}
    if args.json:
        print(json.dumps({**values, "source": result.source}))
    else:
        print(
            f"{text(values['expected'], 's')} (80 %: {text(values['lower'], 's')} – {text(values['upper'], 's')}; "
            f"floor {text(values['floor'], 's')}), {result.source}"
        )
    return 0
