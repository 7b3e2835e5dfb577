"""What a row's method is: its techniques, as `--with` expressions, and which kinds of code such methods run on."""

from __future__ import annotations

from simulator.presets import resolve
from simulator.reproduce.table import Row
from simulator.spec.scenario import parse_technique
from simulator.spec.source import SpecError

_WEIGHTS = {
    "w4a16": "weight_quant:format=w4a16", "w4a16+w8a8-vision": "weight_quant:format=w4a16", "w4a16-bnb": "weight_quant:format=nf4",
    "w8a16": "weight_quant:format=weight_only,bits=8", "w3a16": "weight_quant:format=weight_only,bits=3", "fp8": "weight_quant:format=fp8", "fp4": "weight_quant:format=fp4",
    "w8a8": "weight_quant:format=w8a8",
}  # fmt: skip
PLAIN = ("", "fp16", "bf16")
"""Precisions without a technique of their own."""
UNSAID = "the setting is not said as techniques (column `techniques`, as for --with); a method called dense or baseline is the model as it is"
DENSE = ("dense", "full", "baseline", "vanilla", "original")
"""How the method of a row without techniques begins, where that is the model as it is."""


class NotComparableError(ValueError):
    """A row the simulator has nothing to say about; the message is the reason."""


def dense(row: Row) -> bool:
    """Whether a row without techniques is the unchanged model."""
    return row.method.lower().startswith(DENSE) or (not row.method and not row.entry)


def techniques_of(row: Row) -> tuple[str, ...]:
    """The row's setting as `--with` expressions, with the accepted length and the precision that the row states."""
    texts = [text for text in row.techniques.split(";") if text]
    found: list[str] = []
    kinds: set[str] = set()
    for text in texts:
        parts = {type(item).__module__.rsplit(".", 1)[-1] for _, item in resolved(text)}
        if "speculative" in parts:
            text = _speculative(row, text)
        kinds |= parts
        found.append(text)
    if "weight_quant" not in kinds:
        found += weights(row.precision)
    if row.precision == "kv4" and "kv_quant" not in kinds:
        found.append("kv_quant:bits=4")
    return tuple(found)


def resolved(text: str) -> tuple[tuple[str, object], ...]:
    """The techniques of one expression, a preset's taken apart."""
    try:
        use = parse_technique(text)
        return resolve(use.kind, use.parameters)
    except ValueError as error:
        said = str(error)
        raise SpecError(said if said.startswith("techniques") else f"techniques: {said}") from None


def _speculative(row: Row, text: str) -> str:
    extra: list[str] = []
    if row.accuracy_metric.startswith("accepted-length") and row.accuracy_value is not None:
        extra.append(f"accepted={row.accuracy_value:g},relax=0")
        text = ",".join(part for part in text.replace(":", ",", 1).split(",") if not part.startswith(("relax=", "accepted=")))
        head, _, rest = text.partition(",")
        text = f"{head}:{rest}" if rest else head
    if row.draft:
        extra.append(f"drafter={row.draft}")
    return text + ("," if ":" in text else ":") + ",".join(extra) if extra else text


def weights(precision: str) -> tuple[str, ...]:
    """What a precision means as a technique; NotComparableError where it has no cost model."""
    if precision in PLAIN or precision.startswith(("kv", "int8-")):
        return ()
    if precision not in _WEIGHTS:
        raise NotComparableError(f"precision {precision} has no cost model")
    return (_WEIGHTS[precision],)


def evicts(row: Row) -> bool:
    """Whether the setting drops cache rows by attention scores: then decoding ran on attention that repeats KV heads or is eager."""
    return any(type(item).__module__.endswith(".kv_evict") for text in row.techniques.split(";") if text for _, item in resolved(text))


def drafts(row: Row) -> bool:
    """Whether the setting is speculative: then both sides ran on modelling code with a mask tensor and a cache of its own."""
    return any(type(item).__module__.endswith(".speculative") for text in row.techniques.split(";") if text for _, item in resolved(text))
