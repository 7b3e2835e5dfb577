"""What a case costs, in numbers or arrays, and what a request costs that may go one way or another."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, final

from simulator.memory import Memory
from simulator.program import STAGES, StageName
from simulator.quantity import Numeric, log, maximum, minimum, where
from simulator.stage import TERMS, half_widths

Uncertain = dict[str, tuple[Numeric, Numeric]]
"""Fit -> (low, high): seconds times log half-width; what rests on one fit moves together."""


@final
@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the whole batch. matmul_flops, bytes: totals over devices; bound: the term that takes the most time."""

    seconds: Numeric
    seconds_lower: Numeric
    seconds_upper: Numeric
    seconds_floor: Numeric
    matmul_flops: Numeric
    bytes: Numeric
    intensity: Numeric
    bound: str
    steps: Numeric


@final
@dataclass(frozen=True, slots=True, eq=False)
class Metrics:
    """What a case costs, in numbers or arrays. low, high per sum: 80 % half-widths in log. joules: energy_j by what draws it."""

    stages: dict[StageName, Stage]
    terms: dict[StageName, dict[str, Numeric]]
    ttft_s: Numeric
    tpot_s: Numeric
    latency_s: Numeric
    bands: dict[str, tuple[Numeric, Numeric]]
    uncertain: dict[str, dict[str, tuple[Numeric, Numeric]]]
    overhead_s: Numeric
    output_tokens_per_s: Numeric
    memory: Memory
    energy_j: Numeric
    joules: dict[str, Numeric]
    cost_usd: Numeric
    sources: dict[str, float]


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Mix:
    """Shares of two ways, `stay` and `go`. A way that nobody takes adds nothing, not even where it is no number."""

    stay: Numeric
    go: Numeric

    def mean(self, one: Numeric, other: Numeric) -> Numeric:
        """Expectation, or sum where both are paid."""
        return where(self.stay > 0.0, one * self.stay, 0.0) + where(self.go > 0.0, other * self.go, 0.0)

    def most(self, one: Numeric, other: Numeric) -> Numeric:
        """The larger of the ways that are taken."""
        return where(self.stay > 0.0, where(self.go > 0.0, maximum(one, other), one), other)

    def least(self, one: Numeric, other: Numeric) -> Numeric:
        """The smaller of the ways that are taken."""
        return where(self.stay > 0.0, where(self.go > 0.0, minimum(one, other), one), other)

    def errors(self, one: Uncertain, other: Uncertain) -> Uncertain:
        """Both ways rest on the same kernels, so their errors move together."""
        none = (0.0, 0.0)
        return {
            fit: (self.mean(one.get(fit, none)[0], other.get(fit, none)[0]), self.mean(one.get(fit, none)[1], other.get(fit, none)[1]))
            for fit in one | other
        }


def mixed(main: Metrics, other: Metrics, weight: Numeric, additional: bool) -> Metrics:
    """Expectation over a branch: `weight` of `other`, in place of the main way or on top of it.

    An answer is read out once: where a try is repeated (`additional`), only up to its first token is paid twice.
    """
    once = _Mix(1.0 - weight, weight)
    paid = _Mix(1.0, weight) if additional else once
    stages: dict[StageName, Stage] = {}
    for name in STAGES:
        mean = once.mean if name == "decode" else paid.mean
        a, b = main.stages[name], other.stages[name]
        values: dict[str, Any] = {item.name: mean(getattr(a, item.name), getattr(b, item.name)) for item in fields(Stage) if item.name != "bound"}
        values["intensity"] = values["matmul_flops"] / maximum(values["bytes"], 1e-30)
        stages[name] = Stage(bound="", **values)
    ttft, decoding = paid.mean(main.ttft_s, other.ttft_s), stages["decode"].seconds
    latency = ttft + decoding
    first, last = (way.errors(main.uncertain[key], other.uncertain[key]) for way, key in ((paid, "ttft_s"), (once, "tpot_s")))
    uncertain = {"ttft_s": first, "tpot_s": last, "latency_s": summed(first, last)}
    tokens = once.mean(main.output_tokens_per_s * main.latency_s, other.output_tokens_per_s * other.latency_s)
    widest = {item.name: paid.most(getattr(main.memory, item.name), getattr(other.memory, item.name)) for item in fields(Memory)}
    for name in ("max_batch", "fits"):
        widest[name] = paid.least(getattr(main.memory, name), getattr(other.memory, name))
    return replace(
        main,
        stages=stages,
        terms={
            name: {term: (once if name == "decode" else paid).mean(main.terms[name][term], other.terms[name][term]) for term in TERMS}
            for name in STAGES
        },
        overhead_s=paid.mean(main.overhead_s, other.overhead_s),
        ttft_s=ttft,
        tpot_s=once.mean(main.tpot_s, other.tpot_s),
        latency_s=latency,
        bands=bands(uncertain, stages, ttft, latency),
        uncertain=uncertain,
        output_tokens_per_s=tokens / latency,
        memory=Memory(**widest),
        energy_j=paid.mean(main.energy_j, other.energy_j),
        joules={power: paid.mean(main.joules[power], other.joules[power]) for power in main.joules},
        cost_usd=paid.mean(main.cost_usd, other.cost_usd),
    )


def summed(*parts: Uncertain) -> Uncertain:
    """Errors of a sum."""
    sums: Uncertain = {}
    for part in parts:
        for fit, (low, high) in part.items():
            below, above = sums.get(fit, (0.0, 0.0))
            sums[fit] = (below + low, above + high)
    return sums


def bands(
    uncertain: dict[str, Uncertain], stages: dict[StageName, Stage], ttft: Numeric, latency: Numeric
) -> dict[str, tuple[Numeric, Numeric]]:
    """80 % half-widths in log of the three sums, which end at the sum of the floors; that of a token is that of the whole decoding."""
    last = stages["decode"]
    first: Numeric = 0.0
    for name in STAGES[:-1]:
        first = first + stages[name].seconds_floor
    whole = {"ttft_s": (ttft, first), "tpot_s": (last.seconds, last.seconds_floor), "latency_s": (latency, first + last.seconds_floor)}
    return {name: _above(half_widths(uncertain[name], seconds), seconds, floor) for name, (seconds, floor) in whole.items()}


def _above(widths: tuple[Numeric, Numeric], seconds: Numeric, floor: Numeric) -> tuple[Numeric, Numeric]:
    """Half-widths of which the lower end is no less than `floor` (and no more than `seconds`, which the closed form lets lie below it)."""
    room = log(maximum(seconds, 1e-30) / maximum(floor, 1e-30))
    return minimum(widths[0], maximum(room, 0.0)), widths[1]
