"""The measuring side of calibration: what it refuses, what it survives, and that it needs nothing but torch and numpy."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="measuring needs torch (the calibrate extra)")

from calibrate.__main__ import main  # noqa: E402
from calibrate.measure import attention, gemm, host_profile, suites  # noqa: E402
from calibrate.measure.architectures import architectures  # noqa: E402
from calibrate.measure.case import Case, Prepared, Unsupported, suite_hash  # noqa: E402
from calibrate.measure.cpu_clock import CpuClock  # noqa: E402
from calibrate.measure.device import Device  # noqa: E402
from calibrate.measure.order import coordinates, spread_out  # noqa: E402
from calibrate.measure.progress import Progress  # noqa: E402
from calibrate.measure.runner import Plan, run_plans  # noqa: E402
from calibrate.measure.statistics import Sample, summarise  # noqa: E402
from calibrate.measure.table import Table, read_raw  # noqa: E402

ROOT = Path(__file__).parents[2]
BLOCKER = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {banned!r}:
            raise ImportError("blocked " + name)
sys.meta_path.insert(0, Block())
from calibrate.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
BANNED = {"pydantic", "pandas", "simulator", "scipy", "yaml", "rich", "transformers", "plotly"}


class FakeClock:
    """Hands out the seconds it was given; calls every prepared call once."""

    primary = "median"

    def __init__(self, seconds: Sequence[float]) -> None:
        self.seconds = list(seconds)

    def take(self, prepared: Prepared, wanted: int, seconds: float, deadline: float) -> tuple[str, list[Sample]]:
        prepared.calls[0]()
        return "fake", [Sample(value) for value in self.seconds]

    def keep(self, samples: Sequence[Sample]) -> list[float]:
        return [sample.seconds for sample in samples]

    def report(self) -> dict[str, Any]:
        return {}


@pytest.fixture(scope="module")
def device() -> Device:
    torch.set_num_threads(1)
    return Device("cpu")


def rows(folder: Path, family: str) -> list[dict[str, str]]:
    with (folder / f"{family}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def case(number: int, prepare: Any, needed: int = 0) -> Case:
    return Case("toy", {"op": "toy", "number": number}, prepare, needed)


def run_toy(folder: Path, device: Device, cases: Sequence[Case], seconds: Sequence[float]) -> list[dict[str, str]]:
    with Progress(1.0, quiet=True) as progress:
        run_plans([Plan("toy", tuple(cases))], device, FakeClock(seconds), folder, time.monotonic() + 60, progress)  # type: ignore[arg-type]
    return rows(folder, "toy")


def nothing(_: Device) -> Prepared:
    return Prepared((lambda: None,), 8)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_timings_that_are_no_durations_are_refused(tmp_path: Path, device: Device, bad: float) -> None:
    (row,) = run_toy(tmp_path, device, [case(1, nothing)], [1e-3, bad, 1e-3, 1e-3])
    assert row["status"] == "refused" and row["seconds"] == ""
    assert "sample 1" in row["note"]
    with pytest.raises(ValueError, match="sample 0"):
        summarise([bad], 1, "median")


def test_out_of_memory_skips_the_shape_and_says_so(tmp_path: Path, device: Device) -> None:
    def full(_: Device) -> Prepared:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes")

    def odd(_: Device) -> Prepared:
        raise Unsupported("m must be even")

    cases = [case(1, full), case(2, nothing, needed=2**60), case(3, odd), case(4, nothing)]
    status = [row["status"] for row in run_toy(tmp_path, device, cases, [1e-3] * 4)]
    assert status == ["out_of_memory", "out_of_memory", "unsupported", "ok"]


def test_a_case_that_hangs_ends_with_the_budget(tmp_path: Path, device: Device) -> None:
    def hanging(_: Device) -> Prepared:
        with contextlib.suppress(Exception):  # as a library might
            time.sleep(30)
        return nothing(device)

    started = time.monotonic()
    with Progress(1.0, quiet=True) as progress:
        clock: Any = FakeClock([1e-3] * 4)
        run_plans([Plan("toy", (case(1, hanging),))], device, clock, tmp_path, started + 0.5, progress)
    assert time.monotonic() - started < 5
    assert rows(tmp_path, "toy") == []


def test_many_failures_in_a_row_end_the_run(tmp_path: Path, device: Device) -> None:
    def broken(_: Device) -> Prepared:
        raise RuntimeError("illegal memory access")

    with pytest.raises(ValueError, match="illegal memory access"):
        run_toy(tmp_path, device, [case(n, broken) for n in range(50)], [1e-3] * 4)


def test_percentiles_and_primary_statistic() -> None:
    values = [float(v) for v in range(1, 101)]
    summary = summarise(values, 200, "p20")
    assert summary.seconds == summary.p20_s == pytest.approx(20.8)
    assert (summary.median_s, summary.p80_s, summary.min_s, summary.kept_share) == (50.5, pytest.approx(80.2), 1.0, 0.5)


def test_samples_beside_a_slow_yardstick_are_dropped(device: Device) -> None:
    clock = CpuClock(device)
    clock.short.gemm, clock.short.copy, clock.short.least = [1e-4] * 9, [2e-4] * 9, (1e-4, 2e-4)
    calm = Sample(1e-3, 1e-4, 1.1e-4, 2e-4, 2e-4)
    burst = Sample(3e-3, 1e-4, 1.4e-4, 2e-4, 2e-4)
    cold_burst = Sample(3e-3, 1e-4, 1e-4, 2e-4, 2.7e-4)
    preempted = Sample(3e-3, 1e-4, 1e-4, 2e-4, 2e-4, 1.0)
    assert clock.keep([calm, burst, cold_burst, preempted, calm]) == [1e-3, 1e-3]
    clock.short.gemm = [3e-4] * 50
    assert clock.report()["inconclusive"]


def test_readings_after_long_calls_are_compared_with_each_other(device: Device) -> None:
    clock = CpuClock(device)
    clock.short.gemm, clock.short.copy = [1e-4] * 9, [1e-4] * 9
    cold = Sample(0.5, 1e-4, 1e-4, 1.6e-4, 1.6e-4)
    slow = Sample(0.9, 1e-4, 1e-4, 1.6e-4, 2.4e-4)
    clock.long.gemm, clock.long.copy = [1e-4] * 9, [1.6e-4] * 9
    assert clock.keep([cold, slow, cold]) == [0.5, 0.5]
    assert clock.keep([Sample(1e-3, 1e-4, 1e-4, 1.6e-4, 1.6e-4)]) == []  # the same reading beside a short one is a burst
    clock.long.copy = [9e-4] * 9  # all in one long burst: not taken for calm
    assert clock.keep([Sample(0.5, 1e-4, 1e-4, 9e-4, 9e-4)]) == []


def test_a_case_in_a_burst_is_tried_again_and_marked_inconclusive(tmp_path: Path, device: Device) -> None:
    class Bursting(FakeClock):
        def keep(self, samples: Sequence[Sample]) -> list[float]:
            return []

    clock: Any = Bursting([1e-3] * 4)
    with Progress(1.0, quiet=True) as progress:
        outcome = run_plans([Plan("toy", (case(1, nothing),))], device, clock, tmp_path, time.monotonic() + 60, progress)
    assert outcome.counts == {"inconclusive": 1}
    assert len(read_raw(tmp_path / "toy.raw.jsonl.gz")[0]["samples"]) == 12
    assert Table(tmp_path, "toy", ("op", "number")).done == set()


def test_a_torn_table_is_repaired_and_nothing_whole_is_lost(tmp_path: Path, device: Device) -> None:
    run_toy(tmp_path, device, [case(n, nothing) for n in range(3)], [1e-3] * 4)
    with (tmp_path / "toy.csv").open("a") as file:
        file.write("toy,3,8,0.00")
    raw = tmp_path / "toy.raw.jsonl.gz"
    raw.write_bytes(raw.read_bytes() + gzip.compress(b'{"case":"torn"}\n')[:-6])
    table = Table(tmp_path, "toy", ("op", "number"))
    assert len(table.done) == 3
    assert len(read_raw(raw)) == 3
    assert [
        row["number"] for row in run_toy(tmp_path, device, [case(n, nothing) for n in range(5)], [1e-3] * 4)
    ] == list("01234")
    with pytest.raises(ValueError, match="columns are"):
        Table(tmp_path, "toy", ("op", "other"))


def command(folder: Path, budget: float, *more: str) -> list[str]:
    return [
        "measure",
        "--device",
        "cpu",
        "--budget",
        str(budget),
        "--threads",
        "1",
        "--quiet",
        "--out",
        str(folder),
        *more,
    ]


def test_runs_alone_and_resumes_after_a_kill(tmp_path: Path) -> None:
    script = BLOCKER.format(banned=BANNED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    first = subprocess.Popen([sys.executable, "-c", script, *command(tmp_path, 60)], env=environment, cwd=tmp_path)
    until = time.monotonic() + 40
    while time.monotonic() < until and sum(1 for p in tmp_path.glob("*.csv") for _ in p.open()) < 9:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {path.name: path.read_text().rpartition("\n")[0] for path in tmp_path.glob("*.csv")}
    assert before
    environment["PYTHONHASHSEED"] = "2"
    again = subprocess.run(
        [sys.executable, "-c", script, *command(tmp_path, 6)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr.decode()[-800:]
    cases: list[str] = []
    for name, text in before.items():
        assert (tmp_path / name).read_text().startswith(text)
        cases += [row["case"] for row in rows(tmp_path, name[:-4]) if row["status"] != "inconclusive"]
    assert len(cases) == len(set(cases))
    meta = json.loads((tmp_path / "meta.yaml").read_text())
    assert meta["identity"]["kind"] == "cpu" and meta["suites"]["quick"] and len(meta["runs"]) == 1


def test_the_budget_is_honoured(tmp_path: Path) -> None:
    started = time.monotonic()
    assert main(command(tmp_path, 5, "--suite", "kernels,stages")) == 0
    assert time.monotonic() - started < 20  # a call into a library ends late on a busy machine; all of it would take minutes
    meta = json.loads((tmp_path / "meta.yaml").read_text())
    assert not meta["complete"] and meta["runs"][0]["left"] > 1000


def test_rows_of_another_device_or_suite_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tmp_path, 1)) == 0
    path = tmp_path / "meta.yaml"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "suites": {"quick": "other"}}))
    assert main(command(tmp_path, 1)) == 2
    path.write_text(json.dumps({**meta, "identity": {**meta["identity"], "device": "Z80"}}))
    assert main(command(tmp_path, 1)) == 2
    path.write_text(path.read_text()[:40])
    assert main(command(tmp_path, 1)) == 2
    error = capsys.readouterr().err
    assert "hash" in error and "'Z80'" in error and "meta.yaml: line" in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--suite", "fast"], "--suite"), (["--budget", "0"], "--budget"), (["--budget", "nan"], "--budget"),
        (["--threads", "0"], "--threads"), (["--device", "tpu"], "--device"), (["--suite", "host,quick"], "--suite"),
    ],
)  # fmt: skip
def test_bad_arguments_are_one_line(
    arguments: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", "--quiet", "--out", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1


@pytest.mark.parametrize("suite", ["kernels", "quick", "stages", "techniques", "host"])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_suites_are_stable_sets_of_distinct_cases(suite: str, kind: str) -> None:
    plans = suites.plans_for(suite, kind)
    cases = [one for plan in plans for one in plan.cases]
    assert len({one.identity for one in cases}) == len(cases) > 10
    if suite != "kernels":
        again = [one for plan in suites.plans_for(suite, kind) for one in plan.cases]
        assert [one.identity for one in again] == [one.identity for one in cases]
    assert suite_hash(cases) == suite_hash(reversed(cases)) != suite_hash(cases[1:])
    for plan in plans:
        assert len({tuple(one.key) for one in plan.cases}) == 1


def test_quick_has_20_to_50_products() -> None:
    for kind in ("cpu", "cuda"):
        (plan,) = [plan for plan in suites.plans_for("quick", kind) if plan.family == "gemm"]
        assert 20 <= len(plan.cases) <= 50


def test_a_prefix_is_a_spread_out_sample() -> None:
    cases = [gemm.gemm_case("bf16", 2**m, 2**n, 2**k) for m in range(16) for n in range(8, 15) for k in range(8, 15)]
    points = coordinates(spread_out(cases))
    gap = {size: max(np.linalg.norm(points[:size] - point, axis=1).min() for point in points) for size in (20, 80)}
    by_chance = np.random.default_rng(0).permutation(len(points))[:20]
    assert gap[80] < gap[20] < max(np.linalg.norm(points[by_chance] - point, axis=1).min() for point in points)


def test_eight_bit_and_grouped_products_are_the_products(device: Device) -> None:
    for format in ("f32", "bf16", "fp8", "fp8_dynamic", "int8", "int8_dynamic"):
        prepared = gemm.gemm_case(format, 32, 48, 64).prepare(device)
        assert tuple(prepared.calls[0]().shape) == (32, 48)
        assert prepared.footprint_bytes > 0
    x = torch.randn(32, 64, dtype=torch.bfloat16)
    for quantise in (gemm.quantise_fp8, gemm.quantise_int8):
        q, scale = quantise(x)
        assert ((q.float() * scale - x.float()).abs().amax(1) <= x.float().abs().amax(1) * 0.07).all()
    weight = torch.randn(4, 48, 64)
    rows_in = torch.randn(20, 64)
    parts = gemm.grouped_product("loop", device, rows_in, [5, 0, 7, 8])(weight)
    assert isinstance(parts, list)
    expected = torch.cat([rows_in[:5] @ weight[0].T, rows_in[5:12] @ weight[2].T, rows_in[12:] @ weight[3].T])
    torch.testing.assert_close(torch.cat(parts), expected)


def test_attention_backends_agree(device: Device) -> None:
    q, k, v = torch.randn(1, 6, 12, 16), torch.randn(1, 2, 40, 16), torch.randn(1, 2, 40, 16)
    for window in (0, 9):
        eager = attention.kernel_for("eager", 3, True, 12, 40, window, device, "f32")(q, k, v)
        fused = attention.kernel_for("sdpa", 3, True, 12, 40, window, device, "f32")(q, k, v)
        torch.testing.assert_close(eager, fused.transpose(1, 2), atol=1e-5, rtol=1e-4)
    last = q[:, :, -1:]
    grouped = attention.kernel_for("sdpa_grouped", 3, True, 1, 40, 0, device, "f32")(last, k, v).reshape(1, 6, 1, 16)
    torch.testing.assert_close(grouped, attention.kernel_for("sdpa", 3, True, 1, 40, 0, device, "f32")(last, k, v))


def test_cold_buffers_differ_and_exceed_the_cache_twice(device: Device) -> None:
    prepared = gemm.gemm_case("f32", 1, 1024, 1024).prepare(device)
    places = {call.args[1].data_ptr() for call in prepared.calls}
    assert len(places) == len(prepared.calls) and prepared.footprint_bytes >= 2 * device.cache_bytes
    assert len(gemm.gemm_case("f32", 1, 1024, 1024, "warm").prepare(device).calls) == 1


def test_nonnegative_line_finds_the_line_and_refuses_too_few_points() -> None:
    x = np.linspace(1, 9, 12)
    design = np.stack([np.ones(12), x, x[::-1] ** 2], axis=1)
    found, spread = host_profile.nonnegative_line(design, design @ (0.5, 2.0, 0.0))
    np.testing.assert_allclose(found, (0.5, 2.0, 0.0), atol=1e-9)
    assert spread < 1e-9
    clipped, _ = host_profile.nonnegative_line(design, design @ (3.0, 1.0, -0.02))
    assert (clipped >= 0).all()
    with pytest.raises(ValueError, match="3 rows"):
        host_profile.nonnegative_line(design[:3], x[:3])


def test_patches_are_those_of_the_slow_path() -> None:
    pytest.importorskip("PIL", reason="the host suite needs Pillow")
    from calibrate.measure import host

    picture = torch.randint(0, 256, (56, 84, 3), dtype=torch.uint8)
    slow = host.patchify(host.normalise_slow(picture.numpy()), "numpy")
    fast = host.patchify(host.normalise_fast(picture.permute(2, 0, 1)[None])[0], "torch")
    torch.testing.assert_close(slow, fast, atol=1e-5, rtol=1e-4)
    assert tuple(slow.shape) == (4 * 6, 3 * 2 * 14 * 14)


def test_visual_tokens_are_what_the_projector_makes(device: Device) -> None:
    pytest.importorskip("transformers", reason="stages need transformers")
    from calibrate.measure.stages import stage_case

    for one in [a for a in architectures("cpu") if a.is_floor]:
        width, height = one.images[0]
        project = stage_case(one, "project", "sdpa", "f32", width=width, height=height, images=1)
        with torch.inference_mode():
            out = project.prepare(device).calls[0]()
        assert out.reshape(-1, out.shape[-1]).shape[0] == project.key["visual_tokens"] > 0
        decode = stage_case(one, "decode", "sdpa", "f32", cache="dynamic", query=1, context=16).prepare(device)
        assert decode.reset is not None
        with torch.inference_mode():
            for _ in range(3):
                assert tuple(decode.calls[0]().shape) == (1, 1, 128)
                decode.reset()


def test_pruning_and_eviction_leave_what_they_keep(device: Device) -> None:
    from calibrate.measure import techniques

    decoder = techniques.Decoder("tiny", 3, 32, 64, 4, 2, 8)
    with torch.inference_mode():
        for technique, left in (("dense", 128), ("fastv_map", 32), ("fastv_row", 32), ("sparse_blocks", 128)):
            prepared = techniques.technique_case(decoder, "prefill", technique, "f32", 2, 128, 1, 0.25).prepare(device)
            assert tuple(prepared.calls[0]().shape) == (2, left, 32)
        q, k, v = (torch.randn(1, heads, 128, 8) for heads in (4, 2, 2))
        dense = torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        torch.testing.assert_close(techniques.block_sparse(q, k, v, 1.0), dense, atol=1e-5, rtol=1e-4)
        weights = techniques.scores_of(q, k)
        torch.testing.assert_close(
            weights @ v.repeat_interleave(2, 1), techniques.causal(q, k, v), atol=1e-5, rtol=1e-4
        )
        for technique, keys in (("dense", 80), ("kv_int8", 80), ("kv_int4", 80), ("kv_evict", 20)):
            read, _ = techniques.decode_reader(technique, decoder, 2, 80, 0.25, "f32", device)()
            assert tuple(read.shape) == (2, 2, keys, 8)


def test_a_compiler_that_fails_is_not_replaced_by_plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def double(x: int) -> int:
        return 2 * x

    def broken(x: int) -> int:
        raise RuntimeError("no triton")

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)
    assert gemm.fused(double, True)(4) == 8
    with pytest.raises(Unsupported, match=r"torch\.compile failed"):
        gemm.fused(broken, True)(4)
    assert gemm.fused(double, False) is double


def test_pixels_of_large_crops_have_a_line_of_their_own() -> None:
    def row(source: float, written: float) -> dict[str, str]:
        large = written * min(max((written - 2.796) / 2.796, 0.0), 1.0)
        return {"input_pixels": f"{source * 1e6:.0f}", "output_pixels": f"{written * 5e5:.0f}", "seconds": f"{0.002 * source + 0.007 * written + 0.02 * large:.9f}"}

    rows = [row(source, written) for source in (0.25, 1.0, 4.0) for written in (0.1, 1.0, 4.0, 8.0)]
    line, spread = host_profile.fit_line(rows, ("input_pixels", "output_pixels", "large_pixels"), "t")
    assert spread < 1e-3
    assert tuple(line[1:]) == pytest.approx((0.002, 0.007, 0.02), rel=1e-2)


def test_a_verb_whose_packages_are_missing_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import calibrate.__main__ as entry

    monkeypatch.setitem(entry.VERBS, "fit", ("calibrate_package_that_is_not_there", "-"))
    assert entry.main(["fit"]) == 2
    assert "calibrate_package_that_is_not_there" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        entry.main(["guess"])
    assert stop.value.code == 2
