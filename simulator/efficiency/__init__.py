"""How much of the datasheet a kernel reaches, and so how long it takes: fits, their choice, their bands."""

from simulator.efficiency.fits import Fit as Fit
from simulator.efficiency.kernel_seconds import KernelSeconds as KernelSeconds
from simulator.efficiency.kernel_seconds import kernel_seconds as kernel_seconds
from simulator.efficiency.kernels import Kernels as Kernels
from simulator.efficiency.kernels import kernels_for as kernels_for
