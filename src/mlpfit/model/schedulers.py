"""The schedulers of ``torch.optim.lr_scheduler`` by name, with torch's own argument names, and with
Lightning's ``interval``, ``frequency`` and ``monitor``."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer, lr_scheduler

from mlpfit.errors import ConfigError, as_config_error, check_name
from mlpfit.model import named
from mlpfit.model.optimizers import defaults

SCHEDULERS: dict[str, Any] = {
    name: getattr(lr_scheduler, name) for name in lr_scheduler.__all__ if name != "LRScheduler"
}
# Lightning's words: a step of the schedule after every optimiser step or epoch, or every so many of
# them; what ReduceLROnPlateau follows.
TIMING: dict[str, Any] = {"interval": "epoch", "frequency": 1, "monitor": "train/loss"}


def checked(
    given: Any, optimizer: tuple[type[Optimizer], dict[str, Any]], replicas: int
) -> dict[str, Any] | None:
    """The scheduler by its name here, with interval. Raises ConfigError for one that there is not,
    arguments that it does not take, or that fails with this optimiser."""
    if given is None:
        return None
    name, arguments = named.split("scheduler", given)
    name = next((known for known in SCHEDULERS if known.lower() == name.lower()), name)
    given = {"name": name} | {k: v for k, v in arguments.items() if v is not None}
    given.setdefault("interval", TIMING["interval"])
    if given["interval"] not in ("step", "epoch"):
        raise ConfigError(f"scheduler.interval={given['interval']}: allowed are step, epoch")
    frequency = given.get("frequency", 1)
    if type(frequency) is not int or frequency < 1:
        raise ConfigError(f"scheduler.frequency={frequency}: must be a whole number from 1 on")
    kind, options = optimizer
    parameter = torch.nn.Parameter(torch.zeros(1, 1, 1))
    parameter.grad = torch.zeros_like(parameter)
    tried = kind([parameter], **options)
    with as_config_error(f"scheduler {name}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = scheduler_of(given, tried)["scheduler"]
    if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        if replicas > 1:
            raise ConfigError(
                f"scheduler={name}: follows the error of one replica; give it one seed, or "
                f"{replicas} seeds to a schedule that does not depend on errors"
            )
    elif "monitor" in given:
        raise ConfigError(f"scheduler.monitor: goes with ReduceLROnPlateau only, not with {name}")
    return given


def scheduler_of(given: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """Lightning's description of {"name": "StepLR", "step_size": 30, "interval": "epoch"}."""
    timing = TIMING | {k: given[k] for k in TIMING if k in given}
    arguments = {k: v for k, v in given.items() if k not in TIMING}
    made = _made(arguments, optimizer)
    if not isinstance(made, lr_scheduler.ReduceLROnPlateau):
        del timing["monitor"]
    return {"scheduler": made, **timing}


def _made(given: Mapping[str, Any], optimizer: Optimizer) -> Any:
    name, arguments = named.split("scheduler", given)
    if named.is_path(name):
        kind = named.imported("scheduler", name)
    else:
        check_name("scheduler", name, SCHEDULERS)
        kind = SCHEDULERS[name]
    missing = [k for k, v in arguments.items() if v == "???"]
    plain = {k: v for k, v in arguments.items() if k not in missing}
    without = ("optimizer", "last_epoch") if "optimizer" in _names(kind) else ()
    named.check_arguments("scheduler", name, plain, kind, *without)
    plain = {key: _argument(key, value, optimizer) for key, value in plain.items()}
    if name == "ChainedScheduler":  # which has its schedulers first
        return kind(plain.pop("schedulers"), optimizer, **plain)
    return kind(optimizer, **plain)


def _argument(key: str, value: Any, optimizer: Optimizer) -> Any:
    """A scheduler within a scheduler, or a function, by its description; others as they are."""
    if key == "schedulers" and isinstance(value, list):
        return [_made({k: v for k, v in one.items() if v is not None}, optimizer) for one in value]
    if isinstance(value, Mapping) and "_target_" in value:
        path, arguments = named.split(f"scheduler.{key}", value)
        return named.made(f"scheduler.{key}", path, arguments)
    return value


def _names(kind: Any) -> list[str]:
    return list(inspect.signature(kind).parameters)


def described(name: str) -> dict[str, Any] | None:
    """Name and arguments of a scheduler of torch with their defaults, as in a file of
    conf/scheduler. None if there is no such scheduler."""
    found = next((known for known in SCHEDULERS if known.lower() == name.lower()), None)
    if found is None:
        return None
    arguments = defaults(SCHEDULERS[found], "optimizer", "last_epoch")
    timing = TIMING if found == "ReduceLROnPlateau" else {**TIMING, "monitor": None}
    return {"name": found, **arguments, **timing}
