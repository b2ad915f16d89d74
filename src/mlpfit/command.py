"""Stops that look like stops: exit codes 129, 130 and 143, and errors in one line."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlpfit.errors import ConfigError, RunError, Stopped


def run_command(command: Callable[[], int]) -> None:
    """Run a command and leave the process: 0 done, 1 failed, 2 wrong input, 128 + n stopped by signal n.

    The handlers are set before Lightning starts: its own would let a terminated training exit with 0.
    """
    # matplotlib would write into the user's home, and complain where it can't
    os.environ.setdefault("MPLCONFIGDIR", str(Path("outputs/.cache/matplotlib").resolve()))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    threading.excepthook = _thread_failed
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it would tell of a cache it can't write
    try:
        code = command()
    except ConfigError as error:
        print(f"mlpfit: {error}", file=sys.stderr)
        code = 2
    except RunError as error:
        print(f"mlpfit: {error}", file=sys.stderr)
        code = 1
    except OSError as error:
        print(f"mlpfit: {error.filename or 'writing results'}: {error.strerror or error}", file=sys.stderr)
        code = 1
    sys.exit(code)


def _stop(received: int, frame: Any) -> None:
    raise Stopped(128 + received)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """TensorBoard writes in a thread, and raises there and here: once is enough."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)
