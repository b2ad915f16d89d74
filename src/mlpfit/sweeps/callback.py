"""What happens around Hydra's runs: bad input is refused before anything is created, and a
multirun, whatever its launcher, ends with a summary, a figure and an answer."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from mlpfit.config.compose import as_one_line, checked_config
from mlpfit.config.sources import INCIDENTAL_KEYS, multirun_overrides
from mlpfit.errors import ConfigError, RunError, allowed
from mlpfit.process import report_error
from mlpfit.sweeps.summary import ready_of, sweep_note, write_sweep
from mlpfit.training.train import try_target

MOST_JOBS = 10_000


class Experiments(Callback):
    """question, figure, sharpness: of a ready sweep, see ``conf/sweep/``. What Hydra's callbacks
    raise is shown as a warning; only an exit gets through."""

    def __init__(
        self, question: str = "", figure: Any = None, sharpness: bool = False, **other: Any
    ) -> None:
        self.sharpness, self.other, self.started = sharpness, [*other], time.time()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with exiting_on_errors():
            if sweep := config.hydra.runtime.choices.get("sweep"):
                raise ConfigError(f"sweep={sweep}: goes with -m (mlpfit -m sweep={sweep})")
            try_target(checked_config(config))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        with exiting_on_errors():
            if self.other:
                key = f"hydra.callbacks.experiments.{self.other[0]}"
                names = ("question", "figure", "sharpness")
                raise ConfigError(f"{key}: no such key; {allowed(self.other[0], names)}")
            overrides = multirun_overrides(GlobalHydra.instance().config_loader(), config)
            keys = [o.get_key_element() for o in overrides if o.is_sweep_override()]
            if idle := [key for key in keys if key.startswith(INCIDENTAL_KEYS)]:
                raise ConfigError(f"{idle[0]}: decides nothing in a job's results; say one value")
            searched = check_sweep(config, overrides, keys)
            folder = os.path.abspath(str(config.hydra.sweep.dir))  # on every machine the same
            if ready := ready_of(Path(folder)):
                from mlpfit.sweeps.closing import checked_figure  # late, for the start-up

                checked_figure(ready, keys)
            with read_write(config), open_dict(config):  # all jobs go to the same one
                config.hydra.sweep.dir = folder
                quoted = QuotedString(folder, Quote.single).with_quotes()
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted}")
            if sweeper_of(config) != "Shards":
                earlier = searched and not config.force and sweep_note(Path(folder), "started")
                now = f"{time.strftime('%FT%T')} {os.getpid()}"
                notes = {"search": searched, "sharpness": self.sharpness}
                write_sweep(Path(folder), keys, earlier or now, **notes)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        from mlpfit.sweeps.closing import close  # late, for the start-up

        folder = Path(os.path.relpath(config.hydra.sweep.dir))
        with exiting_on_errors():
            failed = sweeper_of(config) != "Shards" and close(folder)
        print(f"({time.time() - self.started:.0f} s)")
        if failed:
            sys.exit(1)


def sweeper_of(config: DictConfig) -> str:
    """The name of its class."""
    return str(config.hydra.sweeper._target_).rpartition(".")[2]


@contextmanager
def exiting_on_errors() -> Iterator[None]:
    """Ends the command with one line where a config is refused (exit code 2) or a run fails (1)."""
    try:
        yield
    except (ConfigError, RunError) as error:
        sys.exit(report_error(error))
    except Exception as error:  # of whatever kind Hydra, OmegaConf or YAML raise
        sys.exit(report_error(ConfigError(as_one_line(error))))


def check_sweep(config: DictConfig, overrides: list[Override], keys: list[str]) -> str | None:
    """Check what the sweeper is going to launch. Returns the number that a search makes small."""
    loader, sweeper = GlobalHydra.instance().config_loader(), sweeper_of(config)
    if sweeper == "BasicSweeper":
        check_jobs(loader, config, overrides)
    elif sweeper == "Shards":
        from mlpfit.sweeps import shards

        shards.check(loader, config, list(map(str, config.hydra.overrides.task)), keys)
    elif sweeper == "Optuna":
        try:
            import optuna  # noqa: F401
        except ImportError:
            raise ConfigError(
                "hydra/sweeper=optuna: Optuna is not installed; pip install 'mlpfit[optuna]'"
            ) from None
        from mlpfit.sweeps import search

        return search.check(loader, config).config.metric
    return None


def check_jobs(loader: Any, config: DictConfig, overrides: list[Override]) -> None:
    """Compose and check every job. Raises ConfigError, also for more than ``MOST_JOBS``."""
    jobs = 1
    for override in overrides:
        line = override.input_line
        if override.is_interval_sweep():
            raise ConfigError(
                f"{line}: a grid needs the values; say range(...), or search the "
                "interval with hydra/sweeper=optuna"
            )
        if override.is_sweep_override():
            jobs *= sum(1 for _ in islice(override.sweep_string_iterator(), MOST_JOBS + 1))
        if jobs > MOST_JOBS:
            raise ConfigError(f"{line}: that makes more than {MOST_JOBS} jobs; split the sweep")
        if jobs == 0:
            raise ConfigError(f"{line}: finds no value; every key needs at least one")
    for job in BasicSweeper.split_arguments(overrides, None)[0]:
        checked_config(loader.load_sweep_config(config, list(job)))
