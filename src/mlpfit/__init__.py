"""Five tutorials on small neural networks, reproduced with evidence."""

from mlpfit.errors import ConfigError, RunError
from mlpfit.fitting import fit
from mlpfit.runs import Run, load_run

__all__ = ["ConfigError", "Run", "RunError", "fit", "load_run"]
