"""Speed, printed and not asserted: `make bench`. Figures are process time on one core."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from simulator import Image, Scenario, Workload, estimate, load_model
from simulator.assemble import Case, case_of
from simulator.measure import measure
from simulator.search import Space, nondominated, sweep
from simulator.spec.scenario import TechniqueUse
from simulator.spec.workload import Picture


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median process time of one call [s]."""
    times: list[float] = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def base(**changes: object) -> Scenario:
    """A 1080p picture through Qwen2.5-VL-7B on an H100."""
    workload = Workload(images=(Image(width=1920, height=1080),), text_tokens=64, output_tokens=256)
    return Scenario(model="qwen2.5-vl-7b", hardware="h100-sxm", workload=workload).model_copy(update=changes)


def rows(case: Case, count: int) -> Case:
    """`count` independent scenarios."""
    generator = np.random.default_rng(0)

    def whole(low: float, high: float) -> np.ndarray:
        return np.floor(generator.uniform(low, high, count))

    return replace(
        case, pictures=(Picture(whole(300, 2500), whole(300, 2500)),), text=whole(1, 2000), output=whole(1, 500), batch=whole(1, 32)
    )


def independent(case: Case, count: int, chunk: int) -> Callable[[], object]:
    """`count` independent scenarios, `chunk` at a time: different ones in each."""
    every = rows(case, count)

    def some(start: int) -> Case:
        part = slice(start, start + chunk)
        sides = (Picture(item.width[part], item.height[part]) for item in every.pictures)  # type: ignore[index]
        return replace(every, pictures=tuple(sides), text=every.text[part], output=every.output[part], batch=every.batch[part])  # type: ignore[index]

    return lambda: [measure(some(start)) for start in range(0, count, chunk)]


FRESH = {
    "qwen2.5-vl-7b": (), "llama-4-scout": (), "gemma-3-12b": (), "llama-3.2-11b-vision": (), "qwen3-next-80b-a3b": (), "deepseek-vl2": (),
    "qwen2.5-vl-7b + 5": ("visionzip", "fastv", "kv_evict", "kv_quant", "weight_quant"),
    "llama-4-scout + 2": ("weight_quant", "kv_quant"),
}  # fmt: skip


def fresh(label: str, techniques: tuple[str, ...], count: int = 100) -> float:
    """Median of scenarios that were not seen before [s]: another picture, another prompt each time."""
    name = label.split(" +")[0]
    uses = tuple(TechniqueUse(kind=item) for item in techniques)
    seen = load_model(name).vision is not None
    scenarios = iter([
        base(model=name, techniques=uses, workload=Workload(
            images=(Image(width=900 + i, height=700 + i),) if seen else (), text_tokens=40 + i, output_tokens=256))
        for i in range(count + 1)
    ])  # fmt: skip
    estimate(next(scenarios))
    return seconds(lambda: estimate(next(scenarios)), count)


MAIN = ("ttft_s", "tpot_s", "latency_s", "output_tokens_per_s", "peak_bytes", "fits", "energy_j", "cost_usd")


def spaces() -> list[tuple[str, Space, tuple[str, ...] | None]]:
    """Spaces whose speed is printed."""
    text, output, widths = range(1, 1001), range(1, 101), [float(x) for x in np.linspace(0.5, 4, 10)]
    broadcast = {"workload.text_tokens": text, "workload.output_tokens": output, "scale.bandwidth": widths}
    plain = Space(base(), broadcast)
    mix = ["visionzip", "fastv", "kv_evict", "kv_quant", "weight_quant"]
    knobs = {
        "techniques.visionzip.dominant": [float(x) for x in range(20, 200, 18)],
        "techniques.fastv.keep": [float(x) for x in np.linspace(0.1, 1, 10)],
        "techniques.kv_evict.budget": [float(x) for x in np.linspace(0.1, 1, 10)],
        "techniques.kv_quant.bits": [2.0, 3.0, 4.0, 6.0, 8.0],
        "techniques.weight_quant.group": [32.0, 64.0, 128.0, 256.0],
        "workload.output_tokens": range(10, 210, 20),
    }
    five = Space(base(techniques=tuple(TechniqueUse(kind=name) for name in mix)), knobs)
    return [
        ("broadcast, all columns", plain, None),
        ("broadcast, main columns", plain, MAIN),
        ("five techniques, knobs as axes", five, MAIN),
    ]


def fronts() -> list[tuple[str, np.ndarray]]:
    """A million points: few of them, many and all of them on the front. Without moocore (extra `search`) only the first is quick."""
    generator = np.random.default_rng(0)
    simplex = generator.exponential(size=(1_000_000, 4))
    simplex /= simplex.sum(axis=1, keepdims=True)
    few = [("random", generator.random((1_000_000, 4)))]
    if find_spec("moocore") is None:
        return few
    return [*few, ("against each other", simplex * (1 + 0.05 * generator.random((1_000_000, 1)))), ("all winners", simplex)]


def stored() -> str:
    """10^7 scenarios into Parquet in a process of its own: wall time and peak memory."""
    code = (
        "import resource,tempfile,time,numpy as np\n"
        "from tests.bench import MAIN, base\n"
        "from simulator.search import Space, store\n"
        "axes={'workload.text_tokens':range(1,1001),'workload.output_tokens':range(1,101),'scale.bandwidth':list(np.linspace(.5,4,100))}\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    start=time.time(); done=store(Space(base(),axes),folder,MAIN)\n"
        "    print(done.rows,time.time()-start,resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20)\n"
    )
    rows_, wall, peak = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return f"{int(rows_):.0e} scenarios to Parquet       {float(wall):8.1f} s, {float(peak):.2f} GiB peak"


def main() -> None:
    """Print every figure."""
    case = case_of(base())
    estimate(base())
    print(f"scalar estimate, same scenario       {seconds(lambda: estimate(base()), 200) * 1e3:8.2f} ms")
    for label, techniques in FRESH.items():
        print(f"  new scenario, {label:<23}{fresh(label, techniques) * 1e3:8.2f} ms")
    for chunk in (1024, 8192):
        work = independent(case, 100_000, chunk)
        print(f"100,000 independent rows by {chunk:<9}{seconds(work, 5) / 100_000 * 1e6:8.2f} µs each")
    for label, space, metrics in spaces():
        sweep(Space(space.base, {axis.path: axis.values[:2] for axis in space.axes}), metrics)
        taken = seconds(lambda space=space, metrics=metrics: sweep(space, metrics), 3)
        print(f"{label:<37}{space.size / taken:8.3g} scenarios/s")
    for label, costs in fronts():
        print(f"front of 10^6 x 4, {label:<18}{seconds(lambda costs=costs: nondominated(costs), 1):8.2f} s")
    print(stored())
    command = [sys.executable, "-m", "simulator", "estimate", "--model", "qwen2.5-vl-7b", "--hardware", "h100-sxm", "--image", "640x480", "--json"]
    cold: list[float] = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cold.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(f"command, cold process                {np.median(cold):8.2f} s of CPU")


if __name__ == "__main__":
    main()
