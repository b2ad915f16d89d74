"""Jobs of a multirun in parallel processes of this machine, each with its own folder.

Finished jobs are not run again, the longest start first, and a job that fails or is killed stops no
other. It is used by the Hydra plugin ``hydra_plugins.mlpfit.launcher.Processes``.
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
from mlpfit.runs.folder import check_place
from mlpfit.runs.identity import identity, is_current
from mlpfit.runs.run import load_run
from mlpfit.sweeps.summary import Job, identity_hash, objective, read_sweep, sweep_note
from mlpfit.training.progress import console, display
from mlpfit.training.shard import shards
from mlpfit.training.train import train

START_SECONDS = 4.0  # of a process, to import torch and Lightning


def job_of(config: Config | None, settings: Any, started: str | None) -> Job:
    """The job of a config (None if it was refused) with Hydra's settings (``hydra``)."""
    overrides = tuple(str(o) for o in settings.overrides.task)
    run_hash = None if config is None else identity_hash(identity(config))
    return Job(int(settings.job.num), overrides, started or "", run_hash)


def run_job(composed: Any, settings: Any) -> float:
    """Train a job of a sweep in its folder, and record a failure there for the summary. Returns the
    metric for a sweeper to minimise, infinite if the job failed."""
    folder = Path(settings.runtime.output_dir)
    started = sweep_note(Path(settings.sweep.dir), "started")
    job = job_of(None, settings, started)
    try:
        config = checked_config(composed)
        job = job_of(config, settings, started)
        job.write(folder)
        train(retrain_if_damaged(config, folder), folder)
        job.write(folder)  # the run has replaced the folder
        return objective(load_run(folder), config.metric)
    except Stopped:
        raise
    except (Exception, SystemExit) as error:  # a failed job must not stop the others
        replace(job, failure=one_line(error)).write(folder)
        return float("inf")


def retrain_if_damaged(config: Config, folder: Path) -> Config:
    """The config, with force=true if the folder holds its finished run with a damaged file."""
    try:
        if is_current(config, folder):
            load_run(folder).check()
    except RunError:
        return replace(config, force=True)
    return config


@dataclass(frozen=True)
class Task:
    """One job: what Hydra composed, its config, its folder and its record."""

    composed: DictConfig
    config: Config
    folder: Path
    job: Job

    @property
    def trains_shards(self) -> bool:
        """Whether it trains some shards of an ensemble, into the ensemble's folder."""
        return self.config.ensemble.only is not None

    @property
    def unfinished(self) -> bool:
        """Whether it needs training."""
        return self.trains_shards or self.config.force or bool(self.job.outcome(self.folder))

    @property
    def seconds(self) -> float:
        """Predicted duration."""
        all_shards, only = shards(self.config, Path()), self.config.ensemble.only
        selected = all_shards if only is None else [all_shards[k] for k in only]
        return sum(shard.seconds for shard in selected)


def launch(plugin: Processes, overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run the jobs of these overrides, numbered from first. Returns the result of each."""
    sweep = Path(str(plugin.config.hydra.sweep.dir))
    tasks = [_task(plugin, list(o), first + i, sweep) for i, o in enumerate(overrides)]
    whole = [task for task in tasks if not task.trains_shards]
    for task in whole:
        task.job.write(task.folder)
    unfinished = [task for task in tasks if task.unfinished]
    unfinished.sort(key=lambda task: -task.seconds)
    failures: dict[int, str] = {}
    if unfinished:
        seconds = sum(task.seconds for task in unfinished)
        useful = max(1, round(seconds / START_SECONDS))
        processes = min(plugin.processes or cores(), useful, len(unfinished))
        if sweep_note(sweep, "search") is None:  # a search prints each trial
            console.print(
                f"{os.path.relpath(sweep)}: {len(tasks)} jobs, {len(tasks) - len(unfinished)} need "
                f"no training, {len(unfinished)} in {processes} processes: "
                f"about {START_SECONDS + seconds / processes:.0f} s",
                soft_wrap=True,
            )
        failures = _run_tasks(plugin, unfinished, processes)
    jobs = read_sweep(sweep)[1] if whole else {}
    return [_job_return(task, jobs, failures.get(task.job.number)) for task in tasks]


def _task(plugin: Processes, overrides: list[str], number: int, sweep: Path) -> Task:
    composed = plugin.context.config_loader.load_sweep_config(plugin.config, overrides)
    with open_dict(composed):
        composed.hydra.job.id = composed.hydra.job.num = number
    folder = sweep / str(composed.hydra.sweep.subdir)
    config = retrain_if_damaged(checked_config(composed), folder)
    if config.ensemble.only is None:
        check_place(config, folder)
    job = job_of(config, composed.hydra, sweep_note(sweep, "started"))
    return Task(composed, config, folder, job)


def _run_tasks(plugin: Processes, tasks: list[Task], processes: int) -> dict[int, str]:
    """Run the tasks. Returns the failures: job's number -> reason."""
    arguments = [(plugin.context, plugin.function, task.composed) for task in tasks]
    failures: dict[int, str] = {}
    ended = count(1)
    with display(runs=1) as shown, shown.counter("jobs", len(tasks)) as report:

        def on_end(index: int, failure: str | None) -> None:
            task = tasks[index]
            if failure is not None:
                failures[task.job.number] = failure
                if not task.trains_shards:
                    replace(task.job, failure=failure).write(task.folder)
            report(next(ended))

        run_tasks(_run_job, arguments, processes, on_end, plugin.reusable)
    return failures


def _run_job(arguments: tuple[HydraContext, TaskFunction, DictConfig]) -> None:
    """Run one job in the current process, as Hydra's launchers do."""
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
    """The result for Hydra. jobs: records in the sweep's folder, without jobs that train shards."""
    result = JobReturn(overrides=list(task.job.overrides), cfg=task.composed)
    result.status = JobStatus.FAILED if task.trains_shards and failure else JobStatus.COMPLETED
    if task.trains_shards:
        result.return_value = RunError(failure) if failure else None
    elif jobs.get(task.folder, task.job).outcome(task.folder):
        result.return_value = float("inf")
    else:
        result.return_value = objective(load_run(task.folder), task.config.metric)
    return result
