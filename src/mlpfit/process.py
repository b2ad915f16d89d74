"""Start and end of a command's process: signals, exit codes, errors in one line on stderr."""

import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mlpfit.errors import ConfigError, RunError, Stopped, about_file, printable, shortened

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1"  # also print tracebacks


def run_command(command: Callable[[], int]) -> None:
    """Run a command and exit: 0 done, 1 failed, 2 wrong input, 128 + n stopped by signal n.

    The signal handlers are set first, since with Lightning's a terminated training would exit with
    0.
    """
    collect_garbage_seldom()
    for stream in (sys.stdout, sys.stderr):  # a character that the locale lacks stops no command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    for number in HANDLED:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as by nohup
            signal.signal(number, _stop)
    threading.excepthook = _thread_failed
    # It warns of a cache that can't be written.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        check_working_directory()
        # By default matplotlib writes into the user's home, and warns if it can't.
        os.environ.setdefault("MPLCONFIGDIR", str(Path("outputs/.cache/matplotlib").resolve()))
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


def check_working_directory() -> None:
    """Raises RunError unless the working directory exists and its path is text in UTF-8, which
    TensorBoard's and Optuna's files need."""
    try:
        os.getcwd().encode()
    except FileNotFoundError:
        raise RunError("the working directory was removed: change to another") from None
    except UnicodeEncodeError:
        raise RunError(f"{os.getcwd()}: the path is no text in UTF-8: rename the folder") from None


@contextmanager
def unchanged_process() -> Iterator[None]:
    """Put back what a training changes in the process of its caller: threads and random generator
    of torch, the level of Lightning's logger, environment variables, signal handlers. Of several
    trainings in threads the last one to end does so."""
    global _trainings
    with _changing:
        if _trainings == 0:
            _before.enter_context(_restoring())
        _trainings += 1
    try:
        yield
    finally:
        with _changing:
            _trainings -= 1
            if _trainings == 0:
                _before.close()


_changing, _before, _trainings = threading.Lock(), ExitStack(), 0


@contextmanager
def _restoring() -> Iterator[None]:
    import torch

    logger, environment = logging.getLogger("lightning.pytorch"), dict(os.environ)
    threads, generator, level = torch.get_num_threads(), torch.get_rng_state(), logger.level
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in HANDLED} if main else {}
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(generator)
        logger.setLevel(level)
        for key in os.environ.keys() - environment.keys():
            del os.environ[key]
        os.environ.update(environment)
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def collect_garbage_seldom() -> None:
    """Raise the thresholds of garbage collection. Importing torch and Lightning creates half a
    million objects, none of them garbage, and would take a third longer."""
    gc.set_threshold(1_000_000, 50, 1000)


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
        text = about_file(error)
    if isinstance(error, MemoryError):
        text = (
            "out of memory: make model.hidden, target.points, ensemble.shard or max_steps smaller"
        )
    print(f"mlpfit: {printable(shortened(' '.join(text.split())))}", file=sys.stderr)
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
