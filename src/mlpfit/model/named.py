"""What a config names: something of torch by its name there, or a class or function of torch,
Lightning or a tutorial's folder by its import path, each with arguments.

    "huber"    {"name": "huber", "delta": 2}    {"_target_": "mlpfit.tutorials.ramp.losses.Mine"}

A name with a dot is an import path, so ``_target_``, Hydra's word, may stand for ``name``.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from mlpfit.errors import ConfigError, UnknownKey, as_config_error

Named = str | Mapping[str, Any]
LIBRARIES = ("torch.nn.", "torch.optim.", "lightning.pytorch.")
TUTORIALS = "mlpfit.tutorials."  # also of the folders named in MLPFIT_PATH


def split(key: str, given: Any) -> tuple[str, dict[str, Any]]:
    """Name and arguments. Raises ConfigError for what is neither a name nor has one."""
    if isinstance(given, str):
        return given, {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"{key}={given}: must be a name, or a name with arguments: {{name: ...}}")
    arguments = dict(given)
    names = [arguments.pop(word) for word in ("name", "_target_") if word in arguments]
    if len(names) != 1 or not isinstance(names[0], str):
        raise ConfigError(f"{key}={given}: needs one name, or one _target_")
    return names[0], arguments


def joined(name: str, arguments: Mapping[str, Any]) -> Named:
    """The name, with its arguments if there are some: the opposite of :func:`split`."""
    return {"name": name, **arguments} if arguments else name


def is_path(name: str) -> bool:
    """Whether a name is an import path."""
    return "." in name and all(part.isidentifier() for part in name.split("."))


def packages() -> tuple[str, ...]:
    """Beginnings of the import paths that may be named."""
    own = (f"{point.value}." for point in entry_points(group="mlpfit.tutorials"))
    return (*LIBRARIES, TUTORIALS, *own)


def imported(key: str, path: str) -> Any:
    """The class or function of an import path. Raises ConfigError for one that there is not, or
    that is not of one of the :func:`packages`."""
    allowed = packages()
    if not path.startswith(allowed):
        raise ConfigError(f"{key}={path}: must begin with {' or '.join(allowed)}")
    from hydra.utils import get_object  # here, since most configs name no path

    with as_config_error(f"{key}={path}"):
        found = get_object(path)
    home = f"{getattr(found, '__module__', '')}."
    if home.startswith(allowed) or path == f"torch.nn.functional.{getattr(found, '__name__', '')}":
        return found
    raise ConfigError(f"{key}={path}: is of another package, {home[:-1]}")


def targets(value: Any) -> Iterator[str]:
    """All import paths named as ``_target_`` in nested values."""
    if isinstance(value, Mapping):
        if isinstance(path := value.get("_target_"), str):
            yield path
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from targets(item)


def made(key: str, path: str, arguments: Mapping[str, Any]) -> Any:
    """The object of a class, or the function with these arguments fixed. ``_target_`` within the
    arguments makes objects, too. Raises ConfigError for what fails."""
    kind = imported(key, path)
    for inner in targets(arguments):
        imported(key, inner)
    from hydra.utils import instantiate

    node = {"_target_": path, "_partial_": not inspect.isclass(kind), **arguments}
    with as_config_error(f"{key}={path}"):
        return instantiate(node, _convert_="all")


def check_arguments(
    key: str, name: str, given: Iterable[str], function: Any, *without: str
) -> None:
    """Raises ConfigError for an argument that the function does not take, or one that it needs and
    is not given; without: those that are not the user's."""
    parameters = inspect.signature(function).parameters.values()
    ours = [p for p in parameters if p.name not in without and p.name != "self"]
    names = [p.name for p in ours if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if len(names) == len(ours):
        for argument in given:
            if argument not in names:
                raise UnknownKey(f"{key}.{argument}", [f"{key}.{n}" for n in names], f" of {name}")
    for p in ours:
        if p.name in names and p.default is p.empty and p.name not in given:
            raise ConfigError(f"{key}.{p.name}: missing; {name} needs a value")
