"""A formula is what it says, and nothing else is one; a tanh net is trained like any other."""

import numpy as np
import pytest
import torch

from mlpfit import formula, mlp
from mlpfit.config import compose, experiments
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


def test_a_target_with_a_text_is_the_function_that_the_text_says():
    for name in experiments():
        target = compose([f"experiment={name}"]).target
        if target.text is not None:
            fields = {k: getattr(target, k) for k in target.__dataclass_fields__}
            written = formula.parse(target.text.format(**fields))
            x = np.linspace(-5, 5, 1001)[:, None]
            np.testing.assert_allclose(written(x), target(x), rtol=1e-15)


def test_the_gradient_of_a_tanh_net_by_hand_is_autograds():
    net = mlp.MLP([1, 5, 4, 1], "tanh", replicas=2).double()
    net.load([mlp.initial([1, 5, 4, 1], "torch", np.random.default_rng(k)) for k in (0, 1)])
    x = torch.linspace(-2, 2, 7, dtype=torch.float64).reshape(1, 7, 1).expand(2, 7, 1)
    outputs = net.outputs(x)
    error = torch.ones_like(outputs[-1])
    outputs[-1].backward(error)
    by_autograd = [p.grad.clone() for p in net.parameters()]
    with torch.no_grad():
        net.backward_by_hand(outputs, error)
    for a, b in zip(net.parameters(), by_autograd, strict=True):
        torch.testing.assert_close(a.grad, b)
