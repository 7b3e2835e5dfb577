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


def follow(pages: Mapping[str, Any], current: Any) -> None:
    """Offer the page that a callback asked for, until it is open; called by the app once the widgets are drawn.

    A link, as Streamlit refuses to switch pages by code while widgets are bound to the address."""
    path = st.session_state.get(_NEXT, "")
    if path and pages[path] is current:
        del st.session_state[_NEXT]
    elif path:
        st.page_link(pages[path], label=f"Loaded. Open {pages[path].title}", icon=":material/arrow_forward:")
