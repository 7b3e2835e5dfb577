"""InternLM-XComposer 2 and 2.5: CLIP, two layers, and matrices of low rank in every layer that visual tokens alone pass."""

from __future__ import annotations

from simulator.interop.hf.fields import Fields
from simulator.interop.hf.resampler import mlp
from simulator.interop.hf.text import language
from simulator.spec.model import Block, LanguageModel, LinearSpec, Projector


def text(fields: Fields, tied: bool) -> LanguageModel:
    """InternLM2 with partial LoRA (rank 256 in the published code) beside every matrix."""
    model = language(Fields(fields.data, fields.path, "internlm2", fields.assumed), tied)
    rank = fields.size("lora_r", 256)
    blocks = {name: _with_lora(block, model.hidden, rank) for name, block in model.stack.blocks.items()}
    return model.model_copy(update={"name": "internlm_xcomposer2", "stack": model.stack.model_copy(update={"blocks": blocks})})


def _with_lora(block: Block, hidden: int, rank: int) -> Block:
    attention, feed = block.attention, block.feed_forward
    assert attention is not None and feed is not None
    heads, wide = attention.heads * attention.head_dim, feed.width
    keys = 2 * attention.kv_heads * attention.head_dim
    sizes = {"qkv": (hidden, heads + keys), "o": (heads, hidden), "gate": (hidden, wide), "up": (hidden, wide), "down": (wide, hidden)}
    side: list[LinearSpec] = []
    for name, (inputs, outputs) in sizes.items():
        side.append(LinearSpec(name=f"lora_a_{name}", inputs=inputs, outputs=rank, rows="visual"))
        side.append(LinearSpec(name=f"lora_b_{name}", inputs=rank, outputs=outputs, rows="visual"))
    return block.model_copy(update={"side": tuple(side)})


def projector(top: Fields, vision: Fields, text: Fields) -> Projector:
    """Two layers on every patch; in 2.5 on 2 x 2 of them and on its learned separators."""
    hidden, out = vision.size("hidden_size"), text.size("hidden_size")
    if "img_size" in top.data:
        return Projector(kind="mlp", steps=mlp((hidden, out, out), "patches"))
    joined = 4 * hidden
    return Projector(kind="mlp", steps=mlp((joined, out, out), "tokens"), other_parameters=2 * joined)
