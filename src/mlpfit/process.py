"""Start and end of a command's process: signals, exit codes, errors in one line on stderr."""

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

FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1"  # also print tracebacks


def run_command(command: Callable[[], int]) -> None:
    """Run a command and exit: 0 done, 1 failed, 2 wrong input, 128 + n stopped by signal n.

    The signal handlers are set first, since with Lightning's a terminated training would exit with
    0.
    """
    # By default matplotlib writes into the user's home, and warns if it can't.
    os.environ.setdefault("MPLCONFIGDIR", str(Path("outputs/.cache/matplotlib").resolve()))
    collect_garbage_seldom()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    threading.excepthook = _thread_failed
    # It warns of a cache that can't be written.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    try:
        code = command()
    except BrokenPipeError:  # the reader, as in "| head", has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    except (ConfigError, RunError, OSError, MemoryError) as error:
        code = report_error(error)
    except Exception:
        if _signals:
            raise Stopped(128 + _signals[0]) from None
        raise
    gc.freeze()  # else the last garbage collection takes a second for torch's objects
    sys.exit(code)


def collect_garbage_seldom() -> None:
    """Raise the thresholds of garbage collection. Importing torch and Lightning creates half a
    million objects, none of them garbage, and would take a quarter longer."""
    gc.set_threshold(200_000, 50, 1000)


def report_error(error: BaseException) -> int:
    """Print an error in one line on stderr (HYDRA_FULL_ERROR=1: with its traceback). Returns the
    exit code: 2 for ConfigError, else 1. Raises Stopped if there was a signal, which may have
    caused the error."""
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


_signals: list[int] = []  # received so far


def _stop(received: int, frame: Any) -> None:
    _signals.append(received)
    raise Stopped(128 + received)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Print errors of threads except OSError, which TensorBoard's writer raises again in the main
    thread."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)
