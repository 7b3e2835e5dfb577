"""Efficiencies for kernels that were neither measured, fitted nor transferable: typical published values, wide bands.

Source of the magnitudes: public microbenchmark tables of H100, A100 and L40S (GEMM and attention), A100 element-wise
kernels, and vendor collectives; each is a round figure near the middle of what those tables show.
"""

from __future__ import annotations

from simulator.efficiency.bands import flat
from simulator.efficiency.fits import Fit

FORMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "gemm": ("gemm", (3.0e-6, 0.78, 0.8, 2.3, 0.5, 0.6, 2e-6, 2.0, 1.5, 0.2)),
    "grouped_gemm": ("grouped_gemm", (8e-6, 0.5, 0.65, 2.0, 0.5, 0.6, 1.5e-6, 1.5e-6, 0.6)),
    "depthwise": ("roofline", (4e-6, 0.05, 0.5, 2.0)),
    "encoder_attention": ("encoder", (7e-6, 0.5, 0.6, 2.0, 0.5, 0.6, 3e-6, 0.4, 0.6, 128.0)),
    "prefill_attention": ("prefill", (10e-6, 0.6, 0.6, 1.2, 0.5, 0.6, 1e-6, 0.2, 0.6, 1e-9, 128.0)),
    "decode_attention": ("decode", (9e-6, 0.88, 2.0, 0.6, 0.6, 1.5e-6, 1e-6, 1e-6, 0.2, 16.0, 0.7, 5e-6, 1e-9, 128.0, 1.0)),
    # 35 ns a key on A100 at 1.41 GHz: FlashAttention 2.0.9 in "Flash-Decoding for long-context inference" (PyTorch blog, 2023).
    "unsplit_attention": ("unsplit", (10e-6, 0.85, 2.0, 49.4)),
    "mla_decode": ("roofline", (18e-6, 0.6, 0.8, 2.0)),
    "norm": ("stream", (2.5e-6, 0.42, 1.2, 0.5, 0.5)),
    "layer_norm": ("stream", (2.5e-6, 0.42, 1.2, 0.5, 0.5)),
    "activation": ("stream", (2.5e-6, 0.55, 1.2, 0.5, 0.5)),
    "gelu": ("stream", (2.5e-6, 0.55, 1.2, 0.5, 0.5)),
    "rope": ("stream", (2.5e-6, 0.8, 1.2, 0.5, 0.5)),
    "add": ("stream", (2.5e-6, 0.85, 1.2, 0.5, 0.5)),
    "scan": ("stream", (6e-6, 0.5, 1.2, 0.5, 0.5)),
    "softmax": ("stream", (3e-6, 0.5, 1.2, 0.5, 0.5)),
    "gather": ("stream", (3e-6, 0.5, 1.2, 0.5, 0.5)),
    "topk": ("stream", (8e-6, 0.1, 1.2, 0.5, 0.5)),
    "quantise": ("stream", (2.5e-6, 0.5, 1.2, 0.5, 0.5)),
    # bitsandbytes' kernels before 0.48: 1.4 to 2.1 times (github pull 1747, A100 and H100), 2.0 to 2.2 times (arXiv 2604.02556, A100) slower than
    # kernels that look the values up, which are taken at 85 % of the memory rate.
    "expand": ("stream", (2.5e-6, 0.41, 1.2, 1e-3, 0.5)),
    "quantise_row": ("stream", (3e-6, 0.5, 1.2, 0.5, 0.5)),
    "embedding": ("stream", (3e-6, 0.5, 1.2, 0.5, 0.5)),
    "sample": ("stream", (10e-6, 0.3, 1.2, 0.5, 0.5)),
    # torch.cat and copy_ of bfloat16 take as long as of float32: 242 and 259 G element/s (github pytorch/pytorch pull 150233, before its
    # change). The card is not named: 1.6 if an A100, as its 1.85 TB/s in float32 suggests, 0.93 if an H100.
    "strided": ("strided", (3e-6, 0.85, 1.2, 1.6)),
    "copy": ("stream", (2.5e-6, 0.85, 1.2, 0.5, 0.5)),
    "all_reduce": ("collective", (12e-6, 0.8, 1.5, 1e-6, 1.0, 0.0, 1e6)),
    "all_gather": ("collective", (12e-6, 0.75, 1.5, 1e-6, 1.0, 0.0, 1e6)),
    "all_to_all": ("collective", (14e-6, 0.7, 1.5, 1e-6, 1.0, 0.0, 1e6)),
    "host_copy": ("collective", (10e-6, 0.85, 1.0, 0.0, 1.0, 0.0, 1e6)),
    "send": ("collective", (10e-6, 0.8, 1.5, 0.0, 1.0, 0.0, 1e6)),
}
LOW, HIGH = 0.35, 0.45
ERROR = 0.25


def default_fit(op: str, format: str) -> Fit:
    """The default for a kernel family; an unknown one is refused."""
    if op not in FORMS:
        raise ValueError(f"op: {op!r} has no kernel model; known: {', '.join(FORMS)}")
    form, values = FORMS[op]
    return Fit(
        id=f"default/{op}",
        device="",
        architecture="",
        op=op,
        format=format,
        framework="",
        version="",
        variant="",
        form=form,
        values=values,
        bands=flat(LOW, HIGH),
        source="default",
        error=ERROR,
        median=ERROR,
        ratio=0.2,
        table=None,
        figures={},
        rows=0,
    )
