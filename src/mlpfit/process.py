"""A command as a process: how it starts, and how it ends: with an exit code and, where something is
the user's to mend, one line, or by a signal."""

import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlpfit.errors import ConfigError, RunError, Stopped

FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1"  # tracebacks are wanted


def run_command(command: Callable[[], int]) -> None:
    """Run a command and leave the process: 0 done, 1 failed, 2 wrong input, 128 + n stopped by
    signal n.

    The handlers are set before Lightning starts: its own would let a terminated training exit with
    0.
    """
    # matplotlib would write into the user's home, and complain where it can't
    os.environ.setdefault("MPLCONFIGDIR", str(Path("outputs/.cache/matplotlib").resolve()))
    collect_garbage_seldom()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    threading.excepthook = _thread_failed
    # It would warn of a cache that it can't write.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    try:
        code = command()
    except BrokenPipeError:  # "| head" has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    except (ConfigError, RunError, OSError, MemoryError) as error:
        code = exit_code(error)
    except Exception:
        if _signals:
            raise Stopped(128 + _signals[0]) from None
        raise
    gc.freeze()  # else the interpreter looks through torch's objects for a second before it ends
    sys.exit(code)


def collect_garbage_seldom() -> None:
    """Look for garbage seldom: importing torch and Lightning makes half a million objects, none of
    them garbage, and would take a quarter longer."""
    gc.set_threshold(200_000, 50, 1000)


def exit_code(error: BaseException) -> int:
    """Say in one line on stderr what went wrong (HYDRA_FULL_ERROR=1: as a traceback, too). Returns
    2 for wrong input, else 1. Raises Stopped if a signal came before: what it cut short may have
    failed in another way."""
    if _signals:
        raise Stopped(128 + _signals[0])
    if FULL_ERROR:
        traceback.print_exception(error)
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename or 'writing results'}: {error.strerror or error}"
    if isinstance(error, MemoryError):
        text = (
            "out of memory: make model.hidden, target.points, ensemble.shard or max_steps smaller"
        )
    print(f"mlpfit: {text}", file=sys.stderr)
    return 2 if isinstance(error, ConfigError) else 1


_signals: list[int] = []  # signals so far


def _stop(received: int, frame: Any) -> None:
    _signals.append(received)
    raise Stopped(128 + received)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """TensorBoard writes in a thread, and raises there and here: once is enough."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)
