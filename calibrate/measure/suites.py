"""Which families a suite is made of, in which order and for which share of its time."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterable, Sequence

from calibrate.measure.attention import (
    DECODE,
    ENCODER,
    PREFILL,
    attention_case,
    decode_cases,
    encoder_cases,
    prefill_cases,
)
from calibrate.measure.case import Case
from calibrate.measure.elementwise import elementwise_case, elementwise_cases
from calibrate.measure.gemm import gemm_case, gemm_cases, grouped_cases
from calibrate.measure.order import spread_out
from calibrate.measure.runner import Plan
from calibrate.measure.transfer import copy_case, copy_cases, overhead_case, overhead_cases

SUITES = ("kernels", "stages", "techniques", "host", "quick")
LARGEST_SPREAD = 600  # beyond these a random order is as good and much cheaper


def merged(groups: Sequence[Sequence[Case]]) -> list[Case]:
    """One list that takes from every group in proportion to its length: a prefix holds the same mix as the whole."""
    placed = [
        ((index + 0.5) / len(group), number, case)
        for number, group in enumerate(groups)
        for index, case in enumerate(group)
    ]
    return [case for _, _, case in sorted(placed, key=lambda entry: entry[:2])]


def ordered(cases: Iterable[Case], by: Sequence[str]) -> list[Case]:
    """Space-filling order inside each group of equal ``by`` columns, the groups merged in proportion."""
    groups: dict[tuple[object, ...], list[Case]] = {}
    for case in {case.identity: case for case in cases}.values():
        groups.setdefault(tuple(case.key[name] for name in by), []).append(case)
    parts: list[list[Case]] = []
    for group in groups.values():
        shuffled = random.Random(0).sample(group, len(group))
        parts.append(spread_out(shuffled[:LARGEST_SPREAD]) + shuffled[LARGEST_SPREAD:])
    return merged(parts)


def kernel_plans(device_kind: str) -> list[Plan]:
    """Everything a forward pass is made of."""
    cuda = device_kind == "cuda"
    attention = merged(
        [
            ordered(encoder_cases(cuda), ("backend", "format")),
            ordered(prefill_cases(cuda), ("backend", "format")),
            ordered(decode_cases(cuda), ("backend", "format", "mode")),
        ]
    )
    plans = [
        Plan("overhead", tuple(overhead_cases(device_kind)), 0.03),
        Plan("gemm", tuple(ordered(gemm_cases(device_kind), ("format", "mode"))), 0.42),
        Plan("attention", tuple(attention), 0.34),
        Plan("elementwise", tuple(ordered(elementwise_cases(device_kind), ("op", "implementation", "format"))), 0.13),
        Plan("copy", tuple(copy_cases(device_kind)), 0.03),
        Plan("grouped_gemm", tuple(ordered(grouped_cases(device_kind), ("implementation", "format"))), 0.05),
    ]
    return [plan for plan in plans if plan.cases]


def quick_plans(device_kind: str) -> list[Plan]:
    """The least that makes a usable profile: 40 GEMMs, 30 attentions, 20 element-wise kernels, copies and launches."""
    cuda = device_kind == "cuda"
    format = "bf16" if cuda else "f32"
    pool = [case for case in gemm_cases(device_kind) if case.key["format"] == format and case.key["mode"] == "cold"]
    gemms = ordered(pool, ("format",))[:40]
    if cuda:
        gemms += [
            gemm_case("fp8_dynamic", m, n, k) for m, n, k in ((16, 4096, 4096), (1024, 6144, 4096), (4096, 28672, 4096))
        ]
        heads, width, counts, contexts = 32, 128, (256, 1024, 2048, 4096, 8192), (512, 2048, 8192, 32768)
        rows, columns, copies = (16, 256, 4096), 4096, (4**9, 4**12)
    else:
        heads, width, counts, contexts = 12, 64, (64, 128, 256, 512, 1024), (128, 512, 1024, 2048)
        rows, columns, copies = (1, 64, 729), 960, (4**9, 4**11)
    kv_heads = heads // 4
    attention = [attention_case(ENCODER, "sdpa", format, 1, 16, 16, d, t, t) for d in (64, 72, 80) for t in counts[:3]]
    attention += [attention_case(PREFILL, "sdpa", format, 1, heads, kv_heads, width, t, t) for t in counts]
    attention += [attention_case(PREFILL, "eager", format, 1, heads, kv_heads, width, t, t) for t in counts[:2]]
    attention += [
        attention_case(DECODE, "sdpa", format, batch, heads, kv_heads, width, 1, context)
        for batch in (1, 8)
        for context in contexts
    ]
    elementwise = [
        elementwise_case(op, implementation, format, count, columns)
        for op, implementation in (
            ("rms_norm", "plain"), ("layer_norm", "fused"), ("silu_gate", "plain"), ("add", "fused"), ("rope", "plain"),
            ("gelu", "fused"),
        )
        for count in rows
    ]  # fmt: skip
    transfers = [copy_case("host_to_device", "pinned", size) for size in copies] if cuda else []
    transfers += [
        copy_case("device_to_device" if cuda else "host_to_host", "device" if cuda else "pageable", copies[1])
    ]
    launches = [overhead_case("launch", count) for count in (1, 64)]
    launches += [overhead_case("graph_replay", count) for count in (1, 64)] if cuda else []
    plans = [
        Plan("overhead", tuple(launches), 0.05),
        Plan("gemm", tuple(gemms), 0.45),
        Plan("attention", tuple(ordered(attention, ("op",))), 0.3),
        Plan("elementwise", tuple(ordered(elementwise, ("op",))), 0.15),
        Plan("copy", tuple(transfers), 0.05),
    ]
    return [Plan(plan.family, plan.cases, plan.share, 10, 0.12) for plan in plans]


def joined(plans: Sequence[Plan]) -> list[Plan]:
    """Plans of several suites with one plan per family: cases once each, shares added."""
    families: dict[str, Plan] = {}
    for plan in plans:
        before = families.get(plan.family)
        if before is None:
            families[plan.family] = plan
            continue
        known = {case.identity for case in before.cases}
        new = tuple(case for case in plan.cases if case.identity not in known)
        share = before.share + plan.share
        families[plan.family] = Plan(plan.family, before.cases + new, share, before.samples, before.case_seconds)
    return list(families.values())


def plans_for(suite: str, device_kind: str) -> list[Plan]:
    """Plans of one suite by name."""
    if suite == "kernels":
        return kernel_plans(device_kind)
    if suite == "quick":
        return quick_plans(device_kind)
    if suite in SUITES:
        return list(importlib.import_module(f"calibrate.measure.{suite}").plans(device_kind))
    raise ValueError(f"--suite: got {suite!r}, expected one of {', '.join(SUITES)}, or several joined by commas")
