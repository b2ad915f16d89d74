"""The optimisers of ``torch.optim`` by name, with torch's own argument names."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from mlpfit.errors import ConfigError, UnknownKey, check_name, one_line

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name.lower(): kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer
}
# One step of these depends on all parameters at once, so replicas would influence each other.
MIXING = ("lbfgs", "adafactor")


def optimizer_of(given: Mapping[str, Any], replicas: int) -> tuple[type[Optimizer], dict[str, Any]]:
    """Class and arguments of {"name": "sgd", "lr": 0.02, "momentum": 0.9}: a name of torch.optim,
    whatever its case, and arguments of that class. beta1 and beta2 may stand for betas.

    Raises ConfigError for what does not exist, what torch refuses, and an optimiser of several
    replicas that would mix them.
    """
    arguments = dict(given)
    name = str(arguments.pop("name", None)).lower()
    check_name("optimizer.name", name, OPTIMIZERS)
    kind = OPTIMIZERS[name]
    if replicas > 1 and name in MIXING:
        raise ConfigError(
            f"optimizer.name={name}: a step of it mixes replicas; give it one seed, "
            f"or {replicas} seeds to another optimizer"
        )
    parameters = inspect.signature(kind).parameters
    names = [name for name in parameters if name != "params"]
    if "betas" in names:
        names += ["beta1", "beta2"]
    for key in arguments:
        if key not in names:
            raise UnknownKey(f"optimizer.{key}", [f"optimizer.{n}" for n in names], f" of {name}")
    if betas := {"beta1", "beta2"} & arguments.keys():
        if "betas" in arguments:
            raise ConfigError(f"optimizer.{min(betas)}: leave it out beside betas")
        default = parameters["betas"].default
        arguments["betas"] = [arguments.pop(f"beta{i + 1}", default[i]) for i in (0, 1)]
    if isinstance(arguments.get("betas"), list):
        arguments["betas"] = tuple(arguments["betas"])
    arguments.setdefault("lr", parameters["lr"].default)
    try:
        kind([torch.nn.Parameter(torch.zeros(1, 1, 1))], **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"optimizer {name}: {one_line(error)}") from error
    return kind, arguments
