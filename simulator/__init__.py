"""lvlm-simulator: what any mix of techniques costs a vision-language model on any hardware, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.bibliography import citation as citation
from simulator.efficiency import kernel_seconds as kernel_seconds
from simulator.presets import names as techniques
from simulator.request import Estimate as Estimate
from simulator.request import estimate as estimate
from simulator.spec.load_hardware import load_hardware as load_hardware
from simulator.spec.load_model import load_model as load_model
from simulator.spec.scenario import Scenario as Scenario
from simulator.spec.workload import Image as Image
from simulator.spec.workload import Video as Video
from simulator.spec.workload import Workload as Workload

if TYPE_CHECKING:
    from simulator.search import Space as Space
    from simulator.search import pareto as pareto
    from simulator.search import sweep as sweep

__all__ = [
    "Estimate",
    "Image",
    "Scenario",
    "Space",
    "Video",
    "Workload",
    "citation",
    "estimate",
    "kernel_seconds",
    "load_hardware",
    "load_model",
    "pareto",
    "sweep",
    "techniques",
]


def __getattr__(name: str) -> Any:
    """The search is imported when it is first asked for, so that one estimate stays quick to start."""
    if name in ("Space", "pareto", "sweep"):
        import simulator.search

        return getattr(simulator.search, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
