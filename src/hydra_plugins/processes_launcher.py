"""A Hydra launcher: the jobs of a multirun in parallel processes of this machine, for any
application (docs/launcher.md).

    python app.py -m hydra/launcher=processes x=1,2,3

Every job has a process of its own, forked from the application's. So it needs no pickling of the
task function, starts with what has been imported, and takes no other job along if it is killed.
"""

import gc
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import (
    JobReturn,
    JobRuntime,
    JobStatus,
    configure_log,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

POLL_SECONDS = 0.5
STOP_SECONDS = 10.0  # that a job has to end after SIGTERM

log = logging.getLogger(__name__)


@dataclass
class ProcessesConf:
    """processes: at most so many jobs at once, null: one per core. order: numbers of the jobs in
    the order in which they start, null: as they are numbered; jobs not named come last. A callback
    may set it in on_multirun_start, so that the longest job starts first."""

    _target_: str = "hydra_plugins.processes_launcher.Processes"
    processes: int | None = None
    order: list[int] | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="processes", node=ProcessesConf, provider="processes_launcher"
)


class Processes(Launcher):
    """Launcher of jobs in processes; its arguments are those of :class:`ProcessesConf`."""

    def __init__(self, processes: int | None = None, order: Sequence[int] | None = None) -> None:
        if processes is not None and processes < 1:
            raise ValueError(f"hydra.launcher.processes={processes}: must be at least 1, or null")
        self.processes = processes or _cores()
        self.order = list(order or ())

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs, numbered from initial_job_idx. Returns the result of each, FAILED with an
        exception if it could not be composed, raised one or was killed."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        count = min(self.processes, len(job_overrides))
        log.info(f"Launching {len(job_overrides)} jobs in {count} processes")
        rank = {number: place for place, number in enumerate(self.order)}
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        waiting = sorted(numbers, key=lambda number: rank.get(number, len(rank)))[::-1]
        results: dict[int, JobReturn] = {}
        running: list[_Job] = []
        ending: list[_Job] = []  # have sent their results; an exit takes a twentieth of a second
        try:
            while waiting or running:
                while waiting and len(running) < self.processes:
                    number = waiting.pop()
                    overrides = list(job_overrides[number - initial_job_idx])
                    log.info(f"\t#{number} : {' '.join(filter_overrides(overrides))}")
                    try:
                        composed = self._composed(overrides, number)
                    except Exception as error:  # Hydra's, OmegaConf's or a resolver's
                        results[number] = _failed(JobReturn(overrides=overrides), error)
                        _report(number, results[number])
                    else:
                        running.append(_Job(self, number, composed))
                wait([job.pipe for job in running], POLL_SECONDS if running else 0)
                ending = [job for job in ending if job.process.is_alive()]
                for job in list(running):
                    if (result := job.result()) is not None:
                        running.remove(job)
                        ending.append(job)
                        results[job.number] = result
                        if result.status == JobStatus.FAILED:
                            _report(job.number, result)
        finally:
            for job in running:
                job.process.terminate()
            for job in running + ending:
                job.process.join(STOP_SECONDS)
                job.process.kill()
        return [results[number] for number in numbers]

    def _composed(self, overrides: list[str], number: int) -> DictConfig:
        composed = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = number
        return composed


class _Job:
    """A job in its process."""

    def __init__(self, launcher: Processes, number: int, composed: DictConfig) -> None:
        self.number, self.composed = number, composed
        context = multiprocessing.get_context("fork")
        self.pipe, child_pipe = context.Pipe(duplex=False)
        arguments = (launcher.context, launcher.function, composed, child_pipe, os.getpid())
        self.process = context.Process(target=_run, args=arguments, name=f"job {number}")
        with warnings.catch_warnings(), _interrupts_blocked():
            # From Python 3.12 on a fork beside threads warns: numpy's threads are idle, and a job
            # starts none of theirs again.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        child_pipe.close()

    def result(self) -> JobReturn | None:
        """Its result once it has sent that or ended, else None."""
        # A process of the job's own may keep the pipe open after the job was killed.
        ended = not self.process.is_alive()
        if not self.pipe.poll() and not ended:
            return None
        try:
            result: JobReturn = pickle.loads(self.pipe.recv_bytes()) if self.pipe.poll() else None
        except EOFError:
            result = None
        self.pipe.close()
        if result is not None:
            return result
        self.process.join()
        return _failed(_outline(self.composed), RuntimeError(_exit_reason(self.process)))


def _report(number: int, failed: JobReturn) -> None:
    """Log it with its arguments, so that a handler can tell which job failed and why."""
    log.error("\t#%d failed: %r", number, failed._return_value)


def _cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT, also in a process that is forked meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_reason(process: Any) -> str:
    """Why a process ended without a result."""
    code = process.exitcode
    reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"its process ended early ({reason})"


def _outline(composed: DictConfig) -> JobReturn:
    """What is known of a job that has returned nothing."""
    settings = OmegaConf.masked_copy(composed, ["hydra"])
    task = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    overrides = OmegaConf.to_container(composed.hydra.overrides.task)
    name = JobRuntime.instance().get("name")
    return JobReturn(overrides=overrides, cfg=task, hydra_cfg=settings, task_name=name)  # type: ignore[arg-type]


def _failed(result: JobReturn, error: BaseException) -> JobReturn:
    result.status, result.return_value = JobStatus.FAILED, error
    return result


def _run(
    context: HydraContext,
    function: TaskFunction,
    composed: DictConfig,
    pipe: Connection,
    parent: int,
) -> None:
    """Run a job in its process, and send its result."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal sends it to all; the parent handles it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()
    gc.freeze()  # what belongs to the parent is not finalised here
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # else all jobs go on with the parent's generator
    try:
        result = run_job(
            hydra_context=context,
            task_function=_returning_at_exit(function),
            config=composed,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except BaseException as error:  # of a callback, of making the folder, or a signal's
        result = _failed(_outline(composed), error)
    pipe.send_bytes(_pickled(result))


def _exit_with(parent: int) -> None:
    """End this process when its parent has, even if that was killed."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def _returning_at_exit(function: TaskFunction) -> TaskFunction:
    """The function, for which ``sys.exit`` ends the job: with code 0 it returns None, with another
    it fails."""

    @wraps(function)
    def task(config: Any) -> Any:
        try:
            return function(config)
        except SystemExit as error:
            if error.code in (None, 0):
                return None
            raise RuntimeError(f"exited with code {error.code}") from error

    return task


def _pickled(result: JobReturn) -> bytes:
    """The result as bytes. An exception carries its traceback in a note; one that can't be pickled
    becomes a RuntimeError with its type and message, and a value that can't a failure."""
    value = result._return_value
    if result.status == JobStatus.FAILED:
        value.add_note("In the job's process:\n" + "".join(traceback.format_exception(value)))
    try:
        pickle.loads(pickle.dumps(value))  # an exception may refuse its arguments
        return pickle.dumps(result)
    except Exception as error:
        if result.status == JobStatus.FAILED:
            failure = RuntimeError(f"{type(value).__name__}: {value}")
            failure.__notes__ = value.__notes__  # type: ignore[attr-defined]
        else:
            kind = type(value).__name__
            failure = RuntimeError(
                f"returned a {kind} that can't be sent to the launcher ({error}); "
                "return numbers, strings or lists of them"
            )
        return pickle.dumps(_failed(result, failure))
