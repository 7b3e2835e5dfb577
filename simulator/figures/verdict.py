"""An estimate in words: what binds, whether it fits, what to try next, and whether the chosen engine runs the mix."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, final

from simulator.presets import deployability, presets
from simulator.quantity import text
from simulator.ratio import Ratio
from simulator.request import Estimate
from simulator.spec.scenario import Scenario, TechniqueUse
from simulator.spec.source import SpecError
from simulator.technique import About, registry

Tone = Literal["good", "note", "bad"]

_REASON = {
    "compute": "multiplications", "memory": "memory traffic", "network": "the links between devices",
    "overhead": "launches and the engine's own work", "host": "the host's CPU",
}  # fmt: skip

_NEXT: dict[tuple[str, str], tuple[str, ...]] = {
    ("preprocess", "host"): ("adaptive_resolution", "embedding_cache"),
    ("encode", "compute"): ("embedding_cache", "adaptive_resolution", "encoder_prune"),
    ("encode", "memory"): ("embedding_cache", "encoder_merge"),
    ("prefill", "compute"): ("visionzip", "fastv", "weight_quant:format=fp8"),
    ("prefill", "memory"): ("weight_quant", "visionzip"),
    ("decode", "memory"): ("weight_quant", "speculative", "kv_quant:bits=4"),
    ("decode", "overhead"): ("speculative", "output_length"),
    ("decode", "compute"): ("weight_quant:format=fp8", "output_length"),
}
_SHORTER = ("output_length",)
"""What gives another answer; advised only where nothing else gains."""


@final
@dataclass(frozen=True, slots=True)
class Remark:
    """One sentence; `action` is the scenario that follows its advice, if there is one."""

    tone: Tone
    sentence: str
    action: Scenario | None = None
    label: str = ""


def binding(result: Estimate) -> str:
    """The stage with the most time and what binds it, in one sentence."""
    name = max(result.stages, key=lambda stage: float(result.stages[stage].seconds))
    stage = result.stages[name]
    share = float(stage.seconds) / result.latency_s
    sentence = f"{name.capitalize()} takes {share:.0%} of the answer ({text(float(stage.seconds), 's')}), bound by {_REASON[stage.bound]}"
    first = max(("preprocess", "encode", "project", "prefill"), key=lambda stage: float(result.stages[stage].seconds))
    if first == name:
        return sentence + "."
    early = result.stages[first]
    return sentence + (
        f"; before the first token it is {first} ({text(float(early.seconds), 's')} of {text(result.ttft_s, 's')}), "
        f"bound by {_REASON[early.bound]}."
    )


def change(baseline: Estimate, variant: Estimate, speed: Ratio) -> str:
    """What the variant gains or loses on the whole answer, in one sentence; `speed` is baseline over variant with its own band."""
    expected, low, high = float(speed.expected), float(speed.lower), float(speed.upper)
    head = f"The whole answer takes **{text(variant.latency_s, 's')} instead of {text(baseline.latency_s, 's')}**"
    if abs(expected - 1.0) < 0.005:
        return f"The whole answer takes as long as the baseline's, {text(variant.latency_s, 's')}."
    if expected > 1.0:
        return f"{head} (80%: {low:.2f} to {high:.2f}x faster)."
    return f"{head} (80%: {1 / high:.2f} to {1 / low:.2f}x slower)."


def fit(result: Estimate, estimate: Callable[[Scenario], Estimate]) -> Remark:
    """Whether it fits; if not, the batch or the fewest devices that do."""
    memory, scenario = result.memory, result.scenario
    if memory.fits:
        return Remark("good", f"It fits, with room for {float(memory.max_batch):,.0f} such requests at once.")
    peak, capacity = text(float(memory.peak_bytes), "B"), text(float(memory.capacity_bytes), "B")
    sentence = f"It does not fit: {peak} peak on a device of {capacity}."
    for times in (1, 2, 4, 8):
        devices = scenario.parallel.tp * times
        split = scenario.model_copy(update={"parallel": scenario.parallel.model_copy(update={"tp": devices})})
        try:
            batch = _batch(split, estimate)
        except SpecError:
            continue
        if batch:
            spread, asked = f"over {devices} devices" if times > 1 else "", f"TP {devices}" if times > 1 else ""
            if batch == scenario.workload.batch:
                return Remark("bad", f"{sentence} Split {spread} it would.", split, f"Use {asked}")
            smaller = split.model_copy(update={"workload": scenario.workload.model_copy(update={"batch": batch})})
            words = f"A batch of {batch:,}{' split ' + spread if spread else ''} would."
            return Remark("bad", f"{sentence} {words}", smaller, f"Use {asked + ' and ' if asked else ''}batch {batch}")
    return Remark("bad", f"{sentence} Nor does it split over eight times as many; quantise the weights, show less, or choose a smaller model.")


def _batch(scenario: Scenario, estimate: Callable[[Scenario], Estimate]) -> int:
    """Requests at once that fit: all that are asked for, else as many as are said to fit, else one, else none."""
    memory = estimate(scenario).memory
    if memory.fits:
        return scenario.workload.batch
    if float(memory.max_batch) >= 1:
        return int(memory.max_batch)
    one = scenario.model_copy(update={"workload": scenario.workload.model_copy(update={"batch": 1})})
    return int(bool(estimate(one).memory.fits))


def parts_of(kind: str) -> list[str]:
    """The techniques a preset is made of; a technique is itself."""
    named = presets()
    kinds = [part for part, _ in named[kind].parts] if kind in named else [kind]
    return [part for part in kinds if part in registry()]


def abouts(kind: str) -> list[About]:
    """What is known of a technique, or of each part of a preset."""
    return [registry()[part].about for part in parts_of(kind)]


def deployment(scenario: Scenario, unset: Collection[str] = ()) -> list[Remark]:
    """Whether the chosen engine runs the mix today, then the same per technique. unset: those it has, but not with these settings."""
    remarks: list[Remark] = []
    for use in scenario.techniques:
        for part in parts_of(use.kind):
            about = registry()[part].about
            status, source = deployability(use.kind, part, scenario.engine)
            named = f"{use.kind}" + (f" ({about.title})" if about.title else "")
            if scenario.engine in ("ideal", "survey"):
                status, source = "hypothetical", "the engine is a model, not a program"
            if status == "runs" and use.kind in unset:
                status = "patch"
            words = {"runs": "runs on", "patch": "needs a patch of", "hypothetical": "is not available on"}[status]
            tail = f": {source}" if source else ""
            remarks.append(Remark("good" if status == "runs" else "note" if status == "patch" else "bad", f"{named} {words} {scenario.engine}{tail}."))
    return [_overall(scenario.engine, remarks), *remarks] if remarks else []


def _overall(engine: str, remarks: list[Remark]) -> Remark:
    tones = {remark.tone for remark in remarks}
    if "bad" in tones:
        return Remark("bad", f"**Not deployable on {engine} as it is.**")
    return Remark("note", f"**Deployable on {engine} with a patch.**") if "note" in tones else Remark("good", f"**Deployable on {engine} today.**")


def advice(result: Estimate, estimate: Callable[[Scenario], Estimate]) -> Remark | None:
    """Of a few techniques that suit the longest stage, the one that saves most when it is added; None if none does."""
    scenario = result.scenario
    stages = sorted(result.stages, key=lambda stage: -float(result.stages[stage].seconds))[:2]
    used = {use.kind for use in scenario.techniques}
    families = {about.family for kind in used for about in abouts(kind)}
    best: tuple[float, str, Estimate] | None = None
    for stage in stages:
        for written in _NEXT.get((stage, result.stages[stage].bound), ()):
            kind, _, rest = written.partition(":")
            if kind in used or any(about.family in families for about in abouts(kind)):
                continue
            given = dict(pair.split("=", 1) for pair in rest.split(",") if pair)
            tried = scenario.model_copy(update={"techniques": (*scenario.techniques, TechniqueUse(kind=kind, parameters=given))})
            try:
                other = estimate(tried)
            except SpecError:
                continue
            if other.latency_s > 0.99 * result.latency_s:
                continue
            if best is None or (kind in _SHORTER, other.latency_s) < (best[1] in _SHORTER, best[0]):
                best = (other.latency_s, kind, other)
    if best is None:
        return None
    seconds, kind, other = best
    title = next((about.title for about in abouts(kind)), kind)
    kept = None if other.fidelity is None or other.fidelity.retained is None else float(other.fidelity.retained)
    loss = "" if kept is None else ", at no loss of accuracy" if kept >= 0.9995 else f", keeping {kept:.1%} of accuracy"
    first, before = text(other.ttft_s, "s"), text(result.ttft_s, "s")
    early = "" if first == before else f", TTFT {first} instead of {before}"
    sentence = f"Try {kind} next ({title}): the answer would take {text(seconds, 's')} instead of {text(result.latency_s, 's')}{early}{loss}."
    return Remark("note", sentence, other.scenario, f"Add {kind}")
