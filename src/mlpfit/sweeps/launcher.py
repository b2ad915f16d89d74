"""Jobs of a multirun in a few processes of this machine.

Jobs that are finished are not run again, those of one compiled graph run in succession, the longest
graphs first, and one that fails or is killed stops no other. The Hydra plugin that uses this is
``hydra_plugins.mlpfit.launcher.Processes``.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from mlpfit.config.compose import checked_config
from mlpfit.config.schema import Config
from mlpfit.config.sources import teach
from mlpfit.errors import RunError
from mlpfit.runs.run import load_run
from mlpfit.sweeps.jobs import (
    Job,
    again_if_damaged,
    objective,
    planned,
    read_sweep,
    searched_in,
    started_of,
)
from mlpfit.training.ensemble import cores, shards
from mlpfit.training.processes import Idle, work
from mlpfit.training.progress import console, display

STARTING = 4.0  # seconds for a process to import torch and Lightning
COMPILING = 0.5  # seconds for a kernel


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
    def left(self) -> bool:
        """Whether there is something to train."""
        return self.part or self.config.force or bool(self.job.outcome(self.folder))

    @property
    def seconds(self) -> float:
        """Predicted for the job and its files."""
        if self.config.worth_compiling:
            every = shards(self.config, Path())
            only = self.config.ensemble.only
            return sum(s.seconds for s in (every if only is None else [every[k] for k in only]))
        return 0.5 + self.config.plain_seconds

    @property
    def graph(self) -> str:
        """Jobs that share it share a compiled graph: shapes and formulas, not the learning rate."""
        config = self.config
        momentum = getattr(config.optimizer, "momentum", 0) > 0
        rows = config.data.batch_size or config.rows
        shapes = config.units, rows, len(config.replica_seeds), config.trainer.precision
        formulas = config.model.gradient, config.loss, config.optimizer.name, momentum
        return repr((shapes, formulas))


def launch(
    context: HydraContext,
    function: Callable[[Any], Any],
    master: DictConfig,
    overrides: Sequence[Sequence[str]],
    first: int,
    processes: int | None,
    warm: Idle,
) -> list[JobReturn]:
    """Run the jobs of these overrides; the first has this number; warm: see
    :func:`mlpfit.training.processes.work`. Returns what each returned."""
    sweep = Path(str(master.hydra.sweep.dir))
    tasks = [_task(context, master, list(o), first + i, sweep) for i, o in enumerate(overrides)]
    for task in tasks:
        if not task.part:
            task.job.write(task.folder)
    left = _in_order([task for task in tasks if task.left])
    if left:
        most = min(processes or cores(), worthwhile(left))
        if searched_in(sweep) is None:  # a search tells of each trial
            console.print(prediction(sweep, len(tasks), left, most), soft_wrap=True)
        failures = _run_here(context, function, left, most, warm)
        failed = {left[index].job.number: failure for index, failure in failures.items()}
    else:
        failed = {}
    return [_returned(task, sweep, failed.get(task.job.number)) for task in tasks]


def _task(
    context: HydraContext, master: DictConfig, overrides: list[str], number: int, sweep: Path
) -> Task:
    composed = context.config_loader.load_sweep_config(master, overrides)
    with open_dict(composed):
        composed.hydra.job.id = composed.hydra.job.num = number
    config = checked_config(without_hydra(composed))
    folder = sweep / str(composed.hydra.sweep.subdir)
    config = again_if_damaged(config, folder)
    return Task(composed, config, folder, planned(config, composed.hydra, started_of(sweep)))


def without_hydra(composed: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def _in_order(tasks: list[Task]) -> list[Task]:
    """Those of one graph in succession, the longest graphs first."""
    ordered = sorted(_groups(tasks), key=_seconds, reverse=True)
    return [task for group in ordered for task in group]


def _seconds(tasks: Sequence[Task]) -> float:
    """Predicted for jobs of one graph, with its compilation."""
    return sum(task.seconds for task in tasks) + COMPILING * tasks[0].config.worth_compiling


def _groups(tasks: Sequence[Task]) -> list[list[Task]]:
    """Those of one graph together."""
    graphs: dict[str, list[Task]] = {}
    for task in tasks:
        graphs.setdefault(task.graph, []).append(task)
    return list(graphs.values())


def worthwhile(tasks: Sequence[Task]) -> int:
    """How many processes pay, each of which takes its time to start."""
    spent = sum(_seconds(group) for group in _groups(tasks))
    return min(max(1, round(spent / STARTING)), len(tasks))


def prediction(sweep: Path, jobs: int, left: Sequence[Task], processes: int) -> str:
    spent = sum(_seconds(group) for group in _groups(left))
    return (
        f"{os.path.relpath(sweep)}: {jobs} jobs, {jobs - len(left)} need no training, {len(left)} "
        f"in {processes} processes: about {STARTING + spent / processes:.0f} s"
    )


def _run_here(
    context: HydraContext,
    function: Callable[[Any], Any],
    tasks: list[Task],
    processes: int,
    warm: Idle,
) -> dict[int, str]:
    """Run the tasks; returns why which of them failed, by their index."""
    sent = [(context, function, task.composed) for task in tasks]
    failures: dict[int, str] = {}
    with display(runs=1) as shown, shown.jobs(len(tasks)) as ended:

        def done(index: int, failure: str | None) -> None:
            if failure is not None:
                failures[index] = failure
                if not tasks[index].part:
                    replace(tasks[index].job, failure=failure).write(tasks[index].folder)
            ended()

        work(_run_job, sent, processes, done, warm)
    return failures


def _run_job(sent: tuple[HydraContext, Callable[[Any], Any], DictConfig]) -> None:
    """One job in a process of its own, as Hydra's launchers run it."""
    context, function, composed = sent
    setup_globals()
    teach()
    HydraConfig.instance().set_config(composed)
    result = run_job(
        hydra_context=context,
        task_function=function,
        config=composed,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    _ = result.return_value  # raises what the job raised


def _returned(task: Task, sweep: Path, failure: str | None) -> JobReturn:
    result = JobReturn(
        overrides=list(task.job.overrides), cfg=task.composed, status=JobStatus.COMPLETED
    )
    if task.part:
        result.return_value = RunError(failure) if failure else None
        result.status = JobStatus.FAILED if failure else JobStatus.COMPLETED
        return result
    job = read_sweep(sweep)[1].get(task.folder, task.job)
    failed = bool(job.outcome(task.folder))
    number = float("inf") if failed else objective(load_run(task.folder), task.config.metric)
    result.return_value = number
    return result
