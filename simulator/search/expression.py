"""Conditions as text: `ttft_s <= 0.2 and fits and hardware == 'l40s'`, over columns of a frame or fields of a point.

Names may hold dots (`workload.text_tokens`); one with other characters stands in backticks. Allowed are arithmetic, comparisons,
`in` with a list, `and`, `or`, `not`, `min`, `max` and `abs`: the text is walked, never executed.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from typing import Any, final

import numpy as np

from simulator.spec.source import SpecError
from simulator.spec.validated import nearest

_BINARY: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Mod: operator.mod,
    ast.FloorDiv: operator.floordiv, ast.Pow: operator.pow,
}  # fmt: skip
_COMPARE: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": lambda *items: reduce(np.minimum, items),
    "max": lambda *items: reduce(np.maximum, items),
    "abs": np.abs,
}
_LEAST = 1e-9
"""Excess of a condition that is just missed."""
_QUOTED = re.compile(r"`([^`]+)`")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A condition that was read: its text, the names it needs, and its value for given names."""

    text: str
    names: frozenset[str]
    tree: ast.expr
    quoted: tuple[str, ...]

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Its value, for scalars or arrays. Raises SpecError for a name that `values` lacks, and for a text held against a number."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _value(self.tree, values, self)

    def excess(self, values: Mapping[str, Any]) -> Any:
        """How far it is from true: 0 where it holds, else the relative distance of the sides of a comparison (2 at most; 1 for what
        has no size), summed over `and`, the least over `or`."""
        return _excess(self.tree, values, self)


@lru_cache(maxsize=256)
def parse(text: str) -> Expression:
    """A condition from text. Raises SpecError in one line where it is not one."""
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SpecError(f"constraint: {text!r} is not accepted; a text, e.g. ttft_s <= 0.2 and fits")
    quoted: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        quoted.append(match.group(1))
        return f"_quoted_{len(quoted) - 1}"

    try:
        tree = ast.parse(_QUOTED.sub(stand_in, text.strip()), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise SpecError(f"constraint: {text!r} cannot be read; e.g. ttft_s <= 0.2 and fits") from None
    names: set[str] = set()
    _check(tree, text, names, quoted)
    return Expression(text, frozenset(names), tree, tuple(quoted))


def _name(node: ast.AST, quoted: list[str] | tuple[str, ...]) -> str | None:
    if isinstance(node, ast.Name):
        return quoted[int(node.id[8:])] if node.id.startswith("_quoted_") else node.id
    if isinstance(node, ast.Attribute):
        before = _name(node.value, quoted)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _check(node: ast.expr, text: str, names: set[str], quoted: list[str]) -> None:
    name = _name(node, quoted)
    if name is not None:
        names.add(name)
        return
    inside: list[ast.expr]
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            inside = []
        case ast.BoolOp():
            inside = node.values
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            inside = [node.operand]
        case ast.BinOp() if type(node.op) in _BINARY:
            inside = [node.left, node.right]
        case ast.Compare() if all(type(item) in _COMPARE or isinstance(item, ast.In | ast.NotIn) for item in node.ops):
            inside = [node.left, *node.comparators]
        case ast.List() | ast.Tuple():
            inside = node.elts
        case ast.Call(func=ast.Name(id=function), keywords=[]) if function in _FUNCTIONS and node.args:
            inside = node.args
        case _:
            raise SpecError(f"constraint: {text!r}: {ast.unparse(node)!r} is not accepted; comparisons, and, or, not, + - * /, min, max, abs")
    for item in inside:
        _check(item, text, names, quoted)


def _value(node: ast.expr, values: Mapping[str, Any], whole: Expression) -> Any:
    name = _name(node, whole.quoted)
    if name is not None:
        try:
            return values[name]
        except KeyError:
            close = nearest(name, list(values))
            accepted = f"did you mean {' or '.join(close)}?" if close else f"accepted: {', '.join(values)}"
            raise SpecError(f"constraint: {whole.text!r}: {name!r} is not known here; {accepted}") from None

    def inner(item: ast.expr) -> Any:
        return _value(item, values, whole)

    match node:
        case ast.Constant():
            return node.value
        case ast.BoolOp():
            return reduce(np.logical_and if isinstance(node.op, ast.And) else np.logical_or, [_truth(inner(item)) for item in node.values])
        case ast.UnaryOp():
            return np.logical_not(_truth(inner(node.operand))) if isinstance(node.op, ast.Not) else -inner(node.operand)
        case ast.BinOp():
            return _together(node, whole, _BINARY[type(node.op)], inner(node.left), inner(node.right))
        case ast.Compare():
            sides = [inner(item) for item in (node.left, *node.comparators)]
            pairs = zip(node.ops, sides, sides[1:], strict=False)
            return reduce(np.logical_and, [_together(node, whole, partial(_compare, op), a, b) for op, a, b in pairs])
        case ast.List() | ast.Tuple():
            return [inner(item) for item in node.elts]
        case ast.Call(func=ast.Name(id=function)):
            return _FUNCTIONS[function](*(inner(item) for item in node.args))
        case _:
            raise AssertionError(node)


def _together(node: ast.expr, whole: Expression, what: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """`what` of two sides. Raises SpecError where one is a text and the other a number, which do not go together."""
    try:
        return what(a, b)
    except TypeError:
        raise SpecError(f"constraint: {whole.text!r}: {ast.unparse(node)!r} is not accepted: a text and a number") from None


def _excess(node: ast.expr, values: Mapping[str, Any], whole: Expression) -> Any:
    holds = _truth(_value(node, values, whole))
    match node:
        case ast.BoolOp():
            parts = [_excess(item, values, whole) for item in node.values]
            size = reduce(np.add if isinstance(node.op, ast.And) else np.minimum, parts)
        case ast.Compare() if not any(isinstance(op, ast.In | ast.NotIn | ast.NotEq) for op in node.ops):
            sides = [np.asarray(_value(item, values, whole)) for item in (node.left, *node.comparators)]
            size = reduce(np.add, [_apart(op, a, b) for op, a, b in zip(node.ops, sides, sides[1:], strict=False)])
        case _:
            size = 1.0
    return np.where(holds, 0.0, np.maximum(size, _LEAST))


def _apart(op: ast.cmpop, a: Any, b: Any) -> Any:
    """Relative distance of two sides where they do not compare so; 1 for texts and missing numbers."""
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return np.where(_compare(op, a, b), 0.0, 1.0)
    a, b = a.astype(float), b.astype(float)
    with np.errstate(invalid="ignore"):
        distance = np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), 1e-300)
    return np.where(_compare(op, a, b), 0.0, np.where(np.isfinite(distance), distance, 1.0))


def _truth(value: Any) -> Any:
    """Missing values are not true."""
    array = np.asarray(value)
    return np.nan_to_num(array) != 0 if array.dtype.kind == "f" else array.astype(bool)


def _compare(op: ast.cmpop, a: Any, b: Any) -> Any:
    if isinstance(op, ast.In | ast.NotIn):
        found = np.isin(np.asarray(a), b)
        return found if isinstance(op, ast.In) else ~found
    return np.asarray(_COMPARE[type(op)](a, b))
