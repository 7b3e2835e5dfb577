"""The Q-Former: a BERT of learned queries with cross-attention to the encoder in every so many layers (BLIP-2, 2023)."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.tower import grid_side
from simulator.spec.model import Projector, Step
from simulator.spec.source import SpecError


def q_former(top: Fields, vision: Fields, text: Fields) -> Projector:
    """`num_query_tokens` queries, then one matrix. InstructBLIP also owns the instruction's path: its embeddings and a second
    feed-forward part per layer; its rows (some tens of tokens) are not counted."""
    part = top.sub("qformer_config", "blip_2_qformer" if top.type == "blip-2" else "instructblip_qformer")
    hidden, width, heads = part.size("hidden_size"), part.size("intermediate_size"), part.size("num_attention_heads")
    layers, every = part.layers("num_hidden_layers"), part.size("cross_attention_frequency")
    encoder, eyes = part.size("encoder_hidden_size"), vision.size("hidden_size")
    if encoder != eyes:
        raise SpecError(
            f"{part.name('encoder_hidden_size')}: {encoder} is not accepted: the encoder's hidden_size is {eyes}"
        )
    if hidden % heads:
        raise SpecError(f"{part.name('num_attention_heads')}: {heads} is not accepted: it must divide {hidden}")
    crossed = -(-layers // every)
    owned = top.size("num_query_tokens") * hidden
    if top.type == "instructblip" or part.flag("use_qformer_text_input", False):
        owned += (part.size("vocab_size") + part.size("max_position_embeddings")) * hidden
        owned += layers * (2 * hidden * width + width + hidden + 2 * hidden)
    patches = grid_side(vision) ** 2

    def matrix(name: str, inputs: int, outputs: int, count: int) -> Step:
        return Step(op="linear", name=name, rows="tokens", inputs=inputs, outputs=outputs, bias=True, count=count)

    def normed(count: int) -> Step:
        return Step(op="norm", name="norm", rows="tokens", outputs=hidden, parameters=2 * hidden, count=count)

    size = hidden // heads
    keys = Step(
        op="linear",
        name="cross_kv",
        rows="patches",
        share=(patches + 1) / patches,
        inputs=encoder,
        outputs=2 * hidden,
        bias=True,
        count=crossed,
    )
    steps = (
        normed(1),
        matrix("qkv", hidden, 3 * hidden, layers),
        Step(op="attention", name="attention", rows="tokens", heads=heads, head_dim=size, keys="tokens", count=layers),
        matrix("o", hidden, hidden, layers),
        normed(layers),
        matrix("cross_q", hidden, hidden, crossed),
        keys,
        Step(op="attention", name="attention", rows="tokens", heads=heads, head_dim=size, count=crossed),
        matrix("cross_o", hidden, hidden, crossed),
        normed(crossed),
        matrix("up", hidden, width, layers),
        Step(op="activation", name="activation", rows="tokens", outputs=width, count=layers),
        matrix("down", width, hidden, layers),
        normed(layers),
        matrix("out", hidden, text.size("hidden_size"), 1),
    )
    return Projector(kind="q-former", steps=steps, other_parameters=owned)
