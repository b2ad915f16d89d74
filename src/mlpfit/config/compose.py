"""Composition of YAML and overrides by Hydra into a Config. Code that takes a Config needs no
Hydra."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import RLock
from typing import Any

from mlpfit.config.catalogue import conf_folders, experiments
from mlpfit.config.schema import Config, parse
from mlpfit.errors import (
    ConfigError,
    UnknownKey,
    allowed,
    as_config_error,
    shortened,
)
from mlpfit.files import write_file

WITH_ARGUMENTS = {  # keys that take a name, or a name with arguments
    "loss": "{name: huber, delta: 2}",
    "model.activation": "{name: leaky_relu, negative_slope: 0.1}",
    "model.init": "{weight: xavier_uniform, bias: zeros}",
    "model.net": "{_target_: ramp.nets.Net, width: 8}",
}

ONE_CHOICE = ("experiment", "sweep", "target", "optimizer", "scheduler")  # of Hydra's groups


def compose(overrides: Sequence[str]) -> Config:
    """The config of these Hydra overrides. Raises ConfigError for any error of Hydra, OmegaConf or
    the validation.

        compose(["experiment=tower/small", "optimizer.lr=0.01"])
    """
    return _validated(_compose_plain(overrides), overrides)


def group_values(kind: str, choice: str) -> dict[str, Any]:
    """Values of a file of conf/: group_values("optimizer", "sgd")["lr"]. Raises ConfigError."""
    from omegaconf import OmegaConf

    with as_config_error(f"{kind}={choice}"):
        values: Any = OmegaConf.to_container(_hydra_compose(f"{kind}/{choice}")[kind], resolve=True)
        return dict(values)


def groups_chosen(experiment: str) -> dict[str, str]:
    """An experiment's choices: groups_chosen("tower/small")["optimizer"] is "adam"."""
    composed = _hydra_compose("config", [f"experiment={experiment}"], return_hydra_config=True)
    return dict(composed.hydra.runtime.choices)


def _hydra_compose(file: str, overrides: Sequence[str] = (), **options: Any) -> Any:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    from mlpfit.config.sources import register_with_hydra

    register_with_hydra()
    # A folder without YAML, since conf/ is registered already. hydra.initialize would look up the
    # caller's source file, which takes as long as composing.
    with _own_hydra(), initialize_config_dir(str(Path(__file__).parent), version_base="1.3"):
        return hydra_compose(file, overrides=list(overrides), **options)


_composing = RLock()  # Hydra's state is global, so threads compose one after the other


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Set aside the Hydra of a surrounding application or notebook, and put it back."""
    from hydra import version as hydra_version
    from hydra.core.global_hydra import GlobalHydra

    with _composing:
        current, base = GlobalHydra.instance(), hydra_version.VersionBase.instance().getbase()
        outer, current.hydra = current.hydra, None
        try:
            yield
        finally:
            GlobalHydra.instance().hydra = outer
            if base is not None:
                hydra_version.VersionBase.instance().version_base = base


def checked_config(composed: Any) -> Config:
    """The Config of what Hydra composed. Raises ConfigError."""
    from omegaconf import OmegaConf

    overrides = list(map(str, OmegaConf.select(composed, "hydra.overrides.task") or ()))
    experiment = OmegaConf.select(composed, "hydra.runtime.choices.experiment")
    return checked_values(plain_values(composed, overrides), overrides, experiment)


def checked_values(
    plain: dict[str, Any], overrides: Sequence[str], experiment: str | None
) -> Config:
    """The Config of plain values that came of these overrides and this experiment's file. Raises
    ConfigError."""
    config = _validated(plain, overrides)
    if experiment and not any(override.startswith("name=") for override in overrides):
        check_own_name(config.name, experiment)
    return config


def check_own_name(name: str, experiment: str) -> None:
    """Raises ConfigError unless an experiment's name is its file's: else its runs could replace
    those of another experiment."""
    if name != experiment:
        raise ConfigError(f"experiment={experiment}: name={name}: must be the path of its file")


def _compose_plain(overrides: Sequence[str]) -> dict[str, Any]:
    try:
        return plain_values(_hydra_compose("config", overrides), overrides)
    except ConfigError:
        raise
    except Exception as error:  # of Hydra or YAML, endless recursion, bytes that are not text
        raise ConfigError(as_one_line(error, overrides)) from error


def plain_values(composed: Any, overrides: Sequence[str]) -> dict[str, Any]:
    """The values of what Hydra composed, as JSON has them. Raises ConfigError without a name."""
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(composed, "name"):
        if experiment := [o for o in overrides if o.startswith("experiment=")]:
            raise ConfigError(f"{experiment[0]}: name: missing in its file")
        raise ConfigError(f"experiment=...: choose one of {', '.join(experiments())}")
    # Without a copy that lacks Hydra's settings, which would take most of the time.
    values = {key: composed[key] for key in composed if key != "hydra"}
    plain = {
        str(key): OmegaConf.to_container(value, resolve=True)
        if OmegaConf.is_config(value)
        else value
        for key, value in values.items()
    }
    return json.loads(json.dumps(plain, default=str))


def without_hydra(composed: Any) -> Any:
    """What Hydra composed, without the settings of Hydra itself."""
    from omegaconf import OmegaConf

    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def as_one_line(error: BaseException, overrides: Sequence[str] = ()) -> str:
    """An error of Hydra or OmegaConf in one line, with the key it is about, else all overrides."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf import DictConfig

    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        parts = error.missing_cfg_file.split("/")
        depth = 2 if parts[0] == "hydra" else 1  # hydra/launcher is a group
        group, choice = "/".join(parts[:depth]), "/".join(parts[depth:])
        return f"{group}={choice}: no such {group}; {allowed(choice, error.options)}"
    source = error.__cause__ or error
    parent = getattr(source, "parent_node", None)
    if isinstance(source, AttributeError | KeyError) and isinstance(parent, DictConfig):
        keys = [parent._get_full_key(name) for name in parent if name != "hydra"]
        given = str(getattr(source, "full_key", ""))
        for name, example in WITH_ARGUMENTS.items():
            if given.startswith(f"{name}."):
                return f"{given}: give arguments together with the name: '{name}={example}'"
        if given.startswith(("callbacks.", "logger.")) or not keys:
            return f"{given}: there is none yet; a new one needs a plus: +{given}=..."
        if deeper := [key for key in _keys_below(parent) if key.endswith(f".{given}")]:
            return f"{given}: no such key; did you mean {' or '.join(deeper[:3])}?"
        return str(UnknownKey(given, keys))
    if isinstance(error, OverrideParseException):
        return _outside_grammar(error.override, str(error).partition("\nSee http")[0])
    causes = [error, *([error.__cause__] if error.__cause__ else [])]
    text = " ".join(" ".join(str(cause).split()) for cause in causes) or type(error).__name__
    text = shortened(text.split(" Config search path:")[0])
    keys = [override.partition("=")[0].lstrip("+~") for override in overrides]
    if any(key and key in text for key in keys):
        return text
    return " ".join([text, *(f"({override})" for override in overrides)])


def _outside_grammar(override: str, problem: str) -> str:
    """An override that Hydra can't read, in one line, and how it could be meant."""
    key, equals, value = override.partition("=")
    if not equals:
        meant = f"did you mean experiment={override}?" if override in experiments() else ""
        return f"{override}: {meant or 'no key=value'}"
    problem = "can't be read" if "LexerNoViableAlt" in problem else " ".join(problem.split())
    quoted = "" if {*value} & {*"'\"[{"} else f""": '{key}="{value}"'"""
    hint = "a text with special characters needs quotes within those of the shell"
    return shortened(f"{override}: {problem}; {hint}{quoted}")


def _keys_below(node: Any) -> Iterator[str]:
    """Full keys of all values in a config, without Hydra's own."""
    for name in node:
        if name != "hydra":
            yield node._get_full_key(name)
            child = node._get_node(name)
            if hasattr(child, "_get_full_key") and hasattr(child, "keys") and not child._is_none():
                yield from _keys_below(child)


def _validated(plain: dict[str, Any], overrides: Sequence[str]) -> Config:
    """Its Config. The error about a key of another optimizer or target says how to choose that."""
    for override in overrides:
        group, _, choice = override.lstrip("+").partition("=")
        if group in ONE_CHOICE and choice.startswith("["):
            several = f"several are a sweep: mlpfit -m {group}=a,b"
            raise ConfigError(f"{override}: must name one, not a mixture; {several}")
    try:
        return parse(plain)
    except UnknownKey as error:
        for override in (o.lstrip("+") for o in overrides):
            group, _, choice = override.partition(".name=")
            if group in ("optimizer", "target") and error.key.startswith(f"{group}."):
                raise ConfigError(
                    f"{override}: choose it as {group}={choice}, which brings its own keys"
                ) from None
        raise


CACHE = Path("outputs/.cache/configs")  # of what as_published composed, where there is an outputs/


def as_published(experiment: str) -> Config:
    """The config of an experiment without overrides. It is composed once, and again only after a
    file of ``conf/`` has changed."""
    return _as_published(experiment, tuple(_stats(conf_folders())))


def _stats(folders: Iterable[str | Path]) -> Iterator[tuple[str, int, int]]:
    """Path, time of change and size of every YAML file in these folders. It is asked for often, and
    pathlib's rglob would take ten times as long."""
    for folder in filter(os.path.isdir, folders):
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    yield from _stats([entry.path])
                elif entry.name.endswith(".yaml"):
                    status = entry.stat()
                    yield entry.path, status.st_mtime_ns, status.st_size


@cache
def _as_published(experiment: str, files: tuple[tuple[str, int, int], ...]) -> Config:
    """The config of an experiment with these files. Hydra takes up to 200 ms to compose it, so what
    came of the files that it reads is kept."""
    names, packaged = [name for name, _, _ in files], f"{conf_folders()[0]}/"
    if f"{packaged}experiment/{experiment}.yaml" in names:  # its files are found there first
        names = [name for name in names if name.startswith(packaged)]
    kept = CACHE / f"{experiment.replace('/', '-')}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):  # missing or damaged
        found = json.loads(kept.read_bytes())
        if found["of"] == _digest(experiment, names, found["read"]):
            return parse(found["config"])
    from mlpfit.config.sources import noting_files

    try:
        with noting_files() as read:
            plain = _compose_plain(overrides := [f"experiment={experiment}"])
        config = _validated(plain, overrides)
    except ConfigError as error:
        message = str(error)
        raise ConfigError(
            message if experiment in message else f"experiment={experiment}: {message}"
        ) from error
    check_own_name(config.name, experiment)
    with suppress(OSError, ValueError):
        of = _digest(experiment, names, read)
        _unkept[kept.absolute()] = json.dumps({"of": of, "read": read, "config": plain}).encode()
    keep_published()
    return config


_unkept: dict[Path, bytes] = {}  # what was composed before there was an outputs/


def keep_published() -> None:
    """Keep what this process has composed of experiments for others, if there is an outputs/ by
    now."""
    for file in [file for file in _unkept if file.parents[2].is_dir()]:
        with suppress(OSError):
            write_file(file, _unkept.pop(file))


def _digest(experiment: str, names: Sequence[str], read: Sequence[str]) -> str:
    """Hash of what the config of an experiment depends on: the content of the files that were read
    to compose it and the environment variables that they name, the names of all files, this code,
    Hydra, torch (whose optimizers have no files). Raises ValueError for a file that names the
    time."""
    text = b"".join(Path(name).read_bytes() for name in read)
    if b"${now:" in text:
        raise ValueError("now")
    variables = sorted(set(re.findall(rb"\$\{oc\.env:(\w+)", text)))
    given = [os.environ.get(variable.decode()) for variable in variables]
    decides = json.dumps([experiment, names, read, given])
    return hashlib.sha256(decides.encode() + text + _code()).hexdigest()


@cache
def _code() -> bytes:
    """This code and the versions of what composes."""
    code = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    packages = [version(name) for name in ("hydra-core", "omegaconf", "torch")]
    return code + " ".join(packages).encode()
