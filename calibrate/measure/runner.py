"""Runs families of cases within a budget: fair shares of time, resumable, out-of-memory skipped and said."""

from __future__ import annotations

import gc
import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from calibrate.measure.case import Case, Prepared, TooSlow, Unsupported
from calibrate.measure.clock import FEWEST_KEPT, AbstractClock
from calibrate.measure.device import Device
from calibrate.measure.progress import Progress
from calibrate.measure.statistics import BadTiming, Sample, check_seconds, summarise
from calibrate.measure.table import Table

EMPTY: dict[str, object] = {
    "footprint_bytes": 0, "seconds": "", "median_s": "", "p20_s": "", "p80_s": "", "min_s": "", "samples": 0,
    "kept_share": "", "timer": "",
}  # fmt: skip
MOST_ERRORS_IN_A_ROW = 30
NOT_BUILT = ("no available kernel", "not supported", "unsupported", "not implemented", "not available")
MOST_TRIES = 3


GRACE_S = 0.2


class BudgetOver(BaseException):
    """The budget ended inside a case. Not an Exception, so that no library on the way takes it for one of its own."""


@contextmanager
def stopped_at(deadline: float) -> Iterator[None]:
    """Raise BudgetOver a little after ``deadline`` (time.monotonic), where this thread and platform can."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def over(*_: object) -> None:
        raise BudgetOver

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 0.0) + GRACE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Plan:
    """Cases of one family in the order to be run, and the family's share of the time."""

    family: str
    cases: tuple[Case, ...]
    share: float = 1.0
    samples: int = 12
    case_seconds: float = 0.25


@dataclass(frozen=True)
class Outcome:
    """What a run did: cases by status, and how many were left when the budget ended."""

    counts: dict[str, int]
    left: int
    spent_s: float


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on either kind of device."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def status_of(error: BaseException) -> str:
    """``out_of_memory``, ``unsupported`` where a backend says that it has no such kernel, else ``error``."""
    if out_of_memory(error):
        return "out_of_memory"
    return "unsupported" if any(words in str(error).lower() for words in NOT_BUILT) else "error"


def one_line(error: BaseException) -> str:
    """First line of an error, short enough for a cell."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:160]


def measure_case(
    case: Case, device: Device, clock: AbstractClock, plan: Plan, deadline: float, earlier: Sequence[Sample] = ()
) -> tuple[dict[str, object], list[Sample]] | None:
    """Result columns and samples of one case, or None when the budget ended before enough samples were in.

    ``earlier`` holds the samples of a try that fell into a burst; they count together with the new ones.
    """
    result: dict[str, object] = {**EMPTY, "status": "ok", "note": "", "case": case.identity}
    if case.bytes > device.available_bytes():
        note = f"needs about {case.bytes} bytes, {device.available_bytes()} available"
        return {**result, "status": "out_of_memory", "note": note}, []
    prepared: Prepared | None = None
    samples: list[Sample] = []
    try:
        with stopped_at(deadline):
            prepared = case.prepare(device)
            with torch.inference_mode():
                timer, taken = clock.take(prepared, plan.samples, plan.case_seconds, deadline)
        check_seconds([sample.seconds for sample in taken])
        samples = [*earlier, *taken]
        kept = clock.keep(samples)
        if len(samples) < FEWEST_KEPT:
            return None
        result.update(footprint_bytes=prepared.footprint_bytes, timer=timer)
        if len(kept) >= FEWEST_KEPT:
            result.update(asdict(summarise(kept, len(samples), clock.primary)))
        else:
            note = f"{len(kept)} of {len(samples)} samples outside bursts"
            result.update(status="inconclusive", samples=len(kept), kept_share=len(kept) / len(samples), note=note)
    except BudgetOver:
        return None
    except Unsupported as error:
        result.update(status="unsupported", note=one_line(error))
    except TooSlow as error:
        result.update(status="too_slow", note=one_line(error))
    except BadTiming as error:
        result.update(status="refused", note=one_line(error))
    except (RuntimeError, MemoryError, NotImplementedError, AttributeError, ValueError, TypeError) as error:
        result.update(status=status_of(error), note=one_line(error))
    finally:
        if prepared is not None and prepared.close is not None:
            prepared.close()
        del prepared
        if result["status"] == "out_of_memory":
            gc.collect()
            device.release()
    return result, samples


def raw_record(case: Case, samples: Sequence[Sample], result: Mapping[str, object]) -> dict[str, object]:
    """Every sample of a case with the yardsticks around it: [seconds, gemm before, after, copy before, after]."""
    rows = [[float(f"{value:.5g}") for value in asdict(sample).values()] for sample in samples]
    return {"case": case.identity, "key": case.key, "status": result["status"], "time": time.time(), "samples": rows}


def run_plans(
    plans: Sequence[Plan], device: Device, clock: AbstractClock, folder: Path, deadline: float, progress: Progress
) -> Outcome:
    """Run what is not done yet, always from the family that has had the least of its share, until the deadline.

    A case whose samples fell into a burst goes to the end of its queue, twice at most."""
    tables = {plan.family: Table(folder, plan.family, tuple(plan.cases[0].key)) for plan in plans if plan.cases}
    queues = {
        plan.family: [case for case in plan.cases if case.identity not in tables[plan.family].done]
        for plan in plans
        if plan.cases
    }
    chosen = {plan.family: plan for plan in plans}
    spent = dict.fromkeys(queues, 0.0)
    counts: dict[str, int] = {}
    total = sum(len(queue) for queue in queues.values())
    done = errors = 0
    tries: dict[str, int] = {}
    postponed: dict[str, tuple[dict[str, object], list[Sample]]] = {}
    began = time.monotonic()
    margin = 0.0
    while time.monotonic() + margin < deadline:
        waiting = [family for family, queue in queues.items() if queue]
        if not waiting:
            break
        family = min(waiting, key=lambda name: spent[name] / chosen[name].share)
        case = queues[family].pop(0)
        progress.update(done, total, f"{family} {' '.join(str(value) for value in case.key.values())}")
        started = time.monotonic()
        measured = measure_case(case, device, clock, chosen[family], deadline, postponed.get(case.identity, (0, ()))[1])
        spent[family] += time.monotonic() - started
        margin = min(0.5 * (time.monotonic() - started), 0.1 * max(deadline - began, 0.0))
        if measured is None:
            queues[family].insert(0, case)
            break
        result, samples = measured
        tries[case.identity] = tries.get(case.identity, 0) + 1
        if result["status"] == "inconclusive" and tries[case.identity] < MOST_TRIES:
            queues[family].append(case)
            postponed[case.identity] = (result, samples)
            continue
        postponed.pop(case.identity, None)
        tables[family].append(case.key, result, raw_record(case, samples, result))
        done += 1
        status = str(result["status"])
        counts[status] = counts.get(status, 0) + 1
        errors = errors + 1 if status == "error" else 0
        if errors >= MOST_ERRORS_IN_A_ROW:
            raise ValueError(f"{errors} cases in a row failed, the last with {result['note']!r}; see {folder}")
    for family, queue in queues.items():
        for case in [one for one in queue if one.identity in postponed]:
            result, samples = postponed[case.identity]
            tables[family].append(case.key, result, raw_record(case, samples, result))
            counts["inconclusive"] = counts.get("inconclusive", 0) + 1
    left = sum(len(queue) for queue in queues.values())
    return Outcome(counts, left, time.monotonic() - began)


def read_meta(folder: Path) -> dict[str, object]:
    """meta.yaml of a folder (JSON, which is YAML), or an empty mapping."""
    path = folder / "meta.yaml"
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: line {error.lineno} is not what this program writes ({error.msg})") from error


def write_meta(folder: Path, meta: Mapping[str, object]) -> None:
    """Replace meta.yaml in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "meta.yaml.part"
    temporary.write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / "meta.yaml")
