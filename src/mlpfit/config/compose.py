"""From YAML and overrides to a Config, by Hydra. Hydra stops here: everything behind takes plain
values."""

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlpfit import sealed
from mlpfit.config.catalogue import confs, experiments
from mlpfit.config.schema import Config, parse
from mlpfit.errors import ConfigError, RunError, UnknownKey, allowed, as_config_error
from mlpfit.files import write_file

COMPOSED = Path("outputs/.cache/configs")


def compose(overrides: Sequence[str]) -> Config:
    """The checked config of these Hydra overrides.

        compose(["experiment=tower/small", "optimizer.lr=0.01"])

    Raises ConfigError in one line for whatever Hydra, OmegaConf or the check finds wrong.
    """
    return _parsed(_composed(overrides), overrides)


def group(kind: str, choice: str) -> dict[str, Any]:
    """The values of a file of conf/: group("optimizer", "sgd")["momentum"]. Raises ConfigError."""
    from omegaconf import OmegaConf

    with as_config_error(f"{kind}={choice}"):
        values: Any = OmegaConf.to_container(_by_hydra(f"{kind}/{choice}")[kind], resolve=True)
        return dict(values)


def groups_chosen(experiment: str) -> dict[str, str]:
    """Which choice of every group an experiment takes: groups_chosen("tower/small")["optimizer"] is
    "adam"."""
    composed = _by_hydra("config", [f"experiment={experiment}"], return_hydra_config=True)
    return dict(composed.hydra.runtime.choices)


def _by_hydra(file: str, overrides: Sequence[str] = (), **options: Any) -> Any:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    from mlpfit.config.sources import register_with_hydra

    register_with_hydra()
    # A folder without YAML: those with some are registered. hydra.initialize would look for the
    # source of every caller, which takes as long as composing.
    with initialize_config_dir(str(Path(__file__).parent), version_base="1.3"):
        return hydra_compose(file, overrides=list(overrides), **options)


def checked_config(composed: Any) -> Config:
    """What Hydra composed, checked. Raises ConfigError."""
    from omegaconf import OmegaConf

    overrides = list(map(str, OmegaConf.select(composed, "hydra.overrides.task") or ()))
    config = _parsed(_plain(composed, overrides), overrides)
    experiment = OmegaConf.select(composed, "hydra.runtime.choices.experiment")
    if experiment and not any(override.startswith("name=") for override in overrides):
        check_name(config, experiment)
    return config


def check_name(config: Config, experiment: str) -> None:
    """Raises ConfigError unless the experiment is called as its file: else it would take the place
    of another's runs."""
    if config.name != experiment:
        raise ConfigError(f"experiment={experiment}: name={config.name}: must be that of its file")


def _composed(overrides: Sequence[str]) -> dict[str, Any]:
    try:
        return _plain(_by_hydra("config", overrides), overrides)
    except ConfigError:
        raise
    except Exception as error:  # its own, YAML's, endless recursion, bytes that are no text
        raise ConfigError(as_one_line(error, overrides)) from error


def _plain(composed: Any, overrides: Sequence[str]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    composed = without_hydra(composed)
    if OmegaConf.is_missing(composed, "name"):
        if experiment := [o for o in overrides if o.startswith("experiment=")]:
            raise ConfigError(f"{experiment[0]}: name: missing in its file")
        raise ConfigError(f"experiment=...: say which one; there are {', '.join(experiments())}")
    return json.loads(json.dumps(OmegaConf.to_container(composed, resolve=True), default=str))


def without_hydra(composed: Any) -> Any:
    """What Hydra composed, but its own settings."""
    from omegaconf import OmegaConf

    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def as_one_line(error: BaseException, overrides: Sequence[str] = ()) -> str:
    """What Hydra and OmegaConf say in paragraphs, with the key they name, or all that was given."""
    from hydra.errors import MissingConfigException
    from omegaconf import DictConfig

    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.partition("/")
        return f"{group}={choice}: no such {group}; {allowed(choice, error.options)}"
    source = error.__cause__ or error
    parent = getattr(source, "parent_node", None)
    if isinstance(source, AttributeError | KeyError) and isinstance(parent, DictConfig):
        keys = [parent._get_full_key(name) for name in parent if name != "hydra"]
        given = str(getattr(source, "full_key", ""))
        return str(UnknownKey(given, keys))
    causes = [error, *([error.__cause__] if error.__cause__ else [])]
    text = " ".join(" ".join(str(cause).split()) for cause in causes) or type(error).__name__
    text = text.split(" Config search path:")[0]
    key = getattr(error, "full_key", None) or getattr(error, "override", None)
    if key:
        return text if str(key) in text else f"{key}: {text}"
    named = any(override.partition("=")[0].lstrip("+~") in text for override in overrides)
    return text if named else " ".join([text, *(f"({override})" for override in overrides)])


def _parsed(plain: dict[str, Any], overrides: Sequence[str]) -> Config:
    """Checked; of a key that there is not and no override gives, with the files that may."""
    try:
        return parse(plain)
    except UnknownKey as error:
        raise UnknownKey(error.key, error.names, _files_with(error.key, overrides)) from None


def _files_with(key: str, overrides: Sequence[str]) -> str:
    """The user's files that may have given a key, " (in ramp/conf/experiment/ramp/steep.yaml)", if
    no override has."""
    name = key.rpartition(".")[2]
    if any(name in override.partition("=")[0] for override in overrides):
        return ""
    given = re.compile(rf"\b{re.escape(name)}\s*:")
    files = [file for conf in confs()[1:] for file in sorted(conf.rglob("*.yaml"))]
    holding = [str(file) for file in files if given.search(file.read_text())]
    return f" (in {', '.join(holding)})" if holding else ""


def as_published(experiment: str) -> Config:
    """The config of an experiment as its YAML has it; composed again when a file has changed."""
    yaml = [file for conf in confs() for file in sorted(conf.rglob("*.yaml"))]
    files = [*yaml, *sorted(Path(__file__).parent.glob("*.py"))]  # these decide it, too
    try:
        config = _as_published(experiment, tuple((str(f), f.stat().st_mtime_ns) for f in files))
    except ConfigError as error:
        text = str(error)
        text = text if experiment in text else f"experiment={experiment}: {text}"
        raise ConfigError(text) from error
    check_name(config, experiment)
    return config


@cache
def _as_published(experiment: str, files: tuple[tuple[str, int], ...]) -> Config:
    """Hydra takes 70 ms for each, so what it composed of these files is cached."""
    made_by = [version(package) for package in ("hydra-core", "omegaconf")]
    key = hashlib.sha256(json.dumps([experiment, files, made_by]).encode()).hexdigest()
    cache_file = COMPOSED / f"{experiment.replace('/', '-')}.json"
    with suppress(RunError):  # not there, or not as it was written
        cached = sealed.read_json(cache_file, "compose again")
        if cached["of"] == key:
            return parse(cached["config"])
    plain = _composed([f"experiment={experiment}"])
    text = b"".join(Path(file).read_bytes() for file, _ in files if file.endswith(".yaml"))
    files_decide = not re.search(rb"\$\{(oc\.env|now)", text)
    if files_decide and COMPOSED.parents[1].is_dir():
        with suppress(OSError):
            write_file(cache_file, sealed.json_bytes({"of": key, "config": plain}))
    return _parsed(plain, [])
