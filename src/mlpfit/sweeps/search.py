"""What mlpfit adds to a search by Optuna: the space is checked before anything is made, the study
is kept in the sweep's folder, and two commands do not search one study at once. The search itself
is ``hydra_plugins.optuna_sweeper``.
"""

import errno
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from mlpfit.config.compose import checked_config
from mlpfit.config.schema import Config
from mlpfit.config.sources import result_overrides
from mlpfit.errors import ConfigError, RunError, as_config_error
from mlpfit.runs.folder import locked
from mlpfit.runs.run import differences
from mlpfit.sweeps.summary import sweep_note, write_sweep
from mlpfit.training.progress import console

SEARCH = "search"  # attribute of a study: what it searches
# mlpfit's defaults where they differ from the sweeper's: the same command goes on with a search,
# its trials are a function of the seed, and failed ones are reported at the end.
DEFAULTS = {"resume": True, "max_failure_rate": 1.0, "sampler.seed": 0}


class _Printing(logging.Handler):
    """Prints the sweeper's line of each trial."""

    def emit(self, record: logging.LogRecord) -> None:
        if (line := record.getMessage()).startswith("trial "):
            console.print(line, soft_wrap=True, markup=False)


def begin(loader: Any, master: DictConfig, overrides: Sequence[Override], held: ExitStack) -> str:
    """Check the search of a command, and set its study and folder; they are locked until held is
    closed. Returns the metric that it minimises. Raises ConfigError, and RunError if the study is
    of another search."""
    try:
        import optuna

        from hydra_plugins.optuna_sweeper import _search
        from hydra_plugins.optuna_sweeper._space import Space
    except ImportError:
        raise ConfigError(
            "hydra/sweeper=optuna: Optuna is not installed; pip install 'mlpfit[optuna]'"
        ) from None
    if OmegaConf.is_dict(master.hydra.sweeper.sampler):
        set_defaults(master)
    settings = dict(master.hydra.sweeper) | {"storage": "", "study_name": ""}
    try:
        _search.checked(settings)
        space = Space.of(overrides)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if master.hydra.sweeper.direction != "minimize":
        raise ConfigError(
            f"hydra.sweeper.direction={master.hydra.sweeper.direction}: metric is an error, so "
            "only minimize is of use"
        )
    if not space.distributions:
        raise ConfigError(
            "hydra/sweeper=optuna: nothing to search; give a key several values, such as "
            "'optimizer.lr=tag(log,interval(0.001,0.1))'"
        )
    config = check_space(loader, master, space)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(str(master.hydra.sweep.dir))
    given = master.hydra.sweeper.storage
    with read_write(master):
        name = str(folder).rpartition("sweeps/")[2]
        master.hydra.sweeper.study_name = master.hydra.sweeper.study_name or name
        master.hydra.sweeper.storage = given or f"sqlite:///{folder.absolute() / 'study.db'}"
    if given is not None:
        open_study(master, config)  # before anything is made
    folder.mkdir(parents=True, exist_ok=True)
    held.enter_context(locked(folder, Path(config.output_dir)))
    if sweep_note(folder, "started") is None:  # a study that can't be finished is a sweep's, too
        write_sweep(folder, {"keys": [*space.distributions], "started": ""})
    file = folder / "study.db"
    is_new = not file.exists()
    try:
        study = open_study(master, config)
    except OSError:
        if given is None and is_new:  # half of its tables would be of no use
            for path in (file, file.with_name(f"{file.name}-journal")):
                path.unlink(missing_ok=True)
        raise
    space_texts = {
        key: optuna.distributions.distribution_to_json(values)
        for key, values in space.distributions.items()
    }
    fixed = result_overrides(list(space.fixed.values()))
    content = {"space": space_texts, "fixed": fixed, "metric": config.metric}
    if differing := differences(study.user_attrs.get(SEARCH, content), content):
        raise RunError(
            f"study {study.study_name} is of another search ({'; '.join(differing)}): name another "
            "with hydra.sweeper.study_name=..., or start anew with force=true"
        )
    study.set_user_attr(SEARCH, content)
    logger, handler = logging.getLogger("hydra_plugins.optuna_sweeper"), _Printing()
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    held.callback(logger.removeHandler, handler)
    return config.metric


def set_defaults(master: DictConfig) -> None:
    """Set mlpfit's defaults of what neither the command nor a ready sweep sets."""
    given = {str(line).partition("=")[0].lstrip("+") for line in master.hydra.overrides.hydra}
    with read_write(master), open_dict(master):
        for key, value in DEFAULTS.items():
            name = f"hydra.sweeper.{key}"
            if name not in given and not OmegaConf.select(master, name):
                OmegaConf.update(master, name, value)


def check_space(loader: Any, master: DictConfig, space: Any) -> Config:
    """Check the config of a trial at the ends of each key's values. Returns that of the first.
    Raises ConfigError."""

    def config_of(params: Mapping[str, Any]) -> Config:
        return checked_config(loader.load_sweep_config(master, space.overrides(params)))

    ends = {key: extremes(values) for key, values in space.distributions.items()}
    first = {key: values[0] for key, values in ends.items()}
    for key, values in ends.items():
        for value in values:
            config_of(first | {key: value})
    return config_of(first)


def extremes(values: Any) -> Sequence[Any]:
    """All choices of a distribution, or its lowest and highest value."""
    return values.choices if hasattr(values, "choices") else (values.low, values.high)


def open_study(master: DictConfig, config: Config) -> Any:
    """The study, created if it is missing. Raises ConfigError if the storage can't be used."""
    import optuna

    storage, name = master.hydra.sweeper.storage, master.hydra.sweeper.study_name
    with as_config_error(f"hydra.sweeper.storage={storage}"), as_full_disk(storage):
        if config.force and name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        return optuna.create_study(storage=storage, study_name=name, load_if_exists=True)


@contextmanager
def as_full_disk(storage: str) -> Iterator[None]:
    """Raise what SQLite says of a full disk as the system's own error, of the storage's file."""
    try:
        yield
    except Exception as error:
        if "disk is full" in str(error) or "disk I/O error" in str(error):
            file = storage.rpartition("sqlite:///")[2]
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file) from error
        raise
