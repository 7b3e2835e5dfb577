"""One contract for every technique, present and future, and for every preset. Adding a technique adds its tests."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import simulator.techniques
from simulator import Image, Scenario, Workload
from simulator.assemble import assemble, case_of
from simulator.literature.catalogue import load_entries
from simulator.ops import Matmul
from simulator.presets import presets, resolve
from simulator.spec.scenario import TechniqueUse
from simulator.spec.source import SpecError
from simulator.technique import AbstractTechnique, Parameter, check, compose, convert, name_of, parameters, registry
from tests.techniques import toy

TECHNIQUES = registry()
NAMES = sorted(TECHNIQUES)
SHARES = ("keep", "density", "budget")


def sample(kind: type[AbstractTechnique]) -> AbstractTechnique:
    return kind()


def compose_one(technique: AbstractTechnique) -> toy.Result:
    return toy.with_(technique, crops=8.0)


def compose_case(*techniques: AbstractTechnique) -> toy.Result | None:
    """None where the two exclude each other."""
    try:
        return toy.with_(*techniques, crops=8.0)
    except SpecError as error:
        assert "\n" not in str(error) and "techniques" in str(error)
        return None


def numeric_knobs(kind: type[AbstractTechnique]) -> list[Parameter]:
    """Numeric knobs that may be arrays; an empty list by default is an alternative to another knob."""
    return [knob for knob in parameters(kind) if knob.kind in ("number", "numbers") and knob.default != ()]


def values_of(knob: Parameter) -> tuple[float, float]:
    """Two accepted values of a numeric knob, neither at the end where it is off."""
    default = knob.default[0] if isinstance(knob.default, tuple) and knob.default else knob.default
    start = float(default) if isinstance(default, int | float) and math.isfinite(float(default)) else max(knob.low, 0.0)
    low, high = max(knob.low, 1e-3), min(knob.high * 0.95 if knob.high <= 1.0 else knob.high, 1e6)
    first = min(max(start if start > 0 else 0.3 * min(high, 1.0) if high <= 1.0 else 5.0, low), high)
    second = min(max(first * 0.6, low), high)
    return first, second if second != first else min(first * 1.5, high)


def given(kind: type[AbstractTechnique], knob: Parameter, value: Any) -> AbstractTechnique:
    """The technique with one knob set; a list of numbers gets as many as its default has."""
    return kind(**{knob.name: (value,) * len(knob.default) if knob.kind == "numbers" else value})


def test_there_are_techniques_at_every_stage() -> None:
    assert len(NAMES) >= 20 and {"in_llm_prune", "keyframes", "sparse_attention", "prefix_cache"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
class TestEveryTechnique:
    def test_declaration(self, name: str) -> None:
        kind = TECHNIQUES[name]
        assert kind.__final__ and dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
        assert name_of(kind) == name and kind.about.title and kind.about.family
        assert set(kind.about.conflicts) <= set(NAMES), "a conflict names a technique nobody knows"
        for other, reason in kind.about.conflicts.items():
            assert len(reason) > 20 and other != name
        for engine, (status, source) in kind.about.engines.items():
            assert engine in ("vllm", "sglang", "trtllm", "hf-flash", "hf-sdpa", "hf-eager")
            assert status in ("runs", "patch", "hypothetical") and source

    def test_cites_an_entry_of_the_catalogue(self, name: str) -> None:
        assert TECHNIQUES[name].about.entry in {entry.id for entry in load_entries()}

    def test_knobs_have_help_bounds_and_units(self, name: str) -> None:
        for knob in parameters(TECHNIQUES[name]):
            assert knob.help and knob.low <= knob.high, knob.name
            if knob in numeric_knobs(TECHNIQUES[name]):
                assert knob.unit and math.isfinite(knob.low), knob.name
            if knob.unit == "fraction":
                assert knob.high <= 1.0, knob.name
        check(name, TECHNIQUES[name]())
        check(name, TECHNIQUES[name].neutral())

    def test_out_of_bounds_is_one_line_naming_the_field(self, name: str) -> None:
        for knob in numeric_knobs(TECHNIQUES[name]):
            for bad in (knob.low - 1.0, math.nan):
                try:
                    technique = given(TECHNIQUES[name], knob, bad)
                except SpecError:
                    continue
                with pytest.raises(SpecError, match=rf"techniques\.{name}\.{knob.name}: .* is not accepted") as error:
                    check(name, technique)
                assert "\n" not in str(error.value)

    def test_off_changes_nothing(self, name: str) -> None:
        plain, off = toy.measure(toy.program(crops=8.0)), compose_one(TECHNIQUES[name].neutral())
        for key, value in plain.numbers().items():
            assert toy.close(value, off.numbers()[key]), key
        assert not off.program.warnings and not off.program.assumptions

    def test_pure_and_deterministic(self, name: str) -> None:
        technique, start = sample(TECHNIQUES[name]), toy.program(crops=8.0)
        before = repr(start)
        made = [technique.apply(start, toy.context(crops=8.0)) for _ in range(2)]
        assert repr(start) == before and repr(made[0]) == repr(made[1])

    def test_kept_is_a_share(self, name: str) -> None:
        for technique in (sample(TECHNIQUES[name]), TECHNIQUES[name].neutral()):
            kept = technique.kept(toy.program(crops=8.0))
            assert np.all(np.asarray(kept) > 0.0) and np.all(np.asarray(kept) <= 1.0 + 1e-12)
        assert toy.close(TECHNIQUES[name].neutral().kept(toy.program(crops=8.0)), 1.0)

    def test_numbers_are_sane(self, name: str) -> None:
        for key, value in compose_one(sample(TECHNIQUES[name])).numbers().items():
            assert np.isfinite(value) and value >= 0.0, key

    def test_arrays_equal_their_elements(self, name: str) -> None:
        kind = TECHNIQUES[name]
        for knob in numeric_knobs(kind):
            values = values_of(knob)
            together = compose_one(given(kind, knob, np.array(values))).numbers()
            for index, value in enumerate(values):
                alone = compose_one(given(kind, knob, value)).numbers()
                for key, number in alone.items():
                    spread = np.broadcast_to(np.asarray(together[key], float), (2,))
                    assert toy.close(spread[index], number), (knob.name, value, key)

    def test_an_array_may_hold_the_off_value(self, name: str) -> None:
        kind = TECHNIQUES[name]
        off = kind.neutral()
        for knob in numeric_knobs(kind):
            value = getattr(off, knob.name)
            if not isinstance(value, int | float) or value == getattr(kind(), knob.name):
                continue
            together = compose_one(given(kind, knob, np.array([value, values_of(knob)[0]]))).numbers()
            for key, number in compose_one(given(kind, knob, value)).numbers().items():
                found = np.broadcast_to(np.asarray(together[key], float), (2,))
                assert np.isfinite(found).all(), (knob.name, key)
                if key.endswith(".flops"):
                    assert toy.close(found[0], number), (knob.name, key)
                elif key.endswith(".seconds"):  # what is structural (a matrix split in two) stays in an array
                    assert toy.close(found[0], number, 0.05), (knob.name, key)

    def test_keeping_less_never_costs_flops(self, name: str) -> None:
        kind = TECHNIQUES[name]
        for knob in numeric_knobs(kind):
            if knob.name not in SHARES:
                continue
            results = [compose_one(given(kind, knob, value)) for value in (0.2, 0.5, 0.9)]
            for stage in ("encode", "project", "prefill", "decode"):
                flops = [float(result.flops(stage)) for result in results]
                assert flops[0] <= flops[1] * (1 + 1e-12) and flops[1] <= flops[2] * (1 + 1e-12), (knob.name, stage)

    def test_overheads_carry_the_name(self, name: str) -> None:
        for extra in compose_one(sample(TECHNIQUES[name])).program.extras:
            assert extra.label.startswith(name)

    def test_parameters_survive_json_and_the_command_line(self, name: str) -> None:
        kind = TECHNIQUES[name]
        technique = sample(kind)
        knobs = {knob.name: knob for knob in parameters(kind)}
        data = json.loads(json.dumps({key: getattr(technique, key) for key in knobs}))
        assert kind(**{key: convert(name, knobs[key], value) for key, value in data.items()}) == technique
        written = {key: "|".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in data.items()
                   if value != []}  # fmt: skip
        ((given_name, again),) = resolve(name, written)
        assert given_name == name and again == technique

    def test_order_does_not_matter(self, name: str) -> None:
        start = NAMES.index(name)
        for step in range(1, 7):
            other = NAMES[(start + step * 5) % len(NAMES)]
            one, two = sample(TECHNIQUES[name]), sample(TECHNIQUES[other])
            if other == name:
                continue
            forth, back = compose_case(one, two), compose_case(two, one)
            assert (forth is None) == (back is None), other
            if forth is not None and back is not None:
                for key, value in forth.numbers().items():
                    assert toy.close(value, back.numbers()[key]), (other, key)


@pytest.mark.parametrize("preset", sorted(presets()))
def test_every_preset_resolves_and_composes(preset: str) -> None:
    parts = resolve(preset, {})
    made, uses = compose(toy.program(crops=8.0), parts, toy.context(crops=8.0))
    assert len(uses) == len(presets()[preset].parts)
    result = toy.measure(made)
    for key, value in result.numbers().items():
        assert np.isfinite(value) and value >= 0.0, key


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"'fastw' is not known; nearest: .*fastv"):
        resolve("fastw", {})
    with pytest.raises(SpecError, match=r"techniques\.fastv\.kep: no such parameter; accepted: .*keep"):
        resolve("fastv", {"kep": 1})


def test_given_twice_is_refused() -> None:
    kind = TECHNIQUES["pre_llm_reduce"]
    with pytest.raises(SpecError, match="are both pre_llm_reduce"):
        compose(toy.program(), [("a", kind()), ("b", kind())], toy.context())


DROPPED = '''
"""Drops every second visual token, for nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator.program import Program
from simulator.quantity import Numeric
from simulator.technique import AbstractTechnique, About, Context, Site, parameter


@final
@dataclass(frozen=True, slots=True)
class Thinning(AbstractTechnique):
    """keep of the tokens."""

    about: ClassVar[About] = About("Thinning", Site.PRE_LLM, "pre_llm_reduce", "divprune", axis="visual_tokens")
    keep: Numeric = parameter(0.5, "tokens kept", unit="fraction", low=0.01, high=1)

    @classmethod
    def neutral(cls) -> Thinning:
        return cls(keep=1.0)

    def kept(self, program: Program) -> Numeric:
        return self.keep

    def apply(self, program: Program, context: Context) -> Program:
        return replace(program, visual_keep=program.visual_keep * self.keep)
'''


@pytest.fixture
def dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A technique file that exists only in a temporary folder which the package also looks into."""
    (tmp_path / "thinning.py").write_text(DROPPED)
    monkeypatch.setattr(simulator.techniques, "__path__", [*simulator.techniques.__path__, str(tmp_path)])
    registry.cache_clear()
    yield "thinning"
    sys.modules.pop("simulator.techniques.thinning", None)
    registry.cache_clear()


def test_one_file_is_enough(dropped: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    kind = registry()[dropped]
    ((_, technique),) = resolve(dropped, {"keep": "0.25"})
    assert toy.with_(technique).flops("prefill") < toy.measure(toy.program()).flops("prefill")
    assert [(knob.name, knob.unit, knob.low, knob.high) for knob in parameters(kind)] == [("keep", "fraction", 0.01, 1)]
    monkeypatch.setitem(TECHNIQUES, dropped, kind)
    for test in [item for item in vars(TestEveryTechnique) if item.startswith("test_") and "order" not in item]:
        getattr(TestEveryTechnique(), test)(dropped)
    with pytest.raises(SpecError, match=r"techniques\.thinning\.keep: 2\.0 is not accepted; 0\.01 to 1 fraction"):
        resolve(dropped, {"keep": 2})
    cli = pytest.importorskip("simulator.cli", reason="the command line is not there")
    assert cli.main(["techniques", "--json"]) in (0, None)
    listed = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert "keep" in listed[dropped]["parameters"]
    shipped = next(item for item in listed.values() if not item["preset"] and item["name"] != dropped)
    assert shape(listed[dropped]) == shape(shipped)
    assert {key: listed[dropped]["parameters"]["keep"][key] for key in ("kind", "default", "low", "high", "unit")} == {
        "kind": "number", "default": 0.5, "low": 0.01, "high": 1, "unit": "fraction",
    }  # fmt: skip


def shape(value: Any, open_keys: tuple[str, ...] = ("parameters", "conflicts", "engines", "techniques", "sources")) -> Any:
    """The schema of a JSON value: its keys, and what kind of thing stands under each; under `open_keys` anything may be named."""
    if isinstance(value, dict):
        return {key: type(item).__name__ if key in open_keys else shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape(item)) for item in value})
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


COMMAND = ["estimate", "--model", "llava-1.5-7b", "--hardware", "a100-sxm-80gb", "--image", "336x336", "--text", "40", "--output", "16"]


def printed(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    from simulator.cli import main

    assert main([*COMMAND, *more, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_one_file_is_estimated_through_the_command_line(dropped: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The same JSON with the same fields as without it and as with a shipped technique; files, settings and refusals follow too."""
    from simulator.cli import main

    plain, thin = printed(capsys), printed(capsys, "--with", f"{dropped}:keep=0.25")
    shipped = printed(capsys, "--with", "pre_llm_reduce:keep=0.25")
    told = {"fidelity": None, "notes": None, "warnings": None}  # what is said of a mix is its own
    for known in (plain, shipped):
        assert shape({**thin, **told}) == shape({**known, **told})
    assert set(thin) == set(plain)
    assert thin["visual_tokens_mean"] == 144.0 and thin["visual_tokens_per_layer"] == [144.0] * 32
    assert 0.0 < thin["stages"]["prefill"]["matmul_flops"] < 0.5 * plain["stages"]["prefill"]["matmul_flops"]
    assert thin["stages"]["encode"] == plain["stages"]["encode"]
    assert thin["ttft_s_lower"] <= thin["ttft_s"] <= thin["ttft_s_upper"] < plain["ttft_s_upper"]
    assert thin["memory"]["kv_bytes_written"] == pytest.approx(plain["memory"]["kv_bytes_written"] * (144.0 + 40.0) / (576.0 + 40.0))

    assert main(["export", *COMMAND[1:], "--with", f"{dropped}:keep=0.25", "--as", "yaml"]) == 0
    path = tmp_path / "scenario.yaml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["estimate", "--scenario", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == thin

    scenario = Scenario.model_validate(thin["scenario"])  # the JSON carries its scenario, in the schema of scenarios
    ((kind, item),) = resolve(scenario.techniques[0].kind, scenario.techniques[0].parameters)
    assert kind == dropped and item.keep == 0.25  # type: ignore[attr-defined]
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario

    both = printed(capsys, "--with", f"{dropped}:keep=0.5", "--with", "kv_evict:budget=0.2")
    assert both["memory"]["kv_bytes_resident"] < both["memory"]["kv_bytes_written"] < plain["memory"]["kv_bytes_written"]

    for wrong, said in ((f"{dropped}:keep=2", "0.01 to 1 fraction"), (f"{dropped}:kept=0.5", "keep"), ("thining", dropped)):
        assert main([*COMMAND, "--with", wrong]) == 2
        message = capsys.readouterr().err
        assert said in message and message.count("\n") == 1


@pytest.mark.parametrize("format", ["fp32", "bf16"])
def test_choosing_is_in_the_format_of_an_engine_that_computes_in_one(format: str) -> None:
    """A CPU that multiplies in float32 compares tokens in float32 too."""
    picture = Workload(images=(Image(width=448, height=448),), text_tokens=20, output_tokens=4)
    uses = (TechniqueUse(kind="pre_llm_reduce", parameters={"method": "similarity"}), TechniqueUse(kind="kv_evict"))
    scenario = Scenario(model="internvl3-2b", hardware="cpu-generic", engine="torch-cpu", format=format, workload=picture, techniques=uses)
    products = [extra.op for extra in assemble(case_of(scenario)).program.extras if isinstance(extra.op, Matmul)]
    assert products and {op.format for op in products} == {format}


def test_no_technique_imports_another() -> None:
    folder = Path(str(simulator.techniques.__file__)).parent
    for path in folder.glob("*.py"):
        assert not re.search(r"^from simulator\.techniques", path.read_text(), re.M), path.name
