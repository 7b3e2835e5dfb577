"""A fit: the parameters of one kernel family on one device, in one format, under one framework and version.

Fits live in `hardware_profiles/fitted/<device>/*.yaml`, written by `python -m calibrate fit`; nothing here computes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np

from simulator.efficiency.bands import REGIONS, Bands
from simulator.efficiency.forms import PARAMETERS
from simulator.efficiency.table import Table, table_of
from simulator.spec.folders import data_folder
from simulator.spec.source import SpecError
from simulator.spec.yaml import read_yaml


@final
@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """One fitted kernel model.

    variant: what else selects the kernel (`head_dim=72`, an element-wise kind, a number of devices), or "".
    values: the form's parameters in the order of `forms.PARAMETERS`. error, median: held-out mean and median absolute
    percentage error as fractions; ratio: 80 % log half-width of the ratio of two neighbouring shapes. figures: the
    datasheet the efficiencies refer to. rows: how many measurements it rests on.
    """

    id: str
    device: str
    architecture: str
    op: str
    format: str
    framework: str
    version: str
    variant: str
    form: str
    values: tuple[float, ...]
    bands: Bands
    source: str
    error: float
    median: float
    ratio: float
    table: Table | None
    figures: Mapping[str, float]
    rows: int


def read_fit(path: Path) -> Fit:
    """One YAML file to a `Fit`; a file that does not hold together is refused by name."""
    raw = read_yaml(path)
    try:
        names = PARAMETERS[raw["form"]]
        values = tuple(float(raw["parameters"][name]["value"]) for name in names)
        bands = Bands(
            tuple(float(raw["bands"][name][0]) for name in REGIONS), tuple(float(raw["bands"][name][1]) for name in REGIONS)
        )
        return Fit(
            id=raw["id"],
            device=raw["device"],
            architecture=raw["architecture"],
            op=raw["op"],
            format=raw["format"],
            framework=raw["framework"],
            version=str(raw["version"]),
            variant=raw.get("variant", ""),
            form=raw["form"],
            values=values,
            bands=bands,
            source=raw["source"],
            error=float(raw["held_out"]["mape"]),
            median=float(raw["held_out"]["median"]),
            ratio=float(raw["held_out"]["ratio"]),
            table=_read_table(raw.get("table")),
            figures={key: float(value) for key, value in raw["figures"].items()},
            rows=int(raw["rows"]["count"]),
        )
    except (KeyError, TypeError) as error:
        raise SpecError(f"{path.name}: field {error} is missing or malformed; write it with `calibrate fit`") from error


def _read_table(raw: dict[str, Any] | None) -> Table | None:
    """Rows of whole thousandths of log correction, the last axis along a row."""
    if raw is None:
        return None
    knots = [[float(np.log2(x)) for x in raw["knots"][name]] for name in raw["axes"]]
    flat = np.array([float(x) for row in raw["rows"] for x in str(row).split()]) * float(raw["unit"])
    shape = tuple(len(item) for item in knots)
    if flat.size != int(np.prod(shape)):
        raise SpecError(f"table: {flat.size} values, the knots ask for {int(np.prod(shape))}")
    return table_of(raw["axes"], knots, flat.reshape(shape))


@lru_cache(maxsize=4096)
def fits_of(device: str, op: str = "*", format: str = "*", folder: Path | None = None) -> tuple[Fit, ...]:
    """Every fit of one device (of one op and format, where given), in the order of the file names; none if never measured."""
    place = (folder or data_folder("hardware_profiles") / "fitted") / device
    return tuple(read_fit(path) for path in sorted(place.glob(f"{op}-{format}-*.yaml")))


@lru_cache(maxsize=8)
def fitted_devices(folder: Path | None = None) -> tuple[str, ...]:
    """Names of the devices that have fits."""
    place = folder or data_folder("hardware_profiles") / "fitted"
    return tuple(sorted({path.parent.name for path in place.glob("*/*.yaml")})) if place.is_dir() else ()
