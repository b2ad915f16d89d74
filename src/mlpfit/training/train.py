"""Train the run of a config, whatever its number of replicas."""

import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mlpfit.config.schema import Config
from mlpfit.data.streams import streams
from mlpfit.errors import ConfigError, Diverged, users_code
from mlpfit.runs.folder import claimed, shared
from mlpfit.runs.identity import is_current
from mlpfit.training import ensemble

Report = Callable[[int, float], None]  # steps done, last loss


def train(
    config: Config, folder: Path | None = None, report: Report = lambda step, loss: None
) -> bool:
    """Train the run of this config into a folder (its own, if none is named) unless the same run is
    complete there. Returns whether anything was trained.

    An interrupted run of the same identity goes on from its last checkpoint, an ensemble with its
    missing shards. Raises ConfigError before anything is created, RunError if an interrupted run of
    another identity is in the way, or if the loss of a single run diverges.
    """
    final = folder or config.folder
    if config.force or not is_current(config, final):
        try_out(config)
    with claimed(config, final) as partial:
        if partial is None:
            return False
        try:
            _train(config, partial, report)
        except (ConfigError, Diverged):
            shutil.rmtree(partial)  # going on from there would only end the same way
            raise
    return True


def train_part(config: Config, final: Path) -> None:
    """Train only the shards that ``ensemble.only`` names, beside other processes that train others.

    The ensemble is put together by whoever trains it whole, from finished shards alone if they are
    all there. Raises RunError if an interrupted run of another identity is in the way.
    """
    only = config.ensemble.only or ()
    whole = replace(config, ensemble=replace(config.ensemble, only=None))
    partial = shared(whole, final)
    if partial is not None:
        shards = ensemble.shards(whole, partial)
        processes = whole.ensemble.processes or 1
        ensemble.train_shards([shards[k] for k in only], processes, lambda done: None)


def try_out(config: Config) -> None:
    """Raises ConfigError for what shows only when it is tried: the device, callbacks, loggers and
    arguments of the Trainer, a given checkpoint, and the target on the first replica."""
    try_target(config)
    if config.trainer.accelerator in ("gpu", "cuda", "mps"):
        import torch

        if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
            given = config.trainer.accelerator
            raise ConfigError(f"trainer.accelerator={given}: there is none here; try cpu or auto")
    if config.callbacks or config.logger.keys() - {"tensorboard"} or config.trainer.arguments:
        from mlpfit.training.trainer import try_trainer

        try_trainer(config)
    if config.ckpt_path is not None:
        from mlpfit.training.trainer import given_checkpoint, part

        given_checkpoint(part(config, config.shard_seeds[0]).config)


def try_target(config: Config) -> None:
    """Draw the rows of the first replica. Raises ConfigError for a target that fails."""
    with users_code(f"target {config.target.name}"):
        config.target.rows(streams(config.replica_seeds[0], config.streams).data)


def _train(config: Config, partial: Path, report: Report) -> None:
    replicas = len(config.replica_seeds)
    if replicas == 1:
        from mlpfit.training.run import train_into
        from mlpfit.training.trainer import part

        return train_into(partial, part(config, config.replica_seeds), report)
    shards = ensemble.shards(config, partial)
    worth = sum(shard.seconds for shard in shards) > 20  # starting a process takes five seconds
    processes = config.ensemble.processes or (ensemble.cores() if worth else 1)
    if multiprocessing.current_process().daemon:  # one of several already
        processes = 1
    return ensemble.train_shards(
        shards, processes, lambda done: report(done // replicas, float("nan"))
    )
