"""Five tutorials on small neural networks, reproduced with evidence."""

import signal
import sys

from mlpfit.errors import ConfigError, RunError
from mlpfit.fitting import fit
from mlpfit.runs import Run, load_run

if sys.argv[:1] == ["-m"]:  # python -m mlpfit....: Ctrl-C ends it without a traceback until run_command takes over
    signal.signal(signal.SIGINT, signal.SIG_DFL)

__all__ = ["ConfigError", "Run", "RunError", "fit", "load_run"]
