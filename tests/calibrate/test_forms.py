"""Forms and readers that know more than a rate: tiles, collectives of any number of devices, experts, our own small tables."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calibrate.aiconfigurator import _aic_moe, _ungated
from calibrate.estimate import estimate
from calibrate.own_tables import launch_costs, read_run
from calibrate.problems import starts, terms
from calibrate.samples import COLUMNS, Samples, checked
from calibrate.smooth import general_grid
from simulator.efficiency import kernels_for
from simulator.efficiency.forms import PARAMETERS
from simulator.spec.load_hardware import load_hardware

CHIP = load_hardware("h100-sxm").chip


def made(family: str, form: str, frame: pd.DataFrame, **changed: float) -> Samples:
    """Rows that a form made itself."""
    truth = dict(zip(PARAMETERS[form], starts(form), strict=True)) | changed
    columns = {name: frame[name].to_numpy(np.float64) for name in COLUMNS[family]}
    found, _ = terms(family, form, tuple(truth.values()), columns, CHIP, "bf16")
    rows = checked(frame.assign(latency=found.total), family, "s", "made")
    return Samples("h100-sxm", family, family, "bf16", "vllm", "0", "", rows, "made")


@pytest.mark.parametrize("tile", [64.0, 128.0, 192.0, 256.0])
def test_the_tile_of_an_attention_kernel_is_found_exactly(tile: float) -> None:
    """To the last bit: 128 rows in tiles of 127.999 would be two."""
    grid = [(b, h, q) for b in (1, 4, 16) for h in (1, 8, 16) for q in (64, 192, 256, 576, 1024, 3072, 6144, 9216)]
    frame = pd.DataFrame(grid, columns=["batch", "heads", "query"])
    frame = frame.assign(kv_heads=frame["heads"], head_dim=64, context=frame["query"], kv_bits=16, group=frame["heads"])
    found = estimate(made("encoder_attention", "encoder", frame, tile=tile, wave=0.9), "encoder", CHIP)
    assert dict(zip(PARAMETERS["encoder"], found.values, strict=True))["tile"] == tile


def test_one_fit_serves_any_number_of_devices() -> None:
    grid = [(wire, n) for wire in np.geomspace(1e3, 1e9, 14) for n in (2, 4, 8)]
    frame = pd.DataFrame(grid, columns=["wire", "devices"]).assign(group=range(42))
    samples = made("collective", "collective", frame, a=5e-6, b=0.7, hop=2e-6, spread=0.5, extra=2e-5, switch=2.0**21)
    found = dict(zip(PARAMETERS["collective"], estimate(samples, "collective", CHIP).values, strict=True))
    assert found["spread"] == pytest.approx(0.5, rel=0.05) and found["switch"] == 2.0**21
    assert found["hop"] == pytest.approx(2e-6, rel=0.1)
    kernels = kernels_for(CHIP, "vllm")
    times = [float(kernels.all_reduce(CHIP, 1e6, n).expected) for n in (2.0, 3.0, 4.0, 6.0, 8.0)]
    assert all(b > 0.8 * a for a, b in pairwise(times)), times


def test_a_wild_row_does_not_bend_a_small_table() -> None:
    x = np.arange(30.0)
    e = 0.1 * np.sin(x / 6.0)
    wild = e.copy()
    wild[15] += 1.0
    points = np.stack([x, np.ones(30)], axis=1)
    grid = general_grid(points, wild, (x, np.array([1.0, 2.0])))[:, 0]
    assert abs(grid[14] - e[14]) < 0.05 and abs(grid[16] - e[16]) < 0.05


def test_experts_that_were_read_too_fast_for_three_matrices_have_two() -> None:
    rows = pd.DataFrame({"experts": 128.0, "hidden": 4096.0, "inter": 2048.0, "bits": 16, "group": ["gated"] * 3 + ["squared"] * 3})
    three = 3.0 * 128 * 4096 * 2048 * 2 / CHIP.bandwidth * 1e3
    rows = rows.assign(latency=[1.1 * three] * 3 + [0.75 * three] * 3)
    assert _ungated(rows, CHIP) == {"squared"}


def test_two_matrices_seen_in_one_format_hold_in_a_slower_one() -> None:
    """A slow 8-bit kernel does not show that its experts have two matrices; the 16-bit rows of the same model do."""
    shape = {"hidden_size": 4096, "inter_size": 2048, "num_experts": 128, "topk": 8, "moe_tp_size": 1, "moe_ep_size": 1, "distribution": "balanced"}
    tokens = np.arange(64, 64 + 40)
    wide = 3.0 * 128 * 4096 * 2048 * 2.0 / CHIP.bandwidth * 1e3
    frame = pd.concat(
        [
            pd.DataFrame({**shape, "num_tokens": tokens, "moe_dtype": "bfloat16", "kernel_source": "triton", "latency": 0.75 * wide}),
            pd.DataFrame({**shape, "num_tokens": tokens, "moe_dtype": "fp8", "kernel_source": "flashinfer_cutlass", "latency": 2.0 * wide}),
        ],
        ignore_index=True,
    )
    found = {samples.format: samples for samples in _aic_moe(frame, "h100-sxm", "vllm", "0", "made")}
    assert set(found["bf16"].rows["matrices"]) == set(found["fp8"].rows["matrices"]) == {2.0}
    assert (found["bf16"].kernel, found["fp8"].kernel) == ("", "tiles")


def test_our_grouped_products_copies_and_launches_are_read(tmp_path: Path) -> None:
    (tmp_path / "meta.yaml").write_text(json.dumps({"identity": {"device": "x", "torch": "2.9.0", "kind": "cuda"}, "inconclusive": False}))
    head = "op,implementation,format,tokens,experts,top_k,n,k,mode,footprint_bytes,seconds,status,case\n"
    lines = [
        f"grouped_gemm,grouped,bf16,{t},16,2,{n},512,cold,1e9,{1e-5 + t * n * 1e-11},ok,{t}-{n}\n" for t in (1, 4, 16, 64, 256) for n in (256, 512, 1024)
    ]
    (tmp_path / "grouped_gemm.csv").write_text(head + "".join(lines))
    head = "op,memory,bytes,footprint_bytes,seconds,status,case\n"
    places = (("host_to_device", "pinned", 5e10), ("host_to_device", "pageable", 1e10), ("device_to_device", "device", 1e12))
    lines = [f"{op},{memory},{4**p},1e9,{1e-5 + 4**p / rate},ok,{op}{memory}{p}\n" for op, memory, rate in places for p in range(6, 15)]
    (tmp_path / "copy.csv").write_text(head + "".join(lines))
    head = "op,count,footprint_bytes,seconds,status,case\n"
    lines = [f"{op},{n},4,{start + each * n},ok,{op}{n}\n" for op, start, each in (("launch", 8e-6, 3e-6), ("graph_replay", 5e-6, 1e-6)) for n in (1, 16, 256)]
    (tmp_path / "overhead.csv").write_text(head + "".join(lines))
    found = {item.op: item for item in read_run(tmp_path, "h100-sxm")}
    assert set(found) == {"grouped_gemm", "host_copy", "copy"} and len(found["host_copy"].rows) == 9
    assert found["grouped_gemm"].rows["experts"].iloc[0] == pytest.approx(16 * (1 - (1 - 2 / 16) ** 1))
    assert found["copy"].rows["bytes"].min() == 2 * 4**6
    link = dict(zip(PARAMETERS["collective"], estimate(found["host_copy"], "collective", CHIP).values, strict=True))
    assert link["b"] * CHIP.host.bandwidth == pytest.approx(5e10, rel=0.1)
    costs = launch_costs(tmp_path)
    assert costs["launch"] == pytest.approx((8e-6, 3e-6)) and costs["graph_replay"] == pytest.approx((5e-6, 1e-6))


def test_kernels_of_ones_own_framework_are_lent_before_another_ones_of_the_same_silicon() -> None:
    """Leaving H100 out, its attention comes from Blackwell under the same framework, not from another framework's H800."""
    alone = kernels_for(CHIP, "vllm", alone=True)
    assert {fit.framework for fit in alone.fits["decode_attention", "bf16"]} == {"vllm"}
    twin = kernels_for(load_hardware("a10").chip, "vllm").fits["gemm", "bf16"][0]
    assert twin.id.endswith("<-a40"), "a bf16 GEMM is one library's: the same silicon goes first"


def test_a_swept_number_of_devices_agrees_with_numbers() -> None:
    kernels = kernels_for(CHIP, "vllm")
    swept = np.asarray(kernels.all_reduce(CHIP, 3e6, np.array([2.0, 4.0, 8.0])).expected)
    assert swept == pytest.approx([float(kernels.all_reduce(CHIP, 3e6, n).expected) for n in (2.0, 4.0, 8.0)], rel=1e-9)
    faster = replace(CHIP, bandwidth=2.0 * CHIP.bandwidth)
    shape = ("bf16", 512.0, 32.0, 8.0, 128.0, 1.0, 300.0, 1e9, 2.0 * 512 * 8 * 300 * 256)
    assert kernels.decode_attention(faster, *shape).expected < kernels.decode_attention(CHIP, *shape).expected
