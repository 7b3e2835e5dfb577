"""Speed, printed and not asserted: `make bench`. Figures are process time on one core."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from simulator import Image, Scenario, Workload, estimate
from simulator.assemble import Case, case_of
from simulator.request import measure
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


def main() -> None:
    """Print every figure."""
    case = case_of(base())
    estimate(base())
    print(f"scalar estimate, same scenario       {seconds(lambda: estimate(base()), 200) * 1e3:8.2f} ms")
    fresh = iter(
        [
            base().model_copy(update={"workload": Workload(images=(Image(width=900 + i, height=700 + i),), text_tokens=40 + i)})
            for i in range(300)
        ]
    )
    print(f"scalar estimate, new scenario        {seconds(lambda: estimate(next(fresh)), 250) * 1e3:8.2f} ms")
    chunk = 8192
    some = rows(case, chunk)
    print(f"independent rows (chunks of {chunk})    {seconds(lambda: measure(some), 7) / chunk * 1e6:8.2f} µs each")
    axes = replace(
        case,
        text=np.arange(1, 1001.0).reshape(-1, 1, 1),
        output=np.arange(1, 101.0).reshape(1, -1, 1),
        chip=replace(case.chip, bandwidth=case.chip.bandwidth * np.linspace(0.5, 4, 10).reshape(1, 1, -1)),
    )
    taken = seconds(lambda: measure(axes), 3)
    print(f"broadcast 1000 x 100 x 10            {1e6 / taken:8.3g} scenarios/s")
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
