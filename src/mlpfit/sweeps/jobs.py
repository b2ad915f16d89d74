"""The jobs of a multirun, with any launcher: planned before the first starts, and run so that a
finished job is not run again and a failed one stops no other."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from mlpfit.config.compose import checked_config, checked_values
from mlpfit.config.schema import Config
from mlpfit.errors import ConfigError, Diverged, RunError, Stopped, one_line
from mlpfit.process import report_error
from mlpfit.processes import cores
from mlpfit.runs.identity import computing_code, identity, is_current
from mlpfit.runs.provenance import provenance
from mlpfit.runs.removal import check_job_folder, check_replaceable
from mlpfit.runs.run import MARKER, load_run
from mlpfit.sweeps.composing import Glance, JobLoader
from mlpfit.sweeps.summary import Job, identity_hash, objective, sweep_note
from mlpfit.training import duration
from mlpfit.training.progress import console, counted, doing, in_time
from mlpfit.training.shard import shards
from mlpfit.training.train import train, try_additions

MAX_JOBS = 10_000
BATCH = 500  # jobs that are planned, which takes two seconds, before the first of them starts
WORTH_MEASURING = 10.0  # seconds that all jobs would take on a fast core
JOB_SECONDS = 0.15  # of a job's process and of Hydra
FIGURE_SECONDS, ROW_SECONDS = 1.5, 0.04  # of the end of a sweep, and of each job's row there
SAY_PLANNING = 20  # jobs, of which planning takes a noticeable time


@dataclass(frozen=True)
class Planned:
    """A job before it starts. seconds: on a fast core, 0 if it is finished; config: of a job to be
    trained."""

    number: int
    overrides: tuple[str, ...]
    subdir: str
    seconds: float
    config: Config | None


def plan(
    loader: JobLoader, master: DictConfig, overrides: Sequence[Override], sharpness: bool = False
) -> Iterator[list[Planned]]:
    """The jobs of a grid in batches, each composed and checked when it is asked for; sharpness: of
    all of them it is to be found. Raises ConfigError before the first for no or over ``MAX_JOBS``
    jobs, for a wrong value of a key, and for a config or a Trainer in it that can't be; with any
    for two jobs that share a folder, RunError if a folder is not a job's own. A wrong config of a
    later batch is named on stderr, and its job will fail."""
    count, given = number_of_jobs(overrides), master.hydra.sweeper.max_batch_size
    if given is not None and (not isinstance(given, int) or given < 1):
        raise ConfigError(
            f"hydra.sweeper.max_batch_size={given}: must be a whole number above 0, or null"
        )
    sweep, taken = Path(str(master.hydra.sweep.dir)), dict[str, Glance]()  # folder -> its job
    batches = BasicSweeper.split_arguments(list(overrides), given or BATCH)
    if count > SAY_PLANNING:
        many = f", {len(batches[0])} at a time" if len(batches) > 1 else ""
        console.print(f"planning {counted(count, 'job')}{many}")
    if len(batches) > 1:
        check_values(loader, master, overrides)
    for number, batch in enumerate(batches):
        first, jobs = number * len(batches[0]), list[Planned]()

        def tell(seconds: float, first: int = first, jobs: Sequence[Planned] = jobs) -> str:
            return f"{first + len(jobs)} of {count} jobs planned after {seconds:.0f} s"

        with doing(tell):
            for k, job in enumerate(batch, first):
                glance = loader.glance(master, job, k)
                check_free(glance, taken, sweep)
                try:
                    one = planned(glance, k, sweep)
                    if sharpness and one.config is not None:
                        check_sharpness(one.config)
                    jobs.append(one)
                except ConfigError as error:
                    if number == 0:
                        raise
                    report_error(ConfigError(f"job {k}: {error}"))
                    jobs.append(Planned(k, glance.overrides, glance.subdir, 0.0, None))
            if number == 0:
                try_trainers(jobs)
        yield jobs


def try_trainers(jobs: Sequence[Planned]) -> None:
    """Raises ConfigError if the Trainer of a job can't be made; equal ones are tried once."""
    configs = [job.config for job in jobs if job.config is not None]
    kinds = {repr((c.callbacks, c.logger, c.trainer.arguments, c.single)): c for c in configs}
    for config in kinds.values():
        try_additions(config)


def check_values(loader: JobLoader, master: DictConfig, overrides: Sequence[Override]) -> None:
    """Check the config of a job with each value of each key, of a range its ends, and the first
    value of every other. Raises ConfigError."""
    swept = [override for override in overrides if override.is_sweep_override()]
    texts = {o.get_key_element(): list(o.sweep_string_iterator()) for o in swept}
    fixed = [str(o.input_line) for o in overrides if o not in swept]
    first = {key: values[0] for key, values in texts.items()}
    with doing("checking the values"):
        for override in swept:
            values = texts[key := override.get_key_element()]
            for value in values[:: len(values) - 1 or 1] if override.is_range_sweep() else values:
                job = [f"{k}={v}" for k, v in (first | {key: value}).items()]
                checked(loader.glance(master, [*fixed, *job], 0))


def check_free(job: Glance, taken: dict[str, Glance], sweep: Path) -> None:
    """Note that a job takes its folder. Raises ConfigError if another has, RunError if it is not
    within the sweep's."""
    check_job_folder(sweep / job.subdir, sweep)
    if (other := taken.setdefault(job.subdir, job)) is not job:
        given = [value for value in job.overrides if value not in other.overrides]
        raise ConfigError(
            f"{', '.join(given) or job.overrides[-1]}: two jobs share the folder "
            f"{sweep / job.subdir}; give each value once, or another hydra.sweep.subdir"
        )


def checked(job: Glance) -> Config:
    """Its config. Raises ConfigError."""
    return checked_values(job.plain, job.overrides, job.experiment)


def planned(job: Glance, number: int, sweep: Path) -> Planned:
    """The job of this number. Raises ConfigError for its config, RunError if its folder holds
    anything else."""
    config, folder = checked(job), sweep / job.subdir
    if not needs_training(config, folder):
        return Planned(number, job.overrides, job.subdir, 0.0, None)
    check_replaceable(folder, Path(config.output_dir))
    seconds = sum(map(duration.predicted_seconds, shards(config, Path())))
    return Planned(number, job.overrides, job.subdir, seconds, config)


def check_sharpness(config: Config) -> None:
    """Raises ConfigError for a training of whose loss no sharpness can be found."""
    from mlpfit.model.losses import SQUARES  # here, since they import torch
    from mlpfit.model.sharpness import ACTIVATIONS

    model = config.model
    given = {
        f"loss={config.loss}": str(config.loss) in SQUARES,
        f"model.activation={model.activation}": model.activation in ACTIVATIONS,
        f"model.output={model.output}": model.output == "identity",
        f"model.net={model.net}": model.net is None,
        f"model.dropout={model.dropout}": not model.dropout,
        f"{config.units[-1]} outputs": config.units[-1] == 1,
    }
    for setting, is_known in given.items():
        if not is_known:
            raise ConfigError(
                f"{setting}: has no sharpness here, which is of squared errors of one output of "
                f"layers of {', '.join(ACTIVATIONS)}; leave out "
                "hydra.callbacks.experiments.sharpness"
            )


def number_of_jobs(overrides: Sequence[Override]) -> int:
    """Number of jobs of a grid. Raises ConfigError for none, or over ``MAX_JOBS``."""
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
    return jobs


def needs_training(config: Config, folder: Path) -> bool:
    """Whether the folder does not hold this run, whole."""
    if config.force or not (folder / MARKER).is_file():
        return True
    return retrain_if_damaged(config, folder).force or not is_current(config, folder)


def longest_first(jobs: Sequence[Planned]) -> list[int]:
    """Numbers of the jobs in the order in which to start them."""
    return [job.number for job in sorted(jobs, key=lambda job: -job.seconds)]


def print_plan(
    folder: Path,
    jobs: Sequence[Planned],
    count: int,
    processes: int | None,
    sharpness: bool = False,
) -> None:
    """Print how many of the sweep's jobs are to be trained and how long that, and the summary after
    the last of them, will take on this machine; processes: at most so many at once, None: on other
    machines; sharpness: the summary has it."""
    is_last = not jobs or jobs[-1].number == count - 1
    todo = [job for job in jobs if job.config is not None]
    line = f"{folder}: {counted(len(jobs), 'job')}"
    if len(jobs) < count:
        line = f"{folder}: jobs {jobs[0].number} to {jobs[-1].number} of {count}"
    if len(todo) < len(jobs):
        line += f", {len(jobs) - len(todo)} of them finished"
    if todo and processes is not None:
        count = min(processes, len(todo))
        line += f", {counted(count, 'process')}"
        with doing("measuring the speed"):
            seconds = predicted_seconds(todo, count)
            if seconds is not None and is_last:
                seconds += closing_seconds(todo, jobs[-1].number + 1, sharpness)
        line += f": about {in_time(seconds)}" if seconds is not None else ""
    console.print(line, soft_wrap=True)


def predicted_seconds(todo: Sequence[Planned], processes: int) -> float | None:
    """How long these jobs will take, by a straight line through measurements of the longest and of
    a middling one; None if they are short, or trained outside the engine."""
    ordered = sorted(todo, key=lambda job: job.seconds)
    if sum(job.seconds for job in ordered) < WORTH_MEASURING:
        return None
    middle, longest = ordered[len(ordered) // 2], ordered[-1]
    taken, most = measured_seconds(middle, processes), measured_seconds(longest, processes)
    if not math.isfinite(taken + most):
        return None
    apart = longest.seconds - middle.seconds
    slope = (most - taken) / apart if apart else 0.0
    least = duration.BEGIN_AND_END + JOB_SECONDS
    seconds = [max(least, taken + slope * (job.seconds - middle.seconds)) for job in ordered]
    return max(sum(seconds) / processes, max(seconds))


def closing_seconds(todo: Sequence[Planned], rows: int, sharpness: bool) -> float:
    """How long the summary of so many jobs and the figure will take, by a measurement of a middling
    one of those to be trained. All but the longest part, sharpness, is alike everywhere."""
    seconds = FIGURE_SECONDS + rows * ROW_SECONDS
    middle = sorted(todo, key=lambda job: job.seconds)[len(todo) // 2]
    if sharpness and middle.config is not None:  # at the end of each, and at their common start
        seconds += (rows + 1) * duration.sharpness_seconds(middle.config)
    return seconds


def measured_seconds(job: Planned, processes: int) -> float:
    """How long a job will take, by a measurement of its longest shard; NaN outside the engine."""
    assert job.config is not None
    longest = max(shards(job.config, Path()), key=duration.predicted_seconds)
    return job.seconds * duration.slowness(longest, processes) + JOB_SECONDS


def tell(folder: Path, jobs: Sequence[Planned]) -> Callable[[float], str]:
    """How many of the jobs to be trained are finished, as a function of the seconds so far."""
    todo = [folder / job.subdir / MARKER for job in jobs if job.config is not None]

    def text(seconds: float) -> str:
        done = sum(file.is_file() for file in todo)
        return f"{done} of {counted(len(todo), 'job')} finished after {seconds:.0f} s"

    return text


def run_job(composed: Any, settings: Any) -> float:
    """Train a job of a sweep in its folder, and record a failure there for the summary. Returns the
    metric for a sweeper to minimise, infinite if the job diverged, NaN if it failed otherwise."""
    folder, started = Path(settings.runtime.output_dir), time.time()
    overrides = tuple(str(override) for override in settings.overrides.task)
    sweep = sweep_note(Path(settings.sweep.dir), "started") or ""
    job = Job(int(settings.job.num), overrides, sweep, None)
    try:
        config = checked_config(composed)
        job = replace(job, identity=identity_hash(identity(config)))
        job.write(folder)
        trained = train(retrain_if_damaged(config, folder), folder)
        job.write(folder)  # the run has replaced the folder
        value = objective(load_run(folder), config.metric)
    except Stopped:
        raise
    except (Exception, SystemExit) as error:  # a failed job must not stop the others
        with suppress(OSError):  # a full disk
            replace(job, failure=one_line(error)).write(folder)
        return float("inf" if isinstance(error, Diverged) else "nan")
    if trained and sweep_note(Path(settings.sweep.dir), "search") is None:
        seconds = time.time() - started
        line = f"job {job.number}: {folder.name}: {config.metric} {value:.4g}, {seconds:.1f} s"
        console.print(line, soft_wrap=True, markup=False)
    return value


def retrain_if_damaged(config: Config, folder: Path) -> Config:
    """The config, with force=true if the folder holds its finished run with a damaged file."""
    try:
        if is_current(config, folder):
            load_run(folder).check_files()
    except RunError:
        return replace(config, force=True)
    return config


def processes_of(master: DictConfig) -> int | None:
    """How many jobs the launcher runs at once; None if it is not one of this machine."""
    name = str(master.hydra.launcher._target_).rpartition(".")[2]
    if name == "Processes":
        return int(master.hydra.launcher.processes or cores())
    return 1 if name == "BasicLauncher" else None


def import_for_jobs() -> None:
    """Import and find out once, before jobs are forked from this process, what all of them need: it
    takes four seconds."""
    import mlpfit.training.run  # noqa: F401

    computing_code()
    provenance()
