"""Train one experiment into its run folder.

    mlpfit experiment=tower/small [key=value ...]

With -m, values separated by commas make a sweep (sweep.py). Keys and defaults are in
conf/config.yaml; --help lists the experiments. ``force=true`` trains again although the same run is
complete.
"""

import sys

import numpy as np

from mlpfit.config.catalogue import experiments
from mlpfit.config.compose import OPTIONS, compose
from mlpfit.errors import ConfigError
from mlpfit.runs.identity import is_current
from mlpfit.runs.run import QUANTITIES, Run, load_run
from mlpfit.training.progress import console, display
from mlpfit.training.train import train


def main() -> int:
    overrides = sys.argv[1:]
    if {"-h", "--help"} & set(overrides):
        print(f"{__doc__}\nexperiments: {', '.join(experiments())}")
        return 0
    if unknown := [o for o in overrides if o.startswith("-") and o not in OPTIONS]:
        raise ConfigError(
            f"{unknown[0]}: no such option; there are {', '.join(OPTIONS)} and key=value"
        )
    if {"-m", "--multirun"} & set(overrides):
        from mlpfit.sweeps.sweep import sweep

        return sweep(overrides)
    if named := [o for o in overrides if o.startswith("sweep=")]:
        raise ConfigError(f"{named[0]}: a sweep needs -m")
    if not any(o.startswith("experiment=") for o in overrides):
        raise ConfigError(f"experiment=...: say which one; there are {', '.join(experiments())}")
    config = compose(overrides)
    with display(runs=1) as shown:
        if is_current(config) and not config.force:
            console.print(
                f"{config.run_dir} is up to date (force=true trains it again)", soft_wrap=True
            )
            return 0
        with shown.run(config.name, config.trainer.max_steps) as report:
            train(config, report)
    console.print(f"{config.run_dir}: {summary(load_run(config.run_dir))}", soft_wrap=True)
    return 0


def summary(run: Run) -> str:
    """The final numbers in a line; medians where there are several replicas, a diverged one
    counting as infinite."""
    lost = (
        f"; {run.diverged.sum()} of {run.replicas} replicas diverged" if run.diverged.any() else ""
    )
    return (
        ", ".join(
            f"{QUANTITIES[name]} {float(np.median(run.final(name))):.6g}"
            for name in ("mse", "sse", "truth_mse")
        )
        + lost
    )
