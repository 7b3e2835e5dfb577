"""The options that describe a scenario, shared by the verbs that take one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from simulator.spec.scenario import Scenario, parse_technique
from simulator.spec.source import SpecError
from simulator.spec.validated import shown, validated
from simulator.spec.workload import parse_image, parse_video
from simulator.spec.yaml import read_yaml


def add_scenario(parser: argparse.ArgumentParser, many: bool = False) -> None:
    """Options; with `many`, --model, --hardware, --engine and --mix may be repeated."""
    action: Any = "append" if many else "store"
    parser.add_argument("--scenario", metavar="FILE.yaml", help="a scenario file; other options override it")
    parser.add_argument("--model", action=action, help="model name or YAML file")
    parser.add_argument("--hardware", action=action, help="hardware name or YAML file")
    parser.add_argument("--engine", action=action, help="ideal, survey, vllm (default), vllm-v0 (0.6 and 0.7), sglang, trtllm, hf-flash, hf-flash-gqa, hf-flash-4.45, hf-sdpa, hf-masked, hf-eager, torch-cpu, torch-cpu-eager")
    parser.add_argument("--image", action="append", metavar="WxH|NxWxH|FILE", help="picture; may be repeated")
    parser.add_argument("--video", action="append", metavar="FRAMESxWxH|FILE", help="video; may be repeated")
    parser.add_argument("--text", type=int, help="text tokens of the prompt (default 64)")
    parser.add_argument("--output", type=int, help="output tokens (default 256)")
    parser.add_argument("--batch", type=int, help="equal requests at once (default 1)")
    parser.add_argument("--format", help="compute format of the LLM's linear layers (default bf16)")
    parser.add_argument("--with", dest="techniques", action="append", metavar="KIND:a=1,b=2", help="a technique or preset, or several joined by ' + '; may be repeated")
    if many:
        parser.add_argument("--mix", action="append", metavar="'A + B:b=2'", help="techniques on top of --with, a row of the comparison; `none` adds none; may be repeated")
    for name in ("tp", "pp", "dp", "ep"):
        parser.add_argument(f"--{name}", type=int, help=f"{name} degree (default 1)")
    parser.add_argument("--encoder-parallel", choices=("tensor", "data"), help="how the encoder uses the tp group")
    parser.add_argument("--processor", choices=("fast", "slow"), help="image processor of the host (default fast)")
    parser.add_argument("--no-preprocess", action="store_true", help="leave the host's share out")
    parser.add_argument("--task", help="task class for fidelity (default general_vqa)")
    parser.add_argument("--set", dest="settings", action="append", metavar="PATH=VALUE", help="any field, e.g. workload.text_tokens=128")


def read_scenario(args: argparse.Namespace, mix: str = "none", **overrides: str) -> Scenario:
    """The scenario the options describe, with a mix of techniques besides; `overrides` replace model, hardware or engine."""
    data: dict[str, Any] = dict(read_yaml(Path(args.scenario))) if args.scenario else {}
    for name in ("model", "hardware", "engine"):
        value = overrides.get(name, getattr(args, name))
        if value:
            data[name] = value
    if args.format:
        data["format"] = args.format
    if args.task:
        data["task"] = args.task
    if args.no_preprocess:
        data["preprocess"] = False
    workload = _mapping(data, "workload")
    if args.image:
        workload["images"] = [parse_image(item).model_dump() for item in args.image]
    if args.video:
        workload["videos"] = [parse_video(item).model_dump() for item in args.video]
    for option, field in (("text", "text_tokens"), ("output", "output_tokens"), ("batch", "batch"), ("processor", "processor")):
        if getattr(args, option) is not None:
            workload[field] = getattr(args, option)
    data["workload"] = workload
    parallel = {name: getattr(args, name) for name in ("tp", "pp", "dp", "ep") if getattr(args, name) is not None}
    if args.encoder_parallel:
        parallel["encoder"] = args.encoder_parallel
    if parallel:
        data["parallel"] = _mapping(data, "parallel") | parallel
    added = [use for item in args.techniques or () for use in _mixed(item, "--with")]
    if mix != "none":
        added += _mixed(mix, "--mix")
    if added:
        listed = data.get("techniques") or []
        if not isinstance(listed, list):
            raise SpecError(f"scenario: techniques: {shown(listed)} is not accepted; a list")
        data["techniques"] = [*listed, *added]  # pyright: ignore[reportUnknownVariableType]
    for setting in args.settings or ():
        _set(data, setting)
    for name in ("model", "hardware"):
        if name not in data:
            raise SpecError(f"{name}: is missing; give --{name} NAME (lvlm-sim {'models' if name == 'model' else name} lists them)")
    return validated(Scenario, data, "scenario")


def _mapping(data: dict[str, Any], name: str) -> dict[str, Any]:
    """A copy of a mapping inside a scenario file; empty where it has none."""
    value = data.get(name) or {}
    if not isinstance(value, dict):
        raise SpecError(f"scenario: {name}: {shown(value)} is not accepted; a mapping (name: value)")
    return dict(value)  # pyright: ignore[reportUnknownArgumentType]


def _mixed(text: str, option: str) -> list[dict[str, Any]]:
    try:
        return [parse_technique(part.strip()).model_dump() for part in text.split(" + ")]
    except ValueError as error:
        raise SpecError(f"{option}: {error}") from None


def _set(data: dict[str, Any], setting: str) -> None:
    path, equals, value = setting.partition("=")
    if not equals or not all(path.split(".")):
        raise SpecError(f"--set: {setting!r} is not accepted; PATH=VALUE, e.g. workload.text_tokens=128")
    *parents, last = path.split(".")
    here: Any = data
    for part in parents:
        here = here.setdefault(part, {}) if isinstance(here, dict) else here[_index(here, part, path)]
    key = last if isinstance(here, dict) else _index(here, last, path)
    import yaml

    try:
        here[key] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise SpecError(f"--set: {value!r} is not a value") from None


def _index(here: Any, part: str, path: str) -> int:
    """`part` as a place in a list that is there."""
    if not isinstance(here, list):
        raise SpecError(f"--set: {path!r} does not lead to a field")
    count = len(here)  # pyright: ignore[reportUnknownArgumentType]
    if not (part.isdecimal() and len(part) < 10 and int(part) < count):
        raise SpecError(f"--set: {path!r}: {part!r} is not accepted; a place in the list, below {count}")
    return int(part)
