"""Interactions, remembered by the scenario's digest."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from simulator.explorer.cache import KEYS
from simulator.search import Interaction, Shares, interaction, migration, shapley
from simulator.spec.scenario import Scenario


@st.cache_resource(max_entries=64, show_spinner="Pairs …", hash_funcs=KEYS)
def interactions_of(scenario: Scenario, kinds: tuple[str, ...]) -> Interaction:
    """`interaction`, once per scenario and mix."""
    return interaction(scenario, kinds)


@st.cache_resource(max_entries=64, show_spinner="Every subset …", hash_funcs=KEYS)
def shares_of(scenario: Scenario, kinds: tuple[str, ...], quantity: str) -> Shares:
    """`shapley`, once per scenario, mix and quantity."""
    return shapley(scenario, kinds, quantity)


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs=KEYS)
def migration_of(scenario: Scenario, kinds: tuple[str, ...], quantity: str) -> pd.DataFrame:
    """`migration`, once per scenario, mix and quantity."""
    return migration(scenario, kinds, quantity)
