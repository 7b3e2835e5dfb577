"""Launch commands read back by each engine's own rules: what they start is the scenario, or they are refused by name."""

from __future__ import annotations

import itertools
import json
import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from simulator import Image, Scenario, Video, Workload
from simulator.cli import main
from simulator.interop.launch import Launch, flags, launch
from simulator.spec.load_model import model_names
from simulator.spec.source import SpecError

DENSE, MIXTURE = "qwen2.5-vl-72b", "qwen3-vl-30b-a3b"
BATCH = 37


@dataclass(frozen=True)
class Started:
    """What one server runs by the engine's documentation. experts: GPUs over which whole experts are spread, each sliced over `slices`."""

    gpus: int
    attention_tp: int
    replicas: int
    pipeline: int
    experts: int
    slices: int
    requests: int


def read(made: Launch) -> dict[str, Any]:
    """Flags of a command by name; True where there is no value."""
    words = shlex.split(made.command)
    found: dict[str, Any] = {}
    for at, word in enumerate(words):
        if word.startswith("--"):
            value = words[at + 1] if at + 1 < len(words) else "--"
            found[word[2:].replace("_", "-")] = True if value.startswith("--") else value
    return found


def vllm(made: Launch, mixture: bool) -> Started:
    """docs.vllm.ai: dp x tp x pp GPUs; experts form one group of dp x tp, and --max-num-seqs applies to each replica."""
    given = read(made)
    tp, pp, dp = (int(given.get(f"{name}-parallel-size", 1)) for name in ("tensor", "pipeline", "data"))
    spread = "enable-expert-parallel" in given
    group = tp * dp if mixture else tp
    return Started(tp * pp * dp, tp, dp, pp, group if spread else 1, 1 if spread else group, int(given["max-num-seqs"]) * dp)


def sglang(made: Launch, mixture: bool) -> Started:
    """server_args.py: with DP attention tp_size is the whole group and its limits are divided by dp_size, else each of dp_size has its own."""
    given = read(made)
    tp, pp, dp, ep = (int(given.get(f"{name}-size", 1)) for name in ("tp", "pp", "dp", "ep"))
    assert tp % ep == 0
    requests = int(given["max-running-requests"])
    if "enable-dp-attention" in given:
        assert dp > 1 and tp % dp == 0
        return Started(tp * pp, tp // dp, dp, pp, ep, tp // ep, requests // dp * dp)
    assert dp == 1 or (pp == 1 and tp * dp <= 8)  # no multi-node data parallel without DP attention
    return Started(tp * pp * dp, tp, dp, pp, ep, tp // ep, requests * dp)


def trtllm(made: Launch, mixture: bool) -> Started:
    """features/parallel-strategy: moe_tp x moe_ep = tp_size; attention is sliced over tp_size, or whole on each with its own batch."""
    given = read(made)
    tp, pp, ep = (int(given.get(f"{name}-size", 1)) for name in ("tp", "pp", "ep"))
    assert tp % ep == 0
    apart = bool(made.options.get("enable_attention_dp"))
    assert not apart or given["extra-llm-api-options"] == "options.yaml"
    replicas = tp if apart else 1
    return Started(tp * pp, 1 if apart else tp, replicas, pp, ep, tp // ep, int(given["max-batch-size"]) * replicas)


READ = {"vllm": vllm, "sglang": sglang, "trtllm": trtllm}


def grid() -> Iterator[tuple[str, dict[str, Any]]]:
    degrees = (1, 2, 4, 8)
    for tp, pp, dp, encoder in itertools.product(degrees, degrees, degrees, ("tensor", "data")):
        yield DENSE, {"tp": tp, "pp": pp, "dp": dp, "encoder": encoder}
    for tp, pp, dp, ep in itertools.product(degrees, degrees, degrees, degrees):
        if dp % max(1, ep // tp) == 0:
            yield MIXTURE, {"tp": tp, "pp": pp, "dp": dp, "ep": ep}


def cannot(engine: str, tp: int, ep: int) -> bool:
    """What the engines' documentation has no flags for."""
    return (engine == "vllm" and 1 < ep < tp) or (engine == "trtllm" and ep > tp > 1)


@pytest.mark.parametrize("engine", READ)
def test_what_is_started_is_the_scenario(engine: str) -> None:
    assert set(flags()) == set(READ)
    refused = 0
    for model, degrees in grid():
        work = Workload(images=[Image(width=640, height=480)], text_tokens=16, output_tokens=8, batch=BATCH)
        scenario = Scenario(model=model, hardware="h200-sxm", engine=engine, workload=work, parallel=degrees)
        tp, pp, dp, ep = (degrees.get(name, 1) for name in ("tp", "pp", "dp", "ep"))
        if cannot(engine, tp, ep):
            with pytest.raises(SpecError, match=rf"parallel.ep: {ep} .* tp {tp} is not accepted by {engine}: .*; accepted: "):
                launch(scenario, engine)
            refused += 1
            continue
        made = launch(scenario, engine)
        server = READ[engine](made, model == MIXTURE)
        assert server.gpus == made.gpus and made.servers * made.gpus == tp * pp * dp, (degrees, made.command)
        assert (server.attention_tp, server.pipeline, made.servers * server.replicas) == (tp, pp, dp), (degrees, made.command)
        if model == MIXTURE:
            assert (server.experts, server.slices) == (ep, max(1, tp // ep)), (degrees, made.command)
        assert made.servers * server.requests >= BATCH and server.requests == math.ceil(BATCH / dp) * server.replicas
        assert any(f"start {made.servers} such servers" in note for note in made.notes) == (made.servers > 1)
        assert any("several nodes" in note for note in made.notes) == (made.gpus > 8)
        data = degrees.get("encoder") == "data" and tp > 1
        words = {"vllm": "--mm-encoder-tp-mode data", "sglang": "--mm-enable-dp-encoder"}
        assert (words[engine] in made.command) == data if engine in words else any("encoder data parallel" in text for text in made.lacking) == data
    assert refused == {"vllm": 48, "sglang": 0, "trtllm": 32}[engine]


def of(engine: str, model: str = "qwen2.5-vl-7b", *, format: str = "bf16", techniques: tuple[str, ...] = (), **work: Any) -> Launch:
    given = {"images": [Image(width=640, height=480)], **work}
    return launch(Scenario(model=model, hardware="h200-sxm", engine=engine, format=format, workload=Workload(**given), techniques=techniques), engine)


def test_formats_are_flags_or_checkpoints_to_find() -> None:
    for engine in READ:
        for format in ("fp8", "int8", "fp4", "int4"):
            made = of(engine, format=format)
            online = "--quantization fp8" in made.command
            assert online == (format == "fp8" and engine != "trtllm"), made.command
            assert online != ("QUANTISED_CHECKPOINT" in made.command and any(f"quantised to {format}" in note for note in made.notes))
        assert "quantis" not in of(engine).command.lower() and "float16" not in of(engine).script()
        assert "float16" in of(engine, format="fp16").script()
        both = of(engine, format="fp8", techniques=("weight_quant",))  # the weights' own format counts
        assert "--quantization" not in both.command and sum("QUANTISED_CHECKPOINT" in note for note in both.notes) == 1
        awq = of(engine, techniques=("weight_quant",))
        assert "QUANTISED_CHECKPOINT" in awq.command and any("4 bits" in note for note in awq.notes)


def test_several_pictures_and_videos() -> None:
    many = read(of("vllm", images=[Image(width=640, height=480, count=3), Image(width=64, height=64)], videos=[Video(frames=24, width=448, height=448)]))
    assert json.loads(many["limit-mm-per-prompt"]) == {"image": 4, "video": 1} and json.loads(many["media-io-kwargs"]) == {"video": {"num_frames": 24}}
    assert "limit-mm-per-prompt" not in read(of("vllm")) and "media-io-kwargs" not in read(of("vllm"))
    for engine in READ:
        sampled = of(engine, videos=[Video(duration=4.0, fps=30.0, width=448, height=448)])
        assert any("frames its own way" in note for note in sampled.notes) and "num_frames" not in sampled.command


def test_the_context_is_that_of_the_request_as_it_is_sent() -> None:
    """Pruning that the engine lacks does not make the prompt shorter; no longer than the checkpoint's own context."""
    plain, pruned = (int(read(of("vllm", images=[Image(width=1920, height=1080)], techniques=mix))["max-model-len"]) for mix in ((), ("visionzip",)))
    assert plain == pruned >= 2691 + 64 + 256
    full = int(read(of("vllm", "llava-1.5-7b", text_tokens=3000, output_tokens=512))["max-model-len"])
    assert full == 4096
    long = read(of("trtllm", images=[Image(width=3840, height=2160)]))
    assert int(long["max-num-tokens"]) >= 10_000 and "max-num-tokens" not in read(of("trtllm"))
    chunked = of("trtllm", images=[Image(width=3840, height=2160)], techniques=("chunked_prefill:chunk=1024",))
    assert read(chunked)["max-num-tokens"] == "1024" and chunked.options["enable_chunked_prefill"] is True


def test_limits_of_a_shared_scheduler_count_all_replicas() -> None:
    scenario = Scenario(model=MIXTURE, hardware="h200-sxm", workload=Workload(text_tokens=64, batch=8), parallel={"dp": 4, "ep": 4}, techniques=["chunked_prefill:chunk=2048"])
    given = read(launch(scenario, "sglang"))
    assert (given["chunked-prefill-size"], given["max-running-requests"]) == ("8192", "8")  # divided by dp_size under DP attention
    given = read(launch(scenario, "vllm"))
    assert (given["max-num-batched-tokens"], given["max-num-seqs"]) == ("2048", "2")


def test_widths_that_differ_are_not_one() -> None:
    made = of("vllm", techniques=("kv_quant:bits=8,k_bits=4",))
    assert "kv-cache-dtype" not in made.command and "bits 4 of K and 8 of V" in made.lacking[0] and made.unset == ("kv_quant",)
    assert of("vllm", techniques=("kv_quant:bits=2",)).lacking[0].startswith("kv_quant with bits 2.0: vllm has no flag for it")
    assert "--kv-cache-dtype fp8" in of("vllm", techniques=("kv_quant:bits=2,k_bits=8,v_bits=8",)).command


def test_smaller_pictures_are_sent_not_asked_for() -> None:
    for engine in READ:
        tried, routed = (of(engine, techniques=(f"adaptive_resolution:ratio=0.5,retry={flag}",)) for flag in ("true", "false"))
        assert not tried.lacking and any("0.5 of its pixels, then in full" in note for note in tried.notes)
        assert any("or in full where the router says so (50%)" in note for note in routed.notes)


def test_a_memory_share_is_the_engine_s_own() -> None:
    scenario = Scenario(model="qwen2.5-vl-7b", hardware="h200-sxm", engine="vllm", workload=Workload(text_tokens=64))
    assert read(launch(scenario, "sglang"))["mem-fraction-static"] == "0.835"
    assert read(launch(scenario, "vllm"))["gpu-memory-utilization"] == "0.9"
    assert any("times are those of vllm" in note for note in launch(scenario, "sglang").notes) and not launch(scenario, "vllm").notes


def test_a_checkpoint_is_a_repository_or_says_that_it_is_none() -> None:
    for name in model_names():
        made = launch(Scenario(model=name, hardware="h200-sxm", workload=Workload(text_tokens=8, output_tokens=1), parallel={}), "vllm")
        checkpoint = shlex.split(made.command)[2]
        assert checkpoint.count("/") == 1 or (checkpoint == "CHECKPOINT" and any("replace CHECKPOINT" in note for note in made.notes)), name


def test_the_command_line_refuses_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["export", "--model", MIXTURE, "--hardware", "h200-sxm", "--tp", "4", "--ep", "2"]
    assert main([*line, "--as", "vllm"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.strip().splitlines()) == 1 and "accepted: 1, or a multiple of 4" in err
    assert main([*line, "--as", "sglang"]) == 0 and "--tp-size 4 --ep-size 2" in capsys.readouterr().out


def test_every_entry_names_version_and_source() -> None:
    for data in flags().values():
        entries = [*data["arguments"], *(item for items in data["techniques"].values() for item in items)]
        assert all("lacks" in item or (item["since"] and item["source"]) for item in entries)
        assert "if" not in data["layouts"][-1] and all("cannot" in rule or {"servers", "replicas"} <= set(rule) for rule in data["layouts"])
