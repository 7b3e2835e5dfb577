"""How long a widget change takes: `python -m tests.app.bench_app`. Prints wall and processor time, median and 95th percentile."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from tests.app.driver import app, page


def main() -> None:
    """Cold start, then a mix of changes to values the page has not seen."""
    start, cpu = time.perf_counter(), time.process_time()
    test = app()
    print(f"first page: {time.perf_counter() - start:.2f} s wall, {time.process_time() - cpu:.2f} s processor, load {os.getloadavg()[0]:.1f}")
    changes: list[tuple[str, Callable[[], Any]]] = []
    for turn in range(6):
        changes += [
            ("text", lambda turn=turn: test.number_input(key="text").set_value(100 + 7 * turn)),
            ("keep", lambda turn=turn: test.slider(key="divprune.keep").set_value(0.2 + turn / 10)),
            ("output", lambda turn=turn: test.number_input(key="out").set_value(300 + turn)),
            ("batch", lambda turn=turn: test.number_input(key="batch").set_value(2 + turn)),
            ("workload", lambda turn=turn: test.selectbox(key="look").set_value(("photo", "document", "gui", "web", "album", "clip")[turn])),
            ("hardware", lambda turn=turn: test.selectbox(key="hw").set_value(("l40s", "a100-sxm-80gb", "h200-sxm", "rtx-4090", "b200-sxm", "h20")[turn])),
            ("techniques", lambda turn=turn: test.multiselect(key="with").set_value(["divprune", *(("kv_quant",), ("speculative",), (), ("fastv",), ("weight_quant",), ("prefix_cache",))[turn]])),
            ("format", lambda turn=turn: test.selectbox(key="fmt").set_value(("fp8", "bf16")[turn % 2])),
        ]  # fmt: skip
    walls: dict[str, list[float]] = {}
    cpus: list[float] = []
    for name, change in changes:
        changed = change()
        start, cpu = time.perf_counter(), time.process_time()
        changed.run()
        walls.setdefault(name, []).append(time.perf_counter() - start)
        cpus.append(time.process_time() - cpu)
        assert not test.exception, (name, test.exception)
    for name, times in walls.items():
        print(f"{name:12} median {statistics.median(times) * 1e3:6.0f} ms, worst {max(times) * 1e3:6.0f} ms")
    every = sorted(value for times in walls.values() for value in times)
    p95 = every[int(0.95 * (len(every) - 1))]
    print(f"all {len(every)}: wall median {statistics.median(every) * 1e3:.0f} ms, 95th percentile {p95 * 1e3:.0f} ms; "
          f"processor median {statistics.median(cpus) * 1e3:.0f} ms, 95th percentile {sorted(cpus)[int(0.95 * (len(cpus) - 1))] * 1e3:.0f} ms; load {os.getloadavg()[0]:.1f}")  # fmt: skip


def others() -> None:
    """Widgets of the other pages: a look at the same numbers, and numbers that the page has not seen. Processor time."""
    select: dict[tuple[str, str], tuple[Any, ...]] = {
        ("compare", "cmp.metric"): ("ttft_s", "energy_j", "fidelity"), ("sweep", "s.metric"): ("latency_s", "tpot_s", "peak_bytes"),
        ("sweep", "s.x"): ("workload.batch", "workload.text_tokens", "scale.bandwidth"), ("sweep", "s.y"): ("workload.batch", "scale.flops", "hardware"),
        ("design_space", "d.x"): ("energy_j", "ttft_s", "peak_bytes"), ("interactions", "i.of"): ("time to first token", "decode", "encode"),
        ("literature", "l.stage"): ("Encoding", "Prefilling", "Decoding"),
    }  # fmt: skip
    for (name, key), values in select.items():
        _timed(f"{name} {key}", page(name), [lambda test, value=value, key=key: test.selectbox(key=key).set_value(value) for value in values])
    for name in ("compare", "sweep", "design_space", "interactions"):
        _timed(f"{name} text", page(name), [lambda test, value=value: test.number_input(key="text").set_value(value) for value in (70, 80, 90)])


def _timed(label: str, test: Any, changes: list[Callable[[Any], Any]]) -> None:
    times: list[float] = []
    for change in changes:
        changed = change(test)
        cpu = time.process_time()
        changed.run()
        times.append(time.process_time() - cpu)
        assert not test.exception, (label, test.exception)
    print(f"{label:24} processor median {statistics.median(times) * 1e3:5.0f} ms, worst {max(times) * 1e3:5.0f} ms")


if __name__ == "__main__":
    main()
    others()
