"""Quantities of a finished run, computed from its weights and rows when they are asked for: "mae"
on the training rows, "val_mae" on those of validation, "test_mae" on those of test, and so on for
every metric of :mod:`mlpfit.engine.metrics`.

Rows of validation and test are those of the split, else new rows of the function, drawn again from
the replicas' seeds.
"""

from typing import Any

import numpy as np

from mlpfit.config.catalogue import folder_of, load_targets
from mlpfit.config.combinations import loss_name
from mlpfit.config.schema import target_of
from mlpfit.data.fresh import fresh_rows
from mlpfit.data.streams import Use
from mlpfit.data.targets import Source
from mlpfit.engine import metrics
from mlpfit.errors import ConfigError, RunError, allowed
from mlpfit.runs.run import REPLICAS_AT_ONCE, Run

USES: dict[str, Use] = {"val": "validation", "test": "test"}
NAMES = (*metrics.NAMES, *(f"{use}_{name}" for use in USES for name in metrics.NAMES))


def evaluated(run: Run, name: str, step: int | None = None) -> np.ndarray:
    """The quantity of this name after a step at which weights were saved, None: the last: (R,).

    Raises ValueError for another name, for an accuracy without classes and for rows that there are
    not; RunError if the target has changed since the run drew its rows; KeyError for another step.
    """
    if name not in NAMES:
        raise ValueError(f"{name}: no such quantity; {allowed(name, NAMES)}")
    if run.shards:
        return np.concatenate([evaluated(shard, name, step) for shard in run.shards])
    use, _, metric = name.rpartition("_")
    target = _target(run)
    if metric == "accuracy" and target.classes is None:
        raise ValueError(f"{name}: {run.config['name']} has no classes, since y are numbers")
    x, y = _rows(run, target, use)
    loss, parts = run.config["loss"], []
    for first in range(0, run.replicas, REPLICAS_AT_ONCE):
        group = slice(first, first + REPLICAS_AT_ONCE)
        outputs = run._outputs(x, step, group)[-1]
        truth = y[group].astype(outputs.dtype)  # as in training
        if metric == "loss" and (not isinstance(loss, str) or loss not in metrics.LOSSES):
            parts.append(_loss_by_torch(loss, outputs, truth))
        else:
            classes = target.classes is not None
            parts.append(metrics.metric(metric, loss_name(loss), outputs, truth, classes))
    return np.concatenate(parts)


def _rows(run: Run, target: Source, use: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (R, n, d) and y (R, n, o) of this part of the rows, "", "val" or "test"."""
    x, y = (f"{use}_{name}".lstrip("_") for name in "xy")
    if x in run.data:
        return run.data[x], run.data[y]
    if not target.is_endless:
        key = f"data.{USES[use]}"
        raise ValueError(f"{run.config['name']}: no rows of {USES[use]}; hold some out with {key}")
    from mlpfit.runs.identity import target_hash  # here, since it reads runs

    if run.identity.get("target") != target_hash(target):
        raise RunError(
            f"{run.path}: the code of target {target.name} has changed, so its fresh rows are "
            "gone; train the run again with force=true"
        )
    shift = run.data["center"], run.data["scale"]
    return fresh_rows(target, run.seeds, USES[use], run.config["streams"], *shift)


def _target(run: Run) -> Source:
    load_targets()
    try:
        return target_of(run.config["target"]).within(folder_of(run.config["name"]))
    except ConfigError as error:
        raise RunError(f"{run.path}: its target is none any more ({error})") from None


def _loss_by_torch(loss: Any, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A loss with arguments, or outside :mod:`mlpfit.engine.metrics`: (R,)."""
    import torch

    from mlpfit.model import losses

    with torch.no_grad():
        tensors = (torch.from_numpy(np.array(values, float)) for values in (outputs, y))
        return losses.loss(loss, *tensors).numpy()
