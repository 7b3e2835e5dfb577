"""Values given to widgets by code, so that they reach the address of the page too.

A value given to a widget that is not there yet does not reach the address; given once more, after it was drawn, it does.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

_SET, _AGAIN = "set from code", "set again"


def assign(values: dict[str, Any]) -> None:
    """Give widgets these values, and the address with them. To be called from a callback."""
    st.session_state.update(values)
    st.session_state[_SET] = values


def assigned() -> None:
    """The second giving; before the widgets are drawn."""
    st.session_state.update(st.session_state.pop(_AGAIN, {}))


def repeat() -> None:
    """Where something was given for the first time, start over; after the widgets are drawn."""
    if _SET in st.session_state:
        st.session_state[_AGAIN] = st.session_state.pop(_SET)
        st.rerun()
