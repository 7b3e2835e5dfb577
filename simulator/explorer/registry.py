"""The pages, in the order of the menu. A page is a module here with `render(choice)`; adding one is a file and a line."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import final

from simulator.explorer.sidebar import Choice


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """One page. path: its part of the address; module: where its `render` lives (loaded when the page is opened)."""

    title: str
    icon: str
    path: str
    module: str

    def render(self, choice: Choice) -> None:
        """Draw the page."""
        importlib.import_module(f"simulator.explorer.{self.module}").render(choice)


PAGES = (
    Entry("What if", ":material/compare_arrows:", "what-if", "what_if"),
    Entry("Compare", ":material/grid_view:", "compare", "compare"),
    Entry("Sweep", ":material/show_chart:", "sweep", "sweep"),
    Entry("Design space", ":material/scatter_plot:", "design-space", "design_space"),
    Entry("Interactions", ":material/hub:", "interactions", "interactions"),
    Entry("Calibration", ":material/straighten:", "calibration", "calibration"),
    Entry("Literature", ":material/menu_book:", "literature", "literature"),
)
