"""Literature: the catalogue with filters, what it says about accuracy, and the way from a paper to its preset in What if."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from simulator.explorer.assign import assign
from simulator.explorer.links import go_to
from simulator.explorer.parts import chart, mode
from simulator.explorer.sidebar import Choice
from simulator.figures import kept_accuracy
from simulator.literature.catalogue import coverage, load_entries, search
from simulator.literature.citation import citation
from simulator.literature.entry import OPERATORS, TAXONOMY, Entry
from simulator.literature.evidence import AXES, TASKS, load_evidence

ANY = "any"
FIRST = "the first of the list"


def render(choice: Choice) -> None:
    """The page; it does not depend on the scenario."""
    del choice
    st.subheader("Literature", anchor=False)
    papers, evidence, cover = st.tabs(["Papers", "Accuracy against what is kept", "Coverage"], key="l.tab", bind="query-params")
    if papers.open:
        with papers:
            _papers()
    if evidence.open:
        with evidence:
            _evidence()
    if cover.open:
        with cover:
            st.markdown("How many papers there are of each branch, how many of them can be tried here, and how many have published figures to hold them against.")
            st.dataframe(_coverage(), hide_index=True, key="coverage", height="content",
                         column_config={"category": "branch", "with_preset": "to be tried here", "with_figures": "with published figures", "training_free": "training-free"})  # fmt: skip


@st.cache_data(show_spinner=False)
def _coverage() -> pd.DataFrame:
    return coverage()


@st.cache_data(show_spinner=False)
def _published() -> pd.DataFrame:
    columns = ("technique", "entry", "family", "model", "axis", "kept", "benchmark", "task_class", "retained", "source")
    return pd.DataFrame([{name: getattr(row, name) for name in columns} for row in load_evidence()])


def _papers() -> None:
    first, second, third, fourth, fifth = st.columns([3, 2, 3, 2, 2])
    words = first.text_input("Search", key="l.q", placeholder="words in title, method, summary", bind="query-params")
    stage = second.selectbox("Stage", [ANY, *TAXONOMY], key="l.stage", bind="query-params")
    branches = [name for at, names in TAXONOMY.items() if stage in (ANY, at) for name in names]
    category = third.selectbox("Branch", [ANY, *branches], key="l.cat", bind="query-params")
    training = fourth.selectbox("Training", [ANY, "free", "needed"], key="l.train", bind="query-params")
    modelled = fifth.selectbox("In the simulator", [ANY, "yes", "no"], key="l.preset", bind="query-params")
    found = search(
        words, stage=None if stage == ANY else stage, category=None if category == ANY else category,
        training_free=None if training == ANY else training == "free", preset=None if modelled == ANY else modelled == "yes",
    )  # fmt: skip
    found = tuple(sorted(found, key=lambda entry: words.strip().lower() not in (entry.method.lower(), entry.id)))
    st.caption(f"{len(found)} of {len(load_entries())} papers. Choose a row to read it and to try it.")
    if not found:
        st.info("No paper passes these filters; take one away.", icon=":material/filter_alt_off:")
        return
    table = pd.DataFrame(
        {
            "method": [entry.method for entry in found], "year": [entry.year for entry in found], "venue": [entry.venue for entry in found],
            "stage": [entry.stage for entry in found], "branch": [entry.category for entry in found],
            "training": ["free" if entry.training_free else "?" if entry.training_free is None else "needed" for entry in found],
            "try it": [", ".join(entry.presets) for entry in found], "title": [entry.title for entry in found],
        }
    )  # fmt: skip
    st.dataframe(table, hide_index=True, key="papers", on_select=lambda: _chosen(found), selection_mode="single-row",
                 column_config={"year": st.column_config.NumberColumn(format="%d"), "title": st.column_config.TextColumn(width="large")})  # fmt: skip
    paper = st.selectbox("Paper", [FIRST, *(entry.id for entry in found)], key="l.paper", bind="query-params")
    _one(next((entry for entry in found if entry.id == paper), found[0]))
    st.download_button("BibTeX of these papers", lambda: citation(entry.id for entry in found), "papers.bib", "text/plain", key="bib-all", on_click="ignore",
                       icon=":material/download:")  # fmt: skip


def _chosen(found: tuple[Entry, ...]) -> None:
    """Callback of the table: the chosen row becomes the paper that is shown."""
    rows = st.session_state["papers"].selection.rows
    assign({"l.paper": found[rows[0]].id if rows and rows[0] < len(found) else FIRST})


def _one(entry: Entry) -> None:
    with st.container(border=True):
        st.markdown(f"**{entry.method}** · {entry.title}")
        st.markdown(entry.summary)
        where = "; ".join(f"{place.stage} / {place.category}" + (f" / {place.subcategory}" if place.subcategory else "") for place in entry.placements)
        st.caption(f"{entry.authors + ' · ' if entry.authors else ''}{entry.venue} {entry.year} · {where} · acts on {', '.join(OPERATORS[name] for name in entry.operators) or 'nothing modelled'}")
        with st.container(horizontal=True):
            for preset in entry.presets:
                st.button(f"What if: {preset}", key=f"try-{entry.id}-{preset}", type="primary", on_click=_try, args=(preset,))
            link = entry.url or (f"https://arxiv.org/abs/{entry.arxiv}" if entry.arxiv else "")
            if link:
                st.link_button("Paper", link, icon=":material/open_in_new:")
        if not entry.presets and entry.no_preset_reason:
            st.caption(f"Not in the simulator: {entry.no_preset_reason}")


def _try(preset: str) -> None:
    assign({"with": [preset]})
    go_to("what-if")


def _evidence() -> None:
    frame = _published()
    first, second, third = st.columns(3)
    axis = first.selectbox("Kept", [name for name in AXES if (frame["axis"] == name).any()], key="l.axis", format_func=lambda name: name.replace("_", " "), bind="query-params")
    task = second.selectbox("Task", [ANY, *TASKS], key="l.task", bind="query-params")
    some = frame[(frame["axis"] == axis) & ((frame["task_class"] == task) | (task == ANY))]
    methods = third.multiselect("Methods", sorted(some["technique"].unique()), key="l.method", placeholder="all", wrap=True, bind="query-params")
    if methods:
        some = some[some["technique"].isin(methods)]
    if some.empty:
        st.info("Nobody published figures for this choice.", icon=":material/science:")
        return
    figure = kept_accuracy(some, axis, mode())
    chart(figure, "evidence", "Accuracy retained against what is kept")
    st.caption(f"{len(some)} published results of {some['entry'].nunique()} papers; every point names its source. Fidelity on What if is predicted from these.")
    st.download_button("CSV", lambda: some.to_csv(index=False), "evidence.csv", "text/csv", key="evidence-csv", on_click="ignore", icon=":material/download:")
