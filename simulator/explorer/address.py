"""What a link asked for and did not get: told once, in words, while the rest of the link is shown.

Streamlit drops what no widget takes without a word. The address is noted before the first widget is drawn, and held against
what the widgets say when the page is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import streamlit as st

from simulator.explorer.assign import written
from simulator.explorer.looks import CUSTOM, LOOKS
from simulator.explorer.workload_form import OWN
from simulator.figures import METRICS, words
from simulator.presets import names

PREFIXES = {"compare": "cmp.", "sweep": "s.", "design-space": "d.", "interactions": "i.", "calibration": "c.", "literature": "l."}
"""Page -> how its own parameters begin."""
SIGNS = {"techniques": "none"}
"""Parameters that are no widgets, with their only value."""
TITLES: dict[str, Callable[[Any], str]] = {
    "look": lambda name: LOOKS[name].title,
    **dict.fromkeys(("cmp.metric", "s.metric", "d.x", "d.y"), lambda name: METRICS[name].title),
    **dict.fromkeys(("s.x", "s.y"), words),
    "l.axis": lambda name: str(name).replace("_", " "),
}
"""Widgets whose options go by another name in the address than in the session."""
_ASKED, _UNHEARD = "asked", "unheard"


def note() -> None:
    """Keep what the address asks for; before the first widget, and only when the session is new."""
    if _ASKED not in st.session_state:
        st.session_state[_ASKED] = {key: st.query_params.get_all(key) for key in st.query_params}


def tell(path: str, place: Any) -> None:
    """Say in `place` what of the address was not heard, until the reader has seen it; after the page `path` was drawn."""
    if _UNHEARD not in st.session_state:
        state = {str(key): value for key, value in st.session_state.items()}
        st.session_state[_UNHEARD] = unheard(st.session_state[_ASKED], state, path)
    said = st.session_state[_UNHEARD]
    if said:
        with place.container():
            st.warning("Part of this link was not understood; the rest of it is shown.\n\n" + "\n".join(f"- {line}" for line in said), icon=":material/link_off:")
            st.button("Understood", key="understood", on_click=_dismiss)


def _dismiss() -> None:
    st.session_state[_UNHEARD] = []


def unheard(asked: Mapping[str, Sequence[str]], state: Mapping[str, Any], path: str) -> list[str]:
    """A sentence per parameter that did nothing: one that no widget has, or a value that its widget does not take."""
    said: list[str] = []
    for key, values in asked.items():
        if key in SIGNS:
            sentence = "" if values == [SIGNS[key]] else f"{_cut(f'{key}={values[-1]}')}: only {SIGNS[key]} is accepted"
        elif key in state:
            sentence = _refused(key, [value for value in values if value], state[key])
        else:
            sentence = _unknown(key, state, path)
        said += [sentence] if sentence else []
    return said


def _refused(key: str, values: list[str], value: Any) -> str:
    """Which of the values the widget, which now says `value`, did not take."""
    items = list(value) if isinstance(value, list | tuple) else [value]
    known = {_plain(text) for item in items for text in (written(item), TITLES.get(key, written)(item))}
    asked = values if isinstance(value, list | tuple) else values[-1:]
    lost = [item for item in asked if _plain(item) not in known]
    if not lost:
        return ""
    shown = ", ".join(str(TITLES.get(key, written)(item)) for item in items) or "nothing"
    return f"{_cut(f'{key}={chr(44).join(lost)}')}: not accepted; shown is {_cut(shown)}"


def _unknown(key: str, state: Mapping[str, Any], path: str) -> str:
    """Why no widget has that name; nothing where a widget of another page may."""
    foreign = [prefix for page, prefix in PREFIXES.items() if page != path]
    if key.startswith(tuple(foreign)):
        return ""
    kind = key.rpartition(".")[0]
    if kind in names():
        return f"{_cut(key)}: {kind} has no such parameter" if kind in state.get("with", []) else f"{_cut(key)}: {kind} is not among the techniques (with={kind})"
    if key in OWN:
        return f"{_cut(key)}: sizes count only with look={LOOKS[CUSTOM].title}, clips only where there are some"
    near = get_close_matches(key, [name for name in state if "." not in name or name.startswith(PREFIXES.get(path, "."))], 1, 0.5)
    return f"{_cut(key)}: no such parameter" + (f"; {near[0]} is one" if near else "")


def _plain(text: str) -> str:
    """Numbers and flags by their value."""
    try:
        return f"{float(text):.12g}"
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text


def _cut(text: str, width: int = 80) -> str:
    """As code in Markdown, and not longer than a line."""
    plain = text.replace("`", "'").replace("\n", " ")
    return f"`{plain if len(plain) <= width else plain[: width - 1] + '…'}`"
