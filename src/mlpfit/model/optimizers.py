"""The optimisers of ``torch.optim`` by name, with torch's own argument names."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from mlpfit.errors import ConfigError, UnknownKey, as_config_error, check_name, one_line
from mlpfit.model import named

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name.lower(): kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer
}


def optimizer_of(given: Mapping[str, Any], replicas: int) -> tuple[type[Optimizer], dict[str, Any]]:
    """Class and arguments of {"name": "sgd", "lr": 0.02, "momentum": 0.9}: a name of torch.optim,
    whatever its case, or the import path of a class, and arguments of that class. beta1 and beta2
    may stand for betas. ``bias`` is not among the arguments: see :func:`bias_options`.

    Raises ConfigError for what does not exist, what torch refuses, and an optimiser of several
    replicas that would mix them.
    """
    name, arguments = named.split("optimizer", given)
    bias = arguments.pop("bias", None) or {}
    if named.is_path(name):
        kind = named.imported("optimizer", name)
        if not (inspect.isclass(kind) and issubclass(kind, Optimizer)):
            raise ConfigError(f"optimizer={name}: is no class of a torch.optim.Optimizer")
    else:
        name = name.lower()
        check_name("optimizer.name", name, OPTIMIZERS)
        kind = OPTIMIZERS[name]
    parameters = inspect.signature(kind).parameters
    names = [name for name in parameters if name != "params"]
    if "betas" in names:
        names += ["beta1", "beta2"]
    for key in arguments:
        if key not in names:
            raise UnknownKey(f"optimizer.{key}", [f"optimizer.{n}" for n in names], f" of {name}")
    for key in bias if isinstance(bias, Mapping) else ():
        if key not in parameters or key == "params":
            free = [f"optimizer.bias.{n}" for n in parameters if n != "params"]
            raise UnknownKey(f"optimizer.bias.{key}", free, f" of {name}")
    if betas := {"beta1", "beta2"} & arguments.keys():
        if "betas" in arguments:
            raise ConfigError(f"optimizer.{min(betas)}: leave it out beside betas")
        default = parameters["betas"].default
        arguments["betas"] = [arguments.pop(f"beta{i + 1}", default[i]) for i in (0, 1)]
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    if "lr" in parameters and parameters["lr"].default is not inspect.Parameter.empty:
        arguments.setdefault("lr", parameters["lr"].default)
    needed = [key for key in parameters if parameters[key].default is inspect.Parameter.empty]
    if missing := [key for key in needed if key != "params" and key not in arguments]:
        raise ConfigError(f"optimizer.{missing[0]}: missing; {name} needs a value")
    weight, own = (torch.nn.Parameter(torch.zeros(1, 1, 1)) for _ in range(2))
    try:
        kind([{"params": [weight]}, {"params": [own], **bias}] if bias else [weight], **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"optimizer {name}: {one_line(error)}") from error
    if replicas > 1 and mixes(name, kind, arguments):
        raise ConfigError(
            f"optimizer.name={name}: a step of it mixes replicas; give it one seed, "
            f"or {replicas} seeds to another optimizer"
        )
    return kind, arguments


def bias_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the biases have of their own: {"weight_decay": 0.0} of {"name": "sgd",
    "weight_decay": 0.001, "bias": {"weight_decay": 0.0}}, where only weights decay."""
    return dict(given.get("bias") or {})


def mixes(name: str, kind: type[Optimizer], arguments: Mapping[str, Any]) -> bool:
    """Whether a replica's steps depend on the gradients of another."""
    with as_config_error(f"optimizer {name}"):
        return not torch.equal(_steps(kind, arguments, 1.0), _steps(kind, arguments, 1e3))


def _steps(kind: type[Optimizer], arguments: Mapping[str, Any], other: float) -> torch.Tensor:
    """Parameters of the first of two replicas after two steps; other: size of the other's
    parameters and gradients."""
    scales = torch.tensor([1.0, other])[:, None, None]
    parameter = torch.nn.Parameter(scales * torch.ones(2, 3, 2))
    optimizer = kind([parameter], **arguments)
    sizes = scales * torch.arange(1.0, 7.0).view(3, 2)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (sizes * parameter.square()).sum()
        loss.backward()
        return float(loss.detach())

    for _ in range(2):
        optimizer.step(closure)
    return parameter[0].detach()


def described(name: str) -> dict[str, Any] | None:
    """Name and arguments of an optimiser of torch with their defaults, as in a file of
    conf/optimizer; null for an option that is off. None if there is no such optimiser."""
    if (kind := OPTIMIZERS.get(name.lower())) is None:
        return None
    return {"name": name.lower(), **defaults(kind, "params")}


def defaults(kind: Any, *without: str) -> dict[str, Any]:
    """Arguments of a class as YAML has them: "???" for one that must be given, null for an option
    that is off."""
    values: dict[str, Any] = {}
    for parameter in inspect.signature(kind).parameters.values():
        key, value = parameter.name, parameter.default
        if key in without:
            continue
        if key == "betas":
            values |= {"beta1": value[0], "beta2": value[1]}
        elif value is parameter.empty:
            values[key] = "???"
        else:
            plain = float(value) if isinstance(value, torch.Tensor) else value
            plain = list(plain) if isinstance(plain, tuple) else plain
            values[key] = None if plain is False else plain
    return values
