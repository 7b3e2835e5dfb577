"""A scenario as the command that starts it on a serving engine. The flags are data (`launch_flags.yaml`), each with the version
and the document it is from; a technique that an engine lacks is named, never dropped."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from simulator.assemble import Case, assemble, case_of
from simulator.measure import measure
from simulator.presets import deployability
from simulator.search.expression import parse
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError
from simulator.spec.yaml import read_yaml
from simulator.technique import name_of

_REPOSITORY = re.compile(r"huggingface\.co/([\w.-]+/[\w.-]+)")


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
    """A launch command. arguments: its flags with version and source; options: for a YAML file where the engine takes one (empty:
    none); notes: what to do besides; lacking: techniques of the scenario that the engine cannot run, with the reason; unset: those of
    them that it has, but not with these settings. minimum: the newest of the flags' versions."""

    engine: str
    command: str
    arguments: tuple[Argument, ...]
    options: dict[str, Any]
    notes: tuple[str, ...]
    lacking: tuple[str, ...]
    unset: tuple[str, ...]
    minimum: str

    def script(self) -> str:
        """A shell script with everything in it."""
        lines = ["#!/bin/sh", f"# needs {self.engine} {self.minimum} or newer"]
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
    """The command that serves a scenario on `vllm`, `sglang` or `trtllm`."""
    known = flags()
    if engine not in known:
        raise SpecError(f"as: {engine!r} is not accepted; {', '.join(known)}")
    data, case = known[engine], case_of(scenario)
    values = _values(case)
    arguments: list[Argument] = []
    options: dict[str, Any] = {}
    notes: list[str] = []
    lacking: list[str] = []
    unset: list[str] = []
    for item in data["arguments"]:
        if _holds(item, values):
            arguments.append(Argument(item["flag"].format(**values), str(item["since"]), item["source"]))
    if case.parallel.dp > 1 and not any("dp" in item.flag or "data-parallel" in item.flag for item in arguments):
        notes.append(f"start {case.parallel.dp} such servers behind a load balancer (dp {case.parallel.dp})")
    for name, technique in case.techniques:
        kind = name_of(type(technique))
        given = {**values, **{item.name: getattr(technique, item.name) for item in fields(technique)}}  # type: ignore[arg-type]
        given |= {"preset": name, **_derived(kind, given)}
        state, reason = deployability(name, kind, engine)
        entries = [item for item in data["techniques"].get(kind, ()) if _holds(item, given)]
        if name != kind and state != "runs":  # flags of its kind are not those of this method
            lacking.append(f"{name} ({kind}): {state} on {engine} ({reason})")
            continue
        if not entries:
            shown = f"{name} ({kind})" if name != kind else kind
            settings = (
                {knob: given[knob] for knob in ("bits", "format", "split") if knob in given}
                if data["techniques"].get(kind)
                else {}
            )
            at = " with " + ", ".join(f"{knob} {value}" for knob, value in settings.items()) if settings else ""
            if data["techniques"].get(kind):
                unset.append(name)
            lacking.append(f"{shown}{at}: {engine} has no flag for it ({state}: {reason})")
        for item in entries:
            arguments.append(Argument(str(item.get("flag", "")).format(**given), str(item["since"]), item["source"]))
            options = _merged(options, _filled(item.get("options", {}), given))
            if item.get("note"):
                notes.append(f"{name}: {item['note'].format(**given)}")
    arguments = [
        item
        for at, item in enumerate(arguments)
        if item.flag == "" or item.flag not in {other.flag for other in arguments[:at]}
    ]
    command = " ".join([data["command"].format(**values), *(item.flag for item in arguments if item.flag)])
    if options:
        command += " --extra_llm_api_options options.yaml"
    minimum = max((item.since for item in arguments), key=lambda text: [int(part) for part in text.split(".")])
    return Launch(engine, command, tuple(arguments), options, tuple(notes), tuple(lacking), tuple(unset), minimum)


def _values(case: Case) -> dict[str, Any]:
    program = assemble(case).program
    tokens = float(program.visual + program.text + program.output)
    found = next(
        (match.group(1) for item in case.model.sources if (match := _REPOSITORY.search(item.reference))),
        case.model.name,
    )
    parallel = case.parallel
    return {
        "repository": shlex.quote(found), "tp": parallel.tp, "pp": parallel.pp, "dp": parallel.dp, "ep": parallel.ep,
        "encoder_data": parallel.encoder == "data" and parallel.tp > 1, "fp8": case.format == "fp8",
        "context": int(-(-tokens // 256) * 256), "batch": int(case.batch), "memory": f"{case.engine.memory_share:g}",
        "weight_gb": float(measure(case).memory.weight_bytes) / 1e9,
    }  # fmt: skip


def _derived(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
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
