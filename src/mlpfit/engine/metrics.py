"""Numbers that say how well R nets fit rows: mse, sse, rmse, mae, r2, accuracy and the loss itself.

Each is a function of the nets' outputs (R, n, o) and of y (R, n, o), or (R, n, 1) where y is the
number of a class, and gives one number for each replica: (R,) float64. Every sum has a fixed order,
so a replica has the same number alone and among others, on every processor.

``mse``       mean of e^2 over rows and outputs, e = prediction - y
``sse``       sum of e^2 over rows and outputs
``rmse``      square root of mse
``mae``       mean of |e| over rows and outputs
``r2``        1 - sum e^2 / sum (y - mean of y)^2, the mean of that of each output; NaN where y is
              constant
``accuracy``  share of the rows whose class is the predicted one; NaN without classes
``loss``      the loss that is trained

With loss ``bce`` and ``cross_entropy`` the outputs are logits. Then e is the difference between the
probabilities of the classes and 1 for the class that it is, else 0, and the predicted class is the
most probable one; with another loss and two classes it is 1 where the output is above 1/2.
"""

import numpy as np

from mlpfit.data.elementary import exp, log, log1p, sum_rows
from mlpfit.errors import check_name

NAMES = ("loss", "mse", "sse", "rmse", "mae", "r2", "accuracy")
OF_LOGITS = ("bce", "cross_entropy")  # losses of the classification
RISING = ("r2", "accuracy")  # those of which more is better
LOSSES = ("mse", "sse", "half_mse", "mae", "huber", "smooth_l1", "log_cosh", "bce", "cross_entropy")


def metric(name: str, loss: str, outputs: np.ndarray, y: np.ndarray, classes: bool) -> np.ndarray:
    """The metric of this name: (R,). loss: name of the loss that is trained, one of ``LOSSES`` if
    it is asked for; classes: whether y is the number of a class."""
    check_name("metric", name, NAMES)
    outputs, y = np.asarray(outputs, float), np.asarray(y, float)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # of replicas that diverged
        if name == "accuracy":
            right = predicted_classes(loss, outputs) == y[..., 0]
            return _mean(right.astype(float)) if classes else np.full(len(outputs), np.nan)
        if name == "loss":
            return loss_of(loss, outputs, y)
        prediction, truth = predicted(loss, outputs, y)
        error = prediction - truth
        if name == "mae":
            return _mean(np.abs(error))
        if name == "r2":
            return _determination(error, truth)
        squares = _sum(error * error)
        if name == "sse":
            return squares
        mse = squares / (error.shape[1] * error.shape[2])
        return np.sqrt(mse) if name == "rmse" else mse


def predicted(loss: str, outputs: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is compared (R, n, o): outputs and y; of logits the probabilities of the classes, and 1
    for the class that it is, else 0."""
    if loss == "bce":
        return _sigmoid(outputs), y
    if loss == "cross_entropy":
        return _softmax(outputs), (y == np.arange(outputs.shape[-1])).astype(float)
    return outputs, y


def predicted_classes(loss: str, outputs: np.ndarray) -> np.ndarray:
    """The predicted class of every row: (R, n, o) -> (R, n); of outputs that are equal the first,
    as ``np.argmax``."""
    if loss == "cross_entropy":
        return outputs.argmax(axis=-1)
    return (outputs[..., 0] > (0.0 if loss == "bce" else 0.5)).astype(np.int64)


def loss_of(loss: str, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The loss of this name without arguments, one of ``LOSSES``: (R,)."""
    error = outputs - y if loss != "cross_entropy" else outputs
    size = np.abs(error)
    if loss == "cross_entropy":
        highest = outputs.max(axis=-1, keepdims=True)
        total = _sum_last(exp(outputs - highest))
        chosen = np.take_along_axis(outputs, y.astype(np.int64), axis=-1)
        return _mean(highest + log(total) - chosen)
    if loss == "bce":  # log(1 + e^z) - y z, without overflow
        return _mean(np.maximum(outputs, 0.0) - outputs * y + log1p(exp(-np.abs(outputs))))
    if loss in ("huber", "smooth_l1"):
        return _mean(np.where(size < 1.0, 0.5 * size * size, size - 0.5))
    if loss == "log_cosh":  # log((e^s + e^-s) / 2) without overflow
        return _mean(size + log1p(exp(-2.0 * size)) - log(np.array(2.0)))
    if loss == "mae":
        return _mean(size)
    check_name("loss", loss, LOSSES)
    squares = _sum(error * error) if loss == "sse" else _mean(error * error)
    return 0.5 * squares if loss == "half_mse" else squares


def _sum(values: np.ndarray) -> np.ndarray:
    """Sum over all axes but the first: (R, n, ...) -> (R,)."""
    return sum_rows(np.moveaxis(values.reshape(len(values), -1), 0, 1))


def _mean(values: np.ndarray) -> np.ndarray:
    return _sum(values) / values[0].size


def _sum_last(values: np.ndarray) -> np.ndarray:
    """Sum over the last axis, which stays with length 1."""
    return sum_rows(np.moveaxis(values, -1, 0))[..., None]


def _determination(error: np.ndarray, truth: np.ndarray) -> np.ndarray:
    by_row, rows = np.moveaxis(truth, 1, 0), truth.shape[1]
    deviation = by_row - sum_rows(by_row) / rows
    spread, squares = sum_rows(deviation * deviation), sum_rows(np.moveaxis(error * error, 1, 0))
    of_outputs = np.where(spread > 0, 1.0 - squares / spread, np.nan)  # (R, o)
    return _sum_last(of_outputs)[:, 0] / of_outputs.shape[1]


def _sigmoid(z: np.ndarray) -> np.ndarray:
    tail = exp(-np.abs(z))
    return np.where(z < 0, tail, 1.0) / (1.0 + tail)


def _softmax(z: np.ndarray) -> np.ndarray:
    weights = exp(z - z.max(axis=-1, keepdims=True))
    return weights / _sum_last(weights)
