"""Work in parallel processes that may be killed: the task of a lost process fails, all others are
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
from mlpfit.process import hurry

Idle = list[tuple[Any, Connection]]  # processes and how to send them tasks


def work(
    function: Callable[[Any], None],
    tasks: Sequence[Any],
    processes: int,
    done: Callable[[int, str | None], None],
    warm: Idle | None = None,
    told: Callable[..., None] | None = None,
) -> None:
    """Call function(task) for every task, in spawned processes, in the order of the tasks.

    done(i, failure) is told of each as it ends; failure is None, what was raised, or which signal
    killed the process. The processes end with this one, however that ends. ``warm``: processes that
    earlier work for the same function has left there, taken first and left there again.
    told(i, ...) is given what a task's process says by :func:`tell`.
    """
    left = list(range(len(tasks)))[::-1]
    busy: dict[Connection, tuple[Any, int]] = {}
    idle: Idle = [pair for pair in warm or () if pair[0].is_alive()]
    try:
        while left or busy:
            while left and len(busy) < processes:
                process, pipe = idle.pop() if idle else _start(function)
                index = left.pop()
                pipe.send(tasks[index])
                busy[pipe] = process, index
            for pipe in cast(list[Connection], wait(list(busy))):
                process, index = busy[pipe]
                try:
                    if isinstance(failure := pipe.recv(), tuple):
                        if told is not None:
                            told(index, *failure)
                        continue
                    idle.append((process, pipe))
                except (EOFError, ConnectionError):
                    failure = _ending(process)
                del busy[pipe]
                done(index, failure)
    finally:
        _end(busy, idle, warm)


def _ending(process: Any) -> str:
    """How a process has ended that should have gone on."""
    process.join()
    code = process.exitcode
    ending = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"its process ended early ({ending})"


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tell(*news: Any) -> None:
    """In a process of :func:`work`: say how far its task is."""
    assert _ours is not None
    _ours.send(news)


_ours: Connection | None = None  # to the process that gives tasks, if this one takes them


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


def _end(busy: dict[Connection, tuple[Any, int]], idle: Idle, warm: Idle | None) -> None:
    for process, _ in busy.values():
        process.terminate()
    ending = [(process, pipe) for pipe, (process, _) in busy.items()]
    if warm is None:
        ending += idle
    else:
        warm[:] = idle
    for process, pipe in ending:
        pipe.close()  # an idle process ends when its pipe does
        process.join()


def _serve(function: Callable[[Any], None], pipe: Connection, parent: int) -> None:
    """What a process does: one task after another, until the parent has gone."""
    global _ours
    _ours = pipe

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    hurry()
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
