"""f(x) as text, for targets that are typed rather than programmed: ``x^2 + 0.3 * sin(5 * x)``.

Allowed are numbers, x, pi, e, + - * / ^, one comparison at a time (1 where it holds, else 0) and
``FUNCTIONS``. Python parses the text, a walk over its tree accepts only these, and numpy computes;
nothing is evaluated as code.
"""

import ast
import operator
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from mlpfit.errors import ConfigError

Function = Callable[[Any], Any]  # x (n, d), or a number where x does not occur
MAX_LENGTH = 200
UNARY = ("sin", "cos", "tan", "tanh", "exp", "log", "sqrt", "abs", "sign", "floor")
FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {  # and how many arguments each takes
    **{name: (getattr(np, name), 1) for name in UNARY},
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
    ast.Pow: operator.pow,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
# What Python would take and a formula does not hold: other signs, **, //, 1_0, 0x10.
UNREADABLE = re.compile(r"[^\w\s.+*/^(),<>=-]|_|\*\s*\*|/\s*/|\b0[xXbBoO]", re.ASCII)
NAMES = ", ".join(["x", *CONSTANTS, *FUNCTIONS])
ALLOWED = f"allowed are numbers, + - * / ^, < <= > >=, and {NAMES}"


@cache
def parse(text: str) -> Function:
    """The function of this text: x (n, d) -> (n, d). Raises ConfigError in one line if it is none.

    >>> parse("-x^2 + 1")(np.array([[2.0]]))
    array([[-3.]])
    """
    given = f"target.f={text!r}"
    if not text.strip() or len(text) > MAX_LENGTH:
        raise ConfigError(f"{given}: must hold 1 to {MAX_LENGTH} characters, such as x^2 + sin(x)")
    if unknown := UNREADABLE.search(text):
        raise ConfigError(f"{given}: can't be read at {unknown[0]!r}; {ALLOWED}")
    try:
        value = _walk(ast.parse(text.strip().replace("^", "**"), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        raise ConfigError(f"{given}: is no formula; {ALLOWED}") from None
    except ValueError as error:
        raise ConfigError(f"{given}: {error}; {ALLOWED}") from None
    return lambda x: value(x) + np.zeros_like(x)


def _walk(node: ast.AST) -> Function:
    """The function of a tree. Raises ValueError for anything that is not allowed."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return lambda x: np.float64(number)
        case ast.Name(id="x"):
            return lambda x: x
        case ast.Name(id=name) if name in CONSTANTS:
            return lambda x: CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            value = _walk(inner)
            return (lambda x: -value(x)) if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=symbol, right=right) if type(symbol) in BINARY:
            return _binary(BINARY[type(symbol)], left, right)
        case ast.Compare(left=left, ops=[symbol], comparators=[right]) if type(symbol) in BINARY:
            holds = _binary(BINARY[type(symbol)], left, right)
            return lambda x: np.asarray(holds(x), dtype=float)
        case ast.Call(func=ast.Name(id=name), args=values, keywords=[]) if name in FUNCTIONS:
            function, count = FUNCTIONS[name]
            if len(values) != count:
                raise ValueError(f"{name} takes {count}, not {len(values)}")
            inner_values = [_walk(v) for v in values]
            return lambda x: function(*(v(x) for v in inner_values))
    raise ValueError(f"{ast.unparse(node).replace('**', '^')!r} is not allowed")


def _binary(apply: Callable[[Any, Any], Any], left: ast.AST, right: ast.AST) -> Function:
    a, b = _walk(left), _walk(right)
    return lambda x: apply(a(x), b(x))
