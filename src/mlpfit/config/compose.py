"""From YAML and overrides to a Config, by Hydra. Hydra stops here: everything behind takes plain
values."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from mlpfit.config.catalogue import CONF, choices, confs, experiments
from mlpfit.config.names import check_place
from mlpfit.config.schema import Config, parse
from mlpfit.config.typed import shown
from mlpfit.errors import ConfigError

GROUPS = ("experiment", "target", "optimizer")  # keys whose value is a choice, a file of conf/

OPTIONS = ("-m", "--multirun", "-h", "--help")


def compose(overrides: Sequence[str], conf: Path = CONF) -> Config:
    """The checked config of these Hydra overrides, e.g. ["experiment=tower/small",
    "optimizer.lr=0.01"].

    Raises ConfigError in one line for whatever Hydra, OmegaConf or the check finds wrong.
    """
    try:
        return _compose(overrides, conf)
    except ConfigError as error:
        experiment = [o for o in overrides if o.startswith("experiment=")][-1:]
        file = _own_file(experiment)
        if file is None or any(
            str(folder) in str(error) for folder in confs()[1:]
        ):  # says where already
            raise
        if list(overrides) != experiment and _composes(experiment, conf):  # not the file's fault
            raise
        raise ConfigError(f"{file}: {error}") from error


def as_published(experiment: str) -> Config:
    """The config of an experiment as its YAML has it; composed once, and again when a file of conf/
    has changed."""
    return _as_published(
        experiment, tuple((str(file), file.stat().st_mtime_ns) for file in CONF.rglob("*.yaml"))
    )


@cache
def _as_published(experiment: str, files: tuple[tuple[str, int], ...]) -> Config:
    return compose([f"experiment={experiment}"])


def _compose(overrides: Sequence[str], conf: Path) -> Config:
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf

    with composing(conf) as loader:
        _check_overrides(overrides, loader)
        composed = hydra_compose("config", overrides=[*overrides, *searchpath_override()])
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    config = parse(plain)  # type: ignore[arg-type]
    check_place(config.output_dir)
    return config


def _own_file(experiment: Sequence[str]) -> Path | None:
    """The file of this experiment in the user's folders."""
    names = [o.removeprefix("experiment=") for o in experiment]
    files = (folder / "experiment" / f"{name}.yaml" for name in names for folder in confs()[1:])
    return next(
        (file for file in files if os.path.isfile(file)), None
    )  # no error for a name too long


def _composes(overrides: Sequence[str], conf: Path) -> bool:
    try:
        _compose(overrides, conf)
    except ConfigError:
        return False
    return True


def _check_overrides(overrides: Sequence[str], loader: Any) -> None:
    """Raises ConfigError, naming the override, for one that can't be read or is no setting of a
    run."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create(config_loader=loader)
    for override in overrides:
        given = shown(override)
        try:
            parsed = parser.parse_overrides([override])[0]
            key, value = parsed.key_or_group, parsed.value()
        except Exception as error:  # of whatever kind: Python's numbers have their limits, too
            hint = "write key=value, with quotes in the quotes around a text: 'question=\"a, b\"'"
            raise ConfigError(
                f"{given}: can't be read ({shown(_one_line(error))}); {hint}"
            ) from error
        if re.split("[./]", key)[0] == "hydra":
            raise ConfigError(
                f"{given}: has no effect on a single run; sweeps take it (-m hydra/launcher=...)"
            )
        if parsed.is_sweep_override():
            raise ConfigError(
                f"{given}: several values make a sweep, which needs -m; a list is written [1,2]"
            )
        if key in GROUPS and not parsed.is_delete() and not _names_file(value):
            raise ConfigError(f"{given}: no such choice; there are {', '.join(choices(key))}")


def _names_file(value: Any) -> bool:
    return isinstance(value, str) and not {"", ".", ".."} & set(value.split("/"))


@contextmanager
def composing(conf: Path) -> Iterator[Any]:
    """Hydra made ready to read this folder; yields its loader. What it finds wrong is raised as a
    ConfigError."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    try:
        with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    except ConfigError:
        raise
    except (
        Exception
    ) as error:  # besides its own and YAML's: endless recursion, bytes that are no text
        raise ConfigError(_one_line(error)) from error


def _one_line(error: BaseException) -> str:
    """What Hydra says in paragraphs, in one line."""
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, RecursionError):
        return "nested too deeply, or in itself"
    if override := getattr(error, "override", None):  # Hydra's parser says what is wrong, not where
        words = f"{override}: {words}" if override not in words else words
    words = words.split(" Config search path:")[0].split(" See https://")[0].split(" full_key:")[0]
    if chosen := re.match(r"You must specify '([^']*)'", words):
        return (
            f"{chosen[1]}: none is chosen (defaults: - override /{chosen[1]}: ...); there are "
            + ", ".join(choices(chosen[1]))
        )
    if (unknown := re.match(r"Could not override '([^']*)'", words)) and "No match" not in words:
        return f"{unknown[1]}: no such key (every key is in conf/config.yaml and the target's and optimizer's files)"
    if missing := re.match(r"In '[^']*': Could not find '([^']*)'", words):
        allowed = words.partition("Available options in ")[2].partition(": ")[2]
        return f"{missing[1]}: no such choice; there are " + (
            ", ".join(allowed.split()) if allowed else ", ".join(experiments())
        )
    key = str(getattr(error, "full_key", None) or "")
    if "nterpolation" in words + type(error).__name__:  # OmegaConf says what is wrong, not where
        return f"{key}: {words}; allowed are a value, or ${{key}} of another key"
    return words if key in words else f"{key}: {words}"


def searchpath_override() -> list[str]:
    """What tells Hydra of the user's folders."""
    folders = ",".join(quoted(f"file://{folder}") for folder in confs()[1:])
    return [f"hydra.searchpath=[{folders}]"] if folders else []


def quoted(text: str) -> str:
    """As a value in an override, whatever it holds."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()
