"""Quantities: the numbers of a run that a page may print, each with one value per replica.

Built in are ``MEASURES`` on the training rows; with val_ or test_ in front, on the validation and
test rows; truth_mse; and loss, what is trained. A tutorial's ``quantities.py`` may define

QUANTITIES   name -> function from a run to its values, one per replica: (R,); one that is also
             published along the training takes the step, too: (run, step)
LAWS         name of a quantity that no run has -> function to draws of it: (draws,)
"""

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from mlpfit.config import catalogue
from mlpfit.config.schema import Config
from mlpfit.errors import ConfigError, RunError, as_config_error
from mlpfit.runs import run as finished
from mlpfit.runs.run import Run

Quantity = Callable[..., Any]

ERRORS = {
    "mse": "mean squared error",
    "sse": "sum of squares",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
}
MEASURES = ERRORS | {"r2": "R²", "accuracy": "accuracy"}
LOSS = "loss"
LABELS = {
    **MEASURES,
    **{f"val_{name}": f"{label} on validation rows" for name, label in MEASURES.items()},
    **{f"test_{name}": f"{label} on test rows" for name, label in MEASURES.items()},
    LOSS: "training loss",
    **finished.QUANTITIES,
}
LISTS = ("QUANTITIES", "LAWS")


def module(tutorial: str) -> ModuleType | None:
    """The tutorial's quantities.py; None if it has none."""
    return catalogue.tutorial(tutorial).module("quantities", *LISTS)


def own(tutorial: str) -> Mapping[str, Quantity]:
    """The quantities that the tutorial, or the tutorial of this experiment, defines."""
    return getattr(module(tutorial), "QUANTITIES", {})


def laws(tutorial: str) -> Mapping[str, Quantity]:
    """The laws that the tutorial, or the tutorial of this experiment, defines."""
    return getattr(module(tutorial), "LAWS", {})


def check_quantities(tutorial: str) -> None:
    """Raises ConfigError in one line for anything but named functions in quantities.py, and for a
    name that is built in or given twice."""
    file, defined = f"{tutorial}/quantities.py", module(tutorial)
    for kind in LISTS:
        functions = getattr(defined, kind, {})
        if not isinstance(functions, Mapping):
            raise ConfigError(f"{file}: {kind} is {functions!r}: must be a dict, name: function")
        for name, function in functions.items():
            if not isinstance(name, str) or not callable(function):
                raise ConfigError(f"{file}: {kind}: {name!r}: {function!r}: must be name: function")
            if name in LABELS:
                raise ConfigError(f"{file}: {kind}: {name}: is built in; choose another name")
    if both := own(tutorial).keys() & laws(tutorial).keys():
        raise ConfigError(f"{file}: {min(both)}: is in QUANTITIES and in LAWS; keep one")


def takes_step(function: Quantity) -> bool:
    """Whether a quantity of the tutorial's own takes a step after the run."""
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True


def own_values(tutorial: str, name: str, run: Run, step: int | None = None) -> np.ndarray:
    """A quantity of the tutorial's own in each replica: (R,); step: given to one that takes it.
    Raises ConfigError, with file and line, if it fails or has another shape."""
    function, file = own(tutorial)[name], f"{tutorial}/quantities.py"
    with as_config_error(f"{file}: {name} of {run.config['name']}"):
        try:
            values = np.asarray(function(run, step) if takes_step(function) else function(run))
        except IndexError as error:
            kept, steps = run.history["step"], run.provenance["steps"]
            if len(kept) == steps:
                raise
            remedy = f"loss_before(run, step) finds one; ensemble.history_points={steps} keeps all"
            problem = f"{error} (history has {len(kept)} of {steps} steps: {remedy})"
            raise IndexError(problem).with_traceback(error.__traceback__) from None
    if values.shape != (run.replicas,) or values.dtype.kind not in "biuf":
        given = "a single number" if values.ndim == 0 else f"{values.dtype} of shape {values.shape}"
        needed = f"one number for each of {run.replicas} replicas, shape ({run.replicas},)"
        code = getattr(inspect.unwrap(function), "__code__", None)
        line = f" (quantities.py, line {code.co_firstlineno})" if code else ""
        raise ConfigError(f"{file}: {name} gives {given}; must be {needed}{line}")
    return values.astype(float)


def follows_from_loss(quantity: str, loss: str) -> bool:
    """Whether a quantity on the rows of a step follows from the recorded loss of this kind."""
    return quantity in (LOSS, loss) or (quantity in ("mse", "sse", "rmse") and loss in _TO_SQUARES)


_TO_SQUARES = ("mse", "half_mse", "sse")


def is_known_before(quantity: str, config: Config) -> bool:
    """Whether a run of the config has a quantity before an update: it follows from the loss, or is
    of rows that do not change from step to step."""
    if follows_from_loss(quantity, config.loss):
        return True
    return config.data.batch_size is None or quantity.startswith(("val_", "test_"))


def loss_before(run: Run, step: int) -> np.ndarray:
    """The loss of each replica before the update of this step, counted from 1: (R,). Raises
    RunError for a step that the run does not have, or whose loss it has not kept."""
    steps = run.history["step"]
    last = int(steps[-1]) if len(steps) else 0
    if not 1 <= step <= last:
        raise RunError(f"not a step of this run, which took {last}")
    place = int(np.searchsorted(steps, step))
    if steps[place] != step:
        remedy = f"ensemble.history_points={last} keeps all"
        raise RunError(f"{run.path} has not kept the loss of that step; {remedy}")
    return run.history["loss"][place]


def before_step(run: Run, quantity: str, step: int) -> np.ndarray:
    """A quantity on the rows that a step sees, before its update: (R,). Raises RunError if that was
    not recorded."""
    loss = run.config["loss"]
    if not follows_from_loss(quantity, loss):
        if run.config["data"]["batch_size"] is None or quantity.startswith(("val_", "test_")):
            return after_step(run, quantity, step - 1)
        problem = f"{quantity} of the rows of a step is not recorded, only their {loss}"
        raise RunError(f"{run.path}: {problem}")
    losses = loss_before(run, step)
    if quantity in (LOSS, loss) and loss not in ("mse", "sse"):
        return losses
    if quantity == "rmse":
        return np.sqrt(before_step(run, "mse", step))
    is_sum = (loss if quantity == LOSS else quantity) == "sse"
    # A loss of the published kind needs no rows; they cancel.
    rows = run.data["x"].shape[1]
    if (loss == "sse") != is_sum:
        rows = rows_of_step(run, step) * run.data["y"].shape[2]
    to_mse = {"mse": 1.0, "half_mse": 2.0, "sse": 1 / rows}[loss]
    return losses * to_mse * (rows if is_sum else 1)


def rows_of_step(run: Run, step: int) -> int:
    """Rows that a step, counted from 1, sees in every replica. Raises RunError where batches of one
    step have other lengths in other replicas."""
    data, rows = run.config["data"], run.data["x"].shape[1]
    batch = data["batch_size"] or rows
    if data["order"] in ("shuffle", "sequential"):  # the last batch of an epoch may be shorter
        return min(batch, rows - (step - 1) % -(-rows // batch) * batch)
    if data["order"] == "blocks" and (data["macro_batch"] % batch or rows % batch):
        given = "data.order=blocks with batches of several lengths"
        raise RunError(f"{run.path}: {given}: publish losses as {run.config['loss']}")
    return batch


def epoch_mean(run: Run, quantity: str, steps: range, by_rows: bool) -> np.ndarray:
    """Mean over the steps of an epoch of a quantity before each update: (R,); by_rows: each step
    weighs as many rows as it sees."""
    rows = np.array([rows_of_step(run, step) if by_rows else 1 for step in steps])
    along = np.stack([before_step(run, quantity, step) for step in steps])
    return (along * rows[:, None]).sum(axis=0) / rows.sum()


def after_last(run: Run, quantity: str) -> np.ndarray:
    """A quantity after the last update: (R,), from the run's final numbers where they have it.
    Raises RunError for one that the run can't have."""
    if quantity == LOSS and run.config["loss"] in ("mse", "sse"):
        quantity = run.config["loss"]
    return run.metrics[quantity] if quantity in run.metrics else _evaluated(run, quantity, None)


def after_step(run: Run, quantity: str, step: int) -> np.ndarray:
    """A quantity after this step: (R,), from the weights, which must have been kept."""
    if step == run.snapshots[-1]:
        return after_last(run, quantity)
    if step not in run.snapshots:
        remedy = f"recording.weights_after=[{step}] in its YAML keeps them"
        raise RunError(f"{run.path} has not kept the weights after step {step}; {remedy}")
    return _evaluated(run, quantity, step)


def _evaluated(run: Run, quantity: str, step: int | None) -> np.ndarray:
    try:
        return run.evaluated(LOSS if quantity == run.config["loss"] else quantity, step)
    except ValueError as error:
        raise RunError(f"{run.path}: {error}") from None


def r2(run: Run) -> np.ndarray:
    """Share of the training rows' variance that the fit explains: (R,)."""
    y = run.data["y"][..., 0]
    return 1 - run.metrics["sse"] / ((y - y.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
