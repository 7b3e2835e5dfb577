"""Published files with one field spoilt, at any depth: read, or refused in one line."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.build.count import parameters
from simulator.interop.hf_config import import_config
from simulator.spec.source import SpecError
from simulator.spec.yaml import read_yaml

HERE = Path(__file__).parent
FILES: dict[str, Any] = read_yaml(HERE / "own_code.yaml") | read_yaml(HERE / "published.yaml")
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**13),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(-2, 9), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2),
)


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_spoilt_file_is_refused_in_one_line_or_read(data: st.DataObject) -> None:
    config = copy.deepcopy(FILES[data.draw(st.sampled_from(sorted(FILES)))]["config"])
    part = config
    while True:
        key = data.draw(st.sampled_from(sorted(part)))
        if not isinstance(part[key], dict) or not part[key] or data.draw(st.integers(0, 4)) == 0:
            break
        part = part[key]
    if data.draw(st.integers(0, 3)) == 0:
        del part[key]
    else:
        part[key] = data.draw(ODD)
    try:
        model = import_config(config, "spoilt")
    except SpecError as error:
        assert "\n" not in str(error) and len(str(error)) < 600
    else:
        assert parameters(model)["total"] > 0
