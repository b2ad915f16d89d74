"""From YAML and overrides to a Config, by Hydra. Hydra stops here: everything behind takes plain
values."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mlpfit.config.catalogue import confs, experiments
from mlpfit.config.schema import Config, parse
from mlpfit.errors import ConfigError, users_code


def compose(overrides: Sequence[str]) -> Config:
    """The checked config of these Hydra overrides.

        compose(["experiment=tower/small", "optimizer.lr=0.01"])

    Raises ConfigError in one line for whatever Hydra, OmegaConf or the check finds wrong.
    """
    try:
        return checked_config(_by_hydra("config", overrides))
    except ConfigError:
        raise
    except Exception as error:  # its own, YAML's, endless recursion, bytes that are no text
        raise ConfigError(as_one_line(error, overrides)) from error


def group(kind: str, choice: str) -> dict[str, Any]:
    """The values of a file of conf/: group("optimizer", "sgd")["momentum"]. Raises ConfigError."""
    from omegaconf import OmegaConf

    with users_code(f"{kind}={choice}"):
        values: Any = OmegaConf.to_container(_by_hydra(f"{kind}/{choice}")[kind], resolve=True)
        return dict(values)


def groups_chosen(experiment: str) -> dict[str, str]:
    """Which choice of every group an experiment takes: groups_chosen("tower/small")["optimizer"] is
    "adam"."""
    composed = _by_hydra("config", [f"experiment={experiment}"], return_hydra_config=True)
    return dict(composed.hydra.runtime.choices)


def _by_hydra(file: str, overrides: Sequence[str] = (), **options: Any) -> Any:
    from hydra import compose as hydra_compose
    from hydra import initialize

    from mlpfit.config.sources import teach

    teach()
    with initialize(config_path=None, version_base="1.3"):
        return hydra_compose(file, overrides=list(overrides), **options)


def checked_config(composed: Any) -> Config:
    """What Hydra composed, checked. Raises ConfigError."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    composed = without_hydra(composed)
    if OmegaConf.is_missing(composed, "name"):
        raise ConfigError(f"experiment=...: say which one; there are {', '.join(experiments())}")
    try:
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(as_one_line(error)) from error
    config = parse(plain)  # type: ignore[arg-type]
    check_place(config.output_dir)
    return config


def without_hydra(composed: Any) -> Any:
    """What Hydra composed, but its own settings."""
    from omegaconf import OmegaConf

    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def as_one_line(error: BaseException, overrides: Sequence[str] = ()) -> str:
    """What Hydra and OmegaConf say in paragraphs, with the key they name, or all that was given."""
    causes = [error, *([error.__cause__] if error.__cause__ else [])]
    text = " ".join(" ".join(str(cause).split()) for cause in causes) or type(error).__name__
    text = text.split(" Config search path:")[0]
    key = getattr(error, "full_key", None) or getattr(error, "override", None)
    if key:
        return text if str(key) in text else f"{key}: {text}"
    known = any(override.partition("=")[0].lstrip("+~") in text for override in overrides)
    return text if known else " ".join([text, *(f"({override})" for override in overrides)])


def as_published(experiment: str) -> Config:
    """The config of an experiment as its YAML has it; composed again when a file has changed."""
    files = (file for conf in confs() for file in conf.rglob("*.yaml"))
    return _as_published(experiment, tuple((str(f), f.stat().st_mtime_ns) for f in files))


@cache
def _as_published(experiment: str, files: tuple[tuple[str, int], ...]) -> Config:
    return compose([f"experiment={experiment}"])


def check_place(output_dir: str) -> None:
    """Raises ConfigError unless there can be a folder of this name."""
    if not output_dir.strip() or output_dir.startswith("~"):
        raise ConfigError(
            f"output_dir={output_dir}: must name a folder, . for this one; ~ stays as it is here"
        )
    folder = Path(output_dir).absolute()
    above = next(place for place in (folder, *folder.parents) if place.exists())
    if not above.is_dir():
        raise ConfigError(f"output_dir={output_dir}: {above} is no folder")
