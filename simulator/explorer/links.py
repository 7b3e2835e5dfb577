"""From one page to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

_NEXT = "next page"


def go_to(path: str) -> None:
    """Ask for a page; to be called from a callback."""
    if path:
        st.session_state[_NEXT] = path


def follow(pages: Mapping[str, Any]) -> None:
    """Go where a callback asked to go; called by the app once the widgets are drawn."""
    path = st.session_state.pop(_NEXT, "")
    if path:
        st.switch_page(pages[path])
