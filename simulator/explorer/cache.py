"""Estimates and what is drawn from them, remembered by the scenario's digest."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from simulator.assemble import Case, case_of
from simulator.figures import operators, river
from simulator.interop.launch import flags, launch
from simulator.ratio import Ratio, ratio
from simulator.request import Estimate, Metrics, estimate, measure
from simulator.spec.scenario import Scenario

KEYS = {Scenario: Scenario.digest}


@st.cache_resource(max_entries=2048, show_spinner=False, hash_funcs=KEYS)
def estimated(scenario: Scenario) -> Estimate:
    """`estimate`, once per scenario."""
    return estimate(scenario)


@st.cache_resource(max_entries=2048, show_spinner=False, hash_funcs=KEYS)
def _measured(scenario: Scenario) -> tuple[Case, Metrics]:
    case = case_of(scenario)
    return case, measure(case)


@st.cache_resource(max_entries=2048, show_spinner=False, hash_funcs=KEYS)
def speed_ups(baseline: Scenario, variant: Scenario) -> dict[str, Ratio]:
    """`ratio` of the times, and of energy and money where both run on the same hardware, once per pair."""
    (_, before), (case, after) = _measured(baseline), _measured(variant)
    metrics = ("ttft_s", "tpot_s", "latency_s", *(("energy_j", "cost_usd") if baseline.hardware == variant.hardware else ()))
    return {metric: ratio(before, after, case, metric) for metric in metrics}


@st.cache_resource(max_entries=256, show_spinner=False, hash_funcs=KEYS)
def unset_of(scenario: Scenario) -> tuple[str, ...]:
    """Techniques of the mix that the engine has, but not with these settings; none where it is not started by a command."""
    return launch(scenario, scenario.engine).unset if scenario.engine in flags() else ()


@st.cache_resource(max_entries=256, show_spinner=False, hash_funcs=KEYS)
def operators_of(scenario: Scenario) -> pd.DataFrame:
    """`operators`, once per scenario."""
    return operators(scenario)


@st.cache_resource(max_entries=256, show_spinner=False, hash_funcs=KEYS)
def river_of(scenario: Scenario) -> pd.DataFrame:
    """`river`, once per scenario."""
    return river(scenario)
