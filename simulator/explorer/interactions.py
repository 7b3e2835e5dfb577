"""Interactions: which techniques help each other, who earns what share of the speed-up, and how the bottleneck moves."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from simulator.explorer.pairs import interactions_of, migration_of, shares_of
from simulator.explorer.parts import chart, lead, mode, way_out
from simulator.explorer.sidebar import Choice
from simulator.figures import migration_bars, shapley_bars, synergy_matrix
from simulator.presets import names
from simulator.search import Interaction
from simulator.spec.source import SpecError

MIX = ["divprune", "weight_quant", "speculative", "kv_quant", "embedding_cache"]
SIDE_BY_SIDE = 5
"""Techniques whose matrix and shares stand beside each other; more need the whole width."""
QUANTITIES = {"latency": "latency_s", "time to first token": "ttft_s", "time per output token": "tpot_s", "encode": "encode_s", "prefill": "prefill_s", "decode": "decode_s"}


def render(choice: Choice) -> None:
    """The page."""
    st.subheader("Interactions", anchor=False)
    if choice.baseline is None:
        way_out(choice.problem, "pairs")
        return
    lead(choice.baseline, "How techniques couple on the baseline:")
    first, second = st.columns([3, 1])
    kinds = first.multiselect("Techniques, in the order in which they are added", names(), default=MIX, key="i.mix", max_selections=8, wrap=True, bind="query-params",
                              help="Alone, in pairs and all together")  # fmt: skip
    said = second.selectbox("In", list(QUANTITIES), key="i.of", bind="query-params")
    quantity = QUANTITIES[said]
    if len(kinds) < 2:
        st.info("Choose two techniques or more.", icon=":material/hub:")
        return
    try:
        found = interactions_of(choice.baseline, tuple(kinds))
    except SpecError as error:
        st.error(str(error), icon=":material/block:")
        st.caption("Take out the technique that is named, or change the scenario on the left.")
        return
    left, right = st.columns([3, 2], gap="medium") if len(kinds) <= SIDE_BY_SIDE else (st.container(), st.container())
    with left:
        reasons = {(pair.first, pair.second): pair.why or pair.refused for pair in found.pairs}
        chart(synergy_matrix(found.matrix(quantity), said, reasons, mode()), "synergy", "Synergy of every pair", "Do they help each other?")
        st.caption("Blue: together they gain more than the product of their gains alone; orange: less. The diagonal is each alone. The reasons stand below.")
    with right:
        try:
            shares = shares_of(choice.baseline, tuple(kinds), quantity)
            chart(shapley_bars(shares.factors, shares.total, said, mode()), "shapley", "Shapley shares", "Who earns the speed-up?")
            st.caption("Shapley values of the logarithm of the speed-up: averaged over every order of adding, they multiply to the whole.")
        except SpecError as error:
            st.warning(f"No shares for the whole mix: {error}", icon=":material/block:")
    try:
        steps = migration_of(choice.baseline, tuple(kinds), quantity if quantity in ("latency_s", "ttft_s") else "latency_s")
        chart(migration_bars(steps, mode()), "migration", "Stage times as techniques are added", "Where does the bottleneck go?")
    except SpecError as error:
        st.warning(f"The mix cannot be built up to its end: {error}", icon=":material/block:")
    _reasons(found, quantity)


def _reasons(found: Interaction, quantity: str) -> None:
    """Every pair in words, the strongest first; a table whose cells wrap, so that no reason is cut off."""
    alone = [pair for pair in found.pairs if not pair.refused and pair.why.startswith("independent")]
    coupled = sorted((pair for pair in found.pairs if not pair.refused and pair not in alone), key=lambda pair: -abs(math.log(pair.synergy[quantity])))
    rows = [(f"{pair.first} + {pair.second}", f"{pair.synergy[quantity]:.2f}", pair.why) for pair in coupled]
    rows += [(f"{pair.first} + {pair.second}", "excluded", pair.refused) for pair in found.pairs if pair.refused]
    st.markdown("**Why?**")
    if rows:
        st.table(pd.DataFrame(rows, columns=["pair", "synergy", "why"]), hide_index=True, border="horizontal")
    if alone:
        pairs = ", ".join(f"{pair.first} + {pair.second}" for pair in alone)
        st.caption(f"Independent, as each stage speeds up by the product of the two: {pairs}.")
