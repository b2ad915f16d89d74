"""The losses of each replica, by torch's names.

A name is that of a loss in ``torch.nn.functional``, without its ending ``_loss``: ``mse``,
``huber``, ``smooth_l1``, ``cross_entropy``, ``soft_margin``, ... with the arguments that it has
there. Beside them, with e = prediction - y:

``mae``        torch's ``l1``: the mean of |e|
``sse``        sum of e^2
``half_mse``   half the mean of e^2
``log_cosh``   mean of log cosh e
``bce``        torch's ``binary_cross_entropy_with_logits``: outputs are logits, y is 0 or 1

All but ``sse`` are means over rows and outputs, as torch's ``reduction="mean"``. Of
``cross_entropy`` y holds class numbers 0 .. C - 1, and the outputs are the C logits. A loss of the
user's own, or a module of torch by its path, is called for each replica with its prediction (n, o)
and y (n, o). Rows of weight 0 are padding and do not count.
"""

import inspect
import json
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mlpfit.errors import ConfigError, as_config_error, check_name
from mlpfit.model import named

Kind = named.Named
SQUARES = {"mse": (1.0, 2.0, True), "sse": (1.0, 2.0, False), "half_mse": (0.5, 1.0, True)}
REDUCTION = ("input", "target", "reduction", "size_average", "reduce")  # not the user's


def _log_cosh(input: Tensor, target: Tensor, reduction: str = "none") -> Tensor:
    """log((exp e + exp -e) / 2) without overflow."""
    size = (input - target).abs()
    return size + functional.softplus(-2 * size) - math.log(2)


def _of_torch() -> dict[str, Callable[..., Tensor]]:
    """The functions of torch.nn.functional that have a reduction to choose, of two arguments."""
    functions = {}
    for name, function in vars(functional).items():
        parameters = list(_parameters(function))
        if name[0] != "_" and "reduction" in parameters and parameters[1:2] == ["target"]:
            functions[name.removesuffix("_loss")] = function
    return functions


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # no function, or one without a signature
        return {}


LOSSES: dict[str, Callable[..., Tensor]] = {
    **_of_torch(),
    "sse": functional.mse_loss,
    "half_mse": functional.mse_loss,
    "log_cosh": _log_cosh,
}
ALIASES = {"l1": "mae", "binary_cross_entropy_with_logits": "bce"}  # torch's name -> ours
LOSSES |= {ours: LOSSES.pop(theirs) for theirs, ours in ALIASES.items()}


def checked(given: Kind) -> Kind:
    """The loss by its name here. Raises ConfigError for one that there is not, or arguments that it
    does not take."""
    name, arguments = named.split("loss", given)
    name = ALIASES.get(name, name)
    given = named.joined(name, arguments)
    if named.is_path(name):
        named.made("loss", name, arguments)
        return given
    check_name("loss", name, LOSSES)
    named.check_arguments("loss", name, arguments, LOSSES[name], *REDUCTION)
    outputs = 3 if name == "cross_entropy" else 1
    prediction, y = torch.zeros(1, 2, outputs), torch.zeros(1, 2, 1)
    with as_config_error(f"loss {name}"):
        values = loss(given, prediction, y)
    if values.shape != (1,):
        raise ConfigError(f"loss={name}: gives no number for each row, as a loss of replicas must")
    return given


def loss(kind: Kind, prediction: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """Loss of each replica: prediction (R, n, o), y (R, n, o) or, of cross_entropy, (R, n, 1),
    weights (R, n) or None -> (R,)."""
    name, arguments = (kind, {}) if isinstance(kind, str) else named.split("loss", kind)
    if named.is_path(name):
        return _by_replica(name, arguments, prediction, y, weights)
    scale, _, mean = SQUARES.get(name, (1.0, 1.0, True))
    error = _error_of_rows(name, arguments, prediction, y)
    error = error if weights is None else error * weights[..., None]
    rows: Any = y.shape[1] if weights is None else weights.sum(1)
    outputs = error.shape[2]
    return scale * (error.sum((1, 2)) / (rows * outputs) if mean else error.sum((1, 2)))


def _error_of_rows(name: str, arguments: dict[str, Any], prediction: Tensor, y: Tensor) -> Tensor:
    """(R, n, o), or (R, n, 1) for a loss of all outputs of a row."""
    function = partial(LOSSES[name], **_with_tensors(arguments, prediction), reduction="none")
    if name == "cross_entropy":
        classes, numbers = prediction.flatten(0, 1), y.flatten().long()
        return function(classes, numbers).view(*y.shape[:2], 1)
    return function(prediction.type_as(y), y)


def _with_tensors(arguments: dict[str, Any], like: Tensor) -> dict[str, Any]:
    """Lists of numbers, such as weights of classes, as tensors."""
    lists = {k: torch.tensor(v).to(like) for k, v in arguments.items() if isinstance(v, list)}
    return arguments | lists


def _by_replica(
    path: str, arguments: dict[str, Any], prediction: Tensor, y: Tensor, weights: Tensor | None
) -> Tensor:
    function = _own(path, json.dumps(arguments, sort_keys=True))
    values = []
    for k in range(len(y)):
        rows: Any = slice(None) if weights is None else weights[k] > 0
        with as_config_error(f"loss {path}"):
            value = function(prediction[k, rows], y[k, rows])
        if not isinstance(value, Tensor) or value.ndim:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(f"loss={path}: gives {shape}; it must give one number, as a mean")
        values.append(value)
    return torch.stack(values)


@cache
def _own(path: str, arguments: str) -> Any:
    return named.made("loss", path, json.loads(arguments))


def classifies(kind: Kind) -> bool:
    """Whether the outputs are logits of classes."""
    return named.split("loss", kind)[0] in ("bce", "cross_entropy")


def probabilities(kind: Kind, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and y (R, n, o) whose difference is the error of a prediction: of a classification
    the probabilities of the classes, and 1 for the class that it is, else 0; all others as they
    are."""
    name = named.split("loss", kind)[0]
    if name == "bce":
        return outputs.sigmoid(), y
    if name == "cross_entropy":
        classes = functional.one_hot(y[..., 0].long(), outputs.shape[-1])
        return outputs.softmax(-1), classes.to(outputs.dtype)
    return outputs, y


def derivative(kind: str, prediction: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """d loss / d prediction of a loss of squares, (R, n, o)."""
    _, slope, mean = factors(kind)
    outputs = y.shape[2]
    if weights is None:
        return (prediction - y) * (slope / (y.shape[1] * outputs) if mean else slope)
    error = slope * (prediction - y) * weights[..., None]
    return error / (weights.sum(1)[:, None, None] * outputs) if mean else error


def factors(kind: str) -> tuple[float, float, bool]:
    """(scale, slope, mean) of a loss of squares: it is scale * sum of squares, its derivative slope
    * error; both are divided by the number of rows (sum of weights) and outputs if mean."""
    return SQUARES[kind]
