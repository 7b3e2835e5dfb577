"""FLOPs of the language model's prefill the way families of papers count them, so that published figures can be compared.

Per layer with n tokens, hidden d, FFN width m, KV width kv (all multiply-accumulates unless doubled):
c1  4nd^2 + 2n^2d + 3ndm, picture tokens only (PyramidDrop, arXiv 2410.17247)
c2  n(2d^2 + 2d kv) + 2n^2d + 3ndm, picture tokens only, aware of grouped queries
c3  4nd^2 + 2n^2d + 2ndm, text included: a feed-forward part of two matrices (FastV 2403.06764, DivPrune, VisionZip)
c4  twice (4nd^2 + 2n^2d + 3ndm), text included
c5  twice the linear layers alone, language-model head on every token
c6  LLM-Viewer (arXiv 2402.16363): twice the products, plus softmax, norm, activation and residual operations, full square
c7  c1 with the text included (SparseVLM, arXiv 2410.04417, with about 118 text tokens)
Tokens are those alive in each layer after the techniques of the scenario.
"""

from __future__ import annotations

from simulator.assemble import Case, assemble
from simulator.program import Program
from simulator.spec.model import Block, LanguageModel
from simulator.spec.source import SpecError

CONVENTIONS = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")


def convention_flops(case: Case, name: str) -> dict[str, float]:
    """FLOPs (or multiply-accumulates, as the convention has it) of prefill for one sequence, by stage."""
    return {"prefill": program_flops(assemble(case).program, case.model.language, name)}


def program_flops(program: Program, language: LanguageModel, name: str) -> float:
    """The same for a program that is at hand."""
    if name not in CONVENTIONS:
        raise SpecError(f"--flops-convention: {name!r} is not known; one of {', '.join(CONVENTIONS)}")
    blocks: list[Block] = [block for count, block in language.stack.runs for _ in range(count)]
    text = 0.0 if name in ("c1", "c2") else float(program.text)
    total, index = 0.0, 0
    for layer in program.decoder.layers:
        tokens = float(program.visual * layer.keep) + text
        for _ in range(layer.count):
            total += _layer(name, blocks[index], float(language.hidden), tokens)
            index += 1
    if name == "c5":
        total += 2.0 * language.hidden * language.vocabulary * (float(program.visual) + text)
    if name == "c6":
        total += language.hidden * language.vocabulary
    return total


def _layer(name: str, block: Block, hidden: float, tokens: float) -> float:
    attention, feed_forward = block.attention, block.feed_forward
    if attention is None or feed_forward is None or feed_forward.experts:
        raise SpecError(f"--flops-convention: {name} is defined for dense decoders with attention in every layer")
    width = float(feed_forward.width)
    kv = float(attention.kv_heads * attention.head_dim)
    square = 2.0 * tokens**2 * hidden
    grouped = tokens * (2.0 * hidden**2 + 2.0 * hidden * kv)
    full = 4.0 * tokens * hidden**2
    gated = 3.0 * tokens * hidden * width
    if name in ("c1", "c7"):
        return full + square + gated
    if name == "c2":
        return grouped + square + gated
    if name == "c3":
        return full + square + 2.0 * tokens * hidden * width
    if name == "c4":
        return 2.0 * (full + square + gated)
    if name == "c5":
        return 2.0 * (grouped + gated)
    softmax = 5.0 * attention.heads * tokens**2
    rest = tokens * hidden * (2.0 * 7.0 + 2.0) + 2.0 * tokens * hidden
    return 2.0 * (grouped + square + gated) + softmax + rest
