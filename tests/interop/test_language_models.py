"""Configurations of language models as published: exactly as many parameters as their weights have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.build.count import parameters
from simulator.interop.hf_config import import_config
from simulator.spec.yaml import read_yaml

FILES: dict[str, Any] = read_yaml(Path(__file__).with_name("language_models.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_parameters(name: str) -> None:
    model = import_config(FILES[name]["config"], name)
    assert model.vision is None
    assert parameters(model)["total"] == FILES[name]["parameters"]
