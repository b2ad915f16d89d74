"""Tasks in parallel processes that may be killed: the task of a lost process fails, all others are
done."""

import gc
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

Workers = list[tuple[Any, Connection]]  # processes, and the pipes through which they get tasks


def run_tasks(
    function: Callable[[Any], None],
    tasks: Sequence[Any],
    processes: int,
    on_end: Callable[[int, str | None], None],
    reusable: Workers | None = None,
    on_message: Callable[..., None] | None = None,
) -> None:
    """Call function(task) for every task, in spawned processes, in the order of the tasks.

    on_end(i, failure) is called as each task ends; failure is None, what was raised, or which
    signal killed the process. on_message(i, ...) is called with what a task says by
    :func:`send_message`. The processes end with this one, however that ends. ``reusable``: idle
    processes that earlier calls for the same function left there, taken first and left there again.
    """
    pending = list(range(len(tasks)))[::-1]
    busy: dict[Connection, tuple[Any, int]] = {}
    idle: Workers = [worker for worker in reusable or () if worker[0].is_alive()]
    try:
        while pending or busy:
            while pending and len(busy) < processes:
                process, pipe = idle.pop() if idle else _start(function)
                index = pending.pop()
                pipe.send(tasks[index])
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
        _end(busy, idle, reusable)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def send_message(*message: Any) -> None:
    """In a process of :func:`run_tasks`: tell the parent how far the task is."""
    assert _to_parent is not None
    _to_parent.send(message)


_to_parent: Connection | None = None  # in a process that takes tasks


def _start(function: Callable[[Any], None]) -> tuple[Any, Connection]:
    """Without torch: a fork after torch has started its threads would hang."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(function, theirs, os.getpid()), daemon=True)
    # Ctrl-C reaches every process of a terminal; the parent decides. Blocked from their start,
    # which takes seconds.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    process.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return process, ours


def _exit_reason(process: Any) -> str:
    """Of a process that ended in the middle of a task."""
    process.join()
    code = process.exitcode
    reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"its process ended early ({reason})"


def _end(busy: dict[Connection, tuple[Any, int]], idle: Workers, reusable: Workers | None) -> None:
    for process, _ in busy.values():
        process.terminate()
    ending = [(process, pipe) for pipe, (process, _) in busy.items()]
    if reusable is None:
        ending += idle
    else:
        reusable[:] = idle
    for process, pipe in ending:
        pipe.close()  # an idle process ends when its pipe does
        process.join()


def _serve(function: Callable[[Any], None], pipe: Connection, parent: int) -> None:
    """What a process does: one task after another, until the parent has gone."""
    global _to_parent
    _to_parent = pipe

    def exit_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
    collect_garbage_seldom()
    with suppress(EOFError, OSError):  # the parent has gone
        while True:
            task, failure = pipe.recv(), None
            try:
                function(task)
            except (ConfigError, RunError) as error:
                failure = str(error)
            except BaseException as error:  # whatever a user's function may raise
                failure = one_line(error)
            pipe.send(failure)
    gc.freeze()  # as in process.run_command
