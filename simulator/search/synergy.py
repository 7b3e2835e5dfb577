"""How techniques work together: the speed-up of a pair against the product of the singles, why it differs, and Shapley shares.

Synergy of a and b is S(ab) / (S(a) S(b)), with S the speed-up over the scenario without them: above 1 they help each other, below
1 they overlap. The reason is read off the simulator's own numbers: of what the pair changes in a stage, how much is work (bytes
or FLOPs that both remove), and how much is the bound that moves, so that the second has less to shorten.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from simulator.assemble import assemble, case_of
from simulator.measure import measure
from simulator.metrics import Metrics
from simulator.program import STAGES
from simulator.request import bound_of
from simulator.search.axes import label, mix_text
from simulator.spec.scenario import Scenario, TechniqueUse, parse_technique
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import pandas as pd

MOST = 12
"""Techniques of a Shapley sum: 2^12 scenarios."""
EVEN = 0.005
"""A synergy within this of 1 counts as independence."""
END_TO_END = ("ttft_s", "tpot_s", "latency_s")


@final
@dataclass(frozen=True, slots=True)
class Pair:
    """Two techniques: speed-ups per stage and end to end alone and together, synergy = together / (first * second), and why."""

    first: str
    second: str
    alone_first: dict[str, float]
    alone_second: dict[str, float]
    together: dict[str, float]
    synergy: dict[str, float]
    why: str
    refused: str = ""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """Answer of `interaction`. singles: speed-up of each technique alone, technique -> quantity -> factor. Quantities are the
    stages with `_s`, and ttft_s, tpot_s, latency_s."""

    techniques: tuple[str, ...]
    singles: dict[str, dict[str, float]]
    pairs: tuple[Pair, ...]

    def matrix(self, quantity: str = "latency_s") -> pd.DataFrame:
        """Synergy of every pair in one quantity; the diagonal holds the speed-up of each alone; NaN for pairs that exclude each other."""
        import pandas as pd

        frame = pd.DataFrame(float("nan"), index=list(self.techniques), columns=list(self.techniques))
        for name in self.techniques:
            frame.loc[name, name] = self.singles[name][quantity]
        for pair in self.pairs:
            if not pair.refused:
                frame.loc[pair.first, pair.second] = frame.loc[pair.second, pair.first] = pair.synergy[quantity]
        return frame

    def table(self) -> pd.DataFrame:
        """A row per pair: synergy per quantity, and why."""
        import pandas as pd

        return pd.DataFrame([{"first": pair.first, "second": pair.second, **pair.synergy, "why": pair.why or pair.refused} for pair in self.pairs])


def uses_of(techniques: str | Sequence[str | TechniqueUse]) -> tuple[TechniqueUse, ...]:
    """Techniques as written, as uses; each given once. A text may hold several, joined by ` + `."""
    if isinstance(techniques, str):
        techniques = [part.strip() for part in techniques.split(" + ")]
    try:
        uses = tuple(parse_technique(item) if isinstance(item, str) else item for item in techniques)
    except ValueError as error:
        raise SpecError(f"techniques: {error}") from None
    names = [mix_text(use) for use in uses]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"techniques: {name} is given twice")
    return uses


def metrics_of(scenario: Scenario, uses: Sequence[TechniqueUse]) -> Metrics:
    """What a scenario costs with more techniques in it."""
    case = case_of(scenario.model_copy(update={"techniques": (*scenario.techniques, *uses)}))
    return measure(case, assemble(case))


def seconds_of(metrics: Metrics) -> dict[str, float]:
    """Seconds per stage and end to end."""
    stages = {f"{name}_s": float(metrics.stages[name].seconds) for name in STAGES}
    return stages | {name: float(getattr(metrics, name)) for name in END_TO_END}


def _ratio(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: before[name] / after[name] if after[name] > 0 else 1.0 if before[name] == 0 else math.inf for name in before}


def interaction(scenario: Scenario, techniques: Sequence[str | TechniqueUse]) -> Interaction:
    """The synergy of every pair of techniques on top of a scenario: `interaction(scenario, ["visionzip", "kv_quant:bits=4"])`."""
    uses = uses_of(techniques)
    names = [mix_text(use) for use in uses]
    base = metrics_of(scenario, ())
    alone = [metrics_of(scenario, (use,)) for use in uses]
    before = seconds_of(base)
    singles = {name: _ratio(before, seconds_of(item)) for name, item in zip(names, alone, strict=True)}
    pairs: list[Pair] = []
    for i, j in itertools.combinations(range(len(uses)), 2):
        a, b = singles[names[i]], singles[names[j]]
        try:
            both = metrics_of(scenario, (uses[i], uses[j]))
        except SpecError as error:
            pairs.append(Pair(names[i], names[j], a, b, {}, {}, "", str(error)))
            continue
        together = _ratio(before, seconds_of(both))
        synergy = {name: together[name] / (a[name] * b[name]) if a[name] * b[name] > 0 else math.nan for name in together}
        why = _why(names[i], names[j], synergy, (base, alone[i], alone[j], both))
        pairs.append(Pair(names[i], names[j], a, b, together, synergy, why))
    return Interaction(tuple(names), singles, tuple(pairs))


def _why(first: str, second: str, synergy: Mapping[str, float], runs: tuple[Metrics, Metrics, Metrics, Metrics]) -> str:
    """What couples the two, stage by stage, then what adding up the stages does."""
    parts = [_stage_coupling(name, synergy[f"{name}_s"], runs) for name in STAGES if abs(synergy[f"{name}_s"] - 1.0) > EVEN]
    parts += _shares(first, second, synergy, runs)
    return "; ".join(parts) or "independent: each stage speeds up by the product of the two"


def _stage_coupling(stage: str, synergy: float, runs: tuple[Metrics, Metrics, Metrics, Metrics]) -> str:
    base, a, b, both = (run.stages[stage] for run in runs)  # type: ignore[index]
    bounds = [bound_of(run.terms[stage]) for run in runs]  # type: ignore[index]
    name = "matmul_flops" if bounds[0] == "compute" else "bytes"
    work = [float(getattr(item, name)) for item in (base, a, b, both)]
    unit = "FLOPs" if name == "matmul_flops" else "bytes"
    head = f"{stage} x{synergy:.2f}: "
    changes = [value / work[0] - 1.0 if work[0] else 0.0 for value in work[1:]]
    overlap = (work[1] * work[2]) / (work[0] * work[3]) if work[0] and work[3] else 1.0
    texts: list[str] = []
    if abs(overlap - 1.0) > EVEN and (overlap - 1.0) * (synergy - 1.0) > 0:
        kind = "both remove the same work" if overlap < 1 else "one shortens what the other leaves"
        texts.append(f"{kind} ({unit} {changes[0]:+.0%} and {changes[1]:+.0%} alone, {changes[2]:+.0%} together)")
    if bounds[3] != bounds[0]:
        moved = next((index for index in (1, 2) if bounds[index] == bounds[3]), 0)
        texts.append(f"the bound moves from {bounds[0]} to {bounds[3]}{' already with one of them' if moved else ' only with both'}")
    elif not texts:
        fixed = {term: float(runs[3].terms[stage][term]) for term in runs[3].terms[stage]}  # type: ignore[index]
        largest = sorted(fixed, key=lambda term: -fixed[term])[:2]
        texts.append(f"what neither touches ({largest[1] if largest[0] == bounds[0] else largest[0]} time) weighs more the faster the rest is"
                     if synergy < 1 else f"each lowers what the other adds ({unit} {changes[0]:+.0%} and {changes[1]:+.0%} alone, {changes[2]:+.0%} together)")  # fmt: skip
    return head + ", ".join(texts)


def _shares(first: str, second: str, synergy: Mapping[str, float], runs: tuple[Metrics, Metrics, Metrics, Metrics]) -> list[str]:
    """Amdahl's law in reverse: where they shorten different stages, each makes the other's share larger."""
    if abs(synergy["latency_s"] - 1.0) <= EVEN:
        return []
    base, a, b, _ = (seconds_of(run) for run in runs)
    saved_first = {name: base[f"{name}_s"] - a[f"{name}_s"] for name in STAGES}
    saved_second = {name: base[f"{name}_s"] - b[f"{name}_s"] for name in STAGES}
    top_first = max(saved_first, key=lambda name: saved_first[name])
    top_second = max(saved_second, key=lambda name: saved_second[name])
    head = f"end to end x{synergy['latency_s']:.2f}: "
    if top_first != top_second and synergy["latency_s"] > 1.0:
        return [f"{head}{first} shortens {top_first} and {second} {top_second}, so each raises the share of the time that the other works on"]
    if synergy["latency_s"] < 1.0:
        return [f"{head}after {first} {top_second} is a smaller part of what is left for {second} to shorten" if top_first == top_second
                else f"{head}the stages that overlap outweigh those that do not"]  # fmt: skip
    return [f"{head}both shorten {top_first}; the stages they leave alone are a smaller part of the pair's gain than of the singles'"]


@final
@dataclass(frozen=True, slots=True)
class Shares:
    """Answer of `shapley`. total: speed-up of all together; factors: technique -> its factor (they multiply to the total)."""

    quantity: str
    total: float
    factors: dict[str, float]
    text: str


def shapley(scenario: Scenario, techniques: Sequence[str | TechniqueUse], quantity: str = "latency_s") -> Shares:
    """Each technique's fair share of the speed-up of the whole mix: the Shapley value (1953) of the log of the speed-up, that is
    its marginal factor averaged over all orders in which the mix could have been put together. Exact: 2^n scenarios, n <= 12.
    """
    uses = uses_of(techniques)
    names = [mix_text(use) for use in uses]
    count = len(uses)
    if not 1 <= count <= MOST:
        raise SpecError(f"techniques: {count} given; accepted: 1 to {MOST}")
    worth: dict[int, float] = {}
    base = seconds_of(metrics_of(scenario, ()))
    if quantity not in base:
        raise SpecError(f"quantity: {quantity!r} is not accepted; one of {', '.join(base)}")
    for mask in range(1 << count):
        some = [use for index, use in enumerate(uses) if mask >> index & 1]
        taken = seconds_of(metrics_of(scenario, some))[quantity]
        if not (taken > 0 and base[quantity] > 0):
            raise SpecError(f"quantity: {quantity} is 0 with {label(tuple(some))}; there is no speed-up to share")
        worth[mask] = math.log(base[quantity] / taken)
    factors: dict[str, float] = {}
    for index, name in enumerate(names):
        share = 0.0
        for mask in range(1 << count):
            if not mask >> index & 1:
                size = mask.bit_count()
                weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                share += weight * (worth[mask | 1 << index] - worth[mask])
        factors[name] = math.exp(share)
    total = math.exp(worth[(1 << count) - 1])
    ranked = sorted(factors, key=lambda name: -factors[name])
    text = f"of the {total:.2f}x in {quantity}, " + ", ".join(f"{name} gives {factors[name]:.2f}x" for name in ranked)
    return Shares(quantity, total, factors, text)
