"""From one page to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

_PAGES = "pages by path"


def remember(pages: Mapping[str, Any]) -> None:
    """Tell where the pages are; called by the app."""
    st.session_state[_PAGES] = dict(pages)


def open_page(path: str) -> None:
    """Go to a page; nothing happens where a page is drawn outside the app."""
    page = st.session_state.get(_PAGES, {}).get(path)
    if page is not None:
        st.switch_page(page)
