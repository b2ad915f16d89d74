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
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from mlpfit.config.compose import as_one_line, checked_config
from mlpfit.config.sources import REQUESTS
from mlpfit.errors import ConfigError, exit_code
from mlpfit.sweeps.jobs import started_of, write_sweep
from mlpfit.training.train import try_target

MOST_JOBS = 10_000


class Experiments(Callback):
    """question, figure, sharpness: of a ready sweep, see ``conf/sweep/``. What Hydra's callbacks
    raise is shown as a warning; only an exit gets through."""

    def __init__(
        self, question: str = "", figure: dict[str, Any] | None = None, sharpness: bool = False
    ) -> None:
        self.question, self.figure, self.sharpness = question, figure, sharpness
        self.started = time.time()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with refusing():
            try_target(checked_config(_settings(config)))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        with refusing():
            overrides = _overrides(config)
            keys = [o.get_key_element() for o in overrides if o.is_sweep_override()]
            check_requests(keys)
            searched = check_sweep(config, overrides, keys)
            folder = os.path.abspath(str(config.hydra.sweep.dir))  # on every machine the same
            with read_write(config), open_dict(config):  # all jobs go to the same one
                config.hydra.sweep.dir = folder
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(folder)}")
            if kind_of_sweeper(config) != "Shards":
                begun = started_of(Path(folder)) if searched and not config.force else ""
                now = f"{time.strftime('%FT%T')} {os.getpid()}"
                write_sweep(Path(folder), keys, begun or now, searched)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        from mlpfit.sweeps.closing import close

        folder = Path(os.path.relpath(config.hydra.sweep.dir))
        failed = False if kind_of_sweeper(config) == "Shards" else close(folder, self.sharpness)
        print(f"({time.time() - self.started:.0f} s)")
        if failed:
            sys.exit(1)


def kind_of_sweeper(config: DictConfig) -> str:
    """The name of its class."""
    return str(config.hydra.sweeper._target_).rpartition(".")[2]


@contextmanager
def refusing() -> Iterator[None]:
    """Ends the command with one line and exit code 2 where a config is refused."""
    try:
        yield
    except ConfigError as error:
        sys.exit(exit_code(error))
    except Exception as error:  # of whatever kind Hydra, OmegaConf or YAML raise
        sys.exit(exit_code(ConfigError(as_one_line(error))))


def _settings(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _overrides(config: DictConfig) -> list[Override]:
    """Those of the command and of a ready sweep, parsed; of a key given twice, the last."""
    params = config.hydra.sweeper.get("params") or {}
    given = [f"{key}={value}" for key, value in params.items()]
    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(
        [*given, *map(str, config.hydra.overrides.task)]
    )
    return list({override.get_key_element(): override for override in parsed}.values())


def check_sweep(config: DictConfig, overrides: list[Override], keys: list[str]) -> str | None:
    """Check what the sweeper is going to launch. Returns the number that a search makes small."""
    loader, sweeper = GlobalHydra.instance().config_loader(), kind_of_sweeper(config)
    if sweeper == "BasicSweeper":
        check_jobs(config, overrides)
    elif sweeper == "Shards":
        from mlpfit.sweeps.shards import check

        check(loader, config, list(map(str, config.hydra.overrides.task)), keys)
    elif sweeper == "Optuna":
        from mlpfit.sweeps import search

        this = search.searched(loader, config)
        search.check(this)
        return this.config.metric
    return None


def check_requests(keys: list[str]) -> None:
    for key in keys:
        if key.startswith(REQUESTS):
            raise ConfigError(f"{key}: decides nothing in a job's results; give it one value")


def check_jobs(config: DictConfig, overrides: list[Override]) -> None:
    """Compose and check every job. Raises ConfigError, also for more than ``MOST_JOBS``."""
    jobs = 1
    for override in overrides:
        if override.is_interval_sweep():
            raise ConfigError(
                f"{override.input_line}: a grid needs the values; say range(...), or search the "
                "interval with hydra/sweeper=optuna"
            )
        if override.is_sweep_override():
            jobs *= sum(1 for _ in islice(override.sweep_string_iterator(), MOST_JOBS + 1))
        if jobs > MOST_JOBS:
            line = override.input_line
            raise ConfigError(f"{line}: that makes more than {MOST_JOBS} jobs; split the sweep")
        if jobs == 0:
            raise ConfigError(
                f"{override.input_line}: finds no value; every key needs at least one"
            )
    for job in BasicSweeper.split_arguments(overrides, None)[0]:
        composed = GlobalHydra.instance().config_loader().load_sweep_config(config, list(job))
        checked_config(_settings(composed))


def quoted(text: str) -> str:
    """As a value in an override, whatever it holds."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()
