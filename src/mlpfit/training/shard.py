"""Shards: the replicas that one Trainer trains, all of a run or some of an ensemble, and the steps
at which their training is recorded."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from mlpfit.config.schema import Config
from mlpfit.data.elementary import geomspace
from mlpfit.runs.run import MARKER, SHARDS

LONG, KEPT = 10**6, 10**5  # steps: of more than LONG the losses of KEPT are kept, about
CHUNK_OPERATIONS = 10**9  # a tenth of a second or less: the progress that is shown


@dataclass(frozen=True)
class Shard:
    """whole: config of the run they belong to; seeds: of the replicas; folder: of their files."""

    whole: Config
    seeds: tuple[int, ...]
    folder: Path

    @cached_property
    def config(self) -> Config:
        """The config of these replicas only."""
        return replace(self.whole, seeds=self.seeds, replicas=1)

    @property
    def has_all_replicas(self) -> bool:
        """Whether these are all replicas of the run."""
        return len(self.seeds) == len(self.whole.replica_seeds)

    @property
    def schedule(self) -> "Schedule":
        """What is recorded of its training, as of the whole run's."""
        return Schedule(self.whole)

    @property
    def finished(self) -> bool:
        return (self.folder / MARKER).is_file()


def shards(config: Config, folder: Path) -> list[Shard]:
    """All shards of an ensemble, in the order of the seeds."""
    numbered = enumerate(config.shard_seeds)
    return [Shard(config, seeds, folder / SHARDS / f"{k:04d}") for k, seeds in numbered]


@dataclass(frozen=True)
class Schedule:
    """Steps at which a training records something: a single run at many, an ensemble only at the
    beginning and the end. config: of the whole run."""

    config: Config

    @property
    def snapshots(self) -> list[int]:
        """Steps after which the weights are saved: the first and the last, those asked for and, of
        a single run, geometrically spaced ones."""
        steps, count = self.config.steps, self.config.recording.snapshots
        spaced = geomspace(1, steps, count).round().astype(int).tolist() if steps else []
        chosen = {step for step in self.config.recording.weights_after if step <= steps}
        return self._chunk_ends({0, steps, *chosen, *(spaced if self.config.single else ())})

    @property
    def checkpoints(self) -> list[int]:
        """Steps after which a checkpoint is written; another one is at the end."""
        steps, every = self.config.steps, self.config.recording.checkpoint_every
        return [step for step in self._chunk_ends({*range(every, steps, every)}) if step < steps]

    @property
    def chunk_ends(self) -> list[int]:
        """Steps at which the engine's chunks end: where something is recorded, and after every
        chunk_steps. Without callbacks and arguments of the Trainer nothing looks at the training in
        between: chunks then have CHUNK_OPERATIONS operations, if that is more."""
        steps, chunk = self.config.steps, self.config.trainer.chunk_steps
        if not self.config.callbacks and not self.config.trainer.arguments.keys() - {"devices"}:
            replicas = len(self.config.shard_seeds[0])
            chunk = max(chunk, CHUNK_OPERATIONS // (self.config.operations * replicas))
        return sorted({*range(0, steps, chunk), steps, *self.snapshots, *self.checkpoints})

    def _chunk_ends(self, steps: set[int]) -> list[int]:
        """The steps; with callbacks each rounded up to the end of its chunk, so that chunks, and
        the validations after them, are equally long."""
        chunk = self.config.trainer.chunk_steps if self.config.callbacks else 1
        return sorted({min(-(-step // chunk) * chunk, self.config.steps) for step in steps})

    @property
    def scalars(self) -> int:
        """Every how many steps loggers get the loss."""
        return max(1, -(-self.config.steps // self.config.recording.scalars))

    @property
    def stride(self) -> int:
        """Every how many steps the loss is kept while training: at each of up to ``LONG`` steps, of
        more at ``KEPT`` at most, so that memory and checkpoints do not grow with the steps."""
        if self.config.steps <= LONG:
            return 1
        strides = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
        return next(stride for stride in strides if self.config.steps / stride <= KEPT)

    def recorded_steps(self, steps: int) -> np.ndarray:
        """Which of the steps 1 .. steps have their loss saved, of those that are kept while
        training: all of a single run; of an ensemble the first, the last and every 1st, 2nd, 5th
        or 10th: about ``ensemble.history_points``, and those of ``recording.losses_of_epochs``."""
        numbers = np.arange(1, steps + 1)
        if self.config.single:
            return numbers
        points = self.config.ensemble.history_points
        stride = next((k for k in (1, 2, 5) if steps / k <= points), 10)
        epochs = (numbers - 1) // self.config.steps_per_epoch + 1
        chosen = np.isin(epochs, self.config.recording.losses_of_epochs)
        return numbers[(numbers % stride == 0) | (numbers == 1) | (numbers == steps) | chosen]
