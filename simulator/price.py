"""Joules and dollars: power between idle and TDP by achieved compute and bandwidth; money by the hour.

The power model is P = idle + (TDP - idle) min(1, base + c u_compute + m u_memory), with u the share of datasheet peaks that
is achieved. Its coefficients are assumed, set so that a compute-bound GEMM draws TDP and a bandwidth-bound decode about
60-70 % of it, as vendor tools commonly show; take energies as good to about 30 %.
"""

from __future__ import annotations

from simulator.quantity import Numeric, maximum, minimum
from simulator.spec.hardware import Chip

BASE, COMPUTE, BANDWIDTH = 0.20, 0.90, 0.50
ERROR = 0.3
POWERS = ("on", "compute", "moving")
"""What a device draws power for; each share is known to about ERROR."""


def watts(chip: Chip, seconds: Numeric, compute_floor: Numeric, bytes: Numeric) -> tuple[Numeric, Numeric, Numeric]:
    """Mean power of one device [W] while it is busy for `seconds` with that work: of being on, of computing, of moving bytes."""
    safe = maximum(seconds, 1e-12)
    compute = COMPUTE * minimum(compute_floor / safe, 1.0)
    moving = BANDWIDTH * minimum(bytes / chip.bandwidth / safe, 1.0)
    scale = (chip.tdp_w - chip.idle_w) / maximum(BASE + compute + moving, 1.0)
    return chip.idle_w + scale * BASE, scale * compute, scale * moving


def dollars(seconds: Numeric, price_per_hour: Numeric, devices: Numeric) -> Numeric:
    """Rent of the devices for that time [USD]."""
    return seconds / 3600.0 * price_per_hour * devices
