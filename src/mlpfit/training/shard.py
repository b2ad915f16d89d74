"""Shards: the replicas that one Trainer trains, all of a run or some of an ensemble."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mlpfit.config.schema import Config
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
    def has_all_replicas(self) -> bool:
        """Whether these are all replicas of the run."""
        return len(self.seeds) == len(self.whole.replica_seeds)

    @property
    def finished(self) -> bool:
        return (self.folder / MARKER).is_file()


def shards(config: Config, folder: Path) -> list[Shard]:
    """All shards of an ensemble, in the order of the seeds."""
    numbered = enumerate(config.shard_seeds)
    return [Shard(config, seeds, folder / SHARDS / f"{k:04d}") for k, seeds in numbered]
