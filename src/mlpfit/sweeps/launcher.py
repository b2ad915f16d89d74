"""Jobs of a multirun: each in its folder, in a few processes of this machine.

Jobs that are finished are not run again, the longest run first, and one that fails or is killed
stops no other. The Hydra plugin that uses this is
``hydra_plugins.mlpfit.launcher.Processes``.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from hydra.core import utils
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from hydra_plugins.mlpfit.launcher import Processes
from mlpfit.config.compose import checked_config
from mlpfit.config.schema import Config
from mlpfit.config.sources import register_with_hydra
from mlpfit.errors import RunError, Stopped, one_line
from mlpfit.processes import cores, run_tasks
from mlpfit.runs.identity import identity, is_current
from mlpfit.runs.run import load_run
from mlpfit.sweeps.summary import Job, hash_of, objective, read_sweep, sweep_note
from mlpfit.training.progress import console, display
from mlpfit.training.shard import shards
from mlpfit.training.train import train

STARTING = 4.0  # seconds for a process to import torch and Lightning


def job_of(config: Config | None, settings: Any, started: str | None) -> Job:
    """The job that Hydra's settings (``hydra``) describe."""
    overrides = tuple(str(o) for o in settings.overrides.task)
    own = None if config is None else hash_of(identity(config))
    return Job(int(settings.job.num), overrides, started or "", own)


def run_job(composed: Any, settings: Any) -> float:
    """Train a job of a sweep in its folder; what goes wrong is left there for the summary.

    Returns its number for a sweeper to minimise, infinite where it failed.
    """
    folder = Path(settings.runtime.output_dir)
    started = sweep_note(Path(settings.sweep.dir), "started")
    job = job_of(None, settings, started)
    try:
        config = checked_config(composed)
        job = job_of(config, settings, started)
        job.write(folder)
        train(retrain_if_damaged(config, folder), folder)
        job.write(folder)  # the run has taken the folder's place
        return objective(load_run(folder), config.metric)
    except Stopped:
        raise
    except (Exception, SystemExit) as error:  # a job must not take the others with it
        replace(job, failure=one_line(error)).write(folder)
        return float("inf")


def retrain_if_damaged(config: Config, folder: Path) -> Config:
    """The config, told to train again where there is a finished run with a damaged file."""
    try:
        if is_current(config, folder):
            load_run(folder).check()
    except RunError:
        return replace(config, force=True)
    return config


@dataclass(frozen=True)
class Task:
    """One job: what Hydra composed, its checked config and its folder."""

    composed: DictConfig
    config: Config
    folder: Path
    job: Job

    @property
    def part(self) -> bool:
        """Whether it trains some shards of an ensemble, whose folder is elsewhere."""
        return self.config.ensemble.only is not None

    @property
    def unfinished(self) -> bool:
        """Whether there is something to train."""
        return self.part or self.config.force or bool(self.job.outcome(self.folder))

    @property
    def seconds(self) -> float:
        """Predicted for the job and its files."""
        if not self.config.worth_compiling:
            return 0.5 + self.config.uncompiled_seconds
        every, only = shards(self.config, Path()), self.config.ensemble.only
        return sum(s.seconds for s in (every if only is None else [every[k] for k in only]))


def launch(plugin: Processes, overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run the jobs of these overrides; the first has this number. Returns what each returned."""
    sweep = Path(str(plugin.config.hydra.sweep.dir))
    tasks = [_task(plugin, list(o), first + i, sweep) for i, o in enumerate(overrides)]
    whole = [task for task in tasks if not task.part]
    for task in whole:
        task.job.write(task.folder)
    unfinished = [task for task in tasks if task.unfinished]
    unfinished.sort(key=lambda task: -task.seconds)
    failures: dict[int, str] = {}
    if unfinished:
        seconds = sum(task.seconds for task in unfinished)  # a process takes its time to start
        useful = max(1, round(seconds / STARTING))
        processes = min(plugin.processes or cores(), useful, len(unfinished))
        if sweep_note(sweep, "search") is None:  # a search tells of each trial
            console.print(
                f"{os.path.relpath(sweep)}: {len(tasks)} jobs, {len(tasks) - len(unfinished)} need "
                f"no training, {len(unfinished)} in {processes} processes: "
                f"about {STARTING + seconds / processes:.0f} s",
                soft_wrap=True,
            )
        failures = _run_here(plugin, unfinished, processes)
    jobs = read_sweep(sweep)[1] if whole else {}
    return [_job_return(task, jobs, failures.get(task.job.number)) for task in tasks]


def _task(plugin: Processes, overrides: list[str], number: int, sweep: Path) -> Task:
    composed = plugin.context.config_loader.load_sweep_config(plugin.config, overrides)
    with open_dict(composed):
        composed.hydra.job.id = composed.hydra.job.num = number
    folder = sweep / str(composed.hydra.sweep.subdir)
    config = retrain_if_damaged(checked_config(composed), folder)
    job = job_of(config, composed.hydra, sweep_note(sweep, "started"))
    return Task(composed, config, folder, job)


def _run_here(plugin: Processes, tasks: list[Task], processes: int) -> dict[int, str]:
    """Run the tasks; returns why which of them failed, by their job's number."""
    arguments = [(plugin.context, plugin.function, task.composed) for task in tasks]
    failures: dict[int, str] = {}
    ended = count(1)
    with display(runs=1) as shown, shown.counter("jobs", len(tasks)) as report:

        def on_end(index: int, failure: str | None) -> None:
            task = tasks[index]
            if failure is not None:
                failures[task.job.number] = failure
                if not task.part:
                    replace(task.job, failure=failure).write(task.folder)
            report(next(ended))

        run_tasks(_run_job, arguments, processes, on_end, plugin.reusable)
    return failures


def _run_job(arguments: tuple[HydraContext, TaskFunction, DictConfig]) -> None:
    """One job in a process of its own, as Hydra's launchers run it."""
    context, function, composed = arguments
    utils.setup_globals()
    register_with_hydra()
    HydraConfig.instance().set_config(composed)
    result = utils.run_job(
        hydra_context=context,
        task_function=function,
        config=composed,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    _ = result.return_value  # raises what the job raised


def _job_return(task: Task, jobs: dict[Path, Job], failure: str | None) -> JobReturn:
    """What Hydra is told; jobs: as they stand in the sweep's folder, of a search also earlier ones.
    A part of an ensemble is in none of them."""
    result = JobReturn(overrides=list(task.job.overrides), cfg=task.composed)
    result.status = JobStatus.FAILED if task.part and failure else JobStatus.COMPLETED
    if task.part:
        result.return_value = RunError(failure) if failure else None
    elif jobs.get(task.folder, task.job).outcome(task.folder):
        result.return_value = float("inf")
    else:
        result.return_value = objective(load_run(task.folder), task.config.metric)
    return result
