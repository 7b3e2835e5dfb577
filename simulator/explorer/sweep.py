"""Sweep: one axis as lines with bands, or two as a map with the boundaries between what binds."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from simulator.explorer.forms import knobs
from simulator.explorer.parts import chart, lead, mode, way_out
from simulator.explorer.sidebar import Choice
from simulator.explorer.work import frame_download, swept
from simulator.figures import METRICS, heat, lines, needed, words
from simulator.spec.load_hardware import hardware_names
from simulator.spec.scenario import Scenario
from simulator.spec.source import SpecError

RANGES: dict[str, tuple[float, float, bool]] = {
    "workload.images.scale": (0.1, 2.0, False),
    "workload.images.count": (1, 32, False),
    "workload.videos.frames": (4, 512, True),
    "workload.videos.scale": (0.25, 2.0, False),
    "workload.videos.duration": (10, 3600, True),
    "workload.batch": (1, 128, True),
    "workload.text_tokens": (16, 16384, True),
    "workload.output_tokens": (1, 2048, False),
    "scale.bandwidth": (0.25, 4.0, True),
    "scale.flops": (0.25, 4.0, True),
    "scale.link": (0.25, 4.0, True),
    "scale.price": (0.25, 4.0, True),
}
WHOLE = ("count", "frames", "batch", "text_tokens", "output_tokens")
NONE = "none"
HARDWARE = "hardware"


def paths(scenario: Scenario) -> dict[str, tuple[float, float, bool]]:
    """Axes that this scenario can be swept along, with a range to start from and whether it is logarithmic."""
    work = scenario.workload
    out = {path: span for path, span in RANGES.items() if _present(path, bool(work.images), work.videos)}
    for use in scenario.techniques:
        for knob, default in knobs(use.kind):
            if knob.kind == "number" and isinstance(default, float | int) and default > 0:
                low = max(knob.low, 0.02 if knob.high <= 1.0 else default / 8)
                high = min(knob.high, 1.0 if knob.high <= 1.0 else default * 8)
                if high > low:
                    out[f"techniques.{use.kind}.{knob.name}"] = (low, high, False)
    return out


def _present(path: str, images: bool, videos: tuple[Any, ...]) -> bool:
    if path.startswith("workload.images"):
        return images
    if path == "workload.videos.frames":
        return bool(videos) and all(video.frames is not None for video in videos)
    if path == "workload.videos.duration":
        return bool(videos) and all(video.frames is None for video in videos)
    return bool(videos) if path.startswith("workload.videos") else True


def render(choice: Choice) -> None:
    """The page."""
    st.subheader("Sweep", anchor=False)
    if choice.variant is None or choice.baseline is None:
        way_out(choice.problem, "sweep")
        return
    lead(choice.variant, "One figure of the scenario on the left at many values:")
    known = paths(choice.variant)
    first, second, third = st.columns([2, 2, 2])
    across = first.selectbox("Along", list(known), format_func=words, key="s.x", bind="query-params")
    up = second.selectbox("And", [NONE, HARDWARE, *known], format_func=lambda path: "one axis only" if path == NONE else words(path), key="s.y", bind="query-params")
    metric = third.selectbox("Shown", list(METRICS), format_func=lambda name: METRICS[name].title, key="s.metric", bind="query-params")
    if up == across:
        st.info("Both axes are the same; choose two different ones.", icon=":material/show_chart:")
        return
    try:
        asked = _axes(known, across, up)
        if asked is None:
            st.info("Choose at least one device.", icon=":material/memory:")
            return
        axes, logs = asked
        _draw(choice, axes, across, up, metric, logs)
    except SpecError as error:
        way_out(str(error), "sweep")


def _axes(known: dict[str, tuple[float, float, bool]], across: str, up: str) -> tuple[dict[str, list[Any]], tuple[bool, bool]] | None:
    """Values of the axes from their widgets, and which are logarithmic; None where no device is chosen."""
    values, log = _values(across, *known[across], 33 if up == NONE else 25)
    axes: dict[str, list[Any]] = {across: values}
    if up == HARDWARE:
        axes[HARDWARE] = st.multiselect("Hardware", hardware_names(), default=["l40s", "a100-sxm-80gb", "h100-sxm", "b200-sxm"], key="s.hw", wrap=True, bind="query-params")
        return (axes, (log, False)) if axes[HARDWARE] else None
    if up == NONE:
        return axes, (log, False)
    axes[up], second = _values(up, *known[up], 25)
    return axes, (log, second)


def _draw(choice: Choice, axes: dict[str, list[Any]], across: str, up: str, metric: str, logs: tuple[bool, bool]) -> None:
    assert choice.variant is not None and choice.baseline is not None
    frame = swept(choice.variant, axes, needed(metric), "sweep")
    if frame is None:
        return
    gone = frame["refused"].astype(str) != ""
    for reason in frame.loc[gone, "refused"].astype(str).unique():
        st.warning(reason, icon=":material/block:")
    frame = frame[~gone]
    if frame.empty or frame[metric].isna().all():
        st.info("No number here: nobody published evidence for this mix. Choose another metric." if metric == "fidelity" else "Nothing along this axis can run.")
        return
    if up == NONE:
        frames = {"variant": frame}
        if not across.startswith("techniques.") and choice.baseline.digest() != choice.variant.digest():
            before = swept(choice.baseline, axes, needed(metric), "sweep-base")
            if before is not None:
                frames = {"baseline": before, "variant": frame}
        figure = lines(frames, across, metric, logs[0], mode())
    elif up == HARDWARE:
        figure = lines({str(name): rows for name, rows in frame.groupby(HARDWARE, sort=False, observed=True)}, across, metric, logs[0], mode())
    else:
        figure = heat(frame, across, up, metric, logs, mode())
    chart(figure, "sweep-figure", f"{METRICS[metric].title} along {words(across)}")
    whose = f"for {frame[HARDWARE].astype(str).iloc[-1]}" if up == HARDWARE else "for the variant"
    st.caption(f"Bands are 80 % prediction intervals. Names above the plot say which stage is longest and what binds it {whose}; crosses do not fit in memory."
               if up in (NONE, HARDWARE) else "White lines part the regions in which another stage, or another resource, is what takes longest.")  # fmt: skip
    frame_download(frame, "sweep", lambda: figure)


def _values(path: str, low: float, high: float, log: bool, count: int) -> tuple[list[Any], bool]:
    """Range of one axis from its widgets."""
    whole = path.rsplit(".", 1)[-1] in WHOLE
    first, second, third = st.columns([2, 2, 1], vertical_alignment="bottom")
    bottom = 1e-6 if path.startswith(("scale", "techniques")) or "scale" in path else 1.0
    start = first.number_input(f"{words(path)}: from", bottom, 1e7, float(low), key=f"s.{path}.from", format="%.6g", bind="query-params")
    stop = second.number_input("to", bottom, 1e7, float(high), key=f"s.{path}.to", format="%.6g", bind="query-params")
    curved = third.toggle("logarithmic", log, key=f"s.{path}.log", bind="query-params")
    if stop <= start:
        raise SpecError(f"{words(path)}: 'to' must lie above 'from'")
    made = np.geomspace(start, stop, count) if curved else np.linspace(start, stop, count)
    return sorted({round(float(item)) for item in made}) if whole else [float(f"{item:.6g}") for item in made], curved
