"""How the devices of a scenario are given to a serving engine: so many servers, each with so many replicas of the model in it.

An engine's rules are data (`layouts` in `launch_flags.yaml`); the first whose condition holds counts. One that says `cannot` refuses
what the engine has no flags for, rather than writing a command that would run something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from simulator.build.language import has_experts
from simulator.search.expression import parse
from simulator.spec.deployment import Parallelism
from simulator.spec.model import Lvlm
from simulator.spec.source import SpecError

NODE = 8
"""GPUs of one machine, above which an engine must be started on several."""


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """servers: commands to start; replicas: copies of the attention layers in each, whose experts are shared if `joined`; gpus: of each."""

    servers: int
    replicas: int
    joined: bool
    gpus: int


def layout(rules: Sequence[Mapping[str, Any]], model: Lvlm, parallel: Parallelism) -> Layout:
    """The layout by the first of an engine's rules that holds. Raises SpecError where it is one that the engine cannot be started in."""
    values = {"tp": parallel.tp, "pp": parallel.pp, "dp": parallel.dp, "ep": parallel.ep, "experts": has_experts(model), "node": NODE}
    rule = next(rule for rule in rules if "if" not in rule or bool(parse(rule["if"])(values)))
    if "cannot" in rule:
        raise SpecError(rule["cannot"].format(**values))
    servers, replicas = (int(parse(str(rule[name]))(values)) for name in ("servers", "replicas"))
    return Layout(servers, replicas, parallel.ep > parallel.tp, parallel.tp * parallel.pp * replicas)


def notes_of(made: Layout) -> list[str]:
    """What to start, where one command on one machine is not all."""
    notes: list[str] = []
    if made.servers > 1:
        notes.append(f"start {made.servers} such servers, each on {made.gpus} GPU{'s' * (made.gpus > 1)} of its own, behind a load balancer")
    if made.gpus > NODE:
        notes.append(f"{made.gpus} GPUs are more than a machine of {NODE} has: start it on each machine with the engine's own options for several nodes")
    return notes
