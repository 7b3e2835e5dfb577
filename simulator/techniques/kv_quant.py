"""KV quantisation: keys and values stored in fewer bits, the newest ones in full; traffic falls only with a fused kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from simulator import budgets
from simulator.attention import Attention
from simulator.ops import AbstractOp, Elementwise
from simulator.overheads import reduces, rows
from simulator.program import Extra, Layer, Program, edit, on_ops
from simulator.quantity import Numeric, maximum, where
from simulator.technique import About, AbstractTechnique, Context, Site, parameter

SCALES = 32.0  # bits of scale and zero point per group, 16 each
UNPACK = 8.0  # vector FLOPs (2 an instruction) per element below a byte: shift, mask, convert, multiply-add
CONVERT = 2.0  # the same for a width the chip converts by itself


@final
@dataclass(frozen=True)
class KvQuant(AbstractTechnique):
    """Widths of K and V. The defaults are KIVI's (arXiv 2402.02750). Widths below 2 bits are effective widths, as stored."""

    about: ClassVar[About] = About(
        title="KV cache quantisation",
        site=Site.KV_BITS,
        family="kv_quant",
        entry="kivi",
        axis="bits",
        engines={
            "vllm": ("runs", "docs of 0.5.0: --kv-cache-dtype fp8; source of 0.28.0: int4 and int8 per token and head on its Triton attention, turboquant of 3 to 8 bits, nvfp4; 0.11.0 had FP8 only"),
            "sglang": ("runs", "source of 0.5.1: --kv-cache-dtype fp8_e5m2, fp8_e4m3; of 0.5.5: fp4_e2m1, which 0.5.23 calls fp4_mx_block16, beside nvfp4; docs: only attention backends with a fused kernel keep their speed"),
            "trtllm": ("runs", "docs of 1.0: FP8; of 1.3: NVFP4; INT8 in the older TensorRT backend only"),
            "hf-flash": ("runs", "source of transformers 4.42.4 (not in 4.41.2): QuantizedCache by HQQ or quanto; its docs: it saves memory, not time"),
            "hf-sdpa": ("runs", "source of transformers 4.42.4 (not in 4.41.2): QuantizedCache by HQQ or quanto; its docs: it saves memory, not time"),
        },
    )

    bits: Numeric = parameter(2.0, "width of keys and values without metadata", unit="bit", low=1.0, high=16.0)
    k_bits: Numeric = parameter(0.0, "width of keys (0: as bits)", unit="bit", low=0.0, high=16.0)
    v_bits: Numeric = parameter(0.0, "width of values (0: as bits)", unit="bit", low=0.0, high=16.0)
    group: Numeric = parameter(32.0, "elements that share a scale and a zero point (0: one for all)", unit="elements", low=0.0)
    residual: Numeric = parameter(128.0, "newest tokens kept in full", unit="tokens", low=0.0)
    fused: bool = parameter(True, "the attention kernel reads packed keys (false: expanded to full width first)", kind="flag")

    def widths(self) -> tuple[Numeric, Numeric]:
        """Stored bits per element of K and V, metadata included."""
        shared = where(self.group > 0.0, SCALES / maximum(self.group, 1.0), 0.0)

        def stored(own: Numeric) -> Numeric:
            bits = where(own > 0.0, own, self.bits)
            return where(bits < 16.0, bits + shared, 16.0)

        return stored(self.k_bits), stored(self.v_bits)

    def apply(self, program: Program, context: Context) -> Program:
        k_bits, v_bits = self.widths()
        packed = where(k_bits + v_bits < 32.0, 1.0, 0.0)
        k_unpack, v_unpack = (where(bits < 8.0, UNPACK, CONVERT) * packed for bits in (k_bits, v_bits))
        extras: list[Extra] = []

        def narrower(op: AbstractOp) -> AbstractOp:
            return replace(op, k_bits=k_bits, v_bits=v_bits, residual=self.residual, k_unpack=k_unpack, v_unpack=v_unpack) if isinstance(op, Attention) else op

        narrow = on_ops(narrower)

        def change(layer: Layer) -> Layer:
            if layer.cache is None or budgets.attention_of(layer) is None:
                return layer
            cache = replace(layer.cache, k_bits=k_bits, v_bits=v_bits, residual=self.residual, fused=self.fused)
            changed = replace(layer, cache=cache)
            extras.extend(self._passes(program, changed))
            if not self.fused:
                return changed
            return replace(changed, decode=narrow(layer.decode))

        decoder = replace(program.decoder, layers=edit(program.decoder.layers, change))
        notes = ("kv_quant: unpacking takes 4 vector instructions per element below 8 bits, 1 from there on (assumed)",)
        notes = notes if reduces(self.kept(program)) else ()
        return replace(program, decoder=decoder, extras=(*program.extras, *extras), assumptions=program.assumptions + notes)

    def _passes(self, program: Program, layer: Layer) -> list[Extra]:
        """Packing at the end of prefill, and unpacking in every step where the attention kernel cannot."""
        cache, batch = layer.cache, program.batch
        assert cache is not None
        packed = where(cache.k_bits + cache.v_bits < 32.0, layer.count, 0.0)
        full = cache.key_width + cache.value_width
        small = (cache.key_width * cache.k_bits + cache.value_width * cache.v_bits) / 16.0
        pack = Elementwise("kv_quant pack", "quantise", read=full, write=small)
        out = [Extra("kv_quant pack", "prefill", pack, rows(batch, budgets.resident(program, layer).total, "prefill"), packed)]
        if not self.fused:
            unpack = Elementwise("kv_quant unpack", "quantise", read=small, write=full)
            shape = rows(batch, self._narrow(program, layer), "decode")
            out.append(Extra("kv_quant unpack", "decode", unpack, shape, packed, per_step=True))
        return out

    def _narrow(self, program: Program, layer: Layer) -> Numeric:
        """Packed tokens of a sequence in the middle of the answer."""
        grown = program.output / 2.0 * (layer.cache.text if layer.cache else 0.0)
        return maximum(budgets.resident(program, layer).total + grown - self.residual, 0.0)

    @classmethod
    def neutral(cls) -> KvQuant:
        return cls(bits=16.0)

    def kept(self, program: Program) -> Numeric:
        k_bits = where(self.k_bits > 0.0, self.k_bits, self.bits)
        v_bits = where(self.v_bits > 0.0, self.v_bits, self.bits)
        return (k_bits + v_bits) / 32.0
