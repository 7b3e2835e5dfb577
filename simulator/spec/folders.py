"""Where the shipped data lies: beside the package in a checkout, inside it in a wheel, or where `LVLM_SIM_DATA` is."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from simulator.spec.source import SpecError

VARIABLE = "LVLM_SIM_DATA"
PACKAGE = Path(__file__).resolve().parent.parent


def data_folder(kind: str) -> Path:
    """Folder of one kind of data, `hardware_profiles` or `models`.

    `LVLM_SIM_DATA` names a folder that holds them all and, where set, is the only one looked at. Otherwise the
    copy inside an installed wheel, or (in a checkout, which has no such copy) the folder beside the package.
    """
    return resolve(kind, os.environ.get(VARIABLE, ""))


@lru_cache(maxsize=64)
def resolve(kind: str, override: str) -> Path:
    """`data_folder` with the variable's value given; cached."""
    if override:
        folder = Path(override) / kind
        if not folder.is_dir():
            raise SpecError(f"{VARIABLE}: {override!r} has no folder {kind!r}; name one that has, or unset it")
        return folder
    inside, beside = PACKAGE / "_data" / kind, PACKAGE.parent / kind
    if inside.is_dir():  # an installed wheel; its neighbours in site-packages are strangers
        return inside
    if beside.is_dir():
        return beside
    raise SpecError(f"{kind}: no such data folder; looked at {beside} and {inside}; set {VARIABLE}")
