"""Train the run of a config, whatever its number of replicas."""

import shutil
from collections.abc import Callable
from pathlib import Path

from mlpfit.config.schema import Config
from mlpfit.errors import ConfigError, Diverged
from mlpfit.runs.folder import claimed
from mlpfit.training import ensemble as blocks

Report = Callable[[int, float], None]


def train(config: Config, report: Report = lambda step, loss: None) -> bool:
    """Train the run of this config unless the same run is complete. Returns whether anything was
    trained.

    An interrupted run of the same identity goes on from its last checkpoint, an ensemble with its
    missing blocks. Raises ConfigError before anything is created, RunError if an interrupted run of
    another identity is in the way, or if the loss of a single run diverges.
    """
    with claimed(config) as partial:
        if partial is None:
            return False
        try:
            _train(config, partial, report)
        except (ConfigError, Diverged):
            shutil.rmtree(partial)  # going on from there would only end the same way
            raise
    return True


def _train(config: Config, partial: Path, report: Report) -> None:
    if len(config.replica_seeds) == 1:
        from mlpfit.training.run import train_into

        return train_into(partial, config, config.replica_seeds, report)
    todo = blocks.blocks(config, partial)
    worth = sum(block.seconds for block in todo) > 20  # starting a process takes five seconds
    processes = config.ensemble.processes or (blocks.cores() if worth else 1)
    return blocks.train_blocks(
        todo, processes, lambda done: report(done // len(config.replica_seeds), float("nan"))
    )
