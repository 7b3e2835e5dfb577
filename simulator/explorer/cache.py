"""Estimates and what is drawn from them, remembered by the scenario's digest."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from simulator.figures import operators, river
from simulator.request import Estimate, estimate
from simulator.search import Interaction, Shares, interaction, migration, shapley
from simulator.spec.scenario import Scenario

_KEYS = {Scenario: Scenario.digest}


@st.cache_resource(max_entries=2048, show_spinner=False, hash_funcs=_KEYS)
def estimated(scenario: Scenario) -> Estimate:
    """`estimate`, once per scenario."""
    return estimate(scenario)


@st.cache_resource(max_entries=256, show_spinner=False, hash_funcs=_KEYS)
def operators_of(scenario: Scenario) -> pd.DataFrame:
    """`operators`, once per scenario."""
    return operators(scenario)


@st.cache_resource(max_entries=256, show_spinner=False, hash_funcs=_KEYS)
def river_of(scenario: Scenario) -> pd.DataFrame:
    """`river`, once per scenario."""
    return river(scenario)


@st.cache_resource(max_entries=64, show_spinner="Pairs …", hash_funcs=_KEYS)
def interactions_of(scenario: Scenario, kinds: tuple[str, ...]) -> Interaction:
    """`interaction`, once per scenario and mix."""
    return interaction(scenario, kinds)


@st.cache_resource(max_entries=64, show_spinner="Every subset …", hash_funcs=_KEYS)
def shares_of(scenario: Scenario, kinds: tuple[str, ...], quantity: str) -> Shares:
    """`shapley`, once per scenario, mix and quantity."""
    return shapley(scenario, kinds, quantity)


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs=_KEYS)
def migration_of(scenario: Scenario, kinds: tuple[str, ...], quantity: str) -> pd.DataFrame:
    """`migration`, once per scenario, mix and quantity."""
    return migration(scenario, kinds, quantity)
