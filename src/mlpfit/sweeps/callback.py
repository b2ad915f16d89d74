"""Callback of Hydra's runs: it checks the config before anything is created, and at the end of a
multirun, with any launcher, writes the summary and the figure and prints the answer."""

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
from mlpfit.runs.folder import check_place, remember_missing
from mlpfit.runs.removal import check_hydra_subdir, check_job_folder, check_sweep_folder
from mlpfit.sweeps.summary import SWEEP, figure_sweep_name, sweep_note, write_sweep
from mlpfit.training.train import try_target

MAX_JOBS = 10_000


class Experiments(Callback):
    """question, figure, sharpness: of a ready sweep, see ``conf/sweep/``. Hydra turns a callback's
    errors into warnings, but not SystemExit."""

    def __init__(
        self, question: str = "", figure: Any = None, sharpness: bool = False, **other: Any
    ) -> None:
        self.sharpness, self.unknown, self.started = sharpness, [*other], time.time()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with exiting_on_errors():
            if sweep := config.hydra.runtime.choices.get("sweep"):
                raise ConfigError(f"sweep={sweep}: needs -m (mlpfit -m sweep={sweep})")
            checked = checked_config(config)
            try_target(checked)
            folder = Path(str(config.hydra.run.dir))
            check_hydra_subdir(config.hydra.output_subdir)
            check_place(checked, folder)
            remember_missing(folder)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        with exiting_on_errors():
            if self.unknown:
                key = f"hydra.callbacks.experiments.{self.unknown[0]}"
                names = ("question", "figure", "sharpness")
                raise ConfigError(f"{key}: no such key; {allowed(self.unknown[0], names)}")
            overrides = multirun_overrides(GlobalHydra.instance().config_loader(), config)
            keys = [o.get_key_element() for o in overrides if o.is_sweep_override()]
            if incidental := [key for key in keys if key.startswith(INCIDENTAL_KEYS)]:
                raise ConfigError(f"{incidental[0]}: changes no result of a job; give it one value")
            check_hydra_subdir(config.hydra.output_subdir)
            if sweeper_of(config) != "Shards":
                check_sweep_folder(Path(str(config.hydra.sweep.dir)), SWEEP)
            metric = check_sweep(config, overrides, keys)
            remember_missing(Path(str(config.hydra.sweep.dir)))
            folder = os.path.abspath(str(config.hydra.sweep.dir))  # the same on all machines
            if ready := figure_sweep_name(Path(folder), keys):
                from mlpfit.sweeps.closing import checked_figure  # here, for a quick start

                checked_figure(ready, keys)
            with read_write(config), open_dict(config):  # for all jobs
                config.hydra.sweep.dir = folder
                quoted = QuotedString(folder, Quote.single).with_quotes()
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted}")
            if sweeper_of(config) != "Shards":
                resumed = metric and not config.force and sweep_note(Path(folder), "started")
                now = f"{time.strftime('%FT%T')} {os.getpid()}"
                notes = {"search": metric, "sharpness": self.sharpness}
                write_sweep(Path(folder), keys, resumed or now, **notes)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        from mlpfit.sweeps.closing import finish_sweep  # here, for a quick start

        folder = Path(os.path.relpath(config.hydra.sweep.dir))
        with exiting_on_errors():
            failed = sweeper_of(config) != "Shards" and finish_sweep(folder)
        print(f"({time.time() - self.started:.0f} s)")
        if failed:
            sys.exit(1)


def sweeper_of(config: DictConfig) -> str:
    """Class name of the sweeper."""
    return str(config.hydra.sweeper._target_).rpartition(".")[2]


@contextmanager
def exiting_on_errors() -> Iterator[None]:
    """Turn an error into a line on stderr and exit code 1 for RunError, else 2."""
    try:
        yield
    except (ConfigError, RunError) as error:
        sys.exit(report_error(error))
    except Exception as error:  # of any kind, by Hydra, OmegaConf or YAML
        sys.exit(report_error(ConfigError(as_one_line(error))))


def check_sweep(config: DictConfig, overrides: list[Override], keys: list[str]) -> str | None:
    """Check the jobs that the sweeper will launch. Returns the metric that a search minimises, or
    None. Raises ConfigError."""
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
    """Compose and check every job. Raises ConfigError, also for no or over ``MAX_JOBS`` jobs."""
    jobs = 1
    for override in overrides:
        line = override.input_line
        if override.is_interval_sweep():
            raise ConfigError(
                f"{line}: a grid needs values; use range(...), or search the interval with "
                "hydra/sweeper=optuna"
            )
        if override.is_sweep_override():
            jobs *= sum(1 for _ in islice(override.sweep_string_iterator(), MAX_JOBS + 1))
        if jobs > MAX_JOBS:
            raise ConfigError(f"{line}: more than {MAX_JOBS} jobs; split the sweep")
        if jobs == 0:
            raise ConfigError(f"{line}: has no value; every key needs at least one")
    sweep = Path(str(config.hydra.sweep.dir))
    for number, job in enumerate(BasicSweeper.split_arguments(overrides, None)[0]):
        composed = loader.load_sweep_config(config, list(job))
        checked = checked_config(composed)
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = number
        folder = sweep / str(composed.hydra.sweep.subdir)
        check_job_folder(folder, sweep)
        check_place(checked, folder)
