"""The losses per replica, with e = prediction - y and n rows.

``mse`` sum e^2 / n, ``sse`` sum e^2, ``half_mse`` sum e^2 / 2n, ``mae`` sum |e| / n, ``huber`` and
``smooth_l1`` those of torch with delta = beta = 1, ``log_cosh`` sum log cosh e / n. Rows of weight
0 are padding and do not count.
"""

import math
from typing import Any, Literal

from torch import Tensor
from torch.nn.functional import huber_loss, l1_loss, mse_loss, smooth_l1_loss, softplus

Kind = Literal["mse", "sse", "half_mse", "mae", "huber", "smooth_l1", "log_cosh"]
ERRORS: dict[str, Any] = {"mae": l1_loss, "huber": huber_loss, "smooth_l1": smooth_l1_loss}


def loss(kind: Kind, prediction: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """Loss of each replica: prediction, y (R, n, 1), weights (R, n) or None -> (R,)."""
    scale, _, mean = factors(kind) if kind in SQUARES else (1.0, 1.0, True)
    error = _error_of_rows(kind, prediction.type_as(y), y)
    error = error if weights is None else error * weights[..., None]
    rows: Any = y.shape[1] if weights is None else weights.sum(1)
    return scale * (error.sum((1, 2)) / rows if mean else error.sum((1, 2)))


def _error_of_rows(kind: Kind, prediction: Tensor, y: Tensor) -> Tensor:
    if kind == "log_cosh":  # log((exp e + exp -e) / 2) without overflow
        size = (prediction - y).abs()
        return size + softplus(-2 * size) - math.log(2)
    return ERRORS.get(kind, mse_loss)(prediction, y, reduction="none")


def derivative(kind: Kind, prediction: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """d loss / d prediction of a loss of squares, (R, n, 1)."""
    _, slope, mean = factors(kind)
    if weights is None:
        return (prediction - y) * (slope / y.shape[1] if mean else slope)
    error = slope * (prediction - y) * weights[..., None]
    return error / weights.sum(1)[:, None, None] if mean else error


SQUARES = {"mse": (1.0, 2.0, True), "sse": (1.0, 2.0, False), "half_mse": (0.5, 1.0, True)}


def factors(kind: Kind) -> tuple[float, float, bool]:
    """(scale, slope, mean) of a loss of squares: it is scale * sum of squares, its derivative slope
    * error; both are divided by the number of rows (sum of weights) if mean."""
    return SQUARES[kind]
