"""Five tutorials on small neural networks, reproduced with evidence."""

import signal
import sys

from mlpfit.commands.fit import fit
from mlpfit.errors import ConfigError, RunError
from mlpfit.runs.run import Run, load_run

if sys.argv[:1] == [
    "-m"
]:  # python -m mlpfit....: Ctrl-C ends it without a traceback until run_command takes over
    signal.signal(signal.SIGINT, signal.SIG_DFL)

__all__ = ["ConfigError", "Run", "RunError", "fit", "load_run"]
