"""Shards: the replicas that one Trainer trains, all of a run or some of an ensemble."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from mlpfit.config.schema import Config
from mlpfit.data.elementary import geomspace
from mlpfit.runs.identity import identity
from mlpfit.runs.run import MARKER, SHARDS


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
    def single(self) -> bool:
        """Whether the run has one replica, which is recorded at many steps; an ensemble is recorded
        only at the beginning and the end."""
        return len(self.whole.replica_seeds) == 1

    @property
    def has_all_replicas(self) -> bool:
        """Whether these are all replicas of the run."""
        return len(self.seeds) == len(self.whole.replica_seeds)

    @property
    def finished(self) -> bool:
        return (self.folder / MARKER).is_file()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the run's identity and the seeds, which identifies the shard's checkpoints."""
        content = json.dumps([identity(self.whole), list(self.seeds)])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def model_steps(self) -> int:
        """Replicas times steps."""
        return len(self.seeds) * self.whole.steps

    @property
    def seconds(self) -> float:
        """Predicted duration: operations at the rate measured by ``make bench``, 80 billion a
        second and core, half in double precision; half a second for the Trainer and the files."""
        rate = 40e9 if self.whole.trainer.precision == "64-true" else 80e9
        return self.model_steps * (self.whole.operations / rate + 2e-7) + 0.5

    @property
    def snapshots(self) -> list[int]:
        """Steps after which the weights are saved, geometrically spaced for a single run."""
        steps, count = self.whole.steps, self.whole.recording.snapshots
        spaced = geomspace(1, steps, count).round().astype(int).tolist() if steps else []
        return self._chunk_ends({0, steps, *(spaced if self.single else ())})

    @property
    def checkpoints(self) -> list[int]:
        """Steps after which a checkpoint is written; another one is at the end."""
        steps, every = self.whole.steps, self.whole.recording.checkpoint_every
        return [step for step in self._chunk_ends({*range(every, steps, every)}) if step < steps]

    @property
    def chunk_ends(self) -> list[int]:
        """Steps at which the engine's chunks end: after every chunk_steps, or val_check_interval
        of the Trainer, and where something is recorded."""
        steps, chunk = self.whole.steps, self.whole.trainer.chunk_steps
        return sorted({*range(0, steps, chunk), steps, *self.snapshots, *self.checkpoints})

    def _chunk_ends(self, steps: set[int]) -> list[int]:
        """The steps; with callbacks each rounded up to the end of its chunk, so that chunks, and
        the validations after them, are equally long."""
        chunk = self.whole.trainer.chunk_steps if self.whole.callbacks else 1
        return sorted({min(-(-step // chunk) * chunk, self.whole.steps) for step in steps})

    def recorded_steps(self, steps: int) -> np.ndarray:
        """Which of the steps 1 .. steps have their loss saved: all of a single run; of an ensemble
        the first, the last and every 1st, 2nd, 5th or 10th: about ``ensemble.history_points``."""
        numbers = np.arange(1, steps + 1)
        if self.single:
            return numbers
        points = self.whole.ensemble.history_points
        stride = next((k for k in (1, 2, 5) if steps / k <= points), 10)
        return numbers[(numbers % stride == 0) | (numbers == 1) | (numbers == steps)]


def shards(config: Config, folder: Path) -> list[Shard]:
    """All shards of an ensemble, in the order of the seeds."""
    numbered = enumerate(config.shard_seeds)
    return [Shard(config, seeds, folder / SHARDS / f"{k:04d}") for k, seeds in numbered]
