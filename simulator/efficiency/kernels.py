"""Seconds of a kernel on a chip: the fit that was chosen, its form, its table, its floor and its band.

Every argument may be a number or an array. Methods take the chip first, because its figures may differ from those the
fit was made on (a counterfactual bandwidth): efficiencies stay with the device's name, rates come from the chip.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from simulator.efficiency import attention_forms, cpu, forms
from simulator.efficiency.attention_forms import DECODE, PREFILL, separate
from simulator.efficiency.catalogue import FAMILY, VECTOR, Choice, choices
from simulator.efficiency.default import FORMS, default_fit
from simulator.efficiency.fits import Fit
from simulator.efficiency.grouped_forms import GROUPED
from simulator.efficiency.select import FUSED, ROOFLINES
from simulator.efficiency.timed import bare, copied, either, nearest_variant, padding, physical, rate, timed
from simulator.efficiency.weight_only import FORMS as UNPACKING
from simulator.efficiency.weight_only import unpacked, warp_rate, weight_only
from simulator.quantity import EVERYTHING, Numeric, is_array, maximum
from simulator.spec.hardware import Chip, Device
from simulator.timing import Time

# Static scales: activations leave the operator before in fp8, without a quantising kernel of their own.
FUSES_QUANTISATION = ("trtllm",)
_GEMMS = {"gemm": forms.gemm, "gemm_quantised": forms.gemm_quantised, "gemm_cpu": cpu.gemm}


@final
@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """Kernel times of one device under one engine. `fits`: (op, format) -> one fit per variant."""

    device: str
    engine: str
    fits: Choice
    pure: bool

    def gemm(
        self,
        chip: Chip,
        format: str,
        m: Numeric,
        n: Numeric,
        k: Numeric,
        copies: Numeric = 1.0,
        weight_bits: Numeric = 16.0,
        flops: Numeric = 0.0,
        bytes: Numeric = 0.0,
        footprint: Numeric = forms.COLD,
    ) -> Time:
        """`copies` products m x k times k x n. flops and bytes are totals, as really multiplied and moved."""
        peak = rate(chip, format)
        floor = physical(chip, peak, flops, bytes)
        if self.pure:
            return bare(chip, peak, flops, bytes)
        fit = self.fits["gemm", FAMILY.get(format, format)][0]
        shape = (flops, bytes, m, n, k, copies, footprint)
        wide, narrow = self._product(chip, fit, floor, peak, *shape), unpacked(chip, format, weight_bits)
        if fit.form not in UNPACKING or not (is_array(narrow) or narrow):
            return wide
        inside = self.engine in FUSED
        other = self._product(chip, weight_only(fit, inside), floor, warp_rate(chip, peak) if inside else peak, *shape)
        return either(narrow, other, wide)

    def _product(
        self, chip: Chip, fit: Fit, floor: Numeric, peak: Numeric, flops: Numeric, bytes: Numeric, m: Numeric, n: Numeric, k: Numeric,
        copies: Numeric, footprint: Numeric,
    ) -> Time:  # fmt: skip
        form, values = _GEMMS[fit.form], fit.values
        if fit.form == "gemm_quantised" and self.engine in FUSES_QUANTISATION and fit.framework != self.engine:
            values = (*values[:-2], 1e9, 0.0)
        terms = form(chip, values, peak, flops, bytes, m, n, k, copies, footprint)
        table = fit.table
        return timed(fit, terms, floor, 1.0 if table is None else table.factor(m, n, k))

    def grouped_gemm(
        self,
        chip: Chip,
        format: str,
        rows: Numeric,
        n: Numeric,
        k: Numeric,
        experts: Numeric,
        weight_bits: Numeric = 16.0,
        flops: Numeric = 0.0,
        bytes: Numeric = 0.0,
    ) -> Time:
        """`rows` routed rows over the `experts` they touch, each n x k."""
        peak = rate(chip, format)
        floor = physical(chip, peak, flops, bytes)
        if self.pure:
            return bare(chip, peak, flops, bytes)
        fit = self.fits["grouped_gemm", FAMILY.get(format, format)][0]
        shape = (flops, bytes, rows, n, k, experts, forms.COLD)
        wide, narrow = timed(fit, GROUPED[fit.form](chip, fit.values, peak, *shape), floor), unpacked(chip, format, weight_bits)
        if fit.form not in UNPACKING or not (is_array(narrow) or narrow):
            return wide
        inside = self.engine in FUSED
        other, reached = weight_only(fit, inside), warp_rate(chip, peak) if inside else peak
        return either(narrow, timed(other, GROUPED[other.form](chip, other.values, reached, *shape), floor), wide)

    def depthwise(self, chip: Chip, format: str, flops: Numeric, bytes: Numeric) -> Time:
        """A depth-wise convolution."""
        peak = rate(chip, format)
        if self.pure:
            return bare(chip, peak, flops, bytes)
        fit = self.fits["depthwise", FAMILY.get(format, format)][0]
        terms = forms.roofline(chip, fit.values, peak, flops, bytes)
        return timed(fit, terms, physical(chip, peak, flops, bytes))

    def encoder_attention(
        self,
        chip: Chip,
        format: str,
        batch: Numeric,
        heads: Numeric,
        kv_heads: Numeric,
        head_dim: Numeric,
        query: Numeric,
        context: Numeric,
        flops: Numeric,
        bytes: Numeric,
    ) -> Time:
        """Non-causal attention; flops by the pairs really attended, so a windowed layer passes fewer."""
        peak = rate(chip, format)
        floor = physical(chip, peak, flops, bytes)
        if self.pure:
            return bare(chip, peak, flops, bytes)
        fit = nearest_variant(self.fits["encoder_attention", FAMILY.get(format, format)], head_dim)
        if fit.form == "eager_cpu":
            return timed(fit, cpu.eager(chip, fit.values, peak, head_dim, flops / head_dim), floor)
        if fit.form == "attention_cpu":
            return timed(fit, cpu.attention(chip, fit.values, peak, flops, bytes, head_dim, query), floor)
        terms = attention_forms.encoder(chip, fit.values, peak, flops * padding(fit, head_dim), bytes, batch, heads, query)
        return timed(fit, terms, floor, 1.0 if fit.table is None else fit.table.factor(query, batch * heads))

    def prefill_attention(
        self,
        chip: Chip,
        format: str,
        batch: Numeric,
        heads: Numeric,
        kv_heads: Numeric,
        head_dim: Numeric,
        query: Numeric,
        context: Numeric,
        flops: Numeric,
        bytes: Numeric,
    ) -> Time:
        """Causal attention over a prompt; flops by the pairs really attended."""
        peak = rate(chip, format)
        floor = physical(chip, peak, flops, bytes)
        if self.pure:
            return bare(chip, peak, flops, bytes)
        fit = nearest_variant(self.fits["prefill_attention", FAMILY.get(format, format)], head_dim)
        if fit.form == "eager_cpu":
            square = query * context / (query * context - query * (query - 1.0) / 2.0)  # computed whole, then masked
            return timed(fit, cpu.eager(chip, fit.values, peak, head_dim, flops * square / head_dim), floor)
        if fit.form == "attention_cpu":
            return timed(fit, cpu.attention(chip, fit.values, peak, flops, bytes, head_dim, query), floor)
        terms = PREFILL[fit.form](chip, fit.values, peak, flops * padding(fit, head_dim), bytes, batch, heads, kv_heads, query)
        table = fit.table
        return timed(fit, terms, floor, 1.0 if table is None else table.factor(query, batch * heads, heads / kv_heads))

    def decode_attention(
        self,
        chip: Chip,
        format: str,
        batch: Numeric,
        heads: Numeric,
        kv_heads: Numeric,
        head_dim: Numeric,
        query: Numeric,
        context: Numeric,
        flops: Numeric,
        bytes: Numeric,
        footprint: Numeric = forms.COLD,
        window: Numeric = EVERYTHING,
        narrow: Numeric = 0.0,
    ) -> Time:
        """A few queries per sequence against a long context; bytes as stored, so a quantised cache passes fewer.

        window: keys that the layer sees at most (`context`, flops and bytes are within it already). narrow: 1 where the whole
        cache is in 8 bits with one scale, for which fused engines have kernels of their own."""
        peak = rate(chip, format)
        floor = physical(chip, peak, flops, bytes)
        if self.pure:
            return bare(chip, peak, flops, bytes)
        fit = nearest_variant(self.fits["decode_attention", FAMILY.get(format, format)], head_dim)
        shape = (bytes, batch * query, heads, kv_heads, context, footprint, window)
        wide = self._decoding(chip, fit, floor, peak, flops, *shape)
        if format != "bf16" or self.engine not in FUSED or not np.any(narrow):
            return wide
        other = nearest_variant(self.fits["decode_attention", "fp8"], head_dim)
        return wide if other.variant != fit.variant else either(narrow, self._decoding(chip, other, floor, peak, flops, *shape), wide)

    def _decoding(
        self, chip: Chip, fit: Fit, floor: Numeric, peak: Numeric, flops: Numeric, bytes: Numeric, batch: Numeric, heads: Numeric,
        kv_heads: Numeric, context: Numeric, footprint: Numeric, window: Numeric,
    ) -> Time:  # fmt: skip
        if fit.form == "roofline":
            return timed(fit, forms.roofline(chip, fit.values, peak, flops, bytes), floor)
        form, values, table = fit.form, fit.values, fit.table
        # Not the paged call: keys are split whatever the heads share, and those of a head lie together.
        if form == "decode_swapped" and self.engine not in FUSED:
            form, values, table = "decode", (*values[:14], 0.0), None
        terms = DECODE[form](chip, values, bytes, batch, heads, kv_heads, context, footprint, window)
        of = separate(form, heads, kv_heads, window)
        return timed(fit, terms, floor, 1.0 if table is None else table.factor(context, batch * of, heads / of))

    def unsplit_attention(
        self, chip: Chip, format: str, batch: Numeric, heads: Numeric, head_dim: Numeric, query: Numeric, context: Numeric,
        flops: Numeric, bytes: Numeric,
    ) -> Time:  # fmt: skip
        """A few queries against a long context where one block of threads walks all keys of a head (no split-KV)."""
        peak = rate(chip, format)
        if self.pure:
            return bare(chip, peak, flops, bytes)
        fit = self.fits["unsplit_attention", FAMILY.get(format, format)][0]
        terms = attention_forms.unsplit(chip, fit.values, bytes, batch * heads, head_dim, query, context)
        return timed(fit, terms, physical(chip, peak, flops, bytes))

    def mla_decode(self, chip: Chip, format: str, flops: Numeric, bytes: Numeric) -> Time:
        """Decoding against one latent per token (absorbed MLA)."""
        peak = rate(chip, format)
        if self.pure:
            return bare(chip, peak, flops, bytes)
        fit = self.fits["mla_decode", FAMILY.get(format, format)][0]
        terms = forms.roofline(chip, fit.values, peak, flops, bytes)
        return timed(fit, terms, physical(chip, peak, flops, bytes))

    def elementwise(self, chip: Chip, kind: str, bytes: Numeric) -> Time:
        """norm | layer_norm | activation | gelu | rope | add | softmax | gather | topk | quantise | embedding | sample | copy."""
        if self.pure:
            return bare(chip, chip.vector_flops, 0.0 * bytes, bytes)
        if kind not in FORMS:
            default_fit(kind, "bf16")
        fit = self.fits[kind, "bf16"][0]
        return timed(fit, forms.stream(chip, fit.values, bytes), maximum(bytes - chip.l2_bytes, 0.0) / chip.bandwidth)

    def strided(self, chip: Chip, elements: Numeric, bytes: Numeric) -> Time:
        """A copy that writes `elements` of 16 bits one by one (torch.cat, expanded heads made contiguous)."""
        if self.pure:
            return bare(chip, chip.vector_flops, 0.0 * bytes, bytes)
        fit = self.fits["strided", "bf16"][0]
        return timed(fit, forms.strided(chip, fit.values, elements, bytes), maximum(bytes - chip.l2_bytes, 0.0) / chip.bandwidth)

    def all_reduce(self, chip: Chip, bytes: Numeric, devices: Numeric) -> Time:
        """`bytes` per device summed over `devices`: a ring moves 2 (n-1)/n of them."""
        return self._collective(chip, "all_reduce", 2.0 * bytes * (devices - 1.0) / devices, devices)

    def all_gather(self, chip: Chip, bytes: Numeric, devices: Numeric) -> Time:
        """`bytes` in all, gathered from shares on every device."""
        return self._collective(chip, "all_gather", bytes * (devices - 1.0) / devices, devices)

    def all_to_all(self, chip: Chip, bytes: Numeric, devices: Numeric) -> Time:
        """`bytes` per device, all but one share sent away."""
        return self._collective(chip, "all_to_all", bytes * (devices - 1.0) / devices, devices)

    def send(self, chip: Chip, bytes: Numeric, devices: Numeric = 2.0) -> Time:
        """`bytes` from one device to its neighbour."""
        return self._collective(chip, "send", bytes, devices)

    def _collective(self, chip: Chip, op: str, wire: Numeric, devices: Numeric) -> Time:
        link = chip.between(devices, op != "all_to_all")
        if self.pure:
            return copied(link, "ideal", wire, True)
        fit = self.fits[op, "bf16"][0]
        terms = forms.NETWORK[fit.form](fit.values, wire, link.bandwidth, devices)
        return timed(fit, terms, wire / link.bandwidth, 1.0 if fit.table is None else fit.table.factor(wire, devices))

    def copy(self, chip: Chip, link: str, bytes: Numeric) -> Time:
        """A copy over `host`, `pcie`, `scale_up` or within `memory` (read and written)."""
        if link == "memory":
            return self.elementwise(chip, "copy", 2.0 * bytes)
        item = {"host": chip.host, "pcie": chip.pcie, "scale_up": chip.scale_up or chip.pcie}.get(link)
        if item is None:
            raise ValueError(f"link: {link!r} is not known; known: host, pcie, scale_up, memory")
        if link == "host" and not self.pure:
            fit = self.fits["host_copy", "bf16"][0]
            if fit.source != "default":
                return timed(fit, forms.collective(fit.values, bytes, item.bandwidth, 2.0), bytes / item.bandwidth)
        return copied(item, f"default/copy_{link}", bytes, self.pure)

    def validated_error(self, op: str, format: str = "bf16") -> float:
        """Mean absolute error, as a fraction, that the fit of an op was validated at on shapes it had not seen."""
        return self._fit(op, format).error

    def ratio_spread(self, op: str, format: str = "bf16") -> float:
        """80 % log half-width of the ratio of two neighbouring shapes timed by the same fit."""
        return self._fit(op, format).ratio

    def _fit(self, op: str, format: str) -> Fit:
        if self.pure:
            return default_fit(op, format)
        return self.fits[op, "bf16" if op in VECTOR else FAMILY.get(format, format)][0]


def kernels_for(
    device: Device | Chip,
    engine: str,
    version: str | None = None,
    folder: Path | None = None,
    alone: bool = False,
) -> Kernels:
    """The kernels of a device under an engine (`ideal` and `survey`: the bare roofline).

    version: a framework version to prefer; else the newest. folder: fits other than the shipped ones. alone: as if the
    device had never been measured (to validate the transfer).
    """
    chip = device.chip if isinstance(device, Device) else device
    if engine in ROOFLINES:
        return Kernels(chip.name, engine, {}, True)
    return Kernels(chip.name, engine, choices(chip, engine, version, folder, alone), False)
