"""Sweeps: a whole space as a DataFrame, as a stream of frames, or as Parquet files that can be resumed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, final

from simulator.search import columns
from simulator.search.blocks import Chunk
from simulator.search.columns import NOTES
from simulator.search.grid import Part, evaluate_chunk, frame_of
from simulator.search.parallel import finished
from simulator.search.space import POINTS, Space
from simulator.spec.source import SpecError

if TYPE_CHECKING:
    import pandas as pd

class Advance(Protocol):
    """Told how many points were just finished, of how many."""

    def __call__(self, done: int, size: int) -> None: ...


@final
@dataclass(frozen=True, slots=True)
class Stored:
    """A finished sweep on disk. points: evaluated; rows: left after constraints; chunks: files in `folder`."""

    folder: Path
    points: int
    rows: int
    chunks: int

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows, in the order of the space; only some `columns` where given."""
        import pandas as pd

        files = sorted(self.folder.glob("chunk-*.parquet"))
        frames = [pd.read_parquet(file, columns=None if columns is None else list(columns)) for file in files]
        whole = pd.concat(frames, ignore_index=True)
        texts = [name for name in NOTES if name in whole]
        return whole.astype(dict.fromkeys(texts, "category"))


def sweep(
    space: Space,
    metrics: Sequence[str] | None = None,
    *,
    executor: Executor | None = None,
    progress: bool = False,
    advance: Advance | None = None,
    points: int = POINTS,
) -> pd.DataFrame:
    """Every point of a space as a row: a column per axis path, per metric, `deployable` and `refused`.

    metrics: names of metric columns (default all of `METRICS`); fewer take less time and memory. executor: any
    `concurrent.futures.Executor`; rows and their order do not depend on it. progress: a bar on the terminal. advance: called
    as points are finished. points: evaluated at once. Raises SpecError where the rows would not fit into this machine's memory.
    """
    names = columns.checked(metrics)
    _check_room(space, names)
    parts: list[Part] = []
    with watched(space.size, progress, advance) as told:
        for part in _parts(space, space.chunks(points), names, executor):
            parts.append(part)
            told(part.points, space.size)
    return frame_of(space, sorted(parts, key=lambda part: part.index))


def _check_room(space: Space, names: Sequence[str]) -> None:
    """Raises SpecError where the rows cannot be held: a machine that is out of memory kills without a word."""
    needed = 8.0 * space.size * (len(names) + len(space.axes))
    there = memory()
    if needed > there and not space.constraints:
        raise SpecError(
            f"sweep: {space.size:,} points with {len(names)} metrics take {needed / 1e9:,.0f} GB, more than this machine's {there / 1e9:,.0f} GB; "
            "`store` them in a folder (--out), `stream` them, ask for fewer metrics, or `optimise`"
        )


def memory() -> float:
    """Main memory [byte]; without end where the system does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf


def stream(
    space: Space, metrics: Sequence[str] | None = None, *, executor: Executor | None = None, points: int = POINTS
) -> Iterator[pd.DataFrame]:
    """As `sweep`, a frame of about `points` rows at a time and in order: bounded memory however large the space."""
    names = columns.checked(metrics)
    waiting: dict[int, Part] = {}
    following = 0
    for part in _parts(space, space.chunks(points), names, executor):
        waiting[part.index] = part
        while following in waiting:
            yield frame_of(space, [waiting.pop(following)])
            following += 1


def store(
    space: Space,
    folder: Path | str,
    metrics: Sequence[str] | None = None,
    *,
    executor: Executor | None = None,
    progress: bool = False,
    advance: Advance | None = None,
    points: int = POINTS,
) -> Stored:
    """A sweep into `folder`, a Parquet file per chunk, in bounded memory. Started again after an interruption it goes on where
    it was: a chunk is finished when its file has its name, which it gets in one step, so no point is lost and none is there
    twice; a file that was cut off later is made again. Raises SpecError where the folder holds another sweep.
    """
    names = columns.checked(metrics)
    folder = Path(folder)
    _claim(folder, space, names, points)
    total = done = rows = chunks = 0
    with watched(space.size, progress, advance) as told:

        def missing() -> Iterator[Chunk]:
            nonlocal total, done, rows, chunks
            for chunk in space.chunks(points):
                total += chunk.size
                chunks += 1
                file = folder / f"chunk-{chunk.index:08d}.parquet"
                there = _rows(file)
                if there is None:
                    yield chunk
                    continue
                done += chunk.size
                rows += there
                told(chunk.size, space.size)

        for part in _parts(space, missing(), names, executor):
            _write(folder, space, part)
            done += part.points
            rows += part.rows
            told(part.points, space.size)
    if done != total:
        raise RuntimeError(f"{folder}: {done} of {total} points finished")
    return Stored(folder, done, rows, chunks)


def _claim(folder: Path, space: Space, names: tuple[str, ...], points: int) -> None:
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"out: {folder} is a file; a folder is expected")
    folder.mkdir(parents=True, exist_ok=True)
    label = folder / "_space.json"
    mine = {"space": space.digest(), "size": space.size, "metrics": list(names), "points": points}
    if label.exists():
        try:
            theirs = json.loads(label.read_text(encoding="utf-8"))
        except ValueError:
            raise SpecError(f"out: {label} cannot be read; give another folder") from None
        if theirs != mine:
            raise SpecError(f"out: {folder} holds the sweep of another space, other metrics or another chunk size; give another folder")
        for file in folder.glob("*.partial"):
            file.unlink(missing_ok=True)
        return
    if any(folder.iterdir()):
        raise SpecError(f"out: {folder} is not empty and holds no sweep; give another folder")
    _replace(label, json.dumps(mine).encode())


def _replace(file: Path, data: bytes) -> None:
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)


def _write(folder: Path, space: Space, part: Part) -> None:
    import io

    buffer = io.BytesIO()
    frame_of(space, [part]).to_parquet(buffer, index=False)
    _replace(folder / f"chunk-{part.index:08d}.parquet", buffer.getvalue())


def _rows(file: Path) -> int | None:
    """Rows of a finished file; None where there is none, or one that was cut off (Parquet ends with what is in it)."""
    from pyarrow import parquet

    try:
        return int(parquet.read_metadata(file).num_rows)
    except (FileNotFoundError, ValueError):
        return None


def _parts(space: Space, chunks: Iterator[Chunk], names: tuple[str, ...], executor: Executor | None) -> Iterator[Part]:
    """Chunks evaluated here or by an executor, in the order in which they are finished."""
    return (part for _, part in finished(partial(evaluate_chunk, space, metrics=names), chunks, executor))


@contextmanager
def watched(size: int, progress: bool, advance: Advance | None = None) -> Generator[Advance]:
    """What to tell of points that were just finished: a bar on the terminal, and `advance`."""
    if not progress:
        yield advance or _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar: Any = Progress(TextColumn("points"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True))
    with bar:
        task = bar.add_task("points", total=size)

        def told(done: int, size: int) -> None:
            bar.update(task, advance=done)
            (advance or _silent)(done, size)

        yield told


def _silent(done: int, size: int) -> None:
    return None
