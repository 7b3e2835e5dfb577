"""Long work: swept once, remembered by what was asked, with a progress bar, and stopped by the button beside it."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from simulator.explorer.picture import Draw, figure_downloads
from simulator.search import Space, sweep
from simulator.spec.scenario import Scenario
from simulator.spec.source import Spec

AT_ONCE = 400
"""Combinations of choices that are worked through without asking."""


@st.cache_resource(show_spinner=False)
def _remembered() -> OrderedDict[str, pd.DataFrame]:
    return OrderedDict()


def swept(base: Scenario, axes: Mapping[str, Sequence[Any]], metrics: Sequence[str], key: str) -> pd.DataFrame | None:
    """The frame of a sweep; None while the reader has not asked for a large one. Raises SpecError."""
    name = json.dumps([base.digest(), {path: [_plain(item) for item in values] for path, values in axes.items()}, list(metrics)], sort_keys=True)
    known = _remembered()
    if name in known:
        known.move_to_end(name)
        return known[name]
    space = Space(base, axes)
    loops = 1
    for axis in space.choices:
        loops *= len(axis.values)
    if loops > AT_ONCE and st.session_state.get(f"{key}-go") != name:
        st.info(f"{space.size:,} points in {loops:,} combinations.", icon=":material/hourglass_empty:")
        st.button(f"Evaluate {space.size:,} points", key=f"{key}-start", type="primary", on_click=_go, args=(f"{key}-go", name))
        return None
    frame = _with_bar(space, metrics, key) if loops > 8 else sweep(space, metrics)
    known[name] = frame
    while len(known) > 64:
        known.popitem(last=False)
    return frame


def _with_bar(space: Space, metrics: Sequence[str], key: str) -> pd.DataFrame:
    """The sweep with its bar; pressing Stop reruns the page, which ends it."""
    place = st.empty()
    with place.container():
        bar = st.progress(0.0, f"0 of {space.size:,} points")
        st.button("Stop", key=f"{key}-stop", icon=":material/stop_circle:", on_click=_go, args=(f"{key}-go", ""))
    finished = 0

    def advance(done: int, size: int) -> None:
        nonlocal finished
        finished += done
        bar.progress(min(finished / max(size, 1), 1.0), f"{finished:,} of {size:,} points")

    share = max(space.size // 40, 1)
    frame = sweep(space, metrics, advance=advance, points=share)
    place.empty()
    return frame


def _go(key: str, name: str) -> None:
    st.session_state[key] = name


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.model_dump(mode="json") if isinstance(value, Spec) else value


def frame_download(frame: pd.DataFrame, name: str, draw: Draw) -> None:
    """CSV of a frame and the figure as files."""
    with st.container(horizontal=True):
        st.download_button("CSV", lambda: frame.to_csv(index=False), f"{name}.csv", "text/csv", key=f"{name}-csv", on_click="ignore", icon=":material/download:")
        figure_downloads({"figure": draw}, name)
