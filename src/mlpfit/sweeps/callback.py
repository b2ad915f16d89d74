"""Callback of Hydra's multiruns: it plans the jobs and checks their configs before anything is
created, and at the end, with any launcher, writes the summary and the figure and prints the
answer."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from mlpfit.config.compose import as_one_line
from mlpfit.config.sources import incidental_keys, multirun_overrides
from mlpfit.errors import ConfigError, RunError, allowed, one_line
from mlpfit.process import report_error
from mlpfit.runs.folder import remember_missing
from mlpfit.runs.removal import check_hydra_subdir, check_sweep_folder
from mlpfit.sweeps import jobs
from mlpfit.sweeps.composing import JobLoader
from mlpfit.sweeps.jobs import Planned
from mlpfit.sweeps.summary import (
    SWEEP,
    figure_sweep_name,
    read_sweep,
    record_failures,
    sweep_note,
    write_sweep,
)
from mlpfit.training.progress import doing


class _Failures(logging.Handler):
    """Keeps why jobs ended that could not record it themselves, as hydra/launcher=processes logs
    it: number of the job -> reason."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and len(record.args) == 2:
            number, error = record.args
            if isinstance(number, int) and isinstance(error, BaseException):
                self.reasons[number] = one_line(error)


class Experiments(Callback):
    """question, figure, sharpness: of a ready sweep, see ``conf/sweep/``. Hydra turns a callback's
    errors into warnings, but not SystemExit."""

    running: ClassVar["Experiments | None"] = None  # that of the multirun in this process
    place: ClassVar[Path | None] = None  # where Hydra writes its own files

    def __init__(
        self, question: str = "", figure: Any = None, sharpness: bool = False, **other: Any
    ) -> None:
        self.sharpness, self.unknown, self.started = sharpness, [*other], time.time()
        self.content: dict[str, Any] | None = None  # of its sweep.json
        self.batches: Iterator[list[Planned]] = iter(())  # of the jobs of a grid
        self.stopped = False  # since a batch can't be launched
        self.held = ExitStack()  # until the end
        self.failures = _Failures()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, for a launcher that pickles it: only the command's own process uses it."""
        return {}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        with exiting_on_errors():
            if self.unknown:
                key = f"hydra.callbacks.experiments.{self.unknown[0]}"
                names = ("question", "figure", "sharpness")
                raise ConfigError(f"{key}: no such key; {allowed(self.unknown[0], names)}")
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            hydra.config_loader = loader = JobLoader(hydra.config_loader)  # type: ignore[arg-type]
            overrides = multirun_overrides(loader, config)
            keys = [o.get_key_element() for o in overrides if o.is_sweep_override()]
            if incidental := [key for key in keys if key.startswith(incidental_keys())]:
                raise ConfigError(f"{incidental[0]}: changes no result of a job; give it one value")
            check_hydra_subdir(config.hydra.output_subdir)
            folder = os.path.abspath(str(config.hydra.sweep.dir))  # the same on all machines
            if sweeper_of(config) != "Shards":
                check_sweep_folder(Path(folder), SWEEP)
            remember_missing(Path(folder))
            with read_write(config), open_dict(config):  # for all jobs
                config.hydra.sweep.dir = folder
                quoted = QuotedString(folder, Quote.single).with_quotes()
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted}")
            self.folder = Experiments.place = Path(os.path.relpath(folder))
            if ready := figure_sweep_name(self.folder, keys):
                from mlpfit.sweeps.closing import checked_figure  # here, for a quick start

                checked_figure(ready, keys)
            try:
                self.begin(config, overrides, keys)
            except BaseException:
                self.held.close()
                raise

    def begin(self, config: DictConfig, overrides: list[Override], keys: list[str]) -> None:
        """Check and plan the jobs that the sweeper will launch. Raises ConfigError, RunError."""
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        loader: Any = hydra.config_loader  # a JobLoader
        sweeper, metric = sweeper_of(config), None
        launchers = logging.getLogger("hydra_plugins.processes_launcher")
        launchers.addHandler(self.failures)
        self.held.callback(launchers.removeHandler, self.failures)
        if sweeper == "Shards":
            from mlpfit.sweeps.shards import check_ensembles

            check_ensembles(loader, config, list(map(str, config.hydra.overrides.task)), keys)
            return
        if sweeper == "BasicSweeper":
            batches = jobs.plan(loader, config, overrides, self.sharpness)
            self.batches = chain([next(batches)], batches)
            self.count, self.processes = jobs.number_of_jobs(overrides), jobs.processes_of(config)
            with read_write(config):
                config.hydra.sweeper._target_ = "hydra_plugins.mlpfit.sweepers.Grid"
        elif sweeper == "Optuna":
            from mlpfit.sweeps import search  # here, since it needs Optuna

            metric = search.begin(loader, config, overrides, self.held)
            jobs.import_for_jobs()
        resumed = metric and not config.force and sweep_note(self.folder, "started")
        started = resumed or f"{time.strftime('%FT%T')} {os.getpid()}"
        self.content = {"keys": keys, "started": started, "search": metric}
        self.content |= {"sharpness": self.sharpness}
        if sweeper == "BasicSweeper":
            self.content["jobs"] = {}
        write_sweep(self.folder, self.content)
        Experiments.running = self

    def launch(self, launcher: Any) -> None:
        """Launch the jobs of a grid, batch by batch, the longest of each first if the launcher
        takes an order."""
        assert self.content is not None
        while batch := self.next_batch():
            if any(job.seconds for job in batch):
                jobs.import_for_jobs()
            jobs.print_plan(self.folder, batch, self.count, self.processes, self.sharpness)
            self.content["jobs"] |= {job.subdir: list(job.overrides) for job in batch}
            write_sweep(self.folder, self.content)
            if hasattr(launcher, "order"):
                launcher.order = jobs.longest_first(batch)
            with doing(jobs.tell(self.folder, batch)):
                launcher.launch([list(job.overrides) for job in batch], batch[0].number)

    def next_batch(self) -> list[Planned]:
        """The next jobs; none after the last, and if one of them has no folder of its own."""
        try:
            return next(self.batches, [])
        except (ConfigError, RunError) as error:
            report_error(error)
            self.stopped = True
            return []

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        Experiments.running = None
        with exiting_on_errors():
            failed = self.finish()
        print(f"({time.time() - self.started:.0f} s)")
        if failed:
            sys.exit(1)

    def finish(self) -> bool:
        """Write and print the results of the sweep. Returns whether jobs failed."""
        from mlpfit.sweeps.closing import finish_sweep  # here, for a quick start

        with (
            self.held
        ):  # a search keeps its study, so that no other command starts trials meanwhile
            if self.content is None:
                return False
            with suppress(RunError, OSError):  # finish_sweep says it
                record_failures(self.folder, self.content, self.failures.reasons)
            return finish_sweep(self.folder, self.content) or self.stopped


def finish_broken_sweep(error: Exception) -> None:
    """After an error of the launcher, which may be about a single job: write and print what the
    jobs have left, and exit with code 1. Returns if no job had started."""
    sweep, Experiments.running = Experiments.running, None
    if sweep is None or isinstance(error, ConfigError | RunError):
        return
    if not read_sweep(sweep.folder, sweep.content)[1]:
        return
    with exiting_on_errors():
        failed = sweep.finish()
        if failed and sweep.failures.reasons:  # the launcher has said why each job ended
            sys.exit(1)
        reason = one_line(error).partition(". ")[0][:300]
        raise RunError(reason if failed else f"{reason}; the same command runs what is missing")


def sweeper_of(config: DictConfig) -> str:
    """Class name of the sweeper."""
    return str(config.hydra.sweeper._target_).rpartition(".")[2]


@contextmanager
def exiting_on_errors() -> Iterator[None]:
    """Turn an error into a line on stderr and exit code 2 for wrong input, else 1."""
    try:
        yield
    except (ConfigError, RunError, OSError, MemoryError) as error:
        sys.exit(report_error(error))
    except Exception as error:  # of any kind, by Hydra, OmegaConf or YAML
        sys.exit(report_error(ConfigError(as_one_line(error))))
