"""A formula is what it says, and nothing else is one."""

import numpy as np
import pytest

from mlpfit.data import formula
from mlpfit.errors import ConfigError

X = np.linspace(-2, 2, 9)[:, None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-x^2", -(X**2)),
        ("2^3^2 + 0*x", 0 * X + 512),
        ("2^-x", 2.0**-X),
        ("x / 2 / 4", X / 8),
        ("1 - 2 - x", -1 - X),
        ("where(x < 0, -1, max(x, .5e0))", np.where(X < 0, -1, np.maximum(X, 0.5))),
        ("(x >= 1) * pi", (X >= 1) * np.pi),
        ("3", 0 * X + 3),
        ("e^(-abs(x)) * tanh(sqrt(4))", np.exp(-np.abs(X)) * np.tanh(2)),
    ],
)
def test_a_formula_is_read_as_it_is_written(text, expected):
    np.testing.assert_allclose(formula.parse(text)(X), expected, rtol=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "x.real",
            "__import__('os')",
            "x**2",
            "x//2",
            "x* *2",
            "2x",
            "sin x",
            "sin(x, x)",
            "1<x<2",
            "x;x",
        ],
        *[
            "where(x<1, 2)",
            "lambda",
            "True",
            "x if x else 1",
            "[x]",
            "x=1",
            "y",
            "not x",
            "x,x",
            "01",
            "1_0",
            "1j",
        ],
        *["(" * 150 + "x" + ")" * 150, "x" * 201],
    ],
)
def test_what_is_no_formula_is_refused_in_one_line(text):
    with pytest.raises(ConfigError, match=r"target\.f=") as error:
        formula.parse(text)
    assert "\n" not in str(error.value)
