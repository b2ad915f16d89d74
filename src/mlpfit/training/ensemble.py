"""Many replicas of one experiment: split into shards, trained in parallel processes.

Each shard is a run of its own seeds in a folder of its own, so a killed ensemble goes on with the
shards that are missing, and memory does not grow with the number of replicas.
"""

import gc
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mlpfit.config.schema import Config
from mlpfit.errors import RunError
from mlpfit.runs.folder import locked, seal
from mlpfit.runs.identity import identity
from mlpfit.runs.run import MARKER, SHARDS
from mlpfit.training.processes import work


@dataclass(frozen=True)
class Shard:
    """Replicas trained together, and where."""

    config: Config
    seeds: tuple[int, ...]
    folder: Path

    @property
    def finished(self) -> bool:
        return (self.folder / MARKER).is_file()

    @property
    def model_steps(self) -> int:
        return len(self.seeds) * self.config.trainer.max_steps

    @property
    def seconds(self) -> float:
        """Predicted from the floating-point operations of a step (forward 2, backward 4 per weight
        and row) and the rate that ``make bench`` finds, some 60 billion a second and core, half in
        double precision; and half a second for the Trainer and the files."""
        config = self.config
        rows = config.data.batch_size or config.rows
        operations = 6 * rows * sum(a * b for a, b in pairwise(config.units))
        rate = 30e9 if config.trainer.precision == "64-true" else 60e9
        return self.model_steps * (operations / rate + 2e-7) + 0.5


def shards(config: Config, folder: Path) -> list[Shard]:
    """All shards of an ensemble, in the order of the seeds."""
    return [
        Shard(config, seeds, folder / SHARDS / f"{k:04d}")
        for k, seeds in enumerate(config.shard_seeds)
    ]


def train_shards(todo: Sequence[Shard], processes: int, report: Callable[[int], None]) -> None:
    """Train the shards that are not finished; report gets the number of model-steps done so far.

    Raises RunError if a shard fails, after all others are done.
    """
    missing = [shard for shard in todo if not shard.finished]
    before = sum(shard.model_steps for shard in todo) - sum(shard.model_steps for shard in missing)
    if min(processes, len(missing)) <= 1:
        for shard in missing:
            train_shard(shard)
            before += shard.model_steps
            report(before)
        return
    missing.sort(key=lambda shard: -shard.seconds)
    failures: list[str] = []

    def done(index: int, failure: str | None) -> None:
        nonlocal before
        if failure is None:
            before += missing[index].model_steps
            report(before)
        else:
            failures.append(f"{missing[index].folder}: {failure}; run it again")

    report(before)
    work(train_shard, missing, processes, done)
    if failures:
        raise RunError(failures[0])


def train_shard(shard: Shard) -> None:
    """Train a shard, unless another process has finished it, or the ensemble, in the meantime."""
    from mlpfit.training.run import train_into
    from mlpfit.training.trainer import part

    with locked(shard.config, shard.folder):
        if shard.finished or not shard.folder.parents[1].is_dir():
            return
        shard.folder.mkdir(parents=True, exist_ok=True)
        train_into(shard.folder, part(shard.config, shard.seeds), lambda step, loss: None)
        shutil.rmtree(
            shard.folder / "checkpoints", ignore_errors=True
        )  # only for going on with an unfinished shard
        seal(shard.folder, identity(shard.config))
    gc.collect()  # Trainer and module refer to each other: without this, memory grows


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
