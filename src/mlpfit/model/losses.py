"""The losses of the tutorials, one number per replica, with their derivatives. Training and metrics
share them.

``mse`` sum e^2 / n, ``sse`` sum e^2, ``half_mse`` sum e^2 / 2n, with e = prediction - y and n rows
(rows of weight 0 only fill up a batch and count for nothing).
"""

from typing import Literal

from torch import Tensor
from torch.nn.functional import mse_loss

Kind = Literal["mse", "sse", "half_mse"]


def loss(kind: Kind, prediction: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """prediction, y (R, n, 1), weights (R, n) or None -> (R,)."""
    squares = mse_loss(prediction, y, reduction="none")
    if weights is None:
        value = squares.sum((1, 2)) if kind == "sse" else squares.mean((1, 2))
    else:
        value = (squares * weights[..., None]).sum((1, 2))
        value = value if kind == "sse" else value / weights.sum(1)
    return 0.5 * value if kind == "half_mse" else value


def derivative(kind: Kind, prediction: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """d loss / d prediction, (R, n, 1)."""
    error = prediction - y
    if weights is None:
        return error * {"mse": 2 / y.shape[1], "sse": 2.0, "half_mse": 1 / y.shape[1]}[kind]
    error = error * weights[..., None]
    n = weights.sum(1)[:, None, None]
    return {"mse": 2 * error / n, "sse": 2 * error, "half_mse": error / n}[kind]


def factors(kind: Kind) -> tuple[float, float, bool]:
    """The loss is the first times the sum of squares, its derivative the second times each error;
    both are divided by the number of rows (the sum of their weights) if the third is true."""
    return {"mse": (1.0, 2.0, True), "sse": (1.0, 2.0, False), "half_mse": (0.5, 1.0, True)}[kind]
