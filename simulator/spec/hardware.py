"""Devices, links and clusters as a datasheet states them.

A profile is one YAML file in `hardware_profiles/`. Every figure names an entry of the profile's own `sources` table.
`Device.chip()` turns the profile into plain numbers for the core.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from simulator.quantity import Numeric, minimum, where
from simulator.spec.source import Source, Spec

Format = Literal["fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"]
BITS: dict[str, int] = {"fp32": 32, "tf32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "fp4": 4, "int4": 4}


_ABOVE_ZERO = ("vector_flops", "memory_bytes", "memory_bandwidth", "l2_bytes", "l2_bandwidth", "sms", "clock_hz", "tdp_w")


class Figure(Spec):
    """A value in SI units and the key of its source."""

    value: float = Field(ge=0, allow_inf_nan=False)
    source: str


class Link(Spec):
    """A connection. bandwidth: per device and direction [byte/s]; latency: one small message [s]."""

    name: str
    bandwidth: Figure
    latency: Figure


class Device(Spec):
    """One accelerator.

    peak: dense multiply rate per format [FLOP/s, 2 per multiply-accumulate], without sparsity. A format that is absent
    is not supported by the chip: `runs_as` names the format it really runs in (fp8 on A100 runs as bf16).
    vector_flops: non-tensor fp32 rate [FLOP/s]. memory_bytes [byte] and memory_bandwidth [byte/s] of the main memory.
    l2_bytes [byte], l2_bandwidth [byte/s]: last-level cache. sms: streaming multiprocessors, compute units or cores.
    clock_hz: boost [Hz]. tdp_w, idle_w [W]. price_per_hour [USD/h]. scale_up: device-to-device link (null: none),
    pcie: through the host, host: host memory to device. max_devices: so many share the scale_up link. fits: folder of fits made of this very device (relative to the
    profile's file), looked at before the shipped ones.
    """

    name: str
    title: str
    vendor: str
    architecture: str
    year: int
    sources: dict[str, Source]
    peak: dict[Format, Figure]
    runs_as: dict[Format, Format] = {}
    vector_flops: Figure
    memory_bytes: Figure
    memory_bandwidth: Figure
    l2_bytes: Figure
    l2_bandwidth: Figure
    sms: Figure
    clock_hz: Figure
    tdp_w: Figure
    idle_w: Figure
    price_per_hour: Figure
    scale_up: Link | None = None
    pcie: Link
    host: Link
    max_devices: int = Field(default=8, ge=1)
    fits: str = ""
    notes: str = ""

    @model_validator(mode="after")
    def _sources_exist(self) -> Device:
        for name, value in self:
            figures = value.values() if isinstance(value, dict) and name == "peak" else (value,)
            for item in figures:
                links = (item.bandwidth, item.latency) if isinstance(item, Link) else (item,)
                for figure in links:
                    if isinstance(figure, Figure) and figure.source not in self.sources:
                        raise ValueError(f"{name}: source {figure.source!r} is not in sources ({', '.join(self.sources)})")
        return self

    @model_validator(mode="after")
    def _physical(self) -> Device:
        rates = {name: getattr(self, name) for name in _ABOVE_ZERO} | {f"peak.{name}": figure for name, figure in self.peak.items()}
        links = {"scale_up": self.scale_up, "pcie": self.pcie, "host": self.host}
        rates |= {f"{name}.bandwidth": link.bandwidth for name, link in links.items() if link is not None}
        for name, figure in rates.items():
            if figure.value < 1.0:
                raise ValueError(f"{name}: {figure.value:g} is not accepted; at least 1, in SI units")
        if self.idle_w.value > self.tdp_w.value:
            raise ValueError(f"idle_w: {self.idle_w.value:g} is not accepted; at most tdp_w, {self.tdp_w.value:g}")
        lower: dict[str, str] = {str(name): str(real) for name, real in self.runs_as.items()}
        for name in BITS:
            real = name if name in self.peak else lower.get(name)
            if real not in self.peak:
                raise ValueError(f"runs_as.{name}: {real!r} is not accepted; a format with a peak: {', '.join(self.peak) or 'none is given'}")
        return self

    def assumed(self) -> tuple[str, ...]:
        """Names of the figures that nobody measured or published."""
        return self._assumed

    @cached_property
    def _assumed(self) -> tuple[str, ...]:
        figures: dict[str, Figure] = {}
        for name, value in self:
            if isinstance(value, Figure):
                figures[name] = value
            elif isinstance(value, Link):
                figures |= {f"{name}.bandwidth": value.bandwidth, f"{name}.latency": value.latency}
        figures |= {f"peak.{name}": figure for name, figure in self.peak.items()}
        return tuple(name for name, figure in figures.items() if self.sources[figure.source].kind == "assumed")

    @cached_property
    def chip(self) -> Chip:
        """Plain numbers for the core."""

        def link(item: Link | None) -> ChipLink | None:
            return None if item is None else ChipLink(item.name, item.bandwidth.value, item.latency.value)

        pcie, host = link(self.pcie), link(self.host)
        assert pcie is not None and host is not None
        return Chip(
            name=self.name,
            architecture=self.architecture,
            peak={str(key): figure.value for key, figure in self.peak.items()},
            runs_as={str(key): str(value) for key, value in self.runs_as.items()},
            vector_flops=self.vector_flops.value,
            memory_bytes=self.memory_bytes.value,
            bandwidth=self.memory_bandwidth.value,
            l2_bytes=self.l2_bytes.value,
            l2_bandwidth=self.l2_bandwidth.value,
            sms=self.sms.value,
            clock_hz=self.clock_hz.value,
            tdp_w=self.tdp_w.value,
            idle_w=self.idle_w.value,
            price_per_hour=self.price_per_hour.value,
            scale_up=link(self.scale_up),
            pcie=pcie,
            host=host,
            max_devices=self.max_devices,
            fits=self.fits,
        )


@dataclass(frozen=True, slots=True)
class ChipLink:
    """bandwidth [byte/s, one direction, per device], latency [s]."""

    name: str
    bandwidth: Numeric
    latency: Numeric


@dataclass(frozen=True, slots=True)
class Chip:
    """A device as numbers; any may be an array, so hardware itself can be an axis."""

    name: str
    architecture: str
    peak: dict[str, Numeric]
    runs_as: dict[str, str] = field(hash=False)
    vector_flops: Numeric
    memory_bytes: Numeric
    bandwidth: Numeric
    l2_bytes: Numeric
    l2_bandwidth: Numeric
    sms: Numeric
    clock_hz: Numeric
    tdp_w: Numeric
    idle_w: Numeric
    price_per_hour: Numeric
    scale_up: ChipLink | None
    pcie: ChipLink
    host: ChipLink
    max_devices: int = 8
    fits: str = ""

    def between(self, devices: Numeric, ring: bool = True) -> ChipLink:
        """The link by which each of so many devices talks to the others.

        Beyond the `max_devices` of one scale_up domain, traffic leaves by the devices' own ports: a ring by all of a domain's at a time
        (NCCL lays as many rings), an exchange of everyone with everyone by one.
        """
        near, far = self.scale_up, self.pcie
        if near is None:
            return far
        ports = self.max_devices if ring else 1
        return replace(near, bandwidth=where(devices <= self.max_devices, near.bandwidth, minimum(near.bandwidth, ports * far.bandwidth)))

    def executed_format(self, format: str) -> str:
        """The format a multiplication in `format` really runs in on this chip."""
        if format in self.peak:
            return format
        if format in self.runs_as:
            return self.runs_as[format]
        raise ValueError(f"format: {self.name} cannot multiply in {format!r}; it has {', '.join(self.peak)}")
