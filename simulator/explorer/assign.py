"""Values given to widgets by code, so that they reach the address of the page too.

Streamlit writes what code gives to a bound widget into the address only where that widget was drawn before, and a widget drawn
for the first time prefers what the address said when the page was opened. So the address of new widgets is written here, and
where one says otherwise after it was drawn, it is told once more. An empty list it leaves out of the address, as if it were at
its default: a parameter of its own says that nothing is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

_SET, _AGAIN = "set from code", "set again"


def assign(values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
    """Give widgets these values, and the address with them. To be called from a callback.

    defaults: of widgets that may not be there yet; a widget at its default leaves no trace in the address."""
    plain = defaults or {}
    new = {key: value for key, value in values.items() if key not in st.session_state and value != plain.get(key)}
    st.query_params.update({key: written(value) for key, value in new.items()})
    st.session_state.update(values)
    st.session_state[_SET] = dict(values)


def written(value: Any) -> str | list[str]:
    """A value as the address has it."""
    if isinstance(value, list | tuple):
        return [str(item) for item in value]
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def nothing(key: str, sign: str) -> None:
    """Let an address with `sign` open the list widget `key` empty; before it is drawn."""
    if sign in st.query_params and key not in st.session_state:
        st.session_state[key] = []


def signed(key: str, sign: str) -> None:
    """Put `sign` into the address where that list is empty and the address would not say so; after it was drawn."""
    if st.session_state[key]:
        st.query_params.pop(sign, None)
    elif not st.query_params.get_all(key):
        st.query_params[sign] = "none"


def assigned() -> None:
    """The second giving; before the widgets are drawn."""
    st.session_state.update(st.session_state.pop(_AGAIN, {}))


def repeat() -> None:
    """Start over where a widget says something else than it was given; after the widgets are drawn."""
    values = st.session_state.pop(_SET, {})
    if any(st.session_state.get(key, value) != value for key, value in values.items()):
        st.session_state[_AGAIN] = values
        st.rerun()
