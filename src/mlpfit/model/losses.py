"""The losses of the tutorials per replica, and their derivatives.

``mse`` sum e^2 / n, ``sse`` sum e^2, ``half_mse`` sum e^2 / 2n, with e = prediction - y and n rows.
Rows of weight 0 are padding and do not count.
"""

from typing import Any, Literal

from torch import Tensor
from torch.nn.functional import mse_loss

Kind = Literal["mse", "sse", "half_mse"]


def loss(kind: Kind, prediction: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """Loss of each replica: prediction, y (R, n, 1), weights (R, n) or None -> (R,)."""
    scale, _, mean = factors(kind)
    squares = mse_loss(prediction, y, reduction="none")
    squares = squares if weights is None else squares * weights[..., None]
    rows: Any = y.shape[1] if weights is None else weights.sum(1)
    return scale * (squares.sum((1, 2)) / rows if mean else squares.sum((1, 2)))


def derivative(kind: Kind, prediction: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """d loss / d prediction, (R, n, 1)."""
    _, slope, mean = factors(kind)
    if weights is None:
        return (prediction - y) * (slope / y.shape[1] if mean else slope)
    error = slope * (prediction - y) * weights[..., None]
    return error / weights.sum(1)[:, None, None] if mean else error


def factors(kind: Kind) -> tuple[float, float, bool]:
    """(scale, slope, mean): the loss is scale * sum of squares, its derivative slope * error; both
    are divided by the number of rows (sum of weights) if mean."""
    return {"mse": (1.0, 2.0, True), "sse": (1.0, 2.0, False), "half_mse": (0.5, 1.0, True)}[kind]
