"""Five tutorials on small neural networks, reproduced with evidence.

>>> import mlpfit
>>> mlpfit.experiments()[:2]
['tower/small', 'tower/large']
"""

import signal
import sys

from mlpfit.commands.fit import fit
from mlpfit.config.catalogue import experiments
from mlpfit.errors import ConfigError, RunError
from mlpfit.report.notebook import load_sweep
from mlpfit.runs.run import Run, load_run

if sys.argv[:1] == ["-m"]:  # python -m mlpfit: Ctrl-C exits until run_command sets its handler
    signal.signal(signal.SIGINT, signal.SIG_DFL)

__all__ = ["ConfigError", "Run", "RunError", "experiments", "fit", "load_run", "load_sweep"]
