"""What is fitted for each kernel family: the form, what is known about its parameters beforehand, the table's axes.

A prior is a start and a log standard deviation; it is far weaker than any hundred rows and keeps a parameter that the
rows say nothing about (a cache term when nothing fits the cache) where experience puts it. Bounds are physical.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from simulator.efficiency import attention_forms, cpu, forms
from simulator.efficiency.forms import PARAMETERS, Terms, Values
from simulator.efficiency.grouped_forms import GROUPED
from simulator.efficiency.timed import physical, rate
from simulator.spec.hardware import Chip

Array = NDArray[np.float64]
Columns = dict[str, Array]


@final
@dataclass(frozen=True, slots=True)
class Prior:
    """start, log standard deviation, lower and upper bound; `choices`: the values of a parameter that is no continuum."""

    start: float
    spread: float
    low: float
    high: float
    choices: tuple[float, ...] = ()


_CACHE = {"l2_share": Prior(0.6, 0.5, 0.03, 4.0), "el2": Prior(0.6, 0.7, 0.02, 10.0)}
_TILE = Prior(128.0, 1.0, 32.0, 512.0, (64.0, 128.0, 192.0, 256.0))  # what attention kernels are built for
_GEMM = {
    "t0": Prior(3e-6, 1.0, 1e-8, 1e-2),
    "ec": Prior(0.78, 0.4, 0.005, 1.0),
    "em": Prior(0.8, 0.3, 0.02, 1.0),
    "p": Prior(2.3, 0.5, 1.0, 8.0),
    **_CACHE,
    "cta": Prior(2e-6, 1.2, 1e-9, 1e-3),
    "split": Prior(2.0, 0.8, 0.03, 60.0),
    "fill": Prior(1.5, 1.0, 1e-3, 60.0),
    "wave": Prior(0.2, 1.0, 1e-3, 1.0),
}
_DECODE = {
    "t0": Prior(9e-6, 1.0, 1e-8, 1e-2),
    "em": Prior(0.88, 0.15, 0.02, 1.0),
    "p": Prior(2.0, 0.6, 1.0, 8.0),
    **_CACHE,
    "cta": Prior(1.5e-6, 1.2, 1e-9, 1e-3),
    "block": Prior(1e-6, 1.2, 1e-9, 1e-3),
    "combine": Prior(1e-6, 1.2, 1e-9, 1e-3),
    "packed": Prior(0.2, 1.2, 1e-3, 30.0),
    "splits": Prior(64.0, 1.0, 1.0, 1000.0),
    "slots": Prior(1.0, 0.5, 0.25, 8.0),
    "tail": Prior(5e-6, 1.0, 1e-9, 1e-4),
    "sequence": Prior(1e-9, 1.5, 1e-12, 1e-5),
    "keys": Prior(128.0, 1.0, 64.0, 256.0, (64.0, 128.0, 256.0)),
}
_PREFILL = {
    "t0": Prior(9e-6, 1.0, 1e-8, 1e-2),
    "ec": Prior(0.6, 0.4, 0.005, 1.0),
    "em": Prior(0.6, 0.4, 0.02, 1.0),
    "p": Prior(1.3, 0.4, 1.0, 8.0),
    **_CACHE,
    "cta": Prior(1e-6, 1.2, 1e-9, 1e-3),
    "wave": Prior(0.3, 1.0, 1e-3, 1.0),
    "longest": Prior(0.6, 0.7, 0.02, 4.0),
    "sequence": Prior(1e-9, 1.5, 1e-12, 1e-5),
    "tile": _TILE,
}
_GROUPED = {
    "t0": Prior(8e-6, 1.0, 1e-8, 1e-2),
    "ec": Prior(0.5, 0.5, 0.005, 1.0),
    "em": Prior(0.7, 0.4, 0.02, 1.0),
    "p": Prior(2.0, 0.5, 1.0, 8.0),
    **_CACHE,
    "group": Prior(3e-6, 1.2, 1e-9, 1e-3),
    "passes": Prior(0.7, 1.0, 0.02, 20.0),
}
PRIORS: dict[str, dict[str, Prior]] = {
    "gemm": _GEMM,
    "gemm_quantised": {**_GEMM, "eq": Prior(0.6, 0.8, 0.02, 10.0), "row": Prior(2e-7, 1.5, 1e-11, 1e-4)},
    "grouped_gemm": {**_GROUPED, "walk": Prior(5e-7, 1.2, 1e-9, 1e-4)},
    "grouped_tiles": {**_GROUPED, "ragged": Prior(0.5, 1.0, 1e-3, 4.0)},
    "prefill": _PREFILL,
    "prefill_apart": {**_PREFILL, "pad": Prior(0.5, 1.0, 1e-3, 20.0)},
    "encoder": {
        "t0": Prior(7e-6, 1.0, 1e-8, 1e-2),
        "ec": Prior(0.5, 0.4, 0.005, 1.0),
        "em": Prior(0.6, 0.4, 0.02, 1.0),
        "p": Prior(2.0, 0.6, 1.0, 8.0),
        **_CACHE,
        "cta": Prior(3e-6, 1.2, 1e-9, 1e-3),
        "pad": Prior(0.5, 1.0, 1e-3, 20.0),
        "wave": Prior(0.6, 0.6, 1e-2, 1.0),
        "tile": _TILE,
    },
    "decode": {**_DECODE, "straddle": Prior(0.5, 1.0, 1e-3, 16.0)},
    "decode_swapped": {
        **_DECODE,
        "swap": Prior(3e-6, 1.0, 1e-9, 1e-4),
        "carry": Prior(5e-10, 1.0, 1e-12, 1e-7),
        "walk": Prior(2.5e-6, 1.0, 1e-8, 1e-3),
        "wave": Prior(0.5, 0.7, 1e-2, 1.0),
        "interleave": Prior(0.03, 1.0, 1e-4, 0.5),
    },
    "stream": {
        "t0": Prior(2.5e-6, 1.5, 1e-8, 1e-2),
        "em": Prior(0.6, 0.8, 0.005, 1.0),
        "p": Prior(1.3, 0.4, 1.0, 8.0),
        **_CACHE,
    },
    "peer_sum": {
        "a": Prior(4e-6, 1.0, 1e-8, 1e-3),
        "b": Prior(0.7, 0.5, 0.005, 1.2),
        "q": Prior(1.2, 0.5, 0.35, 8.0),
        "hop": Prior(2e-7, 1.5, 1e-11, 1e-4),
        "spread": Prior(1.0, 0.4, 0.02, 4.0),
        "extra": Prior(5e-6, 1.5, 1e-10, 1e-2),
        "rate": Prior(0.8, 0.3, 0.005, 1.2),
        "second": Prior(1e-6, 1.5, 1e-10, 1e-3),
        "limit": Prior(1.5 * 2.0**23, 1.0, 2.0**20, 2.0**27, tuple(1.5 * 2.0**power for power in range(20, 27))),  # between sizes measured
    },
    "collective": {
        "a": Prior(8e-6, 1.2, 1e-8, 1e-2),
        "b": Prior(0.8, 0.5, 0.005, 1.2),
        "q": Prior(1.2, 0.6, 0.35, 8.0),
        "hop": Prior(1e-6, 1.5, 1e-11, 1e-3),
        "spread": Prior(1.0, 0.7, 0.02, 4.0),
        "extra": Prior(5e-6, 1.5, 1e-10, 1e-2),
        "switch": Prior(2.0**20, 1.0, 2.0**10, 2.0**30, tuple(2.0**power for power in range(17, 25))),
    },
    "roofline": {
        "t0": Prior(1e-5, 1.2, 1e-8, 1e-2),
        "ec": Prior(0.6, 0.5, 0.005, 1.0),
        "em": Prior(0.8, 0.4, 0.02, 1.0),
        "p": Prior(2.0, 0.5, 1.0, 8.0),
    },
}
PRIORS["gemm_cpu"] = {
    "t0": Prior(5e-6, 1.0, 1e-7, 1e-3),
    "ec": Prior(0.95, 0.2, 0.05, 2.0),  # of the best product measured, which does not saturate either
    "em": Prior(0.6, 0.5, 0.02, 1.5),
    "p": Prior(2.0, 0.5, 1.0, 8.0),
    **_CACHE,
    "rows": Prior(8.0, 1.0, 0.05, 500.0),
    "columns": Prior(48.0, 1.0, 0.5, 3000.0),
    "depth": Prior(48.0, 1.0, 0.5, 3000.0),
    "v0": Prior(8e-6, 1.0, 1e-7, 1e-3),
    "ev": Prior(0.7, 0.4, 0.02, 1.5),
    "reach": Prior(100.0, 1.5, 0.1, 5000.0),
}
PRIORS["attention_cpu"] = {
    "t0": Prior(1.5e-5, 1.2, 1e-7, 1e-2),
    "ec": Prior(0.4, 0.6, 0.002, 2.0),
    "em": Prior(0.5, 0.6, 0.02, 1.5),
    "p": Prior(1.5, 0.5, 1.0, 8.0),
    "edge": Prior(24.0, 1.0, 0.1, 2000.0),
    "soft": Prior(16.0, 1.0, 0.1, 500.0),
}
PRIORS["eager_cpu"] = {
    "t0": Prior(1.5e-5, 1.2, 1e-7, 1e-2),
    "ec": Prior(0.8, 0.5, 0.02, 2.0),
    "em": Prior(0.5, 0.6, 0.02, 1.5),
    **_CACHE,
}
# Activations of a whole network are counted per module, not per kernel: fusing moves fewer, and the chip may boost.
PRIORS["whole_step"] = PRIORS["roofline"] | {"em": Prior(0.8, 1.0, 0.02, 20.0), "t0": Prior(1e-3, 1.5, 1e-7, 1.0)}
AXES: dict[str, tuple[str, ...]] = {
    "gemm": ("m", "n", "k"),
    "encoder_attention": ("query", "sequences"),
    "prefill_attention": ("query", "sequences", "shared"),
    "decode_attention": ("context", "pairs", "shared"),
    "collective": ("wire", "devices"),
}


def form_of(family: str, format: str, kernel: str = "") -> str:
    """The form a family of kernels is fitted with."""
    if family == "gemm":
        return "gemm_quantised" if format in ("fp8", "fp4", "int8") else "gemm"
    if family.endswith("_cpu"):
        return {"gemm_cpu": "gemm_cpu", "decode_attention_cpu": "roofline", "encoder_eager_cpu": "eager_cpu", "prefill_eager_cpu": "eager_cpu"}.get(family, "attention_cpu")
    return {
        "grouped_gemm": "grouped_tiles" if kernel == "tiles" else "grouped_gemm",
        "grouped_product": "grouped_gemm",
        "encoder_attention": "encoder",
        "prefill_attention": "prefill_apart" if kernel == "fa2" else "prefill",
        "decode_attention": "decode_swapped" if kernel == "fa2" else "decode",
        "mla_decode": "roofline",
        "whole_encoder": "whole_step",
        "stream": "stream",
        "collective": "peer_sum" if kernel == "peer" else "collective",
        "host_copy": "collective",
    }[family]


def axis(columns: Columns, name: str, form: str) -> Array:
    """A table axis from shape columns."""
    if "window" in columns:
        columns = columns | {"kv_heads": np.asarray(attention_forms.separate(form, columns["heads"], columns["kv_heads"], columns["window"]))}
    if name == "sequences":
        return columns["batch"] * columns["heads"]
    if name == "pairs":
        return columns["batch"] * columns["kv_heads"]
    if name == "shared":
        return columns["heads"] / columns["kv_heads"]
    return columns[name]


def terms(family: str, form: str, values: Values, c: Columns, chip: Chip, format: str) -> tuple[Terms, Array]:
    """Terms of the form for measured shapes, and the physical floor, exactly as `Kernels` would compute them."""
    if family == "stream":
        floor = np.maximum(c["bytes"] - chip.l2_bytes, 0.0) / chip.bandwidth
        return forms.stream(chip, values, c["bytes"]), floor
    if family == "collective":
        link = chip.scale_up or chip.pcie
        return forms.NETWORK[form](values, c["wire"], link.bandwidth, c["devices"]), c["wire"] / link.bandwidth
    if family == "host_copy":
        return forms.collective(values, c["bytes"], chip.host.bandwidth, 2.0), c["bytes"] / chip.host.bandwidth
    peak = rate(chip, format)
    flops, moved = work(family, c)
    floor = np.asarray(physical(chip, peak, flops, moved))
    if family.endswith("_cpu"):
        return _on_cpu(form, values, c, chip, peak, flops, moved), floor
    if family == "gemm":
        run = forms.gemm_quantised if form == "gemm_quantised" else forms.gemm
        return run(chip, values, peak, flops, moved, c["m"], c["n"], c["k"], 1.0, c["footprint"]), floor
    if family == "grouped_gemm":
        return _experts(form, values, c, chip, peak), floor
    if family == "grouped_product":
        found = GROUPED[form](chip, values, peak, flops, moved, c["rows"], c["n"], c["k"], c["experts"], c["footprint"])
        return found, floor
    if family in ("mla_decode", "whole_encoder"):
        return forms.roofline(chip, values, peak, flops, moved), floor
    if family == "decode_attention":
        args = (c["batch"] * c["query"], c["heads"], c["kv_heads"], c["context"], moved, c["window"])
        return attention_forms.DECODE[form](chip, values, moved, *args), floor
    if family == "encoder_attention":
        return attention_forms.encoder(chip, values, peak, flops, moved, c["batch"], c["heads"], c["query"]), floor
    return attention_forms.PREFILL[form](chip, values, peak, flops, moved, c["batch"], c["heads"], c["kv_heads"], c["query"]), floor


def _on_cpu(form: str, values: Values, c: Columns, chip: Chip, peak: float, flops: Array, moved: Array) -> Terms:
    if form == "gemm_cpu":
        return cpu.gemm(chip, values, peak, flops, moved, c["m"], c["n"], c["k"], 1.0, c["footprint"])
    if form == "eager_cpu":
        return cpu.eager(chip, values, peak, c["head_dim"], 4.0 * c["batch"] * c["heads"] * c["query"] * c["context"])
    if form == "attention_cpu":
        return cpu.attention(chip, values, peak, flops, moved, c["head_dim"], c["query"])
    return forms.roofline(chip, values, peak, flops, moved)


def work(family: str, c: Columns) -> tuple[Array, Array]:
    """FLOPs and bytes of measured shapes."""
    if family in ("gemm", "gemm_cpu"):
        element = c["bits"] / 8.0
        out = element if family == "gemm_cpu" else 2.0
        moved = (c["n"] * c["k"] + c["m"] * c["k"]) * element + out * c["m"] * c["n"]
        return 2.0 * c["m"] * c["n"] * c["k"], moved
    if family == "whole_encoder":
        return c["flops"], c["bytes"]
    if family == "grouped_product":
        moved = c["experts"] * c["n"] * c["k"] * c["bits"] / 8.0 + c["rows"] * (c["n"] + c["k"]) * np.maximum(c["bits"], 16.0) / 8.0
        return 2.0 * c["rows"] * c["n"] * c["k"], moved
    if family == "grouped_gemm":
        weights, rows, into = c["matrices"] * c["hidden"] * c["inter"], c["tokens"] * c["topk"], (c["matrices"] - 1.0) * c["inter"]
        moved = c["experts"] * weights * c["bits"] / 8.0 + 2.0 * rows * (2.0 * c["hidden"] + into + c["inter"])
        return 2.0 * rows * weights, moved
    if family == "mla_decode":  # one 576-wide latent per token; 128 heads of 576 against it, 512 back
        return 2.0 * c["batch"] * c["heads"] * c["context"] * 1088.0, c["batch"] * c["context"] * 1152.0
    q, n = c["query"], c["context"]
    pairs = q * n if family.startswith("encoder") else q * n - q * (q - 1.0) / 2.0
    flops = 4.0 * c["batch"] * c["heads"] * c["head_dim"] * pairs
    return flops, c["batch"] * c["head_dim"] * (4.0 * c["heads"] * q + 2.0 * c["kv_heads"] * n * c["kv_bits"] / 8.0)


def _experts(form: str, values: Values, c: Columns, chip: Chip, peak: float) -> Terms:
    """A routed layer as it is measured: gate and up, the activation, down, and the sum over the experts of a token.

    The simulator times the two passes between as operators of their own, so that only their rate is fitted here, not kept.
    """
    rows, into = c["tokens"] * c["topk"], (c["matrices"] - 1.0) * c["inter"]
    _, cycle = work("grouped_gemm", c)
    parts: list[Terms] = []
    for n, k in ((into, c["hidden"]), (c["hidden"], c["inter"])):
        moved = c["experts"] * n * k * c["bits"] / 8.0 + 2.0 * rows * (n + k)
        parts.append(GROUPED[form](chip, values, peak, 2.0 * rows * n * k, moved, rows, n, k, c["experts"], cycle))
    a, b = parts
    between = 2.0 * rows * (into + c["inter"]) + 2.0 * c["hidden"] * (rows + c["tokens"])
    passes = between / (values[-1] * chip.bandwidth)
    memory = a.memory + b.memory + passes
    return Terms(a.total + b.total + passes, a.compute + b.compute, memory, a.overhead + b.overhead + 0.0 * memory)


def starts(form: str) -> Values:
    """The priors' starts, in the order of the form's parameters."""
    return tuple(PRIORS[form][name].start for name in PARAMETERS[form])
