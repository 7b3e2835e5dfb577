"""The explorer. Run with `streamlit run app.py`; pages are registered in `simulator.explorer.registry`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from simulator.explorer.address import note, tell
from simulator.explorer.links import follow
from simulator.explorer.parts import mode
from simulator.explorer.registry import PAGES, Entry
from simulator.explorer.sidebar import Choice, sidebar

ICON = Path(__file__).parent / "simulator" / "explorer" / "icon.png"
st.set_page_config(page_title="LVLM simulator", page_icon=str(ICON), layout="wide")

shared: dict[str, Choice] = {}


def opener(entry: Entry) -> Callable[[], None]:
    """The page as a callable that sees what the sidebar says."""

    def opened() -> None:
        entry.render(shared["choice"])

    return opened


pages = {
    entry.path: st.Page(opener(entry), title=entry.title, icon=entry.icon, url_path=entry.path, default=entry is PAGES[0])
    for entry in PAGES
}
page = st.navigation(list(pages.values()), position="top")
st.logo(str(ICON.with_name(f"logo-{mode()}.png")), size="large", icon_image=str(ICON))
note()
place = st.empty()
shared["choice"] = sidebar()
follow(pages, page)
page.run()
tell(page.url_path or PAGES[0].path, place)
