"""Formulas over a paper's cells and over data sets: arithmetic, comparisons, a few functions.

A formula is an expression of Python without names, attributes, indices or loops. Cells are named
as in `cells("table2/*/samples")`; arrays are computed with element by element.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from leukobench.errors import PaperError
from leukobench.papers.audit import data
from leukobench.papers.audit.readings import has_count
from leukobench.papers.audit.sheet import Score
from leukobench.papers.spec import Cell, Paper

if TYPE_CHECKING:
    from leukobench.data.base import Dataset

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.Mod: operator.mod, ast.USub: operator.neg,
    ast.Not: operator.not_, ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
LARGEST_POWER = 1000
COMB = np.vectorize(math.comb, otypes=[float])
MATH: dict[str, Callable[..., Any]] = {
    "sum": np.sum, "min": np.min, "max": np.max, "mean": np.mean, "len": np.size, "abs": np.abs,
    "all": np.all, "any": np.any, "diff": np.diff, "round": np.round, "ceil": np.ceil,
    "floor": np.floor, "sqrt": np.sqrt, "exp": np.exp, "erfc": math.erfc, "comb": COMB,
}  # fmt: skip
FIELD = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")


@dataclass(frozen=True)
class Formulas:
    """Computes formulas about one paper; `where` names the place in its file for messages."""

    paper: Paper
    datasets: Mapping[str, Dataset]
    where: str

    def value(self, formula: str) -> Any:
        """A number, an array or a truth value.

        Raises:
            PaperError: The formula cannot be read, or names a cell that is not there.
        """
        try:
            return self._of(ast.parse(formula.strip(), mode="eval").body)
        except PaperError:
            raise
        except (SyntaxError, TypeError, ValueError, ArithmeticError) as error:
            raise PaperError(f"{self.where}: formula {formula!r}: {error}") from None

    def text(self, template: str) -> str:
        """The text with its `{formula:format}` computed; arrays are listed."""

        def shown(match: re.Match[str]) -> str:
            value = self.value(match[1])
            return ", ".join(format(x, match[2] or "") for x in np.atleast_1d(value).tolist())

        return FIELD.sub(shown, template)

    def python(self, formula: str) -> str:
        """The formula with the numbers of its cells in it, to be run without this software."""
        tree = _Numbers(self).visit(ast.parse(formula.strip(), mode="eval"))
        return (
            "from math import *; from numpy import all, any, array, diff, mean, sum, min, max\n"
            f"print({ast.unparse(tree)})"
        )

    def _of(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return np.array([self._of(item) for item in items])
            case ast.UnaryOp(op=op, operand=operand):
                return self._operator(op)(self._of(operand))
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(op, self._of(left), self._of(right))
            case ast.BoolOp(op=op, values=values):
                truths = [bool(self._of(value)) for value in values]
                return all(truths) if isinstance(op, ast.And) else any(truths)
            case ast.Compare():
                return self._comparison(node)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, [self._of(argument) for argument in arguments])
        raise ValueError(f"{ast.unparse(node)!r} is none of numbers, cells, operators, functions")

    def _binary(self, op: ast.operator, left: Any, right: Any) -> Any:
        if isinstance(op, ast.Pow) and np.max(np.abs(right)) > LARGEST_POWER:
            raise ValueError(f"an exponent is above {LARGEST_POWER}")
        return self._operator(op)(left, right)

    def _operator(self, op: ast.AST) -> Callable[..., Any]:
        if type(op) not in OPERATORS:
            raise ValueError(f"operator {type(op).__name__} is not known")
        return OPERATORS[type(op)]

    def _comparison(self, node: ast.Compare) -> Any:
        values = [self._of(value) for value in (node.left, *node.comparators)]
        pairs = zip(node.ops, values, values[1:])
        answers = [self._operator(op)(a, b) for op, a, b in pairs]
        return answers[0] if len(answers) == 1 else all(bool(answer) for answer in answers)

    def _call(self, name: str, arguments: list[Any]) -> Any:
        if name in MATH:
            return MATH[name](*arguments)
        if name in data.FUNCTIONS:
            return data.FUNCTIONS[name](*map(self._dataset, arguments))
        if name == "cell":
            return _number(self._cells(*arguments)[0])
        if name == "cells":
            return np.array([_number(c) for c in self._cells(*arguments)])
        if name == "numbers":
            return np.array([x for c in self._cells(*arguments) for x in c.numbers])
        if name == "prints":
            return score_of(self._cells(arguments[0])[0]).prints(float(arguments[1]))
        if name == "shares":
            *refs, n = arguments
            return np.array([has_count(score_of(c).interval(), n) for c in self._cells(*refs)])
        known = ", ".join(("cell", "cells", "numbers", "prints", "shares", *MATH, *data.FUNCTIONS))
        raise ValueError(f"there is no function {name!r}, only {known}")

    def _dataset(self, argument: Any) -> Any:
        return self.datasets.get(argument, argument) if isinstance(argument, str) else argument

    def _cells(self, *refs: str) -> list[Cell]:
        """Published cells by refs, each part with `*` as a wildcard, in the order asked for."""
        found: list[Cell] = []
        for ref in refs:
            some = [c for c in self.paper.published() if fnmatchcase(c.ref, ref)]
            if not some:
                message = f"no published cell fits {ref!r} (TABLE/ROW/COLUMN)"
                raise PaperError(f"{self.where}: {message}")
            found += some
        return found


class _Numbers(ast.NodeTransformer):
    """Puts the numbers of cells in the place of their names."""

    def __init__(self, formulas: Formulas) -> None:
        self.formulas = formulas

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in MATH:
            return self.generic_visit(node)
        value = self.formulas.value(ast.unparse(node))
        shown = f"array({value.tolist()})" if isinstance(value, np.ndarray) else repr(value)
        return ast.parse(shown, mode="eval").body


def _number(cell: Cell) -> float:
    if cell.value is None:
        raise ValueError(f"{cell.ref} says {cell.words or cell.printed!r}, which is no number")
    return cell.value


def score_of(cell: Cell) -> Score:
    """A published cell as the solver sees it."""
    return Score(
        cell.metric or "",
        cell.printed or str(cell.value),
        _number(cell),
        cell.step,
        averaging=cell.averaging,
        rounding=cell.rounding,
        relation=cell.relation,
        place=cell.place,
    )
