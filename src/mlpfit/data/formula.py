"""Parser of f(x) given as text, such as ``x^2 + 0.3 * sin(5 * x)``, or of several inputs
``x1 * x2``.

Allowed are numbers, x (or x1, x2, ...), pi, e, + - * / ^, single comparisons (1 if true, else 0)
and ``FUNCTIONS``.
The text is parsed by Python, only nodes for these are accepted, and numpy computes the value, with
the functions of :mod:`mlpfit.data.elementary`, so that it does not depend on the processor; the
text is never evaluated as code.
"""

import ast
import operator
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from mlpfit.data import elementary
from mlpfit.errors import ConfigError

Function = Callable[[Any], Any]  # x (n, d) -> (n, 1), or a number for a constant
MAX_LENGTH = 200
OURS = ("sin", "cos", "tan", "tanh", "exp", "log", "sqrt")
EXACT = ("abs", "sign", "floor")
FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {  # name -> function, number of arguments
    **{name: (getattr(elementary, name), 1) for name in OURS},
    **{name: (getattr(np, name), 1) for name in EXACT},
    "min": (np.minimum, 2),
    "max": (np.maximum, 2),
    "where": (np.where, 3),
}
CONSTANTS = {"pi": np.float64(np.pi), "e": np.float64(np.e)}
BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: elementary.power,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
# Valid in Python but not in a formula: other characters, **, //, 1_0, 0x10.
UNREADABLE = re.compile(r"[^\w\s.+*/^(),<>=-]|_|\*\s*\*|/\s*/|\b0[xXbBoO]", re.ASCII)
INPUT = re.compile(r"\bx([1-9]\d{0,2})\b")


def inputs_of(text: str) -> int:
    """Number of inputs of a formula: the highest number after an x, 1 if there is none."""
    return max(map(int, INPUT.findall(text)), default=1)


@cache
def parse(text: str, key: str = "target.f", dim: int = 1) -> Function:
    """The function of this text: x (n, dim) -> (n, 1). key: in messages. Raises ConfigError if it
    is not a formula of so many inputs: x for one, x1, x2, ... for several.

    >>> parse("-x^2 + 1")(np.array([[2.0]]))
    array([[-3.]])
    >>> parse("x1 * x2", dim=2)(np.array([[2.0, 3.0]]))
    array([[6.]])
    """
    given = f"{key}={text!r}"
    if not text.strip() or len(text) > MAX_LENGTH:
        raise ConfigError(f"{given}: must hold 1 to {MAX_LENGTH} characters, such as x^2 + sin(x)")
    inputs = [f"x{i + 1}" for i in range(dim)] if dim > 1 else ["x"]
    names = ", ".join([*inputs, *CONSTANTS, *FUNCTIONS])
    allowed = f"allowed are numbers, + - * / ^, < <= > >=, and {names}"
    if unknown := UNREADABLE.search(text):
        raise ConfigError(f"{given}: can't be read at {unknown[0]!r}; {allowed}")
    try:
        value = _walk(ast.parse(text.strip().replace("^", "**"), mode="eval").body, dim)
    except (SyntaxError, RecursionError, MemoryError):
        raise ConfigError(f"{given}: is not a formula; {allowed}") from None
    except ValueError as error:
        raise ConfigError(f"{given}: {error}; {allowed}") from None
    return lambda x: value(x) + np.zeros_like(x[:, :1])


def _walk(node: ast.AST, dim: int) -> Function:
    """The function of a syntax tree. Raises ValueError for a node that is not allowed."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return lambda x: np.float64(number)
        case ast.Name(id="x") if dim == 1:
            return lambda x: x
        case ast.Name(id=name) if INPUT.fullmatch(name) and inputs_of(name) <= dim:
            column = inputs_of(name) - 1
            return lambda x: x[:, column : column + 1]
        case ast.Name(id=name) if name in CONSTANTS:
            return lambda x: CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            value = _walk(inner, dim)
            return (lambda x: -value(x)) if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=symbol, right=right) if type(symbol) in BINARY:
            return _binary(BINARY[type(symbol)], left, right, dim)
        case ast.Compare(left=left, ops=[symbol], comparators=[right]) if type(symbol) in BINARY:
            compare = _binary(BINARY[type(symbol)], left, right, dim)
            return lambda x: np.asarray(compare(x), dtype=float)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            function, count = FUNCTIONS[name]
            if len(arguments) != count:
                raise ValueError(f"{name} takes {count}, not {len(arguments)}")
            values = [_walk(argument, dim) for argument in arguments]
            return lambda x: function(*(value(x) for value in values))
    raise ValueError(f"{ast.unparse(node).replace('**', '^')!r} is not allowed")


def _binary(apply: Callable[[Any, Any], Any], left: ast.AST, right: ast.AST, dim: int) -> Function:
    a, b = _walk(left, dim), _walk(right, dim)
    return lambda x: apply(a(x), b(x))
