"""Tasks in parallel processes. If a process is killed, its task fails and all others are done."""

import gc
import importlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from mlpfit.errors import ConfigError, RunError, one_line
from mlpfit.process import collect_garbage_seldom

Workers = list[tuple[Any, Connection]]  # processes and the pipes of their tasks


def run_tasks(
    function: Callable[[Any], None],
    tasks: Sequence[Any],
    processes: int,
    on_end: Callable[[int, str | None], None],
    reusable: Workers | None = None,
    on_message: Callable[..., None] | None = None,
) -> None:
    """Call function(task) for every task in spawned processes, started in the order of the tasks.

    on_end(i, failure) is called when task i ends; failure is None, the error raised, or the signal
    that killed the process. on_message(i, ...) is called with what the task passes to
    :func:`send_message`. The processes exit when this one does, also if it is killed. ``reusable``:
    list of idle processes, of :func:`start_workers` or earlier calls; used first, and replaced by
    those idle at the end.
    """
    pending = list(range(len(tasks)))[::-1]
    busy: dict[Connection, tuple[Any, int]] = {}
    idle: Workers = [worker for worker in reusable or () if worker[0].is_alive()]
    try:
        while pending or busy:
            while pending and len(busy) < processes:
                process, pipe = idle.pop() if idle else _start()
                index = pending.pop()
                pipe.send((function, tasks[index]))
                busy[pipe] = process, index
            for pipe in cast(list[Connection], wait(list(busy))):
                process, index = busy[pipe]
                try:
                    if isinstance(received := pipe.recv(), tuple):
                        if on_message is not None:
                            on_message(index, *received)
                        continue
                    idle.append((process, pipe))
                except (EOFError, ConnectionError):
                    received = _exit_reason(process)
                del busy[pipe]
                on_end(index, received)
    finally:
        _stop_workers(busy, idle, reusable)


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def send_message(*message: Any) -> None:
    """In a process of :func:`run_tasks`: call its on_message in the parent."""
    assert _to_parent is not None
    _to_parent.send(message)


_to_parent: Connection | None = None  # set in the processes of tasks


def start_workers(count: int, *modules: str) -> Workers:
    """Idle processes for the ``reusable`` of :func:`run_tasks`, which meanwhile import these
    modules."""
    return [_start(modules) for _ in range(count)]


def stop_workers(workers: Workers) -> None:
    """End idle processes, also those that are importing."""
    _stop_workers({pipe: (process, 0) for process, pipe in workers}, [], None)
    workers.clear()


def _start(modules: Sequence[str] = ()) -> tuple[Any, Connection]:
    """Start a process, spawned since a fork would hang after torch has started its threads."""
    context = multiprocessing.get_context("spawn")
    pipe, child_pipe = context.Pipe()
    process = context.Process(
        target=_run_worker, args=(modules, child_pipe, os.getpid()), daemon=True
    )
    # A terminal sends Ctrl-C to every process, but only the parent handles it. The child inherits
    # the blocked signal, so it is blocked during its start, too.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    process.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    child_pipe.close()
    return process, pipe


def _exit_reason(process: Any) -> str:
    """Why a process ended during a task."""
    process.join()
    code = process.exitcode
    reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"its process ended early ({reason})"


def _stop_workers(
    busy: dict[Connection, tuple[Any, int]], idle: Workers, reusable: Workers | None
) -> None:
    for process, _ in busy.values():
        process.terminate()
    stopping = [(process, pipe) for pipe, (process, _) in busy.items()]
    if reusable is None:
        stopping += idle
    else:
        reusable[:] = idle
    for process, pipe in stopping:
        pipe.close()  # an idle process ends when its pipe does
        process.join()


def _run_worker(modules: Sequence[str], pipe: Connection, parent: int) -> None:
    """Main function of a process: import the modules, call the function of every task, until the
    pipe or parent ends."""
    global _to_parent
    _to_parent = pipe

    def exit_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
    collect_garbage_seldom()
    for module in modules:
        importlib.import_module(module)
    with suppress(EOFError, OSError):  # the parent has closed the pipe
        while True:
            (function, task), failure = pipe.recv(), None
            try:
                function(task)
            except (ConfigError, RunError) as error:
                failure = str(error)
            except BaseException as error:  # a user's function may raise anything
                failure = one_line(error)
            pipe.send(failure)
    gc.freeze()  # as in process.run_command
