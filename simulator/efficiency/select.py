"""Which fit times a kernel: measured on this device, fitted to public tables of it, transferred from relatives, default.

An engine names the frameworks whose kernels it runs, best first. Borrowing another framework's fit is allowed (a bf16
GEMM is cuBLAS nearly everywhere) and widens the band.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.efficiency.fits import Fit
from simulator.spec.source import SpecError

# Own kernels first, then the nearest relatives. `any`: tables that belong to no framework (NCCL, bare cuBLAS).
ENGINES: dict[str, tuple[str, ...]] = {
    "vllm": ("vllm", "any", "sglang", "infersim", "vidur", "llmcompass", "torch", "torch-sdpa"),
    "sglang": ("sglang", "any", "vllm", "infersim", "vidur", "llmcompass", "torch", "torch-sdpa"),
    "trtllm": ("trtllm", "any", "vllm", "sglang", "infersim", "vidur", "llmcompass", "torch", "torch-sdpa"),
    "hf-flash": ("torch-flash", "torch-flash3", "torch-sdpa-flash", "torch", "any", "vllm", "sglang", "vidur", "llmcompass", "torch-sdpa"),
    "hf-sdpa": ("torch-sdpa", "torch-sdpa-flash", "torch", "any", "vllm", "sglang", "vidur", "llmcompass", "torch-flash"),
    "hf-eager": ("torch-eager", "torch", "any", "vllm", "sglang", "vidur", "llmcompass", "torch-sdpa"),
    "torch-cpu": ("torch", "torch-sdpa"),
    "torch-cpu-eager": ("torch", "torch-eager", "torch-sdpa"),
}
# Sums of a decode step's size go through peer memory, not through NCCL: SGLang took vLLM's kernel over, TensorRT-LLM has one-shot and
# two-shot kernels of the same kind. Of these only vLLM's is measured here (with NCCL beyond its buffer, as the engines do).
PEER_MEMORY = ("sglang", "trtllm")
# Engines whose element-wise kernels are fused, vectorised and replayed in graphs. The quantising kernels of such an engine are measured on
# current chips where its norms are not: one scale for all is a plain pass, a scale for each row is a reduction and a pass, as a norm is.
FUSED = ("vllm", "sglang", "trtllm")
STAND_INS = {"norm": "quantise_row", "activation": "quantise", "rope": "quantise", "add": "quantise"}
ROOFLINES = ("ideal", "survey")
BORROWED = 0.08  # log half-width added when a fit is another framework's; run-to-run and framework noise of bf16 is 3-5 %


def frameworks_of(engine: str, op: str = "") -> tuple[str, ...]:
    """Frameworks of an engine (for an op), best first."""
    if engine not in ENGINES:
        raise SpecError(f"engine: {engine!r} has no kernels (fits); accepted: {', '.join((*ENGINES, *ROOFLINES))}")
    known = ENGINES[engine]
    return tuple(dict.fromkeys((engine, "vllm", *known))) if op == "all_reduce" and engine in PEER_MEMORY else known


def newest(version: str) -> tuple[int, ...]:
    """A version as numbers, for ordering."""
    digits = "".join(c if c.isdigit() else " " for c in version).split()
    return tuple(int(item) for item in digits)


def choose(fits: tuple[Fit, ...], op: str, format: str, frameworks: tuple[str, ...], version: str | None) -> list[Fit]:
    """Fits of one op and format under the best framework that has any: one per variant, the newest or the asked version.

    Measured beats fitted within the same framework rank; another framework's is widened.
    """
    own = [fit for fit in fits if fit.op == op and fit.format == format and fit.framework in frameworks]
    if version is not None:
        named = [fit for fit in own if fit.version == version]
        own = named or own
    if not own:
        return []
    measured = [fit for fit in own if fit.source == "measured"]
    pool = measured or own
    best = min(frameworks.index(fit.framework) for fit in pool)
    pool = [fit for fit in pool if frameworks.index(fit.framework) == best]
    variants: dict[str, Fit] = {}
    for fit in pool:
        held = variants.get(fit.variant)
        if held is None or newest(fit.version) > newest(held.version):
            variants[fit.variant] = fit
    chosen = [variants[key] for key in sorted(variants)]
    if best > 0 and frameworks[best] != "any":
        chosen = [replace(fit, bands=fit.bands.widened(BORROWED)) for fit in chosen]
    return chosen
