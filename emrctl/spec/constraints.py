"""Constraints between the factors of an experiment, e.g. `executors * executor_cores <= 8`.

A constraint is a Python expression of comparisons, `and`, `or`, `not`, arithmetic, `min` and `max`.
It is parsed, never executed as code.
"""

from __future__ import annotations

import ast
import difflib
import functools
import itertools
import operator
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

Value = float | int | str | bool
Values = Mapping[str, Value | None]
_Part = Callable[[Values], Any]

_MAX_CHARACTERS = 500
_ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max}
_WORDS = {"true": True, "false": False}


class Constraint:
    """A parsed constraint; `ValueError` if it is not an expression of the allowed kind."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        if len(self.text) > _MAX_CHARACTERS:
            raise ValueError(f"a constraint has at most {_MAX_CHARACTERS} characters")
        compiler = _Compiler()
        try:
            tree = ast.parse(self.text, mode="eval").body
            self._test = compiler.visit(tree)
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError("is not an expression like executors * executor_cores <= 8") from error
        if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Name | ast.Attribute):
            reason = "compares nothing: write it like executors * executor_cores <= 8"
            raise ValueError(reason)  # noqa: TRY004 - about the text, not its type
        self.names = tuple(dict.fromkeys(compiler.names))

    def holds(self, values: Values) -> bool:
        """Return whether the constraint holds for values by name; also if one of them is None.

        Names are those of factors with identifiers in place of options: `args.--lr-step` is
        `args.lr_step`. Raises `ValueError` for unknown names, a division by zero, and texts where
        numbers are needed.
        """
        for name in self.names:
            if name not in values:
                near = difflib.get_close_matches(name, values, n=1, cutoff=0.5)
                hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(values)}"
                raise ValueError(f"'{name}' in '{self.text}' is not a factor or setting; {hint}")
        if any(values[name] is None for name in self.names):
            return True
        try:
            return bool(self._test(values))
        except ZeroDivisionError as error:
            raise ValueError(f"'{self.text}' divides by zero") from error
        except (TypeError, OverflowError) as error:
            shown = ", ".join(f"{name}={values[name]!r}" for name in self.names)
            raise ValueError(f"'{self.text}' cannot be computed for {shown}") from error


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Constraint:
    """Return the parsed constraint; `ValueError` if it is not an expression of the allowed kind."""
    return Constraint(text)


def identifier(factor: str) -> str:
    """Return the name of a factor in constraints: `args.--lr-step` is `args.lr_step`."""
    return ".".join(part.lstrip("-").replace("-", "_") for part in factor.split("."))


class _Compiler(ast.NodeVisitor):
    """Turns an expression into functions of the values; `ValueError` for every other syntax."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def generic_visit(self, node: ast.AST) -> NoReturn:
        raise ValueError(f"'{ast.unparse(node)}' is not allowed in a constraint")

    def visit_Name(self, node: ast.Name) -> _Part:
        if node.id in _WORDS:
            return lambda _: _WORDS[node.id]
        self.names.append(node.id)
        return operator.itemgetter(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> _Part:
        name = ast.unparse(node)
        if not all(part.isidentifier() for part in name.split(".")):
            self.generic_visit(node)
        self.names.append(name)
        return operator.itemgetter(name)

    def visit_Constant(self, node: ast.Constant) -> _Part:
        if not isinstance(node.value, bool | int | float | str):
            self.generic_visit(node)
        return lambda _: node.value

    def visit_Call(self, node: ast.Call) -> _Part:
        function = _FUNCTIONS.get(ast.unparse(node.func))
        if function is None or node.keywords or len(node.args) < 2:
            self.generic_visit(node)
        parts = [self.visit(item) for item in node.args]
        return lambda values: function(*(part(values) for part in parts))

    def visit_BinOp(self, node: ast.BinOp) -> _Part:
        compute = _ARITHMETIC.get(type(node.op))
        if compute is None:
            self.generic_visit(node)
        left, right = self.visit(node.left), self.visit(node.right)
        return lambda values: compute(_number(left(values)), _number(right(values)))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> _Part:
        operand = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda values: not operand(values)
        if isinstance(node.op, ast.USub):
            return lambda values: -_number(operand(values))
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> _Part:
        tests = [_COMPARISONS.get(type(op)) for op in node.ops]
        parts = [self.visit(item) for item in (node.left, *node.comparators)]

        def compare(values: Values) -> bool:
            sides = [part(values) for part in parts]
            pairs = itertools.pairwise(sides)
            return all(test(*pair) for test, pair in zip(tests, pairs, strict=True) if test)

        return self.generic_visit(node) if None in tests else compare

    def visit_BoolOp(self, node: ast.BoolOp) -> _Part:
        test = all if isinstance(node.op, ast.And) else any
        parts = [self.visit(item) for item in node.values]
        return lambda values: test(part(values) for part in parts)

    def visit_List(self, node: ast.List) -> _Part:
        parts = [self.visit(item) for item in node.elts]
        return lambda values: [part(values) for part in parts]

    def visit_Tuple(self, node: ast.Tuple) -> _Part:
        return self.visit_List(ast.List(node.elts))


def _number(value: Value) -> float:
    if isinstance(value, int | float):
        return value
    raise TypeError("arithmetic needs numbers")
