"""Stops that look like stops: exit codes 129, 130 and 143, and errors in one line."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from mlpfit.errors import ConfigError, RunError


def run_command(command: Callable[[], int]) -> None:
    """Run a command and leave the process: 0 done, 1 failed, 2 wrong input, 128 + n stopped by signal n.

    The handlers are set before Lightning starts: its own would let a terminated training exit with 0.
    """
    # matplotlib would write into the user's home, and complain where it can't
    os.environ.setdefault("MPLCONFIGDIR", str(Path("outputs/.cache/matplotlib").resolve()))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, frame: sys.exit(128 + received))
    try:
        code = command()
    except ConfigError as error:
        print(f"mlpfit: {error}", file=sys.stderr)
        code = 2
    except RunError as error:
        print(f"mlpfit: {error}", file=sys.stderr)
        code = 1
    except OSError as error:
        print(f"mlpfit: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        code = 1
    sys.exit(code)
