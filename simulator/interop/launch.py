"""A scenario as the command that starts it on a serving engine. The flags are data (`launch_flags.yaml`), each with the version
and the document it is from; a technique that an engine lacks is named, never dropped."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from simulator.assemble import Case, case_of, plain
from simulator.interop.launch_layout import Layout, layout, notes_of
from simulator.measure import measure
from simulator.presets import deployability
from simulator.search.expression import parse
from simulator.spec.deployment import load_engine
from simulator.spec.model import Lvlm
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError
from simulator.spec.yaml import read_yaml
from simulator.technique import name_of

_REPOSITORY = re.compile(r"huggingface\.co/([\w.-]+/[\w.-]+)|\b([\w.-]+/[\w.-]+) (?:config\.json|model card)")
_TEMPLATE = 64
"""Tokens of a chat template and of markers around pictures, at most, that a request has besides those of the scenario (assumed)."""


@final
@dataclass(frozen=True, slots=True)
class Argument:
    """One flag as written, the oldest version known to have it, and where that is documented."""

    flag: str
    since: str
    source: str


@final
@dataclass(frozen=True, slots=True)
class Launch:
    """A launch command. servers: how often it is started, each time on `gpus` GPUs; arguments: its flags with version and source;
    options: for a YAML file where the engine takes one (empty: none); notes: what to do besides; lacking: techniques of the scenario that the engine cannot run, with the reason; unset: those of
    them that it has, but not with these settings. minimum: the newest of the flags' versions."""

    engine: str
    command: str
    servers: int
    gpus: int
    arguments: tuple[Argument, ...]
    options: dict[str, Any]
    notes: tuple[str, ...]
    lacking: tuple[str, ...]
    unset: tuple[str, ...]
    minimum: str

    def script(self) -> str:
        """A shell script with everything in it."""
        lines = ["#!/bin/sh", f"# needs {self.engine} {self.minimum} or newer and {self.gpus} GPU{'s' * (self.gpus > 1)}"]
        lines += [f"# NOT APPLIED: {text}" for text in self.lacking]
        lines += [f"# {text}" for text in self.notes]
        lines += [f"#   {item.flag}: {item.since}+ ({item.source})" for item in self.arguments if item.flag]
        if self.options:
            lines += ["cat > options.yaml <<'END'", _yaml(self.options).rstrip(), "END"]
        return "\n".join([*lines, self.command, ""])

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@lru_cache(maxsize=1)
def flags() -> dict[str, Any]:
    """The flags by engine."""
    return read_yaml(Path(__file__).with_name("launch_flags.yaml"))


def launch(scenario: Scenario, engine: str) -> Launch:
    """The command that serves a scenario on `vllm`, `sglang` or `trtllm`. Raises SpecError for parallel degrees that it has no flags for."""
    known = flags()
    if engine not in known:
        raise SpecError(f"as: {engine!r} is not accepted; {', '.join(known)}")
    data, case = known[engine], case_of(scenario)
    made = layout(data["layouts"], case.model, case.parallel)
    values = _values(case, made, engine)
    draft = _Draft(_repository(case.model), notes=notes_of(made))
    for item in data["arguments"]:
        if _holds(item, values):
            draft.take(item, values)
    for name, technique in case.techniques:
        kind = name_of(type(technique))
        given = {**values, **{item.name: getattr(technique, item.name) for item in fields(technique)}}  # type: ignore[arg-type]
        given |= {"preset": name, **_derived(kind, given)}
        draft.technique(name, kind, given, data["techniques"].get(kind, ()), engine)
    if draft.checkpoint == CHECKPOINT:
        draft.notes.append(f"no repository of {case.model.name} is known here: replace {CHECKPOINT} by that or by a path")
    if case.engine.name != engine:
        draft.notes.append(f"the scenario's own times are those of {case.engine.name}")
    flagged = tuple(dict.fromkeys(draft.arguments))
    command = " ".join([data["command"].format(repository=shlex.quote(draft.checkpoint)), *dict.fromkeys(item.flag for item in flagged if item.flag)])
    if draft.options:
        command += " --extra_llm_api_options options.yaml"
    minimum = max((item.since for item in flagged), key=lambda text: [int(part) for part in text.split(".")])
    lists = (tuple(draft.notes), tuple(draft.lacking), tuple(draft.unset))
    return Launch(engine, command, made.servers, made.gpus, flagged, draft.options, *lists, minimum)


CHECKPOINT = "CHECKPOINT"
"""Stands in a command for a checkpoint whose repository is not known."""


@final
@dataclass(slots=True)
class _Draft:
    """A command as it is put together."""

    checkpoint: str
    arguments: list[Argument] = field(default_factory=list[Argument])
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: list[str] = field(default_factory=list[str])
    lacking: list[str] = field(default_factory=list[str])
    unset: list[str] = field(default_factory=list[str])

    def take(self, item: Mapping[str, Any], values: Mapping[str, Any], label: str = "") -> None:
        """An entry of the flags whose condition holds."""
        if "lacks" in item:
            self.lacking.append(item["lacks"].format(**values))
            return
        self.arguments.append(Argument(str(item.get("flag", "")).format(**values), str(item["since"]), item["source"]))
        self.options = _merged(self.options, _filled(item.get("options", {}), values))
        self.checkpoint = item.get("checkpoint", self.checkpoint)
        if item.get("note"):
            self.notes.append(label + item["note"].format(**values))

    def technique(self, name: str, kind: str, given: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], engine: str) -> None:
        """A technique of the mix: its flags, or its name among what the engine lacks."""
        state, reason = deployability(name, kind, engine)
        shown = f"{name} ({kind})" if name != kind else kind
        if name != kind and state != "runs":  # flags of its kind are not those of this method
            self.lacking.append(f"{shown}: {state} on {engine} ({reason})")
            return
        fitting = [item for item in entries if _holds(item, given)]
        for item in fitting:
            self.take(item, given, f"{name}: ")
        if fitting:
            return
        settings = {knob: given[knob] for knob in ("bits", "format", "split") if knob in given} if entries else {}
        at = " with " + ", ".join(f"{knob} {value}" for knob, value in settings.items()) if settings else ""
        self.unset += [name] if entries else []
        self.lacking.append(f"{shown}{at}: {engine} has no flag for it ({state}: {reason})")


def _repository(model: Lvlm) -> str:
    found = (match.group(1) or match.group(2) for item in model.sources if (match := _REPOSITORY.search(item.reference)))
    return next(found, CHECKPOINT)


def _values(case: Case, made: Layout, engine: str) -> dict[str, Any]:
    """What conditions and flags are written with. context: of the request as it is sent, since a technique may lack on the engine; batch:
    of one replica; shared: replicas that one scheduler's limits are divided among (attention data parallel)."""
    program, parallel = plain(case, case.model, 1.0), case.parallel
    tokens = float(program.visual + program.text + program.output) + _TEMPLATE
    limit = case.model.language.max_context or math.inf
    running = load_engine(engine) if case.engine.name != engine else case.engine
    shared = made.replicas if made.joined else 1
    batch = math.ceil(case.batch / parallel.dp)
    kinds = {name_of(type(item)) for _, item in case.techniques}
    frames = [float(clip.frames) for clip in case.clips if clip.frames is not None]
    return {
        "tp": parallel.tp, "pp": parallel.pp, "ep": parallel.ep, "replicas": made.replicas, "joined": made.joined,
        "width": parallel.tp * shared, "shared": shared, "compute": case.format,
        "encoder_data": parallel.encoder == "data" and parallel.tp > 1 and bool(program.towers),
        "images": int(sum(float(picture.count) for picture in case.pictures)), "videos": len(case.clips), "frames": int(max(frames, default=0)),
        "sampled": any(clip.frames is None for clip in case.clips),
        "context": int(min(math.ceil(tokens / 256) * 256, limit)), "batch": batch, "server_batch": batch * shared,
        "chunked": "chunked_prefill" in kinds, "requantised": "weight_quant" in kinds,
        "memory": f"{running.memory_share:g}", "weight_gb": float(measure(case).memory.weight_bytes) / 1e9,
    }  # fmt: skip


def _derived(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "adaptive_resolution":
        share, tried = given["probability"], given["retry"]
        full = f", then in full where that does not do ({share:.0%})" if tried else f", or in full where the router says so ({share:.0%})"
        return {"then": full if share > 0.0 else ""}
    if kind == "chunked_prefill":
        return {"server_chunk": given["chunk"] * given["shared"]}
    if kind == "kv_quant":
        k, v = (float(given[name] or given["bits"]) for name in ("k_bits", "v_bits"))
        return {"bits": k if k == v else f"{k:g} of K and {v:g} of V"}
    if kind == "weight_quant":
        bits = {"fp8": 8.0, "w8a8": 8.0}.get(given["format"], 4.0)
        return {"bits": given["bits"] or bits}
    if kind == "offload":
        return {"offload_gb": given["weight_gb"] * given["weights"]}
    if kind in ("temporal_merge", "pre_llm_reduce"):
        return {"dropped": 1.0 - given["keep"]}
    if kind == "speculative":
        drafter = given["drafter"].partition(":")[0]
        found = {
            "width": 1.0,
            "verified": given["gamma"] + 1.0,
            "source": drafter if drafter in ("head", "heads", "self") else "model",
        }
        if given["tree"]:
            found |= {"width": max(given["nodes"] / max(given["gamma"], 1.0), 1.0), "verified": given["nodes"]}
        return found
    return {}


def _holds(item: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    return "if" not in item or bool(parse(item["if"])(values))


def _filled(options: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Options with their placeholders filled; whole numbers become numbers."""
    out: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            out[name] = _filled(value, values)
        elif isinstance(value, str):
            text = value.format(**values)
            out[name] = int(text) if text.isdigit() else text
        else:
            out[name] = value
    return out


def _merged(a: dict[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(a)
    for name, value in b.items():
        out[name] = (
            _merged(out[name], value) if isinstance(value, Mapping) and isinstance(out.get(name), dict) else value
        )
    return out


def _yaml(data: Any) -> str:
    import yaml

    return yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False)
