"""Attention kernels by backend: vision encoders (full and windowed), causal prefill, decode over a KV cache."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable

import torch
from torch.nn import functional

from calibrate.measure import shapes
from calibrate.measure.case import Case, Prepared, Unsupported
from calibrate.measure.device import Device, item_bytes

Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

SDPA_BACKENDS = {
    "sdpa_flash": "FLASH_ATTENTION",
    "sdpa_efficient": "EFFICIENT_ATTENTION",
    "sdpa_cudnn": "CUDNN_ATTENTION",
    "sdpa_math": "MATH",
}
ENCODER, PREFILL, DECODE = "encoder_attention", "prefill_attention", "decode_attention"


def repeat_heads(x: torch.Tensor, groups: int) -> torch.Tensor:
    """[batch, kv_heads, tokens, head_dim] -> the same with every head repeated ``groups`` times, materialised."""
    if groups == 1:
        return x
    batch, heads, tokens, width = x.shape
    wide = x[:, :, None].expand(batch, heads, groups, tokens, width)
    return wide.reshape(batch, heads * groups, tokens, width)


def allowed_pairs(query: int, context: int, window: int, device: torch.device) -> torch.Tensor:
    """Boolean mask [query, context]: the last query sees all keys; ``window`` > 0 keeps only that many latest keys."""
    rows = torch.arange(query, device=device)[:, None] + (context - query)
    columns = torch.arange(context, device=device)[None, :]
    mask = columns <= rows
    return mask & (columns > rows - window) if window else mask


def eager_kernel(groups: int, mask: torch.Tensor | None) -> Kernel:
    """The un-fused form: repeated KV heads, materialised scores, float32 softmax."""

    def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scores = torch.matmul(q, repeat_heads(k, groups).transpose(2, 3)) * (1.0 / math.sqrt(q.shape[-1]))
        if mask is not None:
            scores = scores + mask
        weights = functional.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        return torch.matmul(weights, repeat_heads(v, groups)).transpose(1, 2).contiguous()

    return kernel


def sdpa_kernel_of(
    backend: str, groups: int, causal: bool, query: int, context: int, mask: torch.Tensor | None
) -> Kernel:
    """torch's fused attention, free to choose (``sdpa``) or held to one backend."""
    options: dict[str, object] = {}
    if groups > 1 and tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 5):
        options["enable_gqa"] = True
        groups = 1
    if mask is not None:
        options["attn_mask"] = mask
    elif causal and query == context:
        options["is_causal"] = True
    elif causal and query > 1:
        options["attn_mask"] = importlib.import_module("torch.nn.attention.bias").causal_lower_right(query, context)

    def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        k, v = repeat_heads(k, groups), repeat_heads(v, groups)
        return functional.scaled_dot_product_attention(q, k, v, **options)  # type: ignore[arg-type]

    if backend == "sdpa":
        return kernel
    attention = importlib.import_module("torch.nn.attention")
    chosen = attention.SDPBackend.__members__.get(SDPA_BACKENDS[backend])
    if chosen is None:
        raise Unsupported(f"this torch has no {SDPA_BACKENDS[backend]} backend")

    def held(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with attention.sdpa_kernel(chosen):
            return kernel(q, k, v)

    return held


def flash_package_kernel(backend: str, causal: bool, window: int) -> Kernel:
    """The flash_attn (2) or flash_attn_interface (3) package where it is installed; it takes [batch, tokens, heads, d]."""
    module_name = {"flash_attn2": "flash_attn", "flash_attn3": "flash_attn_interface"}[backend]
    try:
        function = importlib.import_module(module_name).flash_attn_func
    except (ImportError, AttributeError) as error:
        raise Unsupported(f"{module_name} is not installed") from error
    bounds = (window - 1, 0) if window else (-1, -1)

    def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        swapped = (x.transpose(1, 2) for x in (q, k, v))
        return function(*swapped, causal=causal, window_size=bounds)

    return kernel


def grouped_decode(groups: int) -> Kernel:
    """Decode with the query heads that share a KV head stacked as rows of one query: the cache is read once."""

    def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        batch, heads, _, width = q.shape
        return functional.scaled_dot_product_attention(q.reshape(batch, heads // groups, groups, width), k, v)

    return kernel


def kernel_for(
    backend: str, groups: int, causal: bool, query: int, context: int, window: int, device: Device, format: str
) -> Kernel:
    """The kernel of a backend's name; Unsupported where the backend has no such form."""
    if backend.startswith("flash_attn"):
        return flash_package_kernel(backend, causal, window)
    if backend == "sdpa_grouped":
        return grouped_decode(groups)
    mask = None
    if causal and (window or (backend == "eager" and query > 1)):
        allowed = allowed_pairs(query, context, window, device.torch)
        mask = allowed
        if backend == "eager":
            dtype = device.take((1,), format).dtype
            mask = torch.zeros(query, context, device=device.torch, dtype=dtype).masked_fill(
                ~allowed, torch.finfo(dtype).min
            )
    if backend == "eager":
        return eager_kernel(groups, mask)
    return sdpa_kernel_of(backend, groups, causal, query, context, mask)


def attention_case(
    op: str, backend: str, format: str, batch: int, heads: int, kv_heads: int, head_dim: int, query: int, context: int,
    window: int = 0, mode: str = "cold",
) -> Case:  # fmt: skip
    """One attention call. ``window`` of an encoder cuts its tokens into independent windows of that many tokens; of a
    language model it is the number of latest keys a query sees. Decode rotates K and V when cold; elsewhere K and V
    have just been written and q, k, v rotate together."""
    key = {
        "op": op, "backend": backend, "format": format, "batch": batch, "heads": heads, "kv_heads": kv_heads,
        "head_dim": head_dim, "query": query, "context": context, "window": window, "mode": mode,
    }  # fmt: skip
    size = item_bytes(format)
    kv_bytes = 2 * batch * kv_heads * context * head_dim * size
    q_bytes = batch * heads * query * head_dim * size
    maps = batch * heads * query * (window if op == ENCODER and window else context) * (size + 8)
    materialised = backend in ("eager", "sdpa_math")
    needed = kv_bytes + 3 * q_bytes + (maps if materialised else 0)

    def prepare(device: Device) -> Prepared:
        causal = op != ENCODER
        sequences, rows, columns = batch, query, context
        if op == ENCODER and window:
            if query % window:
                raise Unsupported(f"query={query} is no multiple of window={window}")
            sequences, rows, columns = batch * query // window, window, window
        limit = 0 if op == ENCODER else window
        kernel = kernel_for(backend, heads // kv_heads, causal, rows, columns, limit, device, format)
        copies = device.copies(kv_bytes + (0 if op == DECODE else q_bytes), mode)

        def block(head_count: int, tokens: int) -> torch.Tensor:
            return device.take((sequences, tokens, head_count, head_dim), format).transpose(1, 2)

        def cache() -> torch.Tensor:
            return device.take((sequences, kv_heads, columns, head_dim), format)

        if op == DECODE:
            q = block(heads, rows)
            calls = tuple(functools.partial(kernel, q, cache(), cache()) for _ in range(copies))
        else:
            calls = tuple(
                functools.partial(kernel, block(heads, rows), block(kv_heads, columns), block(kv_heads, columns))
                for _ in range(copies)
            )
        return Prepared(calls, copies * (kv_bytes + q_bytes))

    return Case("attention", {**key}, prepare, needed)


def encoder_cases(cuda: bool) -> list[Case]:
    """Non-causal: whole pictures and windows of 64 tokens (8 x 8 patches)."""
    if cuda:
        heads, tokens, batches = (
            shapes.ENCODER_HEADS,
            (64, 256, 577, 729, 1024, 2304, 4096, 8192, 16384),
            (1, 2, 4, 8, 16),
        )
        backends = ("sdpa", "sdpa_flash", "sdpa_cudnn", "flash_attn2", "flash_attn3")
        formats, most, eager_most = ("bf16",), 2**38, 2**33
    else:
        heads, tokens, batches = shapes.CPU_ENCODER_HEADS, (64, 196, 256, 400, 576, 729, 1024, 1600, 2304), (1, 2, 4)
        backends, formats, most, eager_most = ("sdpa",), ("f32", "bf16"), 2**24, 2**23
    cases: list[Case] = []
    for format in formats:
        for head_count, width in heads:
            for count in tokens:
                for batch in batches:
                    pairs = batch * head_count * count * count * (width if cuda else 1)
                    pairs *= 16 if format == "bf16" and not cuda else 1
                    names = [*backends] if pairs <= most else []
                    names += ["eager"] if pairs <= eager_most and batch <= 4 else []
                    arguments = (format, batch, head_count, head_count, width, count, count)
                    cases += [attention_case(ENCODER, name, *arguments) for name in names]
                    if count % 64 == 0 and count > 64 and names:
                        cases.append(attention_case(ENCODER, backends[0], *arguments, 64))
    return cases


def prefill_cases(cuda: bool) -> list[Case]:
    """Causal, with grouped heads; some with a longer context than query (a chunk), some with a sliding window."""
    if cuda:
        heads, tokens, batches = (
            shapes.LANGUAGE_HEADS,
            (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
            (1, 2, 8),
        )
        backends = ("sdpa", "sdpa_flash", "sdpa_cudnn", "flash_attn2", "flash_attn3")
        formats, most, eager_most = ("bf16",), 2**43, 2**33
    else:
        heads, tokens, batches = shapes.CPU_LANGUAGE_HEADS, (32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048), (1, 2)
        backends, formats, most, eager_most = ("sdpa",), ("f32", "bf16"), 2**25, 2**24
    cases: list[Case] = []
    for format in formats:
        for head_count, kv_heads, width in heads:
            for count in tokens:
                for batch in batches:
                    pairs = batch * head_count * count * count * (width if cuda else 1)
                    pairs *= 16 if format == "bf16" and not cuda else 1
                    names = [*backends] if pairs <= most else []
                    names += ["eager"] if pairs <= eager_most and batch == 1 else []
                    arguments = (format, batch, head_count, kv_heads, width)
                    cases += [attention_case(PREFILL, name, *arguments, count, count) for name in names]
                    if batch == 1 and 256 <= count <= 2048 and names:
                        cases.append(attention_case(PREFILL, "sdpa", *arguments, count // 4, count))
                        cases.append(attention_case(PREFILL, "sdpa", *arguments, count, count, count // 4))
    return cases


def decode_cases(cuda: bool) -> list[Case]:
    """One query per sequence over a cache; warm for a few, since public tables measure it so."""
    if cuda:
        heads, batches = shapes.LANGUAGE_HEADS, (1, 2, 4, 8, 16, 32, 64, 128)
        contexts = (128, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
        backends, formats, most = ("sdpa", "sdpa_grouped", "flash_attn2", "flash_attn3"), ("bf16",), 24 * 2**30
    else:
        heads, batches = shapes.CPU_LANGUAGE_HEADS, (1, 2, 4, 8)
        contexts = (32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096)
        backends, formats, most = ("sdpa",), ("f32", "bf16"), 64 * 2**20
    cases: list[Case] = []
    for format in formats:
        for head_count, kv_heads, width in heads:
            for context in contexts:
                for batch in batches:
                    kv_bytes = 2 * batch * context * kv_heads * width * item_bytes(format)
                    if kv_bytes > most:
                        continue
                    names = [*backends, *(["eager"] if kv_bytes <= most // 16 else [])]
                    arguments = (format, batch, head_count, kv_heads, width, 1, context)
                    cases += [attention_case(DECODE, name, *arguments) for name in names]
                    if batch in (1, 8) and context in (512, 2048, 8192):
                        cases.append(attention_case(DECODE, "sdpa", *arguments, 0, "warm"))
    return cases
