"""Estimates and what is drawn from them, remembered by the scenario's digest."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from simulator.figures import operators, river
from simulator.request import Estimate, estimate
from simulator.spec.scenario import Scenario

KEYS = {Scenario: Scenario.digest}


@st.cache_resource(max_entries=2048, show_spinner=False, hash_funcs=KEYS)
def estimated(scenario: Scenario) -> Estimate:
    """`estimate`, once per scenario."""
    return estimate(scenario)


@st.cache_resource(max_entries=256, show_spinner=False, hash_funcs=KEYS)
def operators_of(scenario: Scenario) -> pd.DataFrame:
    """`operators`, once per scenario."""
    return operators(scenario)


@st.cache_resource(max_entries=256, show_spinner=False, hash_funcs=KEYS)
def river_of(scenario: Scenario) -> pd.DataFrame:
    """`river`, once per scenario."""
    return river(scenario)
