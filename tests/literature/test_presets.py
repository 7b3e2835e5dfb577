"""Presets: they parse, they cite, and the ones whose repositories were read carry the repositories' numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulator.literature.presets import GENERAL, load_deployability, load_presets, read_value
from simulator.presets import deployability, presets
from simulator.search.columns import deployable
from simulator.technique import registry
from simulator.techniques.kv_quant import KvQuant
from simulator.techniques.temporal_merge import TemporalMerge

PARAMETERS = frozenset(
    {
        "keep", "layer", "score", "method", "tokens", "dominant", "contextual", "candidates", "frames", "scorer", "retry", "permute", "size",
        "factor", "kernel", "density", "block", "window", "select", "compress", "chunk", "history", "budget",
        "layer_shape", "head_shape", "merge", "bits", "k_bits", "v_bits", "group", "residual", "fused", "gamma",
        "alpha", "draft_keep", "drafter", "format", "relax", "tree", "exit_layer", "ratio", "probability", "probe_tokens",
    }
)  # fmt: skip


def test_values_are_read_as_the_command_line_reads_them() -> None:
    assert read_value("8|16|24") == (8, 16, 24)
    assert read_value("0.5|0.25") == (0.5, 0.25)
    assert read_value("true") is True and read_value("map") == "map" and read_value("-1") == -1


@pytest.mark.parametrize(
    ("name", "technique", "expected"),
    [
        ("fastv", "in_llm_prune", {"layer": 2, "keep": 0.5, "score": "map"}),
        ("pyramiddrop", "in_llm_prune", {"layer": (8, 16, 24), "keep": (0.5, 0.25, 0.125)}),
        ("visionzip", "post_encoder_reduce", {"dominant": 54, "contextual": 10}),
        ("divprune", "pre_llm_reduce", {"keep": 0.098, "method": "greedy"}),
        ("vidkv", "kv_quant", {"k_bits": 1.5, "v_bits": 1.58, "group": 32, "residual": 128}),
        ("prunevid", "in_llm_prune", {"layer": 10, "keep": 0.4}),
        ("holitom", "in_llm_prune", {"layer": 18, "keep": 0.5}),
        ("nsa", "native_sparse_attention", {"compress": 32, "block": 64, "select": 16, "window": 512}),
    ],
)
def test_defaults_are_the_methods_own(name: str, technique: str, expected: dict[str, object]) -> None:
    step = next(step for step in load_presets()[name].steps if step.technique == technique)
    assert dict(step.parameters).items() >= expected.items()


def test_presets_speak_the_agreed_names_in_range() -> None:
    for preset in load_presets().values():
        for step in preset.steps:
            assert step.technique in GENERAL
            values = dict(step.parameters)
            assert set(values) <= PARAMETERS, preset.name
            for name in ("keep", "budget", "density", "draft_keep", "relax", "probability", "alpha"):
                for value in values[name] if isinstance(values.get(name), tuple) else (values.get(name),):  # type: ignore[union-attr]
                    assert value is None or 0 <= float(value) <= 1, (preset.name, name)  # type: ignore[arg-type]
            if isinstance(values.get("layer"), tuple):
                assert list(values["layer"]) == sorted(values["layer"]) and len(values["layer"]) == len(values["keep"])  # type: ignore


def test_all_general_techniques_that_papers_describe_are_used() -> None:
    used = {step.technique for preset in load_presets().values() for step in preset.steps}
    assert used >= GENERAL - {"encoder_prune", "embedding_cache", "encoder_data_parallel"}


def test_an_assumed_default_says_so() -> None:
    kinds = {preset.default_kind for preset in load_presets().values()}
    assert kinds == {"repository", "paper", "reported", "assumed"}
    assert all(preset.source for preset in load_presets().values())


def test_a_bad_row_is_refused(tmp_path: Path) -> None:
    head = "preset,entry,techniques,overrides,default_kind,source,training_free,query_aware,notes\n"
    for row, field in (
        ("x,fastv,in_llm_prune;kv_evict,layer=2,paper,s,true,true,\n", "overrides"),
        ("x,fastv,teleport,,paper,s,true,true,\n", "techniques"),
        ("x,fastv,kv_evict,,guess,s,true,true,\n", "default_kind"),
        ("x,fastv,kv_evict,,paper,s,true,true,\nx,fastv,kv_evict,,paper,s,true,true,\n", "preset"),
    ):
        path = tmp_path / f"{field}.csv"
        path.write_text(head + row)
        with pytest.raises(ValueError, match=field):
            load_presets(path)


KINDS_OF_MANY = (
    "temporal_merge", "spatial_pooling", "weight_quant", "kv_quant", "sparse_attention", "width_prune", "speculative",
)  # fmt: skip
"""Techniques of which an engine ships one method: that it runs says nothing of another method."""


def test_where_an_engine_ships_one_method_the_others_have_a_status_of_their_own() -> None:
    said = load_deployability()
    for name, preset in presets().items():
        for part in (part for part, _ in preset.parts if part in KINDS_OF_MANY):
            for engine, (status, _) in registry()[part].about.engines.items():
                assert status != "runs" or (name, part, engine) in said, (name, part, engine)
    for (name, part, engine), (status, source) in said.items():
        assert part in dict(presets()[name].parts) and source, (name, part)
        assert engine in ("vllm", "sglang", "trtllm", "hf-flash", "hf-sdpa", "hf-eager"), engine
        assert status in ("patch", "hypothetical") or re.search(r"\d\.\d", source) or "checked" in source or "AWQ" in source, (name, engine)


def test_what_is_known_of_a_method_comes_before_what_is_known_of_its_kind() -> None:
    assert deployability("temporal_merge", "temporal_merge", "vllm")[0] == "runs"
    assert deployability("evs", "temporal_merge", "vllm")[0] == "runs"
    assert deployability("dycoke", "temporal_merge", "vllm")[0] == "hypothetical"
    assert deployability("kivi", "kv_quant", "vllm")[0] == "hypothetical" and deployability("kivi", "kv_quant", "hf-sdpa")[0] == "runs"
    assert deployability("fastv", "in_llm_prune", "ideal") == ("hypothetical", "no engine is known to ship it")
    mixed = [("evs", TemporalMerge()), ("kivi", KvQuant())]
    assert deployable(mixed[:1], "vllm") == "runs" and deployable(mixed, "vllm") == "hypothetical"


@pytest.mark.parametrize(("rows", "words"), [("a,b,vllm,ships,x", "status"), ("a,b,vllm|vllm,runs,x", "stands twice")])
def test_a_bad_row_of_deployability_is_refused(tmp_path: Path, rows: str, words: str) -> None:
    file = tmp_path / "deployability.csv"
    file.write_text(f"preset,technique,engines,status,source\n{rows}\n")
    with pytest.raises(ValueError, match=words):
        load_deployability(file)
