"""The explorer. Run with `streamlit run app.py`; pages are registered in `simulator.explorer.registry`."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from simulator.explorer.registry import PAGES, Entry
from simulator.explorer.sidebar import Choice, sidebar

st.set_page_config(page_title="LVLM simulator", page_icon=":material/speed:", layout="wide")

shared: dict[str, Choice] = {}


def opener(entry: Entry) -> Callable[[], None]:
    """The page as a callable that sees what the sidebar says."""

    def opened() -> None:
        entry.render(shared["choice"])

    return opened


page = st.navigation(
    [
        st.Page(opener(entry), title=entry.title, icon=entry.icon, url_path=entry.path, default=entry is PAGES[0])
        for entry in PAGES
    ],
    position="top",
)
shared["choice"] = sidebar()
page.run()
